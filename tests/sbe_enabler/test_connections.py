"""Limits of one client: its connections, and the time of a request."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import websockets

from events.authentication import network_of
from sbe_enabler.connections import SEND_BUFFER_BYTES, Slots
from sbe_enabler.lan import ensure_certificate
from tests.support.services import Backends, Server, wait_until

pytestmark = pytest.mark.once

Serve = Callable[..., Server]
_SECONDS = 1.0
_MOST = 6
_HEAD = b"POST /sessions HTTP/1.1\r\nhost: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def server(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short timeouts that allows few connections."""
    variables = {
        "SBE_REQUEST_SECONDS": str(_SECONDS),
        "SBE_CONNECTIONS_PER_ADDRESS": str(_MOST),
        "SBE_READERS_PER_SESSION": "100",
    }
    with Server(backends.sqlite(), tmp_path_factory.mktemp("server"), variables) as running:
        yield running


def connect(server: Server, address: str = "127.0.0.1") -> socket.socket:
    """Open a connection from an address of this machine."""
    return socket.create_connection(("127.0.0.1", server.port), 10, source_address=(address, 0))


def trickle(connection: socket.socket, first: bytes, *, seconds: float = 10) -> tuple[bytes, float]:
    """Send `first`, then single bytes until the server closes. Return its response and the seconds that passed."""
    began = time.monotonic()
    connection.settimeout(0.05)
    answer = b""
    with contextlib.suppress(ConnectionError):
        connection.sendall(first)
        while time.monotonic() < began + seconds:
            try:
                if not (chunk := connection.recv(4096)):
                    break
                answer += chunk
            except TimeoutError:
                connection.sendall(b"x")
    return answer, time.monotonic() - began


# --- How long a request may take --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first", [_HEAD + b"x-slow: ", _HEAD + b"content-length: 1000\r\n\r\n", b"GET", b"GET /healthz HTTP/1.1\r\na: "]
)
def test_request_that_arrives_byte_by_byte_times_out(server: Server, first: bytes) -> None:
    with connect(server, "127.0.0.2") as connection:
        answer, seconds = trickle(connection, first)
    assert _SECONDS - 0.1 <= seconds < _SECONDS + 4
    if b"HTTP/1.1" in first:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code": "too-slow"' in answer


def test_connection_without_a_request_times_out(server: Server) -> None:
    with connect(server, "127.0.0.2") as connection:
        began = time.monotonic()
        assert connection.recv(4096) == b""
        assert time.monotonic() - began < _SECONDS + 4


def test_second_request_of_a_connection_has_its_own_deadline(server: Server) -> None:
    with connect(server, "127.0.0.2") as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        answer, seconds = trickle(connection, _HEAD + b"x-slow: ")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert seconds < _SECONDS + 4


def test_idle_connection_outlives_the_deadline_of_a_request(server: Server) -> None:
    with httpx.Client(base_url=server.base_url) as client:
        assert client.get("/healthz").status_code == 200
        (connection,) = client._transport._pool.connections  # type: ignore[attr-defined]
        idle_until = time.monotonic() + 2 * _SECONDS
        wait_until(lambda: time.monotonic() > idle_until, "the connection was idle")
        assert client.get("/healthz").status_code == 200
        assert client._transport._pool.connections == [connection]  # type: ignore[attr-defined]


def test_client_that_pipelines_requests_and_reads_no_answer_is_cut_off(server: Server) -> None:
    request = b"GET /api/schema HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    # The first request makes the server generate the OpenAPI description.
    size = len(httpx.get(f"{server.base_url}/api/schema", timeout=60).content)
    with connect(server, "127.0.0.2") as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(300 * request)
        queued = []

        def is_cut() -> bool:
            queued.append(bytes_queued_for(connection))
            return not established(connection)

        wait_until(is_cut, "the connection is cut", seconds=10)
        answers = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(1 << 20):
                answers += chunk
    # The server did not make all 300 responses: the bytes that wait in memory and in the kernel are bounded.
    assert len(answers) < 200 * size
    assert 0 < max(queued) <= 2 * SEND_BUFFER_BYTES


def bytes_queued_for(connection: socket.socket) -> int:
    """Return how many bytes wait in the server's send queue for this end of a connection."""
    port = f":{connection.getsockname()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, _, queues, *_ = line.split()
        if remote.endswith(port):
            return int(queues.split(":")[0], 16)
    return 0


def established(connection: socket.socket) -> bool:
    """Tell whether the other side has neither closed nor cut a connection."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"


def test_client_that_pipelines_and_reads_gets_every_answer(server: Server) -> None:
    request = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    with connect(server, "127.0.0.2") as connection:
        connection.sendall(20 * (request + b"\r\n") + request + b"connection: close\r\n\r\n")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.count(b"HTTP/1.1 200 ") == 21


# --- How many connections a client may have ---------------------------------------------------------------


def test_connections_of_one_address_are_bounded_and_others_are_served(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(server, "127.0.0.3")) for _ in range(_MOST)]
        for connection in held:
            connection.sendall(_HEAD)
        with connect(server, "127.0.0.3") as surplus:
            surplus.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            answer = surplus.recv(4096)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 5\r\n" in answer
        assert b'"code": "rate-limited"' in answer
        assert httpx.get(f"{server.base_url}/healthz").status_code == 200
    wait_until(lambda: _is_served(server, "127.0.0.3"), "the slots are free again")


def _is_served(server: Server, address: str) -> bool:
    """Tell whether a client at an address gets an answer."""
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(transport=transport) as client:
        return client.get(f"{server.base_url}/healthz").status_code == 200


def test_web_sockets_count_as_connections_until_they_close(server: Server) -> None:
    headers = {"authorization": f"Api-Key {server.api_key}"}
    session = httpx.post(f"{server.base_url}/sessions", json={"username": "alice"}, headers=headers).json()
    url = f"ws://127.0.0.1:{server.port}/sessions/{session['id']}/events"
    protocols = [websockets.Subprotocol("sbe.v1"), websockets.Subprotocol(f"bearer.{session['token']}")]

    async def open_and_close() -> list[int]:
        statuses = []
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(_MOST + 1):
                try:
                    opening = websockets.connect(url, subprotocols=protocols, local_addr=("127.0.0.4", 0))
                    await stack.enter_async_context(opening)
                    statuses.append(101)
                except websockets.InvalidStatus as refused:
                    statuses.append(refused.response.status_code)
        return statuses

    for _ in range(2):
        assert asyncio.run(open_and_close()) == [101] * _MOST + [429]
        wait_until(lambda: _is_served(server, "127.0.0.4"), "the slots are free again")


def test_unfinished_tls_handshakes_are_bounded_too(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    certificate, key = ensure_certificate(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])
    server = serve(
        SBE_TLS_CERTIFICATE=str(certificate),
        SBE_TLS_KEY=str(key),
        SBE_REQUEST_SECONDS="1",
        SBE_CONNECTIONS_PER_ADDRESS="2",
    )
    with connect(server, "127.0.0.3") as first, connect(server, "127.0.0.3"), connect(server, "127.0.0.3") as third:
        third.settimeout(8)
        with contextlib.suppress(ConnectionError):
            assert third.recv(1) == b""
        answer, seconds = trickle(first, b"\x16\x03\x01\x02\x00")
    assert answer == b""
    assert seconds < 8
    assert httpx.get(f"{server.base_url}/healthz", verify=server.trust).status_code == 200


def test_clients_behind_a_gateway_are_counted_separately_but_not_the_gateway(serve: Serve) -> None:
    server = serve(SBE_BEHIND_GATEWAY="1", SBE_CONNECTIONS_PER_ADDRESS="2", SBE_READERS_PER_SESSION="10")
    headers = {"authorization": f"Api-Key {server.api_key}"}
    session = httpx.post(f"{server.base_url}/sessions", json={"username": "alice"}, headers=headers).json()
    events = f"/sessions/{session['id']}/events"
    greedy = {"x-forwarded-for": "192.0.2.1", "authorization": f"Bearer {session['token']}"}

    async def hold_and_ask() -> None:
        async with httpx.AsyncClient(base_url=server.base_url) as client:
            async with contextlib.AsyncExitStack() as held:
                for _ in range(2):
                    stream = client.stream("GET", events, headers={**greedy, "accept": "text/event-stream"})
                    assert (await held.enter_async_context(stream)).status_code == 200
                refused = await client.get("/healthz", headers=greedy)
                assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
                assert refused.headers["retry-after"] == "5"
                others = [*5 * [{}], {"x-forwarded-for": "192.0.2.2"}, {"x-forwarded-for": "2001:db8::1"}]
                answers = await asyncio.gather(*(client.get("/healthz", headers=other) for other in others))
                assert {answer.status_code for answer in answers} == {200}
                url = f"ws://127.0.0.1:{server.port}{events}"
                offered = [websockets.Subprotocol("sbe.v1")]
                async with websockets.connect(url, subprotocols=offered, additional_headers=greedy) as socket_:
                    await asyncio.wait_for(socket_.wait_closed(), 10)
                    assert socket_.close_code == 4429
            async with asyncio.timeout(20):
                while (await client.get("/healthz", headers=greedy)).status_code != 200:
                    await asyncio.sleep(0.05)

    asyncio.run(hold_and_ask())


def test_connections_are_counted_by_network_and_in_total() -> None:
    slots = Slots(2, most=3)
    assert [slots.take("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [slots.take("2001:db8::1"), slots.take("2001:db8::2")] == [True, False]
    slots.release("192.0.2.1")
    assert slots.take("2001:db8::2")


def test_ipv4_clients_of_a_socket_for_both_families_are_counted_separately() -> None:
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("::ffff:192.0.2.2")
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("nowhere") == "elsewhere"
