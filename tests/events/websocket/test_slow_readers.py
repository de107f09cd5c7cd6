"""Heartbeats, and clients that do not read."""

import asyncio
import contextlib
import json
import socket
from typing import Any

import psutil
import pytest
import websockets

from events.consumers import UNANSWERED_BYTES
from tests.support.endpoints import PATIENCE, Endpoint, Endpoints, events_until, new_name
from tests.support.producing import numbers, produce
from tests.support.services import Server


@pytest.mark.any_engine
async def test_answered_heartbeats_keep_the_socket_open(hasty_server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(hasty_server)
    beats = 0
    async with bob.socket(after=1) as socket, asyncio.timeout(PATIENCE):
        while beats < 5:
            text = await socket.recv()
            assert json.loads(text)["type"] == "heartbeat"
            await socket.send(text)
            beats += 1
        await produce(alice, conference, 1)
        assert numbers(await events_until(socket, 3)) == [2, 3]


@pytest.mark.any_engine
async def test_two_unanswered_heartbeats_close_the_socket(hasty_server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(hasty_server, new_name("alice"))
    beats = 0
    async with alice.socket() as socket, asyncio.timeout(PATIENCE):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                assert json.loads(await socket.recv())["type"] == "heartbeat"
                beats += 1
    assert (socket.close_code, beats) == (4408, 2)


async def read_without_answering(endpoint: Endpoint, after: int, **options: Any) -> tuple[list[dict[str, Any]], int]:
    """Read until the server closes; return the events that came, and their size in bytes."""
    events, size = [], 0
    async with endpoint.socket(after=after, **options) as socket, asyncio.timeout(2 * PATIENCE):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                text = await socket.recv()
                event = json.loads(text)
                if event["type"] != "heartbeat":
                    events.append(event)
                    size += len(text)
    # On a machine that is too busy to answer pings in time, the connection ends without a close frame (1006).
    assert socket.close_code in {4408, 1006}
    return events, size


@pytest.mark.any_engine
async def test_reader_that_never_answers_gets_a_mebibyte_and_can_resume_at_its_cursor(
    hasty_server: Server, endpoints: Endpoints
) -> None:
    alice, bob, conference = await endpoints.call(hasty_server)
    await produce(alice, conference, 20, characters=120_000)
    seen: list[int] = []
    for _ in range(2):
        events, size = await read_without_answering(bob, seen[-1] if seen else 0)
        assert UNANSWERED_BYTES // 2 < size <= UNANSWERED_BYTES
        seen += numbers(events)
    async with bob.socket(after=seen[-1]) as socket:
        seen += numbers(await events_until(socket, 41))
    assert seen == list(range(1, 42))


@pytest.mark.any_engine
async def test_slow_reader_that_never_answers_is_cut_off(hasty_server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(hasty_server)
    await produce(alice, conference, 20, characters=120_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty_server.port, limit=1024)
    writer.write(
        f"GET {bob.events_path} HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        f"sec-websocket-version: 13\r\nsec-websocket-key: {'A' * 22}==\r\n"
        f"authorization: Bearer {bob.token}\r\n\r\n".encode()
    )
    size = 0
    async with asyncio.timeout(2 * PATIENCE):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        # The client reads more slowly than the server sends, and never answers.
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                size += len(data)
                await asyncio.sleep(0.1)
    assert UNANSWERED_BYTES // 2 < size < UNANSWERED_BYTES + 1000
    writer.close()


@pytest.mark.any_engine
@pytest.mark.parametrize(
    "answer",
    [
        '{"type":"heartbeat","nonce":"x"}',
        "[]",
        *(
            pytest.param(each, marks=pytest.mark.deep)
            for each in ('{"type":"heartbeat"}', '{"type":"heartbeat","nonce":null}', "")
        ),
    ],
)
async def test_answer_without_the_nonce_does_not_count(hasty_server: Server, endpoints: Endpoints, answer: str) -> None:
    alice = await endpoints.register(hasty_server, new_name("alice"))
    async with alice.socket() as socket, asyncio.timeout(PATIENCE):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                assert json.loads(await socket.recv())["type"] == "heartbeat"
                await socket.send(answer)
    assert socket.close_code == 4408


class DeafClient:
    """A WebSocket client that never reads. It answers heartbeats, but without their nonces."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._socket = socket.socket()
        # With a small receive window, the data stays in the server's own buffers.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(PATIENCE)

    def connect(self, head: bytes) -> None:
        """Open the connection and ask for the whole log."""
        self._socket.connect(("127.0.0.1", self._endpoint.server.port))
        self._socket.sendall(b"GET " + self._endpoint.events_path.encode() + b"?after=0 HTTP/1.1\r\n" + head)

    @property
    def port(self) -> int:
        """The client's own port."""
        return int(self._socket.getsockname()[1])

    def answer(self) -> None:
        """Answer a heartbeat without having read it."""
        payload = b'{"type":"heartbeat"}'
        with contextlib.suppress(OSError):
            self._socket.send(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@pytest.mark.any_engine
async def test_clients_that_never_read_cost_little_memory(hasty_server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(hasty_server)
    await produce(alice, conference, 50, characters=120_000)
    head = (
        "host: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        f"sec-websocket-key: {'A' * 22}==\r\nauthorization: Bearer {bob.token}\r\n\r\n"
    ).encode()
    process = psutil.Process(hasty_server.pid)
    before = process.memory_info().rss
    clients = [DeafClient(bob) for _ in range(20)]
    most = 0

    def is_served(client: DeafClient) -> bool:
        connections = process.net_connections("tcp")
        return any(each.raddr and each.raddr.port == client.port for each in connections)

    try:
        for client in clients:
            await asyncio.to_thread(client.connect, head)
        async with asyncio.timeout(PATIENCE):
            while any(map(is_served, clients)):
                for client in clients:
                    client.answer()
                most = max(most, process.memory_info().rss - before)
                await asyncio.sleep(0.05)
    finally:
        for client in clients:
            client.close()
    assert most < 40 * 2**20, f"{most / 2**20:.0f} MiB"
