"""What must stand before the settings load: the state directory, the secret key and, on a LAN, a certificate.

Everything here runs before Django is configured, so it may read the environment but no setting.
"""

import secrets
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from sbe_enabler.env import Environment
from sbe_enabler.private_files import write_private

BASE_DIR = Path(__file__).resolve().parent.parent


def state_directory(env: Environment) -> Path:
    """Return the directory of everything that the service writes beside its database."""
    return Path(env.string("SBE_STATE_DIR", str(BASE_DIR / "var"))).absolute()


def prepare(arguments: Sequence[str], variables: MutableMapping[str, str]) -> None:
    """Make what `quickstart` cannot start without, and name it in `variables` for the settings to read.

    This function will do nothing for any other command: a deployment brings its own secrets.
    """
    if arguments[:1] != ["quickstart"]:
        return
    env = Environment(variables)
    state = state_directory(env)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not env.string("SBE_SECRET_KEY"):
        write_private(state / "secret_key", secrets.token_urlsafe(50))
    if not env.string("SBE_DEV_SERVER"):
        variables["SBE_DEV_SERVER"] = "1"
    if "--lan" in arguments:
        _prepare_lan(state, variables)


def _prepare_lan(state: Path, variables: MutableMapping[str, str]) -> None:
    """Certify the machine's own names, admit requests that use them, and receive media at its addresses."""
    from sbe_enabler import lan  # only here: it loads the cryptography library

    hosts = lan.own_hosts()
    certificate, key = lan.ensure_certificate(state, hosts)
    variables["SBE_TLS"] = "1"
    variables["SBE_TLS_CERTIFICATE"] = str(certificate)
    variables["SBE_TLS_KEY"] = str(key)
    variables.setdefault("SBE_ALLOWED_HOSTS", ",".join(hosts))
    # Media must come in from where the pages come from; this machine's own pages use loopback.
    variables.setdefault("MEDIA_BIND", "0.0.0.0")  # noqa: S104 - what --lan asks for
    variables.setdefault("MEDIA_ANNOUNCE", ",".join([*lan.own_addresses(), "127.0.0.1"]))
