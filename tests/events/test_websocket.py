"""The event channel over WebSocket, between real processes and over real sockets."""

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import websockets

from events.consumers import UNANSWERED_BYTES
from events.reader import BATCH
from tests.support.endpoints import (
    PATIENCE,
    UNLIMITED,
    Endpoint,
    Endpoints,
    close_code,
    connect,
    events_until,
    new_name,
    next_event,
)
from tests.support.services import Backend, Server, manage

Serve = Callable[..., Server]


async def produce(sender: Endpoint, conference: str, rounds: int, *, characters: int = 0) -> None:
    """Make rounds of offering and cancelling: two events each for the other party."""
    for _ in range(rounds):
        offered = await sender.modify(conference, characters=characters)
        assert offered.status_code == 204, offered.text
        cancelled = await sender.withdraw(conference, offered.headers["x-mod-id"])
        assert cancelled.status_code == 204, cancelled.text


def numbers(events: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of the events."""
    return [event["seq"] for event in events]


# --- Delivery ---------------------------------------------------------------------------------------------


async def test_log_is_replayed_from_the_cursor_and_then_goes_live(server: Server, endpoints: Endpoints) -> None:
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


async def test_nothing_is_lost_or_doubled_while_clients_come_and_go(server: Server, endpoints: Endpoints) -> None:
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


async def test_restart_of_the_server_loses_and_doubles_nothing(serve: Serve, endpoints: Endpoints) -> None:
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


# --- Who may listen ---------------------------------------------------------------------------------------


@pytest.mark.any_engine
async def test_protocol_is_selected_and_never_the_token(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with alice.socket() as socket:
        assert socket.subprotocol == "sbe.v1"


@pytest.mark.any_engine
async def test_token_may_come_in_the_authorization_header(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    headers = {"authorization": f"Bearer {bob.token}"}
    async with connect(server, bob.events_path, token=None, subprotocols=None, additional_headers=headers) as socket:
        assert socket.subprotocol is None
        assert (await next_event(socket))["seq"] == 1


@pytest.mark.any_engine
async def test_gateway_listens_with_its_key(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    headers = {"authorization": f"Api-Key {server.api_key}"}
    async with connect(server, bob.events_path, token=None, additional_headers=headers) as socket:
        assert (await next_event(socket))["seq"] == 1


@pytest.mark.any_engine
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic YTpi", "Api-Key wrong.key", "\xff"])
async def test_unknown_credentials_are_refused(server: Server, endpoints: Endpoints, authorization: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    headers = {"authorization": authorization}
    async with connect(server, alice.events_path, token=None, additional_headers=headers) as socket:
        assert await close_code(socket) == 4401


@pytest.mark.parametrize("token", ["wrong", "%00", "%2C", "."])
async def test_unknown_token_is_refused(server: Server, endpoints: Endpoints, token: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with connect(server, alice.events_path, token=token) as socket:
        assert await close_code(socket) == 4401


async def test_token_of_an_ended_session_is_refused(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    await alice.request("DELETE", f"/sessions/{alice.id}")
    async with alice.socket() as socket:
        assert await close_code(socket) == 4401


async def test_session_of_somebody_else_does_not_exist(server: Server, endpoints: Endpoints) -> None:
    alice, bob, _ = await endpoints.call(server)
    async with connect(server, alice.events_path, token=bob.token) as socket:
        assert await close_code(socket) == 4404


@pytest.mark.parametrize("path", ["/sessions/%00/events", "/sessions/nobody/events", "/sessions/../events", "/", "/x"])
@pytest.mark.parametrize("gateway", [False, True])
async def test_hostile_path_is_refused(server: Server, endpoints: Endpoints, path: str, gateway: bool) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    headers = {"authorization": f"Api-Key {server.api_key}" if gateway else f"Bearer {alice.token}"}
    async with connect(server, path, token=None, additional_headers=headers) as socket:
        assert await close_code(socket) in {4401, 4404}


@pytest.mark.any_engine
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "file://", "http://127.0.0.1:1"])
async def test_foreign_page_is_refused(server: Server, endpoints: Endpoints, origin: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with alice.socket(additional_headers={"origin": origin}) as socket:
        assert await close_code(socket) == 4403


@pytest.mark.any_engine
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "a b", "127.0.0.1:x"])
@pytest.mark.parametrize("is_page", [True, False])
async def test_host_that_is_not_ours_is_refused(server: Server, endpoints: Endpoints, host: str, is_page: bool) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    origin = f"origin: http://{host}\r\n" if is_page else ""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"GET {alice.events_path} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n{origin}"
        f"sec-websocket-version: 13\r\nsec-websocket-key: {'A' * 22}==\r\n"
        f"authorization: Bearer {alice.token}\r\n\r\n".encode()
    )
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 101"):
            assert await reader.readexactly(4) == b"\x88\x02" + (4403).to_bytes(2)
        else:
            assert head.startswith(b"HTTP/1.1 400")
    writer.close()


@pytest.mark.any_engine
@pytest.mark.parametrize(
    "header", ["origin: http://[", "origin: \x80", "sec-websocket-key: x", "sec-websocket-version: x"]
)
async def test_handshake_that_is_none_is_refused(server: Server, header: str) -> None:
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
async def test_page_of_our_own_may_listen(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    async with bob.socket(origin=websockets.Origin(server.base_url)) as socket:
        assert (await next_event(socket))["seq"] == 1


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
async def test_garbage_from_a_client_costs_at_most_its_own_socket(
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
async def test_flood_from_a_client_is_no_fault_of_ours(server: Server, endpoints: Endpoints) -> None:
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
async def test_client_that_hangs_up_without_a_word_is_no_fault_of_ours(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    for _ in range(5):
        async with bob.socket(after=0) as socket:
            await next_event(socket)
            socket.transport.abort()
    await produce(alice, conference, 1)
    async with bob.socket(after=1) as socket:
        assert numbers(await events_until(socket, 3)) == [2, 3]


# --- The end of a session ---------------------------------------------------------------------------------


async def test_end_of_the_session_closes_the_socket_after_the_last_event(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    await produce(alice, conference, 10)
    async with bob.socket(after=0) as socket:
        await alice.modify(conference)
        await bob.request("DELETE", f"/sessions/{bob.id}")
        events = await events_until(socket, 22)
        assert await close_code(socket) == 4401
    assert numbers(events) == list(range(1, 23))


async def test_expiry_of_the_session_closes_the_socket(serve: Serve, endpoints: Endpoints) -> None:
    server = serve(SBE_SESSION_SECONDS="1")
    alice = await endpoints.register(server, "alice")
    async with alice.socket() as socket:
        assert await close_code(socket) == 4401


# --- Heartbeats and slow readers --------------------------------------------------------------------------


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
    # On a machine that is too busy to answer pings in time, the connection is cut instead.
    assert socket.close_code in {4408, 1006}
    return events, size


@pytest.mark.any_engine
async def test_reader_that_answers_nothing_gets_a_mebibyte_and_goes_on_at_its_cursor(
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
async def test_reader_that_dawdles_and_never_speaks_is_cut_off(hasty_server: Server, endpoints: Endpoints) -> None:
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
        # Slower than the server sends, and without a word.
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
async def test_answer_without_the_nonce_counts_for_nothing(
    hasty_server: Server, endpoints: Endpoints, answer: str
) -> None:
    alice = await endpoints.register(hasty_server, new_name("alice"))
    async with alice.socket() as socket, asyncio.timeout(PATIENCE):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                assert json.loads(await socket.recv())["type"] == "heartbeat"
                await socket.send(answer)
    assert socket.close_code == 4408


class DeafClient:
    """A WebSocket client that never reads, and sends the heartbeat's answer of old all the time."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._socket = socket.socket()
        # A small window leaves the server's own buffers to hold the data.
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
        """Answer a heartbeat that was not read."""
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


# --- Gaps -------------------------------------------------------------------------------------------------


async def begin_at(endpoint: Endpoint, after: int, number: int) -> list[dict[str, Any]]:
    """Return the first events that come after a cursor."""
    async with endpoint.socket(after=after) as socket:
        return [await next_event(socket) for _ in range(number)]


async def test_reader_is_told_of_the_gap_that_pruning_has_left(
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
