"""Media nodes as processes of their own: what happens when one of them ends."""

import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.descriptions import offer
from tests.endpoints import UNLIMITED, Endpoints, until
from tests.services import ROOT, SECRET_KEY, Backend, Backends, Server

pytestmark = pytest.mark.once

# A node killed as a crash would must be replaced within this time.
REPLACED_WITHIN_SECONDS = 6.0


@contextlib.contextmanager
def media_node(backend: Backend, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `manage.py medianode` on a database."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "manage.py", "medianode"],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "SBE_SECRET_KEY": SECRET_KEY, **backend.variables},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with Endpoints() as registered:
        yield registered


def live_nodes(server: Server) -> int:
    """Return how many nodes the service knows."""
    return len(httpx.get(f"{server.base_url}/healthz", trust_env=False).json()["mediaNodes"])


async def test_a_node_that_is_killed_is_replaced(
    serve: Callable[..., Server], backends: Backends, endpoints: Endpoints, tmp_path: Path
) -> None:
    backend = backends.grown()
    server = serve(backend, **UNLIMITED, SBE_MEDIA_NODE="0")
    alice = await endpoints.register(server, "alice")

    async def one_lives() -> bool:
        return live_nodes(server) == 1

    async def both_live() -> bool:
        return live_nodes(server) == 2

    with media_node(backend, tmp_path / "first.log") as first:
        await until(one_lives, "the first node lives", seconds=30)
        body = {"to": [], "access": "open", **offer()}
        response = await alice.request("POST", "/mediaConferences", body)
        assert response.status_code == 201, response.text
        await alice.told("mod-accepted")
        with media_node(backend, tmp_path / "second.log"):
            await until(both_live, "the second node lives", seconds=30)
            first.kill()
            killed_at = time.monotonic()
            event = await alice.told("mod-received")
            took = time.monotonic() - killed_at
    assert event["restart"] is True
    assert took <= REPLACED_WITHIN_SECONDS, took
