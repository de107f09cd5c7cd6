"""Bodies and descriptions that are too large."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from tests.support.actions import MOD
from tests.support.descriptions import describe, offer
from tests.support.devices import Call
from tests.support.refusals import problem, refused
from tests.support.requests import anyone, before_the_database

pytestmark = pytest.mark.django_db(transaction=True)

SDP_LIMIT = 512 * 1024  # bytes


@pytest.mark.any_engine
@before_the_database
class TestTooLarge:
    LIMIT = 1024 * 1024

    @pytest.mark.parametrize("size", [LIMIT + 1, 5 * 1024 * 1024])
    @pytest.mark.parametrize("kind", ["application/json", "application/sdp"])
    @pytest.mark.parametrize("headers", [{}, {"idempotency_key": "k"}])
    def test_a_body_over_the_limit_is_refused(self, call: Call, size: int, kind: str, headers: dict[str, str]) -> None:
        body = b"v" * size
        response = refused(413, "too-large", call.alice.put, call.id, MOD, body, content_type=kind, **headers)
        assert problem(response)["limit"] == self.LIMIT

    def test_a_large_body_for_a_session_or_a_conference_is_refused(self, call: Call, key: str) -> None:
        body = {"username": "x" * self.LIMIT}
        refused(413, "too-large", anyone, "POST", "/sessions", body, authorization=f"Api-Key {key}")
        refused(413, "too-large", call.alice.request, "POST", "/mediaConferences", body)

    def test_a_large_body_without_a_length_is_refused(self, call: Call) -> None:
        def put(size: int) -> Any:
            body = json.dumps({**offer(version=3), "x": "x" * size}).encode()
            return asyncio.run(send_in_chunks(call, body))

        response = refused(413, "too-large", put, self.LIMIT)
        assert problem(response)["limit"] == self.LIMIT
        refused(413, "too-large", put, 5 * 1024 * 1024)
        assert put(1000).status_code == 204

    @pytest.mark.parametrize("bare", [False, True])
    def test_an_sdp_over_the_limit_is_refused(self, call: Call, bare: bool) -> None:
        long = describe(version=3) + "a=x:" + "y" * SDP_LIMIT + "\r\n"
        kind = {"content_type": "application/sdp"} if bare else {}
        body = long if bare else {"type": "offer", "sdp": long}
        response = refused(413, "too-large", call.alice.put, call.id, MOD, body, **kind)
        assert problem(response)["limit"] == SDP_LIMIT

    def test_the_length_of_an_sdp_is_counted_in_bytes(self, call: Call) -> None:
        bare = {"content_type": "application/sdp"}
        spare = SDP_LIMIT - len(describe(version=3)) - len("a=x:\r\n")
        wide = describe(version=3) + "a=x:" + "é" * (spare // 2 + 1) + "\r\n"
        refused(413, "too-large", call.alice.put, call.id, MOD, wide, **bare)
        fitting = describe(version=3) + "a=x:" + "é" * (spare // 2) + "\r\n"
        assert call.alice.put(call.id, MOD, fitting, **bare).status_code == 204


class _Response:
    """A response received over ASGI, with the interface of Django's responses."""

    def __init__(self, status_code: int, headers: dict[str, str], content: bytes) -> None:
        self.status_code, self.headers, self.content = status_code, headers, content

    def __getitem__(self, name: str) -> str:
        return self.headers[name]

    def json(self) -> Any:
        return json.loads(self.content)


async def send_in_chunks(call: Call, body: bytes) -> _Response:
    """Send a modification as alice without a Content-Length (`Transfer-Encoding: chunked`); return the response."""
    chunks = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    requests = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    requests.append({"type": "http.request", "body": b"", "more_body": False})
    answers: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if requests:
            return requests.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Mapping[str, Any]) -> None:
        answers.append(message)

    headers = {
        "host": "localhost",
        "authorization": f"Bearer {call.alice.token}",
        "content-type": "application/json",
        "transfer-encoding": "chunked",
        "x-conference-action": MOD,
    }
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "PUT",
        "path": f"/mediaConferences/{call.id}",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await get_asgi_application()(scope, receive, send)
    start, *parts = answers
    named = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return _Response(start["status"], named, b"".join(part.get("body", b"") for part in parts))
