"""A private network for a test that does not work on the loopback interface.

Firefox pairs no candidates on 127.0.0.1, and gathers none without a default route. So such a test runs in a network
namespace with one Ethernet interface, which leads nowhere. A user that may not make a network namespace first becomes
root of a user namespace. Where neither is allowed, the test fails and says so.
"""

import asyncio
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.services import ROOT

# The address of everything in the namespace.
ADDRESS = "10.213.0.1"
_NOBODY = "10.213.0.2"
_INSIDE = "INSIDE_A_NAMESPACE"
# What a server needs there besides: a media address outside the loopback interface.
SERVER_SETTINGS = {"MEDIA_BIND": ADDRESS} if _INSIDE in os.environ else {}
_PREPARE = f"""
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v1 up
ip link set v0 up
ip address add {ADDRESS}/24 dev v0
ip route add default via {_NOBODY}
exec "$@"
"""


def in_a_network_of_its_own(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Run a test, and everything that it starts, where `ADDRESS` is an address of the machine.

    A second pytest runs only this test there, with its fixtures. If the second pytest fails, its output becomes the
    failure message of this test.
    """
    if _INSIDE in os.environ:
        return test

    @functools.wraps(test)
    async def run(request: pytest.FixtureRequest) -> None:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", request.node.nodeid]
        pipe = subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *_in_a_namespace(command), cwd=ROOT, env=_environment(), stdout=pipe, stderr=subprocess.STDOUT
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"in its own network:\n{output.decode(errors='replace')}"

    # Hide the parameters of the test from this pytest: only the second pytest provides the fixtures.
    del run.__wrapped__
    return run


def _in_a_namespace(command: list[str]) -> list[str]:
    """Return the command that runs this command in a namespace with an address."""
    if shutil.which("ip", path=_path()) is None:
        pytest.fail("`ip` is missing: `make test` installs it, or apt-get install iproute2", pytrace=False)
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.fail(
            f"This test needs a network namespace, and `{' '.join(unshare)}` may not make one here:"
            f" {tried.stderr.strip()}. Run it as root, or allow unprivileged user namespaces.",
            pytrace=False,
        )
    return [*unshare, "sh", "-e", "-c", _PREPARE, "sh", *command]


def _environment() -> dict[str, Any]:
    """Return the environment of the other pytest, without the variables of this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, "PATH": _path(), _INSIDE: "1"}


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
