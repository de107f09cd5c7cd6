"""Prepare `quickstart` before the settings load: the state directory, the secret key and, with --lan, a certificate.

This code runs before Django is configured. It may read environment variables but no settings.
"""

import secrets
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from sbe_enabler.env import Environment
from sbe_enabler.private_files import write_private

BASE_DIR = Path(__file__).resolve().parent.parent


def state_directory(env: Environment) -> Path:
    """Return the absolute path of the directory that the service writes to: `SBE_STATE_DIR`, or `var`."""
    return Path(env.string("SBE_STATE_DIR", str(BASE_DIR / "var"))).absolute()


def prepare(arguments: Sequence[str], variables: MutableMapping[str, str]) -> None:
    """For `quickstart`, write the missing secrets and set the variables that the settings then read.

    For any other command this does nothing: a deployment has its own secrets.
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
    """Make a certificate for this machine's names, allow them as hosts, and announce the machine's media addresses."""
    from sbe_enabler import lan  # here, because it loads the cryptography library

    hosts = lan.own_hosts()
    certificate, key = lan.ensure_certificate(state, hosts)
    variables["SBE_TLS"] = "1"
    variables["SBE_TLS_CERTIFICATE"] = str(certificate)
    variables["SBE_TLS_KEY"] = str(key)
    variables.setdefault("SBE_ALLOWED_HOSTS", ",".join(hosts))
    # Media must arrive on the same addresses as the pages. Pages on this machine use loopback.
    variables.setdefault("MEDIA_BIND", "0.0.0.0")  # noqa: S104 - what --lan asks for
    variables.setdefault("MEDIA_ANNOUNCE", ",".join([*lan.own_addresses(), "127.0.0.1"]))
