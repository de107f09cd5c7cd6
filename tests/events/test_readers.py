"""The bound on a session's readers. The newest replace the oldest, in one process and across processes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from events.consumers import UNANSWERED_BYTES, EventsConsumer
from events.reader import Entry, Reader
from events.readers import ReplacedError
from tests.support.endpoints import PATIENCE, Endpoint, Endpoints, close_code, events_until, next_event, until
from tests.support.services import Backend, Backends, Server

Serve = Callable[..., Server]
REQUESTS = 120


@pytest.fixture(scope="module")
def server(new_backend: Callable[[], Backend], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the usual bound on readers."""
    variables = {"SBE_REQUESTS_PER_MINUTE": str(REQUESTS)}
    with Server(new_backend(), tmp_path_factory.mktemp("readers"), variables) as running:
        yield running
        assert "Traceback" not in running.log()


@pytest.fixture(scope="module")
def two_servers(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two processes on one PostgreSQL and one Redis."""
    backend, directory = backends.grown(), tmp_path_factory.mktemp("two")
    with Server(backend, directory, {}) as here, Server(backend, directory, {}) as there:
        yield here, there


@contextlib.asynccontextmanager
async def sockets(endpoint: Endpoint, number: int) -> AsyncIterator[list[ClientConnection]]:
    """Open this many WebSockets, one after the other, each of which follows the log."""
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(number):
            opened.append(await stack.enter_async_context(endpoint.socket(after=0)))
            await next_event(opened[-1])
        yield opened


async def still_open(opened: list[ClientConnection]) -> int:
    """Return how many of these sockets answer a ping."""

    async def answers(socket: ClientConnection) -> bool:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(await socket.ping(), PATIENCE)
            return True
        return False

    return sum(await asyncio.gather(*map(answers, opened)))


# --- One process ------------------------------------------------------------------------------------------


async def test_newest_sockets_replace_the_oldest(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    async with sockets(bob, 1) as [oldest], sockets(bob, 4) as newest:
        assert await close_code(oldest) == 4409
        await alice.modify(conference)
        for each in newest:
            assert [event["seq"] for event in await events_until(each, 2)] == [2]
    # Closed sockets do not count any more.
    async with sockets(bob, 4) as newest:
        assert await still_open(newest) == 4


async def replaced(bob: Endpoint, accept: str) -> httpx.Response:
    """Begin a poll or a stream, then open sockets until they have replaced it; return its response."""
    waiting = asyncio.create_task(bob.request("GET", f"{bob.events_path}?after=1&wait=25", accept=accept))
    async with asyncio.timeout(PATIENCE):
        while not waiting.done():
            async with sockets(bob, 4):
                await asyncio.wait([waiting], timeout=0.1)
        return await waiting


async def test_socket_whose_cancellation_was_swallowed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, codes = EventsConsumer(), []
    reader = Reader("session", 0, lambda: None, on_replaced=consumer.stop_replaced)

    async def next_entries(_: Reader) -> list[Entry]:
        reader.give_way()
        raise ReplacedError

    async def close(code: int) -> None:
        codes.append(code)

    monkeypatch.setattr(Reader, "next", next_entries)
    monkeypatch.setattr(consumer, "close", close)
    await consumer.send_on(reader)
    assert codes == [4409]


async def test_poll_that_is_replaced_says_so(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    answered = await replaced(bob, "application/json")
    assert (answered.status_code, answered.json()["code"]) == (409, "reader-replaced")


async def test_poll_that_does_not_wait_replaces_no_reader(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    async with sockets(bob, 4) as opened:
        for after, wait, events in ((0, 0, 1), (1, 0, 0), (0, 25, 1)):
            assert len((await bob.poll(after, wait)).json()["events"]) == events
        assert await still_open(opened) == 4


async def test_stream_that_is_replaced_says_so(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    answered = await replaced(bob, "text/event-stream")
    assert answered.text.endswith('event: reader-replaced\ndata: {"type":"reader-replaced"}\n\n')


async def test_socket_that_does_not_read_is_replaced_at_once(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    for _ in range(2 * UNANSWERED_BYTES // 240_000):
        offered = await alice.modify(conference, characters=240_000)
        await alice.withdraw(conference, offered.headers["x-mod-id"])
    async with bob.socket(after=0) as stuck:
        # This socket answers no heartbeats. Without newer readers it would stay open for two heartbeat
        # intervals (30 s).
        await stuck.recv()
        async with sockets(bob, 4):
            assert await close_code(stuck) == 4409


async def test_the_bound_holds_for_many_simultaneous_sockets(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    async with contextlib.AsyncExitStack() as stack:
        opening = (stack.enter_async_context(bob.socket(after=1)) for _ in range(60))
        opened = await asyncio.gather(*opening)
        await until(lambda: are_open(opened, 4), "four sockets are left")


async def are_open(opened: list[ClientConnection], number: int) -> bool:
    """Tell whether this many sockets still answer."""
    return await still_open(opened) == number


async def spend(endpoint: Endpoint) -> None:
    """Poll until a poll is refused."""
    for _ in range(2 * REQUESTS):
        answered = await endpoint.poll()
        if answered.status_code == 429:
            assert int(answered.headers["retry-after"]) > 0
            return
        assert answered.status_code == 200
    raise AssertionError("polls are not counted")


@pytest.mark.parametrize("entrance", ["stream", "socket"])
async def test_polls_streams_and_sockets_count_as_requests(server: Server, endpoints: Endpoints, entrance: str) -> None:
    _, bob, _ = await endpoints.call(server)

    async def refused() -> bool:
        if entrance == "stream":
            return (await bob.poll(0, accept="text/event-stream")).status_code == 429
        async with bob.socket(after=0) as opened:
            with contextlib.suppress(ConnectionClosed):
                await next_event(opened)
            return opened.close_code == 4429

    # Once a new minute begins, a few requests are allowed again.
    await spend(bob)
    while not await refused():
        await spend(bob)


# --- Several processes ------------------------------------------------------------------------------------


@pytest.mark.once
async def test_newest_sockets_replace_the_oldest_across_processes(
    two_servers: tuple[Server, Server], endpoints: Endpoints
) -> None:
    here, there = two_servers
    _, bob, _ = await endpoints.call(here)
    async with sockets(bob, 1) as [oldest], sockets(bob.elsewhere(there), 3) as newer, sockets(bob, 1) as newest:
        assert await close_code(oldest) == 4409
        assert await still_open(newer + newest) == 4


@pytest.mark.once
async def test_the_bound_holds_for_simultaneous_sockets_in_two_processes(
    two_servers: tuple[Server, Server], endpoints: Endpoints
) -> None:
    here, there = two_servers
    _, bob, _ = await endpoints.call(here)
    async with contextlib.AsyncExitStack() as stack:
        opening = (each.socket(after=1) for each in (bob, bob.elsewhere(there)) * 4)
        opened = await asyncio.gather(*(stack.enter_async_context(each) for each in opening))
        await until(lambda: are_open(opened, 4), "four sockets are left")


@pytest.mark.once
async def test_readers_of_a_killed_process_do_not_count(
    two_servers: tuple[Server, Server], endpoints: Endpoints
) -> None:
    here, there = two_servers
    alice, bob, conference = await endpoints.call(here)
    async with sockets(bob, 1) as [oldest]:
        async with sockets(bob.elsewhere(there), 2):
            there.kill()
        there.start()
        async with sockets(bob.elsewhere(there), 3):
            await alice.modify(conference)
            assert (await next_event(oldest))["seq"] == 2
