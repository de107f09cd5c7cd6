"""A database that is down or hangs: every endpoint answers in time with a useful error, and recovers."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import websockets

from sbe_enabler.postgresql.base import connect
from tests.support.endpoints import UNLIMITED, Endpoint, Endpoints, close_code, new_name, until
from tests.support.relay import Relay
from tests.support.services import Backend, Backends, Server, wait_until

pytestmark = pytest.mark.once

LIMITS = {**UNLIMITED, "SBE_DATABASE_SECONDS": "1", "SBE_RING_SECONDS": "1", "SBE_HEARTBEAT_SECONDS": "1"}
# A statement may take 1 s, the database client waits 1 s more, and a new connection may take 2 s.
IN_TIME = 6.0


@pytest.fixture(scope="module")
def behind_relay(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Relay]]:
    """A server that reaches PostgreSQL through a relay."""
    with serving(backends.grown(), tmp_path_factory.mktemp("outage"), LIMITS) as running:
        yield running


@contextlib.contextmanager
def serving(backend: Backend, directory: Path, settings: dict[str, str]) -> Iterator[tuple[Server, Relay]]:
    """Run a server that reaches the database through a relay."""
    url = backend.variables["DATABASE_URL"]
    port = urlsplit(url).port
    assert port is not None
    with ExitStack() as stack:
        relay = stack.enter_context(Relay(port))
        variables = {**backend.variables, "DATABASE_URL": url.replace(f":{port}/", f":{relay.port}/")}
        yield stack.enter_context(Server(Backend(variables, backend.api_key), directory, settings)), relay


@contextlib.contextmanager
def hanging(relay: Relay) -> Iterator[None]:
    """Make the database hang during the block."""
    relay.hang()
    try:
        yield
    finally:
        relay.go_on()


@contextlib.contextmanager
def away(relay: Relay) -> Iterator[None]:
    """Make the database refuse connections during the block."""
    relay.stop()
    try:
        yield
    finally:
        relay.start()


Outage = Callable[[Relay], contextlib.AbstractContextManager[None]]


@pytest.mark.parametrize("outage", [hanging, away])
async def test_every_endpoint_refuses_in_time_and_recovers(
    behind_relay: tuple[Server, Relay], endpoints: Endpoints, outage: Outage
) -> None:
    server, relay = behind_relay
    alice = await endpoints.register(server, new_name("alice"))
    with outage(relay):
        async with asyncio.timeout(IN_TIME):
            answers = await asyncio.gather(*(ask(alice) for ask in (get, put, poll, stream, admin) * 8))
            healths = await asyncio.wait_for(asyncio.gather(*(health(alice) for _ in range(20))), 3)
        async with alice.socket() as socket_:
            assert await close_code(socket_) == 4503
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["code"] for answer in answers} == {"database-unavailable"}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert {(each.status_code, each.json()["database"]) for each in healths} == {(503, "unavailable")}
    assert "Internal Server Error" not in server.log()
    await until(lambda: works(alice), "the database is used again")


def test_one_thread_at_a_time_tries_a_database_that_hangs(backends: Backends) -> None:
    url = backends.grown().variables["DATABASE_URL"]
    port = urlsplit(url).port
    assert port is not None

    def connects() -> bool:
        with contextlib.suppress(psycopg.OperationalError), connect(conninfo=through_relay, connect_timeout=2):
            return True
        return False

    def slow_tries(_: int) -> list[tuple[float, float]]:
        """Try to connect for some seconds; return the start and end of each attempt that waited for the database."""
        slow, until_ = [], time.monotonic() + 4
        while (began := time.monotonic()) < until_:
            assert not connects()
            if (ended := time.monotonic()) > began + 1:
                slow.append((began, ended))
            time.sleep(0.01)
        return slow

    with Relay(port) as relay, ThreadPoolExecutor(4) as threads:
        through_relay = url.replace(f":{port}/", f":{relay.port}/")
        with hanging(relay):
            assert not connects()
            tries = sorted(itertools.chain(*threads.map(slow_tries, range(4))))
        wait_until(connects, "the database is used again")
    assert tries
    assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(tries))


@pytest.mark.parametrize("outage", [hanging, away])
async def test_open_event_channel_closes_and_resumes(
    behind_relay: tuple[Server, Relay], endpoints: Endpoints, outage: Outage
) -> None:
    server, relay = behind_relay
    alice, bob, conference = await endpoints.call(server)
    async with alice.socket() as socket_:
        await socket_.recv()
        with outage(relay):
            await until(lambda: is_unavailable(alice), "the outage is noticed")
            # Either heartbeats continue, or the server asks the client to reconnect.
            with contextlib.suppress(websockets.ConnectionClosed):
                while "heartbeat" not in str(await asyncio.wait_for(socket_.recv(), IN_TIME)):
                    pass
    assert socket_.close_code in {1000, 4503}
    await until(lambda: works(alice), "the database is used again")
    assert (await bob.delete(conference)).is_success
    assert (await alice.wait_for_event("session-terminated"))["confId"] == conference


@pytest.mark.parametrize("outage", [hanging, away])
async def test_timekeeper_and_media_node_recover_by_themselves(
    behind_relay: tuple[Server, Relay], endpoints: Endpoints, outage: Outage
) -> None:
    server, relay = behind_relay
    alice, bob = [await endpoints.register(server, new_name(name)) for name in ("alice", "bob")]
    assert (await alice.call(bob.username)).status_code == 201
    with outage(relay):
        await until(lambda: is_unavailable(alice), "the outage is noticed")
    await until(lambda: works(alice), "the database is used again")
    assert (await bob.wait_for_event("invitation-cancelled"))["reason"]

    async def has_node() -> bool:
        return bool((await health(alice)).json()["mediaNodes"])

    await until(has_node, "the media node registers again")


async def test_session_that_was_away_before_the_outage_can_return_after_it(
    backends: Backends, tmp_path: Path, endpoints: Endpoints
) -> None:
    """During the outage, no client could return."""
    backend = backends.grown()
    settings = {**LIMITS, "SBE_AWAY_SECONDS": "0.1", "SBE_AWAY_SESSION_SECONDS": "2"}
    with serving(backend, tmp_path, settings) as (server, relay):
        alice = await endpoints.register(server, new_name("alice"))
        async with alice.socket() as socket_:
            await socket_.recv()

        async def finds(condition: str) -> bool:
            return await asyncio.to_thread(_finds, backend, alice.id, condition)

        await until(lambda: finds("away_until IS NOT NULL"), "alice is away")
        with away(relay):
            await until(lambda: finds("away_until < clock_timestamp()"), "the session would have ended")
        # The timekeeper has noticed the session.
        await until(lambda: finds("away_until > clock_timestamp() OR ended_at IS NOT NULL"), "the outage is over")
        async with alice.socket() as socket_:
            await socket_.recv()
        assert not await finds("away_until IS NOT NULL OR ended_at IS NOT NULL")
        # An outage is no error of the timekeeper.
        assert "Traceback" not in server.log()


def _finds(backend: Backend, session_id: str, condition: str) -> bool:
    """Tell whether a session fulfils an SQL condition. The query bypasses the relay."""
    query = f"SELECT 1 FROM conferences_session WHERE id = %s AND ({condition})"
    with psycopg.connect(backend.variables["DATABASE_URL"]) as connection:
        return connection.execute(query.encode(), [session_id]).fetchone() is not None


async def is_unavailable(endpoint: Endpoint) -> bool:
    """Tell whether the process reports the outage."""
    return (await health(endpoint)).status_code == 503


async def works(endpoint: Endpoint) -> bool:
    """Tell whether all threads serve again."""
    answers = await asyncio.gather(*(ask(endpoint) for ask in (get, health) * 12))
    return {answer.status_code for answer in answers} == {200}


async def get(endpoint: Endpoint) -> httpx.Response:
    return await endpoint.request("GET", "/mediaConferences")


async def put(endpoint: Endpoint) -> httpx.Response:
    return await endpoint.put("none", "conference-answer", {})


async def poll(endpoint: Endpoint) -> httpx.Response:
    return await endpoint.poll()


async def stream(endpoint: Endpoint) -> httpx.Response:
    return await endpoint.poll(accept="text/event-stream")


async def admin(endpoint: Endpoint) -> httpx.Response:
    return await endpoint.request("GET", "/admin/", cookie="sessionid=" + "x" * 32)


async def health(endpoint: Endpoint) -> httpx.Response:
    return await endpoint.request("GET", "/healthz")


async def test_login_page_says_that_the_database_is_down(behind_relay: tuple[Server, Relay]) -> None:
    server, relay = behind_relay
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=10) as client:
        page = await client.get(f"{server.base_url}/admin/login/")
        token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        with hanging(relay):
            form = {"csrfmiddlewaretoken": token, "username": "x", "password": "y"}
            answered = await client.post(f"{server.base_url}/admin/login/", data=form)
    assert answered.status_code == 503
    assert int(answered.headers["retry-after"]) > 0
