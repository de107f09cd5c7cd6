"""A WebSocket delivers the log from a cursor on, and no event twice."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any

import websockets

from events.reader import BATCH
from tests.support.endpoints import UNLIMITED, Endpoint, Endpoints, events_until, next_event
from tests.support.producing import Serve, numbers, produce
from tests.support.services import Backend, Server, manage


async def test_log_is_replayed_from_the_cursor_and_continues_live(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    await produce(alice, conference, 2)
    async with bob.socket(after=2) as socket:
        assert numbers(await events_until(socket, 5)) == [3, 4, 5]
        await produce(alice, conference, 1)
        live = await events_until(socket, 7)
    assert [event["type"] for event in live] == ["mod-received", "mod-cancelled"]
    assert live == (await bob.log())[5:]


async def test_whole_log_is_sent_without_a_cursor(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    async with bob.socket() as socket:
        assert (await next_event(socket))["type"] == "invitation-received"


async def test_both_sockets_of_a_session_get_everything(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    async with bob.socket(after=0) as one, bob.socket(after=1) as other:
        await produce(alice, conference, 3)
        ones, others = await asyncio.gather(events_until(one, 7), events_until(other, 7))
    assert numbers(ones) == [1, 2, 3, 4, 5, 6, 7]
    assert others == ones[1:]


async def test_no_event_is_lost_or_repeated_while_clients_reconnect(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    last = 1 + 2 * 30
    chance = random.Random(7)

    async def come_and_go() -> None:
        cursor = 0
        while cursor < last:
            cursor = max(0, cursor - chance.randint(0, 3))
            async with bob.socket(after=cursor) as socket:
                for _ in range(chance.randint(1, 12)):
                    assert (await next_event(socket))["seq"] == cursor + 1
                    cursor += 1
                    if cursor == last:
                        break

    async with asyncio.timeout(60):
        await asyncio.gather(produce(alice, conference, 30), *(come_and_go() for _ in range(5)))


async def test_events_too_large_for_a_wake_up_are_delivered_whole(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    async with bob.socket(after=1) as socket:
        await produce(alice, conference, 1, characters=120_000)
        received, cancelled = await events_until(socket, 3)
    assert len(received["description"]["sdp"]) > 120_000
    assert cancelled["type"] == "mod-cancelled"


async def test_long_backlog_is_sent_in_order(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    await produce(alice, conference, BATCH // 2 + 2)
    last = 1 + 2 * (BATCH // 2 + 2)
    async with bob.socket(after=0) as socket:
        assert numbers(await events_until(socket, last)) == list(range(1, last + 1))


async def test_restart_of_the_server_neither_loses_nor_repeats_events(serve: Serve, endpoints: Endpoints) -> None:
    server = serve(**UNLIMITED)
    alice, bob, conference = await endpoints.call(server)
    events: list[dict[str, Any]] = []

    async def listen() -> None:
        while not events or events[-1]["seq"] < 21:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with bob.socket(after=events[-1]["seq"] if events else 0) as socket:
                    while events[-1:] == [] or events[-1]["seq"] < 21:
                        events.append(await next_event(socket))
                    return
            await asyncio.sleep(0.05)

    async with asyncio.timeout(60):
        listening = asyncio.create_task(listen())
        await produce(alice, conference, 5)
        await asyncio.to_thread(server.restart)
        await produce(alice, conference, 5)
        await listening
    assert numbers(events) == list(range(1, 22))
    assert "Traceback" not in server.log()


async def begin_at(endpoint: Endpoint, after: int, number: int) -> list[dict[str, Any]]:
    """Return the first events that come after a cursor."""
    async with endpoint.socket(after=after) as socket:
        return [await next_event(socket) for _ in range(number)]


async def test_reader_is_notified_of_the_gap_left_by_pruning(
    serve: Serve, new_backend: Callable[[], Backend], endpoints: Endpoints
) -> None:
    backend = new_backend()
    server = serve(backend, **UNLIMITED)
    variables = {"SBE_STATE_DIR": str(server.directory), **backend.variables}
    alice, bob, conference = await endpoints.call(server)
    await produce(alice, conference, 3)
    rest = (await bob.log())[3:]

    async def prune_up_to(seq: int) -> None:
        old = "2026-01-01 00:00:00+00:00"
        backend.execute(f"UPDATE events_event SET at = '{old}' WHERE session_id = '{bob.id}' AND seq <= {seq}")
        assert "events" in await asyncio.to_thread(manage, "prune", variables=variables)

    await prune_up_to(3)
    for after in (0, 2):
        assert await begin_at(bob, after, 5) == [{"type": "gap", "oldest": 4}, *rest]
    assert await begin_at(bob, 3, 4) == rest

    await prune_up_to(7)
    async with bob.socket(after=5) as behind, bob.socket(after=7) as up_to_date, bob.socket(after=99) as ahead:
        for socket in (behind, ahead):
            assert await next_event(socket) == {"type": "gap", "oldest": 8}
        await produce(alice, conference, 1)
        for socket in (behind, up_to_date, ahead):
            assert numbers(await events_until(socket, 9)) == [8, 9]
