"""The consumer of a WebSocket, without a server around it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from events import layer, wakeups
from events.consumers import EventsConsumer
from events.reader import Entry
from events.readers import READERS
from events.threads import in_database_thread
from tests.support.websocket import new_session, scope_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_no_idle_connections")]


async def until_heartbeat(sent: "asyncio.Queue[Mapping[str, Any]]", received: "asyncio.Queue[dict[str, Any]]") -> str:
    """Wait for a heartbeat and answer it; return its nonce."""
    async with asyncio.timeout(10):
        while "heartbeat" not in (message := await sent.get()).get("text", ""):
            pass
    received.put_nowait({"type": "websocket.receive", "text": message["text"]})
    return str(json.loads(message["text"])["nonce"])


async def until_tasks_are(expected: set[str]) -> None:
    """Wait until exactly these tasks run, apart from the test's own task."""
    this = asyncio.current_task()
    async with asyncio.timeout(10):
        while {task.get_name() for task in asyncio.all_tasks() if task is not this} != expected:
            await asyncio.sleep(0.01)


@pytest.mark.once  # The channel layer on Redis runs more tasks.
async def test_idle_websocket_has_one_task_and_no_handshake() -> None:
    session = await in_database_thread(new_session)()
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    scope = scope_of(session)
    shared = {
        "watcher",
        "inbox",
        *(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()),
    }
    serving = asyncio.create_task(EventsConsumer()(scope, received.get, sent.put), name="consumer")
    received.put_nowait({"type": "websocket.connect"})
    await until_tasks_are({*shared, "consumer"})
    assert not scope
    assert (await sent.get())["type"] == "websocket.accept"
    await wakeups.send({session.pk: layer.message_to(session.pk, news=[(1, "event")])})
    assert (await sent.get())["text"] == "event"
    await until_tasks_are({*shared, "consumer"})
    received.put_nowait({"type": "websocket.disconnect", "code": 1000})
    async with asyncio.timeout(10):
        await serving
    assert READERS.is_empty


@pytest.mark.once
async def test_heartbeats_of_an_idle_websocket_read_nothing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HEARTBEAT_SECONDS = 0.1
    session = await in_database_thread(new_session)()
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    serving = asyncio.create_task(EventsConsumer()(scope_of(session), received.get, sent.put))
    received.put_nowait({"type": "websocket.connect"})
    nonces = [await until_heartbeat(sent, received)]
    reads: list[int] = []

    async def note(session_id: str, after: int) -> list[Entry]:
        reads.append(after)
        return []

    monkeypatch.setattr("events.reader.read", note)
    nonces += [await until_heartbeat(sent, received) for _ in range(5)]
    received.put_nowait({"type": "websocket.disconnect", "code": 1000})
    async with asyncio.timeout(10):
        await serving
    assert len(set(nonces)) == 6
    assert reads == []
