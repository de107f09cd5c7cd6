"""Media nodes as separate processes: one node ends, and another one replaces it."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from tests.support.descriptions import offer
from tests.support.endpoints import UNLIMITED, Endpoints, until
from tests.support.media.synthetic import Peer
from tests.support.services import Backend, Backends, Server, copied
from tests.support.zygote import Copy

pytestmark = pytest.mark.once

# A node that crashes must be replaced within this time.
REPLACED_WITHIN_SECONDS = 6.0


def media_node(backend: Backend, log: Path) -> AbstractContextManager[Copy]:
    """Run `manage.py medianode` on a database."""
    return copied(log, "manage.py", "medianode", variables=backend.variables)


async def test_a_node_that_is_stopped_during_a_call_leaves_nothing_pending(
    serve: Callable[..., Server], backends: Backends, endpoints: Endpoints, tmp_path: Path
) -> None:
    backend, log = backends.grown(), tmp_path / "node.log"
    server = serve(backend, **UNLIMITED, SBE_MEDIA_NODE="0")
    alice, peer = await endpoints.register(server, "alice"), Peer("alice", data=True)

    async def one_lives() -> bool:
        return len(conferences(server)) == 1

    with media_node(backend, log) as node:
        await until(one_lives, "the node lives", seconds=30)
        body = {"to": [], "access": "open", "type": "offer", "sdp": peer.offer()}
        response = await alice.request("POST", "/mediaConferences", body)
        assert response.status_code == 201, response.text
        answer = await alice.wait_for_event("mod-accepted")
        await peer.connect(answer["description"]["sdp"])
        node.terminate()
        assert node.wait(20) == 0
        await asyncio.wait_for(peer.ended.wait(), 10)
    await peer.close()
    said = log.read_text()
    assert "listening on" in said
    assert [line for line in said.splitlines() if "destroyed" in line or "Traceback" in line or "ERROR" in line] == []


def conferences(server: Server) -> list[int]:
    """Return how many conferences each live node serves."""
    nodes = httpx.get(f"{server.base_url}/healthz", trust_env=False).json()["mediaNodes"]
    return sorted(node["conferences"] for node in nodes.values())


# The first node either falls silent and comes back, or crashes. The two cases are similar, so only deep runs test the
# crash.
@pytest.mark.parametrize("comes_back", [pytest.param(False, marks=pytest.mark.deep), True])
async def test_a_node_that_falls_silent_is_replaced_and_stops_serving(
    serve: Callable[..., Server], backends: Backends, endpoints: Endpoints, tmp_path: Path, comes_back: bool
) -> None:
    backend = backends.grown()
    server = serve(backend, **UNLIMITED, SBE_MEDIA_NODE="0")
    alice = await endpoints.register(server, "alice")

    def serving(*numbers: int) -> Callable[[], Awaitable[bool]]:
        async def is_so() -> bool:
            return conferences(server) == list(numbers)

        return is_so

    with media_node(backend, tmp_path / "first.log") as first:
        await until(serving(0), "the first node lives", seconds=30)
        body = {"to": [], "access": "open", **offer()}
        response = await alice.request("POST", "/mediaConferences", body)
        assert response.status_code == 201, response.text
        await alice.wait_for_event("mod-accepted")
        with media_node(backend, tmp_path / "second.log"):
            await until(serving(0, 1), "the second node lives", seconds=30)
            first.send_signal(signal.SIGSTOP if comes_back else signal.SIGKILL)
            killed_at = time.monotonic()
            event = await alice.wait_for_event("mod-received")
            took = time.monotonic() - killed_at
            if comes_back:
                first.send_signal(signal.SIGCONT)
                # The second node serves the conference, and the first node has stopped serving it.
                await until(serving(0, 1), "the first node is back without it", seconds=10)
    assert event["restart"] is True
    assert took <= REPLACED_WITHIN_SECONDS, took
