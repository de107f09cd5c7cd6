"""Events arrive once and in order, whatever happens to the connection."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from sbe_client import AsyncClient, ChannelReplaced, Client, EventStream, ProtocolError, SessionOver
from sbe_client.channel import Cursor, Missing, Reconnection, Transport
from tests.clients.scripted import in_json, scripted
from tests.clients.test_exchange import SESSION
from tests.clients.test_flows import answered, offered
from tests.support.endpoints import PATIENCE, new_name
from tests.support.relay import Relay
from tests.support.services import Backends, Server

pytestmark = pytest.mark.once


def event(seq: int) -> dict[str, object]:
    """Return an event of a type that the client does not know."""
    return {"seq": seq, "type": "news", "confId": "c"}


def test_cursor_drops_repeated_events_and_reconnects_at_a_jump() -> None:
    cursor = Cursor(3)
    assert [each.seq for number in (3, 4, 4, 5) for each in cursor.take(event(number))] == [4, 5]
    with pytest.raises(Missing):
        cursor.take(event(8))
    assert cursor.after == 5
    # The same jump again: the log lacks the events.
    gap, eighth = cursor.take(event(8))
    assert (gap.type, gap.oldest, eighth.seq) == ("gap", 8, 8)


def test_gap_moves_the_cursor_in_both_directions() -> None:
    for after in (3, 99):
        cursor = Cursor(after)
        assert [each.type for each in cursor.take({"type": "gap", "oldest": 12})] == ["gap"]
        assert [each.seq for each in cursor.take(event(12))] == [12]


def test_websocket_is_tried_three_times_before_long_poll_and_then_again() -> None:
    now = 0.0
    again = Reconnection(clock=lambda: now, chance=lambda: 1.0)
    used, pauses = [], []
    for _ in range(4):
        again.begin()
        used.append(again.transport)
        pauses.append(again.pause())
    assert used == [Transport.WEBSOCKET] * 3 + [Transport.POLL]
    assert pauses == [0.8, 1.6, 3.2, 6.4]
    assert again.transport is Transport.WEBSOCKET
    again.polls()
    assert not again.upgrade_is_due()
    assert again.wait == 5
    now = 5.0
    assert again.upgrade_is_due()
    assert again.transport is Transport.WEBSOCKET


@pytest.fixture
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect at once."""
    monkeypatch.setattr("sbe_client.channel.back_off", lambda *_, **__: 0.0)


Script = Callable[[ServerConnection, int], Awaitable[None]]


@asynccontextmanager
async def stream(script: Script, after: int = 0) -> AsyncIterator[EventStream]:
    """Follow the events of a scripted server, which gets each connection with its number."""
    count = 0

    async def connected(socket: ServerConnection) -> None:
        nonlocal count
        count += 1
        await script(socket, count)

    async with serve(connected, "127.0.0.1", 0, subprotocols=["sbe.v1"], max_size=None) as server:  # type: ignore[list-item]
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
        session = {**SESSION, "events": {"webSocket": url, "http": ""}}
        with scripted(in_json(200, session)) as rest:
            client = AsyncClient(rest.url, register=lambda: session)
            await client.register()
            async with client.events(after) as events, asyncio.timeout(PATIENCE):
                yield events
            await client.aclose()


async def test_stream_answers_heartbeats_and_sends_the_token_as_a_subprotocol() -> None:
    heartbeat = json.dumps({"type": "heartbeat", "nonce": "n1"})

    async def script(socket: ServerConnection, number: int) -> None:
        assert socket.request
        await socket.send(heartbeat)
        if await socket.recv() == heartbeat:
            await socket.send(json.dumps({**event(1), "asked": dict(socket.request.headers)["sec-websocket-protocol"]}))
        await socket.wait_closed()

    async with stream(script) as events:
        got = await anext(events)
    assert (got.type, got.raw["asked"]) == ("news", "sbe.v1, bearer.secret")


@pytest.mark.usefixtures("_without_pauses")
async def test_stream_continues_from_its_cursor_after_every_fault() -> None:
    asked = []

    async def script(socket: ServerConnection, number: int) -> None:
        assert socket.request
        asked.append(socket.request.path)
        match number:
            case 1:
                await socket.send(json.dumps(event(1)))
            case 2:
                await socket.send("<html>")
            case 3:
                await socket.send(json.dumps(event(3)))
            case _:
                for each in (1, 2, 3):
                    await socket.send(json.dumps(event(each)))
                await socket.wait_closed()

    async with stream(script) as events:
        got = [(await anext(events)).seq for _ in range(3)]
    assert got == [1, 2, 3]
    assert asked == ["/events?after=0", *["/events?after=1"] * 3]


@pytest.mark.parametrize(
    "message", ["[1]", "null", '{"seq": "1", "type": "news"}', '{"no": "type"}', "x" * (3 * 2**20)]
)
@pytest.mark.usefixtures("_without_pauses")
async def test_same_unreadable_message_is_an_error_in_the_end(message: str) -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(message)
        await socket.wait_closed()

    async with stream(script) as events:
        with pytest.raises(ProtocolError):
            await anext(events)


@pytest.mark.parametrize(("code", "error"), [(4409, ChannelReplaced), (4401, SessionOver), (4404, SessionOver)])
async def test_stream_ends_with(code: int, error: type[Exception]) -> None:
    connections = 0

    async def script(socket: ServerConnection, number: int) -> None:
        nonlocal connections
        connections = number
        await socket.close(code)

    async with stream(script) as events:
        with pytest.raises(error):
            await anext(events)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    assert connections == 1


def test_replaced_poll_ends_the_sync_iteration() -> None:
    with scripted(in_json(200, SESSION), in_json(409, {"code": "reader-replaced"})) as server:
        session = {**SESSION, "events": {"webSocket": "", "http": f"{server.url}/events"}}
        client = Client(server.url, register=lambda: session)
        client.register()
        with pytest.raises(ChannelReplaced):
            # One of the requests is the refresh.
            next(client.events())
        client.close()


async def test_no_event_is_lost_or_repeated_over_a_restart_of_the_server(backends: Backends, tmp_path: Path) -> None:
    with Server(backends.sqlite(), tmp_path) as server, Relay(server.port) as relay:
        names = new_name("alice"), new_name("bob")
        url = f"http://127.0.0.1:{relay.port}"
        async with AsyncClient(url, api_key=server.api_key) as alice, AsyncClient(url, api_key=server.api_key) as bob:
            for client, name in zip((alice, bob), names, strict=True):
                await client.register(name)
            async with alice.events() as events, asyncio.timeout(2 * PATIENCE):
                conf = await alice.call(names[1], offered(), topology="peer")
                await bob.answer(conf.id, answered())
                assert (await anext(events)).type == "session-open"
                # All connections break; during the outage nothing is answered.
                relay.stop()
                await asyncio.to_thread(server.restart)
                relay.start()
                await bob.modify(conf.id, offered(version=3))
                received = await anext(events)
                await alice.reject(conf.id, received.mod_id or "")
                await bob.hang_up(conf.id)
                assert [received.type, (await anext(events)).type] == ["mod-received", "session-terminated"]
                assert events.cursor == 3
