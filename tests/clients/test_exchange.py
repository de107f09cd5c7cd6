"""When the client repeats a request, and what it makes of hostile answers."""

from typing import Any

import pytest

from sbe_client import AsyncClient, Client, ProtocolError, Refusal, Session, operations
from sbe_client.exchange import BUDGET, Done, Exchange, Operation, Request, Response, Wait
from tests.clients.scripted import Answer, in_json, scripted

pytestmark = pytest.mark.once

SESSION: dict[str, Any] = {
    "id": "s1",
    "token": "secret",
    "username": "alice",
    "vtn": None,
    "icmn": None,
    "device": "laptop",
    "state": "active",
    "expiresAt": "2100-01-01T00:00:00.000Z",
    "events": {"webSocket": "ws://h/e", "http": "http://h/e"},
    "iceServers": [],
    "later": {"versions": "add fields"},
}
HTML = (503, {"content-type": "text/html"}, b"<h1>Service Unavailable</h1>")
REGISTERED = in_json(201, SESSION)


class Clock:
    """A clock that stands still."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def exchange(clock: Clock, method: str = "PUT") -> Exchange[str]:
    """Return an exchange that expects the status, with the longest random delays."""
    operation = Operation(Request(method, "/x", {}), lambda it: str(it.json()["status"]))
    return Exchange(operation, "http://h/", "Bearer t", clock=clock, chance=lambda: 1.0)


def response(answer: Answer) -> Response:
    """Return an answer as the adapters pass it on."""
    return Response(*answer)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (HTML, 0.4),
        ((502, {}, b""), 0.4),
        (in_json(503, {"code": "unavailable"}, retry_after="2"), 2.4),
        (in_json(429, {"code": "rate-limited"}, retry_after="3"), 3.4),
        (in_json(429, {"code": "rate-limited", "retryAfterMs": 250}), 0.65),
        ((429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b""), 0.4),
        ((200, {}, b"<html>"), 0.4),
        ((200, {}, b"[1]"), 0.4),
        ((200, {}, b"[" * 100_000), 0.4),
    ],
)
def test_request_is_repeated_after(answer: Answer, seconds: float) -> None:
    step = exchange(Clock()).answered(response(answer))
    assert isinstance(step, Wait)
    assert step.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("answer", [in_json(409, {"code": "not-ringing"}), in_json(500, {}), (301, {}, b"")])
def test_request_is_not_repeated_after(answer: Answer) -> None:
    with pytest.raises(Refusal):
        exchange(Clock()).answered(response(answer))


def test_pauses_grow_to_a_limit_and_the_budget_ends() -> None:
    clock, waits = Clock(), []
    repeated = exchange(clock)
    while clock.now + 4 <= BUDGET:
        step = repeated.answered(response(HTML))
        assert isinstance(step, Wait)
        waits.append(step.seconds)
        clock.now += step.seconds
    with pytest.raises(Refusal, match="http-503"):
        repeated.answered(response(HTML))
    assert waits[:5] == [0.4, 0.8, 1.6, 3.2, 4.0]


def test_retry_after_beyond_the_budget_is_a_refusal_at_once() -> None:
    with pytest.raises(Refusal) as refused:
        exchange(Clock()).answered(response(in_json(429, {"code": "too-many-offers", "to": "x"}, retry_after="60")))
    assert (refused.value.code, refused.value.fields) == ("too-many-offers", {"to": "x", "retryAfterMs": 60_000.0})


def test_only_requests_that_change_something_have_an_idempotency_key() -> None:
    assert "idempotency-key" in exchange(Clock()).request.headers
    assert "idempotency-key" not in exchange(Clock(), "DELETE").request.headers


def test_answer_is_read() -> None:
    assert exchange(Clock()).answered(response(in_json(200, {"status": "fine"}))) == Done("fine")


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """Run a test with both clients."""
    return str(request.param)


async def register(kind: str, url: str) -> Session:
    """Register with one of the clients."""
    if kind == "sync":
        client = Client(url, api_key="k")
        try:
            return client.register("alice")
        finally:
            client.close()
    asynchronous = AsyncClient(url, api_key="k")
    try:
        return await asynchronous.register("alice")
    finally:
        await asynchronous.aclose()


async def test_client_survives_a_dead_gateway_with_one_key(kind: str) -> None:
    with scripted((0, {}, b""), HTML, (200, {}, b"{"), REGISTERED) as script:
        session = await register(kind, script.url)
    assert (session.id, session.token, session.raw["later"]) == ("s1", "secret", {"versions": "add fields"})
    assert "secret" not in repr(session)
    assert len(script.requests) == 4
    assert len({headers["idempotency-key"] for _, _, headers in script.requests}) == 1
    assert {headers["authorization"] for _, _, headers in script.requests} == {"Api-Key k"}


async def test_client_waits_as_long_as_it_is_told(kind: str) -> None:
    with scripted(in_json(429, {"code": "rate-limited"}, retry_after="1"), REGISTERED) as script:
        await register(kind, script.url)
    assert script.at[1] - script.at[0] >= 1


async def test_huge_answer_is_not_read_to_its_end(kind: str) -> None:
    with scripted((201, {}, b"x" * (9 * 2**20))) as script, pytest.raises(ProtocolError, match="more than"):
        await register(kind, script.url)


@pytest.mark.parametrize("change", [{"id": 7}, {"expiresAt": "soon"}, {"token": None}, {"iceServers": [1]}])
def test_session_without_what_the_client_needs_is_a_protocol_error(change: dict[str, object]) -> None:
    clock = Clock()
    asked = Exchange(operations.register("alice", None, None, None), "http://h", "Api-Key k", clock=clock)
    assert isinstance(asked.answered(response(in_json(201, {**SESSION, **change}))), Wait)
    clock.now = BUDGET + 1
    with pytest.raises(ProtocolError):
        asked.answered(response(in_json(201, {**SESSION, **change})))
