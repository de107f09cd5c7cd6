"""The enabler behind the gateway configuration that the project ships."""

import asyncio
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import websockets
from django.conf import settings

from sbe_enabler.lan import ensure_certificate
from tests.support.services import ROOT, Backends, Server, free_port, gateway

pytestmark = pytest.mark.once


@dataclass
class Gateway:
    """A running gateway: its address, a client that trusts it, and the web processes behind it."""

    port: int
    trust: ssl.SSLContext
    client: httpx.Client
    servers: list[Server]


def _configuration(port: int, plain_port: int, behind: tuple[int, int]) -> str:
    """Return the shipped configuration with a test's addresses and files. `behind` are the web processes' ports."""
    text = (ROOT / "deploy/nginx/sbe-enabler.conf").read_text()
    for pattern, replacement in [
        (r"listen 80;", f"listen 127.0.0.1:{plain_port};"),
        (r"listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        (r"server_name sbe\.example\.com;", "server_name localhost;"),
        (r"/etc/ssl/certs/\S+\.pem", "certificate.pem"),
        (r"/etc/ssl/private/\S+\.key", "key.pem"),
        (r"server 127\.0\.0\.1:8001;", f"server 127.0.0.1:{behind[0]};"),
        (r"server 127\.0\.0\.1:8002;", f"server 127.0.0.1:{behind[1]};"),
        (r"/var/log/nginx/", ""),
    ]:
        text, count = re.subn(pattern, replacement, text)
        assert count, f"the shipped configuration no longer has {pattern}"
    return text


@pytest.fixture(scope="module")
def behind(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two web processes on one PostgreSQL and Redis, behind nginx."""
    directory = tmp_path_factory.mktemp("gateway")
    certificate, key = ensure_certificate(directory, ["localhost"])
    port, backend = free_port(), backends.grown()
    variables = {"SBE_BEHIND_GATEWAY": "1", "SBE_TLS": "1", "SBE_ALLOWED_HOSTS": "localhost,127.0.0.1"}
    servers = [Server(backend, directory / str(number), variables) for number in range(2)]
    trust = ssl.create_default_context(cafile=str(certificate))
    files = {"certificate.pem": certificate.read_text(), "key.pem": key.read_text()}
    with (
        servers[0],
        servers[1],
        gateway(_configuration(port, free_port(), (servers[0].port, servers[1].port)), files),
        httpx.Client(base_url=f"https://localhost:{port}", verify=trust, trust_env=False) as client,
    ):
        yield Gateway(port, trust, client, servers)


def _register(behind: Gateway, username: str = "alice") -> dict[str, object]:
    response = behind.client.post("/dev/sessions", json={"username": username})
    assert response.status_code == 201, response.text
    return dict(response.json())


def test_addresses_in_answers_are_the_gateways(behind: Gateway) -> None:
    session = _register(behind)
    events = f"localhost:{behind.port}/sessions/{session['id']}/events"
    assert session["events"] == {"webSocket": f"wss://{events}", "http": f"https://{events}"}


def test_page_can_connect_to_the_gateway(behind: Gateway) -> None:
    page = behind.client.get("/")
    assert page.status_code == 200
    origin = f"localhost:{behind.port}"
    assert f"connect-src 'self' https://{origin} wss://{origin};" in page.headers["content-security-policy"]


def test_missing_correlator_is_made_and_an_existing_one_is_forwarded(behind: Gateway) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", behind.client.get("/sessions").headers["x-correlator"])
    response = behind.client.get("/sessions", headers={"x-correlator": "mine-1"})
    assert response.headers.get_list("x-correlator") == ["mine-1"]
    assert response.json()["xCorrelator"] == "mine-1"


def test_too_large_body_is_refused_before_the_enabler(behind: Gateway) -> None:
    response = behind.client.post("/mediaConferences", content=b"x" * 1_100_000, headers={"x-correlator": "mine-2"})
    assert (response.status_code, response.json()["code"]) == (413, "too-large")
    assert response.headers["x-correlator"] == "mine-2"


def test_events_come_over_web_socket_and_server_sent_events(behind: Gateway) -> None:
    session = _register(behind)
    token = str(session["token"])

    async def first_message() -> object:
        url = f"wss://localhost:{behind.port}/sessions/{session['id']}/events"
        async with websockets.connect(
            url,
            ssl=behind.trust,
            subprotocols=[websockets.Subprotocol("sbe.v1"), websockets.Subprotocol(f"bearer.{token}")],
            origin=websockets.Origin(f"https://localhost:{behind.port}"),
        ) as socket:
            pong = await socket.ping()
            await asyncio.wait_for(pong, 5)
            return socket.subprotocol

    assert asyncio.run(first_message()) == "sbe.v1"
    headers = {"authorization": f"Bearer {token}", "accept": "text/event-stream"}
    with behind.client.stream("GET", f"/sessions/{session['id']}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")


def test_the_operator_can_read_health_through_the_gateway(behind: Gateway) -> None:
    assert behind.client.get("/healthz").json()["status"] == "ok"


def test_client_cannot_forge_its_address(behind: Gateway) -> None:
    response = behind.client.get(
        "/sessions", headers={"x-forwarded-host": "evil.example", "x-forwarded-for": "1.2.3.4"}
    )
    assert response.status_code == 401


def test_gateway_answers_with_a_problem_document_if_the_enabler_is_down(behind: Gateway) -> None:
    for server in behind.servers:
        server.stop()
    try:
        response = behind.client.get("/sessions", headers={"x-correlator": "mine-3"})
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert response.headers["retry-after"] == "2"
        assert response.headers["x-correlator"] == "mine-3"
    finally:
        for server in behind.servers:
            server.start()


# --- Refusals of the gateway, as a page of another origin sees them ---------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A gateway without web processes, which allows one address 2 requests at once, and then one a minute."""
    certificate, key = ensure_certificate(tmp_path_factory.mktemp("alone"), ["localhost"])
    port = free_port()
    text = _configuration(port, free_port(), (free_port(), free_port()))
    for shipped, tested in [("rate=50r/s", "rate=1r/m"), ("burst=100 nodelay", "burst=1 nodelay")]:
        assert shipped in text
        text = text.replace(shipped, tested)
    trust = ssl.create_default_context(cafile=str(certificate))
    with (
        gateway(text, {"certificate.pem": certificate.read_text(), "key.pem": key.read_text()}),
        httpx.Client(base_url=f"https://localhost:{port}", verify=trust, trust_env=False) as client,
    ):
        yield client


def test_page_of_another_origin_can_read_the_refusals_of_the_gateway(alone: httpx.Client) -> None:
    too_large = alone.post("/mediaConferences", content=b"x" * 1_100_000, headers={"origin": "https://app.example"})
    # The first two requests are allowed, and the enabler is down.
    asked = [_preflight_and_answer(alone) for _ in range(2)]
    for status, (preflight, answer) in zip((503, 429), asked, strict=True):
        assert preflight.status_code == 204, preflight.text
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert "PUT" in preflight.headers["access-control-allow-methods"]
        assert set(settings.CORS_ALLOW_HEADERS) <= set(preflight.headers["access-control-allow-headers"].split(", "))
        assert preflight.headers["access-control-max-age"] == "0"
        assert answer.status_code == status
        assert answer.headers["retry-after"]
        assert "access-control-allow-methods" not in answer.headers
    for answer in (too_large, *(answer for _, answer in asked)):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert answer.headers.get_list("access-control-allow-origin") == ["*"]
        assert answer.headers["access-control-expose-headers"] == "retry-after, x-correlator"
        assert answer.headers["x-correlator"]
        assert answer.headers["strict-transport-security"]


def _preflight_and_answer(client: httpx.Client) -> tuple[httpx.Response, httpx.Response]:
    """Send what a browser sends for a page of another origin."""
    origin = {"origin": "https://app.example"}
    asked = {"access-control-request-method": "PUT", "access-control-request-headers": "authorization"}
    preflight = client.options("/mediaConferences/1", headers={**origin, **asked})
    return preflight, client.put("/mediaConferences/1", headers=origin)


def test_gateway_leaves_the_answers_of_the_enabler_to_the_enabler(behind: Gateway) -> None:
    answer = behind.client.get("/sessions", headers={"origin": "https://evil.example"})
    assert answer.status_code == 401
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert len(answer.headers.get_list("x-correlator")) == 1
