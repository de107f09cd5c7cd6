"""The event channel over HTTP: long poll and server-sent events, against a real server."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from django.db import OperationalError

from events import views
from events.reader import Batch, Entry
from events.views import LONGEST_WAIT, STREAM_BYTES, STREAM_HEARTBEATS
from tests.support.endpoints import PATIENCE, UNLIMITED, Endpoint, Endpoints, close_code, new_name, next_event
from tests.support.services import Backend, Server

Serve = Callable[..., Server]
ORIGIN = "https://app.example"


def is_refused(response: httpx.Response, status: int, code: str) -> bool:
    """Tell whether the response is this problem document. Require that its correlator equals the header's."""
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["xCorrelator"] == response.headers["x-correlator"]
    return (response.status_code, problem["status"], problem["code"]) == (status, status, code)


# --- Long poll --------------------------------------------------------------------------------------------


async def test_poll_answers_at_once_if_there_are_events(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    modified = await alice.modify(conference)
    answered = await bob.poll(after=0, wait=25)
    body = answered.json()
    assert [event["seq"] for event in body["events"]] == [1, 2]
    assert body["events"][1]["modId"] == modified.headers["x-mod-id"]
    assert body["after"] == 2
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["cache-control"] == "no-store"
    assert (await bob.poll(after=1)).json() == {"events": body["events"][1:], "after": 2}


async def test_poll_waits_for_an_event(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    waiting = asyncio.create_task(bob.poll(after=1, wait=25))
    assert (await bob.poll(after=1)).json() == {"events": [], "after": 1}
    modified = await alice.modify(conference)
    async with asyncio.timeout(PATIENCE):
        (event,) = (await waiting).json()["events"]
    assert event["modId"] == modified.headers["x-mod-id"]


async def test_poll_without_events_returns_the_same_cursor(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    began = time.monotonic()
    assert (await bob.poll(after=1, wait=1)).json() == {"events": [], "after": 1}
    assert 1 <= time.monotonic() - began < PATIENCE


async def test_poll_reports_a_gap(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    assert (await bob.poll(after=99, wait=25)).json() == {"events": [{"type": "gap", "oldest": 2}], "after": 1}


@pytest.mark.any_engine
@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=", "after=9999999999999999999", "after=%00", "after=%D9%A3"]
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_hostile_cursor_is_malformed(server: Server, endpoints: Endpoints, query: str, accept: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    answered = await alice.request("GET", f"{alice.events_path}?{query}", accept=accept)
    assert is_refused(answered, 400, "malformed")


@pytest.mark.any_engine
@pytest.mark.parametrize("wait", ["-1", "x", "", "1.5", "%00", "nan", "inf", "%C2%B2"])
async def test_hostile_wait_is_malformed(server: Server, endpoints: Endpoints, wait: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    assert is_refused(await alice.request("GET", f"{alice.events_path}?wait={wait}"), 400, "malformed")


@pytest.mark.any_engine
def test_wait_is_capped() -> None:
    from events.views import _wait

    assert _wait("31") == _wait("9" * 5000) == LONGEST_WAIT
    assert _wait("7") == 7


async def test_end_of_the_session_ends_a_poll(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    waiting = asyncio.create_task(alice.poll(wait=25))
    async with alice.socket() as socket:
        await alice.request("DELETE", f"/sessions/{alice.id}")
        assert await close_code(socket) == 4401
    async with asyncio.timeout(PATIENCE):
        assert is_refused(await waiting, 401, "unauthenticated")


async def test_many_simultaneous_polls_delay_no_request(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    async with bob.socket(after=1) as socket:
        polls = [asyncio.create_task(bob.poll(after=1, wait=25)) for _ in range(60)]
        async with asyncio.timeout(PATIENCE):
            # The server accepts connections in order. Once it has answered these requests, it has received the polls
            # too.
            await asyncio.gather(*(bob.poll(after=0) for _ in range(4)))
            assert not any(poll.done() for poll in polls)
            modified = await alice.modify(conference)
            assert modified.status_code == 204
            assert (await next_event(socket))["seq"] == 2
            answers = await asyncio.gather(*polls)
    assert [answered.json()["after"] for answered in answers] == [2] * 60


# --- Server-sent events -----------------------------------------------------------------------------------


@asynccontextmanager
async def stream(endpoint: Endpoint, query: str = "", **headers: str) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """Open a stream and yield its blocks, each as a dictionary of its fields. The field "" is a comment."""
    named = {"authorization": f"Bearer {endpoint.token}", "accept": "text/event-stream"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{endpoint.server.base_url}{endpoint.events_path}{query}"
    async with (
        httpx.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE) as client,
        client.stream("GET", url, headers=named) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["x-correlator"]
        assert ("access-control-allow-origin" in response.headers) == ("origin" in headers)
        yield blocks(response)


async def blocks(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Yield the blocks of a stream."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields
            fields = {}


async def seen(received: AsyncIterator[dict[str, str]], number: int) -> list[dict[str, str]]:
    """Return the next `number` blocks that are events."""
    events: list[dict[str, str]] = []
    async with asyncio.timeout(PATIENCE):
        while len(events) < number:
            block = await anext(received)
            if "data" in block:
                events.append(block)
    return events


async def test_stream_replays_the_log_and_continues_live(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    async with stream(bob, "?after=0") as received:
        assert await anext(received) == {"": "follow"}
        (first,) = await seen(received, 1)
        await alice.modify(conference)
        (second,) = await seen(received, 1)
    log = await bob.log()
    assert [first, second] == [
        {"id": str(event["seq"]), "data": json.dumps(event, ensure_ascii=False, separators=(",", ":"))} for event in log
    ]


async def test_last_event_id_wins_over_the_query(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    await alice.modify(conference)
    async with stream(bob, "?after=0", last_event_id="1") as received:
        assert (await seen(received, 1))[0]["id"] == "2"
    async with stream(bob, "?after=1", last_event_id="") as received:
        assert (await seen(received, 1))[0]["id"] == "2"


@pytest.mark.any_engine
async def test_hostile_last_event_id_is_malformed(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    answered = await alice.request("GET", alice.events_path, accept="text/event-stream", last_event_id="x")
    assert is_refused(answered, 400, "malformed")


async def test_gap_has_no_number_in_a_stream(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    async with stream(bob, "?after=99") as received:
        assert await seen(received, 1) == [{"data": '{"type":"gap","oldest":2}'}]
        await alice.modify(conference)
        assert (await seen(received, 1))[0]["id"] == "2"


@pytest.mark.any_engine
async def test_stream_has_heartbeats_and_ends_after_a_number_of_them(serve: Serve, endpoints: Endpoints) -> None:
    server = serve(**UNLIMITED, SBE_HEARTBEAT_SECONDS="0.1")
    alice, bob, conference = await endpoints.call(server)
    async with stream(bob, "?after=1") as received:
        silent = [block async for block in received]
    assert silent == [{"": "follow"}] + [{"": "heartbeat"}] * STREAM_HEARTBEATS
    await alice.modify(conference)
    async with stream(bob, last_event_id="1") as received:
        assert (await seen(received, 1))[0]["id"] == "2"


@pytest.mark.any_engine
async def test_stream_ends_after_a_mebibyte_and_resumes(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    for _ in range(12):
        modified = await alice.modify(conference, characters=120_000)
        await alice.withdraw(conference, modified.headers["x-mod-id"])
    ids: list[str] = []
    async with asyncio.timeout(2 * PATIENCE):
        async with stream(bob, "?after=0") as received:
            size = 0
            async for block in received:
                if "data" in block:
                    ids.append(block["id"])
                    size += len(block["data"])
        assert STREAM_BYTES < size < STREAM_BYTES + 150_000
        async with stream(bob, last_event_id=ids[-1]) as received:
            ids += [block["id"] for block in await seen(received, 25 - len(ids))]
    assert ids == [str(number) for number in range(1, 26)]


@pytest.mark.any_engine
async def test_stream_ends_within_a_batch_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 60_000

    async def follow(
        session_id: str, after: int, *, heartbeat: float, on_waiting: object
    ) -> AsyncGenerator[Batch, None]:
        # Each of these characters has two bytes in UTF-8.
        yield Batch([Entry("\u00e9" * (size // 2), number) for number in range(1, 41)])

    monkeypatch.setattr(views, "follow", follow)
    sent = sum([len(block.encode()) async for block in views.server_sent("session", 0, lambda: None)])
    assert STREAM_BYTES < sent < STREAM_BYTES + size + 1000


async def test_stream_ends_without_an_error_when_the_database_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def follow(
        session_id: str, after: int, *, heartbeat: float, on_waiting: object
    ) -> AsyncGenerator[Batch, None]:
        yield Batch([Entry("first", 1)])
        raise OperationalError("away")

    monkeypatch.setattr(views, "follow", follow)
    assert [block async for block in views.server_sent("session", 0, lambda: None)][1:] == ["id: 1\ndata: first\n\n"]


async def test_end_of_the_session_ends_a_stream(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with stream(alice) as received, asyncio.timeout(PATIENCE):
        assert await anext(received) == {"": "follow"}
        await alice.request("DELETE", f"/sessions/{alice.id}")
        assert [block async for block in received] == []


@pytest.mark.any_engine
async def test_client_that_closes_a_stream_causes_no_error(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    for _ in range(5):
        async with stream(bob, "?after=0") as received:
            await anext(received)
    assert (await alice.modify(conference)).status_code == 204
    assert (await bob.poll(after=1)).json()["after"] == 2


# --- Permissions ------------------------------------------------------------------------------------------


@pytest.mark.any_engine
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic YTpi", "Api-Key wrong.key", "Api-Key"])
async def test_unknown_credentials_are_refused(
    server: Server, endpoints: Endpoints, authorization: str, accept: str
) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    answered = await alice.request("GET", alice.events_path, authorization=authorization, accept=accept)
    assert is_refused(answered, 401, "unauthenticated")
    assert answered.headers["www-authenticate"] == "Bearer"


@pytest.mark.any_engine
async def test_correlator_is_echoed(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    assert (await alice.poll(x_correlator="mine")).headers["x-correlator"] == "mine"
    answered = await alice.poll(x_correlator="mine", authorization="Bearer wrong")
    assert answered.json()["xCorrelator"] == "mine"


@pytest.mark.any_engine
async def test_session_of_another_user_is_not_found(server: Server, endpoints: Endpoints) -> None:
    alice, bob, _ = await endpoints.call(server)
    assert is_refused(await alice.request("GET", bob.events_path), 404, "not-found")
    assert is_refused(await alice.request("GET", "/sessions/nobody/events"), 404, "not-found")


@pytest.mark.any_engine
async def test_gateway_can_read_for_the_session_that_it_names(server: Server, endpoints: Endpoints) -> None:
    alice, bob, _ = await endpoints.call(server)
    key = f"Api-Key {server.api_key}"
    assert (await bob.poll(authorization=key)).json()["after"] == 1
    assert (await bob.poll(authorization=key, x_session_id=bob.id)).json()["after"] == 1
    assert is_refused(await bob.poll(authorization=key, x_session_id=alice.id), 404, "not-found")
    assert is_refused(await bob.poll(authorization=key, x_session_id="nobody"), 401, "unauthenticated")


@pytest.mark.any_engine
@pytest.mark.parametrize("session", ["nobody", "%00", "%ff", "x" * 500])
async def test_gateway_must_name_a_session(server: Server, endpoints: Endpoints, session: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    key = f"Api-Key {server.api_key}"
    answered = await alice.request("GET", f"/sessions/{session}/events", authorization=key)
    assert is_refused(answered, 401, "unauthenticated")


@pytest.mark.any_engine
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_channel_supports_only_get(server: Server, endpoints: Endpoints, method: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    answered = await alice.request(method, alice.events_path)
    assert is_refused(answered, 405, "method-not-allowed")
    assert answered.headers["allow"] == "GET"


# --- Pages of other origins -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_server(new_backend: Callable[[], Backend], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that allows pages of another origin."""
    variables = {**UNLIMITED, "SBE_ALLOWED_ORIGINS": ORIGIN}
    with Server(new_backend(), tmp_path_factory.mktemp("open"), variables) as running:
        yield running


@pytest.mark.any_engine
async def test_page_of_an_allowed_origin_can_read_events(open_server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(open_server)
    preflight = await bob.request(
        "OPTIONS",
        bob.events_path,
        origin=ORIGIN,
        access_control_request_method="GET",
        access_control_request_headers="authorization,last-event-id",
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    allowed = preflight.headers["access-control-allow-headers"].replace(",", " ").split()
    assert {"authorization", "last-event-id"} <= set(allowed)
    answered = await bob.poll(origin=ORIGIN)
    assert answered.headers["access-control-allow-origin"] == ORIGIN
    exposed = answered.headers["access-control-expose-headers"].replace(",", " ").split()
    assert {"x-correlator", "x-mod-id", "x-state", "etag", "location", "retry-after"} <= set(exposed)
    async with stream(bob, origin=ORIGIN) as received:
        assert (await seen(received, 1))[0]["id"] == "1"
    refused = await bob.poll(origin=ORIGIN, authorization="Bearer wrong")
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    async with bob.socket(additional_headers={"origin": ORIGIN}) as socket:
        assert (await next_event(socket))["seq"] == 1


@pytest.mark.any_engine
async def test_pages_of_other_origins_cannot_read_events(open_server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(open_server, new_name("alice"))
    for origin in ("https://evil.example", "https://app.example.evil.example", "http://app.example", "null"):
        assert "access-control-allow-origin" not in (await alice.poll(origin=origin)).headers
        async with alice.socket(additional_headers={"origin": origin}) as socket:
            assert await close_code(socket) == 4403
