"""Settings of the test suite: those of the service, without the variables of the developer's shell.

`python -m tests.support.services -- COMMAND` runs a command with PostgreSQL and Redis instead of SQLite and memory.
"""

import atexit
import os
import shutil
import tempfile

from tests.support.scratch import in_memory

_OURS = ("SBE_", "STUN_", "TURN_", "DATABASE_URL", "REDIS_URL")
_SERVICES = {"SBE_TEST_DATABASE_URL": "DATABASE_URL", "SBE_TEST_REDIS_URL": "REDIS_URL"}

for name in [name for name in os.environ if name.startswith(_OURS) and not name.startswith("SBE_TEST_")]:
    del os.environ[name]
for ours, name in _SERVICES.items():
    if ours in os.environ:
        os.environ[name] = os.environ[ours]
os.environ["SBE_SECRET_KEY"] = "only-for-tests" * 4
os.environ["SBE_DEV_SERVER"] = "1"
# Otherwise every httpx client would read all certificate authorities, which takes longer than most requests.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.devnull
os.environ["SBE_STATE_DIR"] = tempfile.mkdtemp(prefix="sbe-tests-", dir=in_memory())
atexit.register(shutil.rmtree, os.environ["SBE_STATE_DIR"], ignore_errors=True)

from sbe_enabler.settings import *  # noqa: E402, F403 - the environment comes first

# Some tests make more offers in a minute than any user would.
OFFERS_PER_MINUTE = CHANGES_PER_MINUTE = CHANGES_AT_ONCE = INVITATIONS_PER_PAIR = 1_000_000
SDP_CHARACTERS_PER_MINUTE = 10**12
# Parallel runs share one Redis, so each run has its own prefix.
COUNTER_PREFIX = f"sbe-test-{os.getpid()}."
# Pages render without `collectstatic`. Real servers in tests have their own settings.
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
