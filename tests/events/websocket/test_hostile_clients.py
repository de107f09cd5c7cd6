"""A client that sends invalid or too much data affects only its own WebSocket."""

import asyncio
import contextlib

import pytest
import websockets

from tests.support.endpoints import PATIENCE, Endpoints, close_code, connect, events_until, new_name, next_event
from tests.support.producing import numbers, produce
from tests.support.services import Server


@pytest.mark.parametrize("path", ["/sessions/%00/events", "/sessions/nobody/events", "/sessions/../events", "/", "/x"])
@pytest.mark.parametrize("gateway", [False, True])
async def test_hostile_path_is_refused(server: Server, endpoints: Endpoints, path: str, gateway: bool) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    headers = {"authorization": f"Api-Key {server.api_key}" if gateway else f"Bearer {alice.token}"}
    async with connect(server, path, token=None, additional_headers=headers) as socket:
        assert await close_code(socket) in {4401, 4404}


@pytest.mark.any_engine
@pytest.mark.parametrize(
    "header", ["origin: http://[", "origin: \x80", "sec-websocket-key: x", "sec-websocket-version: x"]
)
async def test_invalid_handshake_is_refused(server: Server, header: str) -> None:
    name, _, value = header.partition(": ")
    headers = {"sec-websocket-version": "13", "sec-websocket-key": "A" * 22 + "==", name: value}
    lines = [f"{name}: {value}" for name, value in {"upgrade": "websocket", "connection": "upgrade", **headers}.items()]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = "\r\n".join(["GET /sessions/x/events HTTP/1.1", "host: 127.0.0.1", *lines, "", ""])
    writer.write(head.encode("latin-1"))
    async with asyncio.timeout(PATIENCE):
        assert (await reader.read()).startswith(b"HTTP/1.1 4")
    writer.close()


@pytest.mark.any_engine
@pytest.mark.parametrize("after", ["-1", "x", "1.5", "1e3", "9" * 19, "%00", "٣", "1;drop", "1%20"])
async def test_hostile_cursor_is_refused(server: Server, endpoints: Endpoints, after: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with alice.socket(after=after) as socket:
        assert await close_code(socket) == 4400


@pytest.mark.any_engine
@pytest.mark.parametrize("query", ["?", "?after=", "?%ff=%fe", "?a&b&c=%00", "?before=3", "?after=0&after=9"])
async def test_odd_query_is_read_from_the_beginning(server: Server, endpoints: Endpoints, query: str) -> None:
    _, bob, _ = await endpoints.call(server)
    async with connect(server, bob.events_path + query, token=bob.token) as socket:
        assert (await next_event(socket))["seq"] == 1


@pytest.mark.any_engine
@pytest.mark.parametrize(
    ("message", "code"),
    [(b"\x00\xff", 4400), ("x" * 1025, 4400), ("é" * 1024, 0), ("{", 0), ("", 0), ("x" * (2**20 + 1), 1006)],
)
async def test_garbage_from_a_client_closes_at_most_its_own_socket(
    server: Server, endpoints: Endpoints, message: str | bytes, code: int
) -> None:
    alice, bob, conference = await endpoints.call(server)
    async with bob.socket(after=1) as witness, bob.socket(after=1) as socket:
        await socket.send(message)
        if code:
            assert await close_code(socket) == code
        await produce(alice, conference, 1)
        for each in [witness] if code else [witness, socket]:
            assert numbers(await events_until(each, 3)) == [2, 3]


@pytest.mark.any_engine
async def test_flood_from_a_client_causes_no_error(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    async with bob.socket(after=1) as socket:
        for _ in range(2000):
            await socket.send('{"type":"heartbeat"}')
        await produce(alice, conference, 1)
        assert numbers(await events_until(socket, 3)) == [2, 3]


@pytest.mark.any_engine
async def test_client_that_sends_far_more_than_heartbeats_is_cut_off(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with alice.socket() as socket:
        with contextlib.suppress(websockets.ConnectionClosed):
            for number in range(1000):
                await socket.ping(number.to_bytes(125))
        assert await close_code(socket) == 1006


@pytest.mark.any_engine
async def test_client_that_disconnects_without_a_close_frame_causes_no_error(
    server: Server, endpoints: Endpoints
) -> None:
    alice, bob, conference = await endpoints.call(server)
    for _ in range(5):
        async with bob.socket(after=0) as socket:
            await next_event(socket)
            socket.transport.abort()
    await produce(alice, conference, 1)
    async with bob.socket(after=1) as socket:
        assert numbers(await events_until(socket, 3)) == [2, 3]
