"""The Dev Server: the test page and the two requests that the page makes, with a scripted enabler."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.test import AsyncClient
from pytest_django import Settings

from sbe_enabler.devserver import enabler

pytestmark = pytest.mark.once

Answer = Callable[[httpx.Request], httpx.Response]


class Enabler:
    """A scripted enabler that answers as a test says, and records its requests."""

    def __init__(self) -> None:
        """Answer 500 by default."""
        self.requests: list[httpx.Request] = []
        self.answer: Answer = lambda request: httpx.Response(500)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Record one request and answer it."""
        self.requests.append(request)
        return self.answer(request)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Enabler:
    """The scripted enabler."""
    settings.SBE_API_KEY = "the-key"
    player = Enabler()
    client = httpx.AsyncClient(transport=httpx.MockTransport(player.handle))
    monkeypatch.setattr(enabler, "client", lambda: client)
    return player


SESSION = {"id": "s1", "token": "t", "username": "alice"}


async def register(client: AsyncClient, body: object, **extra: Any) -> Any:
    """Register like the page."""
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return await client.post("/dev/sessions", data, content_type=extra.pop("content_type", "application/json"), **extra)


async def test_registers_with_the_key_and_passes_the_session_on(played: Enabler, async_client: AsyncClient) -> None:
    played.answer = lambda request: httpx.Response(201, json=SESSION)
    headers = {"x-correlator": "mine", "idempotency-key": "k1"}
    response = await register(async_client, {"username": "alice", "vtn": "+15550100"}, headers=headers)
    assert (response.status_code, response.json()) == (201, SESSION)
    assert response["cache-control"] == "no-store"
    (request,) = played.requests
    assert (request.method, request.url.path) == ("POST", "/sessions")
    assert json.loads(request.content) == {"username": "alice", "vtn": "+15550100"}
    assert request.headers["authorization"] == "Api-Key the-key"
    assert request.headers["x-correlator"] == "mine"
    # All browsers share the API key. If two browsers' equal Idempotency-Keys were forwarded, the enabler would give
    # both the same token.
    assert "idempotency-key" not in request.headers


async def test_only_permitted_fields_are_forwarded(played: Enabler, async_client: AsyncClient) -> None:
    played.answer = lambda request: httpx.Response(201, json=SESSION)
    cookies = {"cookie": "sessionid=x", "x-session-id": "another", "authorization": "Bearer stolen"}
    await register(async_client, {"username": "alice", "role": "staff", "token": "mine"}, headers=cookies)
    (request,) = played.requests
    assert json.loads(request.content) == {"username": "alice"}
    assert "cookie" not in request.headers
    assert "x-session-id" not in request.headers
    assert request.headers["authorization"] == "Api-Key the-key"


async def test_refusal_is_forwarded_unchanged(played: Enabler, async_client: AsyncClient) -> None:
    problem = {"code": "rate-limited", "status": 429}
    headers = {"content-type": "application/problem+json", "retry-after": "3"}
    played.answer = lambda request: httpx.Response(429, headers=headers, content=json.dumps(problem))
    response = await register(async_client, {"username": "alice"})
    assert (response.status_code, response.json()) == (429, problem)
    assert response["content-type"] == "application/problem+json"
    assert response["retry-after"] == "3"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        ("username=alice", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        ('{"username": "alice"}', "text/plain", 415, "unsupported-media-type"),
        ('{"username": "alice"}', "", 415, "unsupported-media-type"),
        (" ", "application/json", 400, "malformed"),
        ("{", "application/json", 400, "malformed"),
        ("[" * 2000, "application/json", 400, "malformed"),
        (b"\xff\xfe", "application/json", 400, "malformed"),
        ('["alice"]', "application/json", 400, "malformed"),
        ('"alice"', "application/json", 400, "malformed"),
        ("null", "application/json", 400, "malformed"),
        (f'{{"username": {945 * "["}{945 * "]"}}}', "application/json", 400, "malformed"),
        (json.dumps({"username": "a" * 5000}), "application/json", 413, "too-large"),
    ],
)
async def test_odd_body_is_refused_without_asking_the_enabler(
    played: Enabler, async_client: AsyncClient, body: str | bytes, content_type: str, status: int, code: str
) -> None:
    response = await register(async_client, body, content_type=content_type)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response["content-type"] == "application/problem+json"
    assert response.json()["xCorrelator"] == response["x-correlator"]
    assert played.requests == []


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
async def test_other_methods_are_refused(played: Enabler, async_client: AsyncClient, method: str) -> None:
    response = await getattr(async_client, method)("/dev/sessions")
    assert (response.status_code, response.json()["code"]) == (405, "method-not-allowed")
    assert "access-control-allow-origin" not in response


async def test_page_of_another_origin_cannot_send_json(played: Enabler, async_client: AsyncClient) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    response = await async_client.options("/dev/sessions", headers=headers)
    assert "access-control-allow-origin" not in response


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("?")])
async def test_unreachable_enabler_is_reported_in_plain_words(
    played: Enabler, async_client: AsyncClient, error: httpx.HTTPError
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    played.answer = fail
    response = await register(async_client, {"username": "alice"})
    assert (response.status_code, response.json()["code"]) == (502, "enabler-unreachable")
    assert response.json()["detail"] == "The enabler cannot be reached."


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, html="<h1>Bad Gateway</h1>"),
        httpx.Response(302, headers={"location": "http://evil.example"}),
        httpx.Response(200),
    ],
)
async def test_an_answer_of_another_server_is_not_forwarded(
    played: Enabler, async_client: AsyncClient, answer: httpx.Response
) -> None:
    played.answer = lambda request: answer
    response = await register(async_client, {"username": "alice"})
    assert (response.status_code, response.json()["code"]) == (502, "enabler-unreachable")
    assert len(played.requests) == 1


async def test_missing_key_is_reported_in_plain_words(
    played: Enabler, async_client: AsyncClient, settings: Settings
) -> None:
    settings.SBE_API_KEY = ""
    response = await register(async_client, {"username": "alice"})
    assert (response.status_code, response.json()["code"]) == (503, "api-key-missing")


async def test_list_is_collected_from_all_pages(played: Enabler, async_client: AsyncClient) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params.get("after", "0"))
        return httpx.Response(200, json={"sessions": [{"id": after}], "next": str(after + 1) if after < 2 else None})

    played.answer = page
    response = await async_client.get("/dev/sessions")
    assert response.json() == {"sessions": [{"id": 0}, {"id": 1}, {"id": 2}]}


async def test_list_is_bounded(played: Enabler, async_client: AsyncClient) -> None:
    played.answer = lambda request: httpx.Response(200, json={"sessions": [{}], "next": "again"})
    response = await async_client.get("/dev/sessions")
    assert response.status_code == 200
    assert len(played.requests) == len(response.json()["sessions"]) == 20


async def test_own_server_is_addressed_by_the_host_name_of_the_browser(
    played: Enabler, async_client: AsyncClient, settings: Settings
) -> None:
    settings.ALLOWED_HOSTS = ["sbe.example.com"]
    settings.USE_X_FORWARDED_HOST = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    played.answer = lambda request: httpx.Response(201, json=SESSION)
    headers = {"x-forwarded-host": "sbe.example.com", "x-forwarded-proto": "https"}
    assert (await register(async_client, {"username": "alice"}, headers=headers)).status_code == 201
    (request,) = played.requests
    assert request.url == "http://127.0.0.1/sessions"
    assert request.headers["host"] == request.headers["x-forwarded-host"] == "sbe.example.com"
    assert request.headers["x-forwarded-proto"] == "https"


async def test_remote_enabler_is_addressed_by_its_own_host_name(
    played: Enabler, async_client: AsyncClient, settings: Settings
) -> None:
    settings.SBE_ENABLER_URL = "https://enabler.example"
    played.answer = lambda request: httpx.Response(201, json=SESSION)
    await register(async_client, {"username": "alice"})
    (request,) = played.requests
    assert request.url == "https://enabler.example/sessions"
    assert request.headers["host"] == "enabler.example"
    page = await async_client.get("/")
    policy = page["content-security-policy"]
    assert "connect-src 'self' https://enabler.example wss://enabler.example;" in policy
    assert 'data-enabler-url="https://enabler.example"' in page.content.decode()


async def test_page_allows_nothing_inline_and_no_other_host(async_client: AsyncClient) -> None:
    page = await async_client.get("/")
    policy = dict(part.split(" ", 1) for part in page["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "unsafe" not in page["content-security-policy"]
    assert "camera=(self)" in page["permissions-policy"]


async def test_page_supports_only_reading(async_client: AsyncClient) -> None:
    assert (await async_client.post("/")).status_code == 405


async def test_draws_addresses_of_this_server_as_qr_codes(async_client: AsyncClient) -> None:
    response = await async_client.get("/dev/qr.svg", {"text": "http://testserver/?user=alice"})
    assert (response.status_code, response["content-type"]) == (200, "image/svg+xml")
    assert response.content.startswith(b"<?xml")


@pytest.mark.parametrize(
    "text",
    ["", "hello", "http://elsewhere/?user=alice", "http://testserver.elsewhere/", f"http://testserver/{'x' * 600}"],
)
async def test_draws_no_other_text(async_client: AsyncClient, text: str) -> None:
    response = await async_client.get("/dev/qr.svg", {"text": text})
    assert (response.status_code, response.json()["code"]) == (400, "malformed")
