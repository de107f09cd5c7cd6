"""The web process: limits, static files, TLS, its timekeeper, and an orderly shutdown."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import httpx
import psutil
import pytest
import websockets

from conferences.parsers import BODY_LIMIT
from sbe_enabler.lan import ensure_certificate
from sbe_enabler.web.http import HttpRequest
from tests.support.services import Backends, Server, manage, wait_until
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def server(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> object:
    """One server for the tests that do not change it."""
    with Server(backends.sqlite(), tmp_path_factory.mktemp("server")) as running:
        yield running


def register(server: Server, username: str = "alice") -> dict[str, str]:
    """Register a session and return it."""
    headers = {"authorization": f"Api-Key {server.api_key}"}
    response = httpx.post(f"{server.base_url}/sessions", json={"username": username}, headers=headers)
    assert response.status_code == 201, response.text
    return dict(response.json())


def exchange(server: Server, *pieces: bytes) -> bytes:
    """Send bytes; return everything that arrives until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


# --- Limits -----------------------------------------------------------------------------------------------


def test_declared_body_over_the_limit_is_refused_before_it_arrives(server: Server) -> None:
    head = f"POST /mediaConferences HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {BODY_LIMIT + 1}\r\n"
    answer = exchange(server, head.encode() + b"x-correlator: mine\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code": "too-large"' in answer
    assert b"x-correlator: mine\r\n" in answer


def test_chunked_body_over_the_limit_is_refused_while_it_arrives(server: Server) -> None:
    def chunks() -> object:
        for _ in range(BODY_LIMIT // 65536 + 1):
            yield b"x" * 65536

    response = httpx.post(f"{server.base_url}/mediaConferences", content=chunks())  # type: ignore[arg-type]
    assert (response.status_code, response.json()["code"]) == (413, "too-large")


def test_largest_body_is_read(server: Server) -> None:
    response = httpx.post(f"{server.base_url}/sessions", content=b" " * BODY_LIMIT)
    assert response.json()["code"] == "unauthenticated"


@pytest.mark.parametrize(("chunks", "status"), [(1000, 401), (5000, 400), (500_000, 400)])
def test_body_in_many_pieces_is_refused(server: Server, chunks: int, status: int) -> None:
    head = b"POST /sessions HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    with contextlib.suppress(ConnectionError):
        # The server may close while the rest is still being sent.
        assert exchange(server, head, chunks * b"1\r\na\r\n", b"0\r\n\r\n").startswith(b"HTTP/1.1 %d " % status)
    assert httpx.get(f"{server.base_url}/healthz").status_code == 200


def test_unfinished_bodies_take_little_memory(server: Server) -> None:
    head = b"POST /mediaConferences HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = b"%x\r\n" % 60_000 + b"a" * 60_000 + b"\r\n"
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            connection.sendall(head + 16 * piece)
        # When this request is answered, the server has read all that was sent before.
        assert httpx.get(f"{server.base_url}/healthz").status_code == 200
        grown = process.memory_info().rss - before
    assert grown < 30 * 2**20, f"{grown / 2**20:.0f} MiB"


@pytest.mark.parametrize("type_", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_form_is_not_parsed_before_it_is_needed(server: Server, type_: str) -> None:
    head = f"POST /sessions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {type_}\r\ncontent-length: 5\r\n"
    answer = exchange(server, head.encode() + b"connection: close\r\n\r\nabcde")
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_long_form_delays_no_other_request(server: Server) -> None:
    # Twisted would need 4 s to parse this form, and would block the whole server.
    form = {"content-type": "application/x-www-form-urlencoded"}
    process = psutil.Process(server.pid)
    before = process.cpu_times().user
    assert httpx.post(f"{server.base_url}/sessions", content=b"&" * 1_000_000, headers=form).status_code == 401
    assert process.cpu_times().user - before < 2 * slowness()


def test_correlator_cannot_smuggle_a_header_into_the_refusal(server: Server) -> None:
    head = b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9999999\r\nx-correlator: a\x85b c\r\n\r\n"
    answer = exchange(server, head)
    assert re.search(rb"x-correlator: [0-9a-f]{16}\r\n", answer)


@pytest.mark.parametrize(
    "header", [b"x-long: " + b"x" * 20_000, b"\r\n".join(b"x-%d: 1" % number for number in range(600))]
)
def test_headers_are_bounded(server: Server, header: bytes) -> None:
    answer = exchange(server, b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n" + header + b"\r\n\r\n")
    # If a line does not end, the server closes without a response.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nx y: 1\r\n\r\n"])
def test_garbage_is_refused(server: Server, garbage: bytes) -> None:
    assert exchange(server, garbage).startswith(b"HTTP/1.1 400 ")
    assert httpx.get(f"{server.base_url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (401, b"Unauthorized"),
        (408, b"Request Timeout"),
        (413, b"Content Too Large"),
        (422, b"Unprocessable Content"),
        (428, b"Precondition Required"),
        (429, b"Too Many Requests"),
        (503, b"Service Unavailable"),
        (599, None),
    ],
)
def test_status_has_its_reason_phrase(status: int, phrase: bytes | None) -> None:
    request = HttpRequest.__new__(HttpRequest)
    request.setResponseCode(status)
    assert request.code_message == (phrase or b"Unknown Status")


def test_refusal_of_an_action_has_its_reason_phrase(server: Server) -> None:
    session = httpx.post(
        f"{server.base_url}/sessions",
        json={"username": "phrase"},
        headers={"authorization": f"Api-Key {server.api_key}"},
    ).json()
    head = f"POST /mediaConferences HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {session['token']}\r\n"
    body = b'{"to": ["bob"], "type": "offer", "sdp": "x"}'
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    answer = exchange(server, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 422 Unprocessable Content\r\n")
    assert b'"title":"Unprocessable Content"' in answer.replace(b'": "', b'":"')


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n", 400),
        (b"GET http://127.0.0.1/healthz HTTP/1.1\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: localhost\r\n", 400),
        (b"GET /sessions/x/events HTTP/1.1\r\nupgrade: websocket\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n", 200),
    ],
)
def test_request_names_one_host(server: Server, head: bytes, status: int) -> None:
    answer = exchange(server, head + b"connection: close\r\nx-correlator: c1\r\n\r\n")
    assert answer.split(b" ")[1] == str(status).encode()
    assert b"x-correlator: c1\r\n" in answer.lower()
    assert status == 200 or b'"code": "malformed"' in answer


@pytest.mark.parametrize(("fields", "status"), [([200, 50], 200), ([257], 400), ([200, 200], 400), ([15_000], 400)])
def test_a_long_content_type_is_refused_before_django_parses_it(server: Server, fields: list[int], status: int) -> None:
    head = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx-correlator: c1\r\n"
    head += b"".join(b"content-type: " + b";" * length + b"\r\n" for length in fields)
    answer = exchange(server, head + b"\r\n")
    assert answer.split(b" ")[1] == str(status).encode()
    assert status == 200 or (b'"code": "malformed"' in answer and b"x-correlator: c1\r\n" in answer)


def test_target_can_be_a_whole_url_whose_host_counts(server: Server) -> None:
    def ask(host: str) -> bytes:
        target = f"GET http://{host}/healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        return exchange(server, target.encode())

    assert ask("127.0.0.1").startswith(b"HTTP/1.1 200 ")
    assert ask("evil.example").startswith(b"HTTP/1.1 400 ")


def test_hostile_request_writes_no_traceback_into_the_log(server: Server) -> None:
    upgrade = b"upgrade: websocket\r\nconnection: upgrade, close\r\nsec-websocket-version: 13\r\n"
    key = b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    protocol = b"sec-websocket-protocol: sbe.v1, bearer.\xe9\r\n"
    for head in (
        b"GET /sessions/x/events HTTP/1.1\r\nhost: 127.0.0.1\r\n" + upgrade + key + protocol,
        b"GET /mediaConferences?" + 2000 * b"a=1&" + b" HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n",
    ):
        assert exchange(server, head + b"\r\n").startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in server.log()


def test_client_cannot_choose_where_the_service_is_mounted(server: Server) -> None:
    headers = {"daphne-root-path": "/evil", "authorization": f"Api-Key {server.api_key}"}
    response = httpx.post(f"{server.base_url}/sessions", json={"username": "alice"}, headers=headers)
    assert "evil" not in response.text


def test_responses_do_not_reveal_versions(server: Server) -> None:
    headers = httpx.get(f"{server.base_url}/").headers
    assert headers["server"] == "sbe-enabler"
    assert headers["date"]


# --- Static files -----------------------------------------------------------------------------------------


def test_every_file_of_the_page_is_served_and_can_be_cached_permanently(server: Server) -> None:
    page = httpx.get(f"{server.base_url}/").text
    files = set(re.findall(r'(?:href|src)="(/static/[^"#]+)', page))
    assert any(file.endswith(".js") for file in files)
    for file in files:
        response = httpx.get(server.base_url + file)
        assert response.status_code == 200, file
        assert "immutable" in response.headers["cache-control"], file
        assert response.headers["x-content-type-options"] == "nosniff", file


def test_every_module_that_a_module_imports_is_served(server: Server) -> None:
    page = httpx.get(f"{server.base_url}/").text
    found = re.search(r'type="module" src="([^"]+)"', page)
    assert found
    seen: set[str] = set()
    wanted = [httpx.URL(server.base_url + found[1])]
    while wanted:
        url = wanted.pop()
        response = httpx.get(url)
        assert response.status_code == 200, url
        for path in re.findall(r'^(?:import|export)[^;]*?from "([^"]+)"', response.text, re.MULTILINE):
            assert re.search(r"\.[0-9a-f]{12}\.js$", path), f"{url} imports {path} under no hashed name"
            if (module := url.join(path)) not in wanted and str(module) not in seen:
                seen.add(str(module))
                wanted.append(module)
    assert seen


@pytest.mark.parametrize("path", ["/static/../settings.py", "/static/%2e%2e/%2e%2e/secret_key", "/static/nothing.js"])
def test_nothing_outside_the_static_files_is_served(server: Server, path: str) -> None:
    answer = exchange(server, f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


# --- Where it listens -------------------------------------------------------------------------------------


def test_taken_port_is_reported_in_one_sentence(server: Server) -> None:
    with pytest.raises(RuntimeError) as refused:
        manage("serve", "--port", str(server.port), variables=server.backend.variables)
    text = str(refused.value)
    assert f"Port {server.port} on 127.0.0.1 is taken" in text
    assert "Traceback" not in text
    # No media node was started.
    assert "listening" not in text


def test_a_second_process_with_the_same_state_directory_needs_redis(server: Server) -> None:
    with pytest.raises(RuntimeError) as refused:
        manage("serve", "--port", "0", variables=server.backend.variables)
    text = str(refused.value)
    assert f"Process {server.pid} serves from {server.backend.variables['SBE_STATE_DIR']} already." in text
    assert "Traceback" not in text
    assert "istening" not in text


def test_address_of_another_machine_is_reported_in_one_sentence(server: Server) -> None:
    with pytest.raises(RuntimeError, match=r"Cannot listen on 192\.0\.2\.254"):
        manage("serve", "--port", "8000", "--bind", "192.0.2.254", variables=server.backend.variables)


@pytest.mark.parametrize(
    ("certificate", "why"), [("missing.pem", "Cannot read missing.pem"), ("README.md", "no PEM certificate")]
)
def test_unusable_certificate_is_reported_in_one_sentence(server: Server, certificate: str, why: str) -> None:
    variables = {**server.backend.variables, "SBE_TLS_CERTIFICATE": certificate, "SBE_TLS_KEY": certificate}
    with pytest.raises(RuntimeError) as refused:
        manage("serve", "--port", "0", variables=variables)
    text = str(refused.value)
    assert why in text
    assert "Traceback" not in text
    assert "listening" not in text


def test_page_works_over_the_processs_own_tls(serve: Serve, tmp_path: Path) -> None:
    certificate, key = ensure_certificate(tmp_path, ["127.0.0.1"])
    server = serve(SBE_TLS_CERTIFICATE=str(certificate), SBE_TLS_KEY=str(key))
    with httpx.Client(base_url=server.base_url, verify=server.trust) as client:
        response = client.post("/dev/sessions", json={"username": "alice"})
        assert response.status_code == 201, response.text
        session = response.json()
    assert session["events"]["webSocket"].startswith(f"wss://127.0.0.1:{server.port}/")

    async def connect() -> object:
        protocols = [websockets.Subprotocol("sbe.v1"), websockets.Subprotocol(f"bearer.{session['token']}")]
        url, origin = session["events"]["webSocket"], websockets.Origin(server.base_url)
        async with websockets.connect(url, subprotocols=protocols, ssl=server.trust, origin=origin) as socket_:
            await asyncio.wait_for(await socket_.ping(), 5)
            return socket_.subprotocol

    assert asyncio.run(connect()) == "sbe.v1"


# --- The timekeeper, and shutdown -------------------------------------------------------------------------


def session_state(server: Server, session_id: str) -> str:
    """Return a session's state from the database, without asking the server."""
    with sqlite3.connect(Path(server.backend.variables["SBE_STATE_DIR"]) / "db.sqlite3") as database:
        row = database.execute("SELECT state FROM conferences_session WHERE id = ?", (session_id,)).fetchone()
    database.close()
    return str(row[0])


def test_deadlines_are_settled_before_the_first_request(serve: Serve, backends: Backends) -> None:
    backend = backends.sqlite()
    first = serve(backend, SBE_TIMEKEEPER="0", SBE_SESSION_SECONDS="1")
    session = register(first)
    first.stop()
    assert session_state(first, session["id"]) == "active"
    second = serve(backend)
    wait_until(lambda: session_state(second, session["id"]) == "expired", "the session expires", seconds=10)


async def test_shutdown_closes_web_sockets(serve: Serve) -> None:
    server = serve()
    session = register(server)
    url = f"ws://127.0.0.1:{server.port}/sessions/{session['id']}/events"
    token = websockets.Subprotocol(f"bearer.{session['token']}")
    async with websockets.connect(url, subprotocols=[websockets.Subprotocol("sbe.v1"), token]) as socket_:
        stopped = asyncio.create_task(asyncio.to_thread(server.stop))
        await asyncio.wait_for(socket_.wait_closed(), 10)
        assert socket_.close_code == 1001
        assert await stopped == 0
    assert "Traceback" not in server.log()


def test_shutdown_waits_for_a_request(serve: Serve) -> None:
    server = serve()
    state = Path(server.backend.variables["SBE_STATE_DIR"])
    database = sqlite3.connect(state / "db.sqlite3", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    client = HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"authorization": f"Api-Key {server.api_key}", "content-type": "application/json"}
    client.request("POST", "/sessions", b'{"username": "late"}', headers)
    # When this request is answered, the server has read the earlier one.
    assert httpx.get(f"{server.base_url}/healthz").status_code == 200
    with ThreadPoolExecutor() as threads:
        stopping = threads.submit(server.stop)
        wait_until(lambda: connections(server.port, "0A") == 0, "the port is closed")
        database.execute("ROLLBACK")
        database.close()
        assert client.getresponse().status == 201
        client.close()
        assert stopping.result() == 0
    assert "Traceback" not in server.log()


def test_shutdown_does_not_wait_for_a_long_poll(serve: Serve) -> None:
    server = serve()
    session = register(server)
    headers = {"authorization": f"Bearer {session['token']}"}

    def poll() -> None:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.base_url}/sessions/{session['id']}/events?wait=25", headers=headers, timeout=30)

    polling = threading.Thread(target=poll)
    polling.start()
    wait_until(lambda: connections(server.port) > 0, "the poll is under way")
    started = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    wait_until(lambda: connections(server.port, "0A") == 0, "the port is closed")
    # `stop` sends a second signal. So does `make`: it forwards the signal that the terminal has already sent.
    assert server.stop() == 0
    assert time.monotonic() - started < 20
    polling.join()
    assert "Traceback" not in server.log()


def connections(port: int, state: str = "01") -> int:
    """Return how many TCP sockets of a local port are in this state of the kernel (by default: established)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(field[1].endswith(f":{port:04X}") and field[3] == state for field in fields)


def test_plain_serve_has_no_dev_server_by_default(serve: Serve) -> None:
    server = serve(SBE_DEV_SERVER="")
    assert httpx.get(f"{server.base_url}/").status_code == 404
    assert httpx.post(f"{server.base_url}/dev/sessions", json={"username": "eve"}).status_code == 404
