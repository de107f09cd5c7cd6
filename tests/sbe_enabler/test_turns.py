"""Many simultaneous requests of one client delay only that client."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from django.conf import settings

from events.turns import turn_end_of
from sbe_enabler.turns import InTurns

pytestmark = pytest.mark.once

MOST = 2 * settings.DATABASE_THREADS


class Application:
    """An application whose requests wait until they are released."""

    def __init__(self, *, ends_turn: bool = False, closes: bool = False) -> None:
        self._ends_turn, self._closes = ends_turn, closes
        self.served: list[str] = []
        self.go_on = asyncio.Event()
        self.read = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.served.append(scope["client"][0])
        if self._ends_turn:
            turn_end_of(scope)()
        await self.go_on.wait()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start"})
            await send({"type": "http.response.body", "more_body": True})
        if self._closes:
            await send({"type": "websocket.close"})
        await self.read.wait()


async def receive() -> Mapping[str, Any]:
    return {}


async def send(message: Mapping[str, Any]) -> None: ...


def ask(
    turns: InTurns, address: str, number: int = 1, path: str = "/healthz", type_: str = "http"
) -> list["asyncio.Task[None]"]:
    """Make requests from an address."""
    scope = {"type": type_, "path": path, "client": (address, 1)}
    return [asyncio.create_task(turns(dict(scope), receive, send)) for _ in range(number)]


async def settle() -> None:
    """Yield to the event loop until every task waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_many_requests_of_one_client_do_not_delay_other_clients() -> None:
    application = Application()
    turns = InTurns(application)
    crowd = ask(turns, "192.0.2.1", 100)
    await settle()
    assert len(application.served) == MOST
    others = ask(turns, "192.0.2.2") + ask(turns, "2001:db8::1")
    await settle()
    assert application.served[MOST:] == ["192.0.2.2", "2001:db8::1"]
    application.go_on.set()
    application.read.set()
    await asyncio.wait_for(asyncio.gather(*crowd, *others), 5)
    assert len(application.served) == 102
    assert turns.queues == 0


async def test_health_is_served_while_requests_wait_for_the_database() -> None:
    application = Application()
    turns = InTurns(application)
    requests = ask(turns, "192.0.2.1", 3 * MOST, "/mediaConferences")
    await settle()
    assert len(application.served) == MOST
    requests += ask(turns, "192.0.2.1", 1, "/healthz")
    await settle()
    assert len(application.served) == MOST + 1
    application.go_on.set()
    application.read.set()
    await asyncio.wait_for(asyncio.gather(*requests), 5)


async def test_queue_of_one_client_is_bounded() -> None:
    application, statuses = Application(), []

    async def note(message: Mapping[str, Any]) -> None:
        statuses.append(message.get("status"))

    turns = InTurns(application)
    crowd = ask(turns, "192.0.2.1", 512)
    await settle()
    scope = {"type": "http", "path": "/healthz", "client": ("192.0.2.1", 1), "headers": []}
    await asyncio.wait_for(turns(scope, receive, note), 5)
    assert statuses[0] == 429
    application.go_on.set()
    application.read.set()
    await asyncio.wait_for(asyncio.gather(*crowd), 5)
    await asyncio.wait_for(turns(scope, receive, note), 5)
    assert len(application.served) == 513


async def test_turn_lasts_until_the_answer_is_complete() -> None:
    application = Application()
    application.go_on.set()
    requests = ask(InTurns(application), "192.0.2.1", 3 * MOST)
    await settle()
    assert len(application.served) == MOST
    application.read.set()
    await asyncio.wait_for(asyncio.gather(*requests), 5)


@pytest.mark.parametrize(("path", "type_"), [("/healthz", "http"), ("/sessions/abc/events", "websocket")])
async def test_client_that_reads_slowly_delays_others_only_briefly(
    monkeypatch: pytest.MonkeyPatch, path: str, type_: str
) -> None:
    monkeypatch.setattr("sbe_enabler.turns._LONGEST_ANSWER", 0.01)
    application = Application()
    application.go_on.set()
    asked = ask(InTurns(application), "192.0.2.1", 3 * MOST, path, type_)
    async with asyncio.timeout(5):
        # The client reads none of the responses.
        while len(application.served) < 3 * MOST:
            await asyncio.sleep(0.001)
    application.read.set()
    await asyncio.wait_for(asyncio.gather(*asked), 5)


async def test_request_that_only_waits_for_events_has_no_turn() -> None:
    application = Application(ends_turn=True)
    polls = ask(InTurns(application), "192.0.2.1", 100, "/sessions/abc/events")
    await settle()
    assert len(application.served) == 100
    for each in polls:
        each.cancel()
    await asyncio.wait(polls)


@pytest.mark.parametrize("type_", ["http", "websocket"])
async def test_reader_has_a_turn_until_it_only_waits(type_: str) -> None:
    application = Application()
    turns = InTurns(application)
    crowd = ask(turns, "192.0.2.1", 100, "/sessions/abc/events", type_)
    await settle()
    assert len(application.served) == MOST
    requests = ask(turns, "192.0.2.1", 1, "/mediaConferences") + ask(turns, "192.0.2.2", 1, "/mediaConferences")
    await settle()
    # The client's own request waits in the same queue. The other client's request does not wait.
    assert application.served[MOST:] == ["192.0.2.2"]
    application.go_on.set()
    application.read.set()
    await asyncio.wait_for(asyncio.gather(*crowd, *requests), 5)
    assert turns.queues == 0


async def test_closing_websocket_waits_for_its_client_without_a_turn() -> None:
    application = Application(closes=True)
    application.go_on.set()
    sockets = ask(InTurns(application), "192.0.2.1", 3 * MOST, "/nowhere", "websocket")
    await settle()
    assert len(application.served) == 3 * MOST
    application.read.set()
    await asyncio.wait_for(asyncio.gather(*sockets), 5)


async def test_queue_of_handshakes_is_bounded() -> None:
    application, sent = Application(), []

    async def note(message: Mapping[str, Any]) -> None:
        sent.append((message["type"], message.get("code")))

    turns = InTurns(application)
    crowd = ask(turns, "192.0.2.1", 512, "/sessions/abc/events", "websocket")
    await settle()
    scope = {"type": "websocket", "path": "/", "client": ("192.0.2.1", 1), "headers": [], "subprotocols": []}
    await asyncio.wait_for(turns(scope, receive, note), 5)
    assert sent == [("websocket.accept", None), ("websocket.close", 4429)]
    application.go_on.set()
    application.read.set()
    await asyncio.wait_for(asyncio.gather(*crowd), 5)


async def test_client_that_disconnects_returns_its_turn() -> None:
    application = Application()
    turns = InTurns(application)
    gone = ask(turns, "192.0.2.1", MOST + 5)
    await settle()
    for each in gone:
        each.cancel()
    await asyncio.wait(gone)
    assert turns.queues == 0
    (request,) = ask(turns, "192.0.2.1")
    await settle()
    assert len(application.served) == MOST + 1
    application.go_on.set()
    application.read.set()
    await asyncio.wait_for(request, 5)
