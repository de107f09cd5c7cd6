"""A request to the event channel keeps its turn until it has read the log, but not while it waits for events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import AsyncRequestFactory

from events.consumers import EventsConsumer
from events.models import Session
from events.reader import Entry
from events.threads import in_database_thread
from events.turns import END_TURN
from events.views import events
from tests.support.websocket import new_session, scope_of

pytestmark = [
    pytest.mark.once,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("_no_idle_connections"),
]


class Log:
    """A session's log that can be read only after the test releases it. Every read finds no events."""

    def __init__(self) -> None:
        self.is_read = asyncio.Event()
        self.go_on = asyncio.Event()

    async def read(self, session_id: str, after: int) -> list[Entry]:
        self.is_read.set()
        await self.go_on.wait()
        return []


@pytest.fixture
async def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Replace the logs of all sessions with one `Log`."""
    log = Log()
    monkeypatch.setattr("events.reader.read", log.read)
    return log


async def follow(session: Session, accept: str, ended: asyncio.Event) -> HttpResponseBase:
    """Follow the log over HTTP. If the response is a stream, read it until cancelled."""
    request: Any = AsyncRequestFactory().get(
        f"/sessions/{session.pk}/events?wait=20", headers={"authorization": "Bearer secret", "accept": accept}
    )
    request.scope[END_TURN] = ended.set
    response = await events(request, session.pk)
    if isinstance(response, StreamingHttpResponse):
        parts: AsyncIterator[bytes] = aiter(response)
        async for _ in parts:
            pass
    return response


async def follow_by_websocket(session: Session, ended: asyncio.Event) -> None:
    """Follow the log over a WebSocket until cancelled."""
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: asyncio.Queue[Any] = asyncio.Queue()
    received.put_nowait({"type": "websocket.connect"})
    await EventsConsumer()({**scope_of(session), END_TURN: ended.set}, received.get, sent.put)


@pytest.mark.parametrize("transport", ["text/event-stream", "application/json", "websocket"])
async def test_turn_ends_when_the_log_has_been_read(log: Log, transport: str) -> None:
    session, ended = await in_database_thread(new_session)(), asyncio.Event()
    following = follow_by_websocket(session, ended) if transport == "websocket" else follow(session, transport, ended)
    task = asyncio.create_task(following)
    async with asyncio.timeout(10):
        await log.is_read.wait()
    assert not ended.is_set()
    log.go_on.set()
    async with asyncio.timeout(10):
        await ended.wait()
    assert not task.done()
    task.cancel()
    await asyncio.wait([task], timeout=10)
