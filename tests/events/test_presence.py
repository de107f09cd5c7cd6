"""A session that had a reader and lost it is away, whichever process it reconnects to."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import AsyncClient
from django.utils import timezone

from conferences.models import Conference
from events import presence, watcher
from events.models import Event, Session, hash_token
from events.reader import follow
from events.threads import in_database_thread
from tests.support.endpoints import Endpoint, Endpoints, next_event, until
from tests.support.log import in_database
from tests.support.services import Backends, Server, wait_until

pytestmark = [pytest.mark.usefixtures("_no_idle_connections")]


@pytest.fixture(autouse=True)
def _hasty(settings: Any) -> None:
    settings.AWAY_AFTER = timedelta(seconds=0.1)


def new_session(**fields: Any) -> Session:
    now = timezone.now()
    name = f"s{Session.objects.count()}"
    return Session.objects.create(
        username=name, token_hash=name, created_at=now, expires_at=now + timedelta(hours=1), **fields
    )


async def read_once(session: Session) -> None:
    """Read the log to its end, and stop."""
    async with aclosing(follow(session.pk, 0, heartbeat=0.01, on_waiting=lambda: None)) as log:
        await anext(log)


def is_away(session: Session) -> bool:
    session.refresh_from_db()
    return session.away_until is not None


async def until_away(session: Session) -> None:
    async with asyncio.timeout(20):
        while not await in_database_thread(is_away)(session):
            await asyncio.sleep(0.02)


@in_database
async def test_a_session_that_lost_its_reader_is_away_until_it_has_one_again() -> None:
    session = await in_database_thread(new_session)()
    assert not await in_database_thread(is_away)(session)
    await read_once(session)
    await until_away(session)
    assert session.away_until is not None
    remaining = session.away_until - timezone.now()
    assert timedelta(seconds=30) < remaining <= timedelta(seconds=60)
    await read_once(session)
    assert not await in_database_thread(is_away)(session)


@in_database
async def test_a_session_that_reconnects_in_time_is_not_away() -> None:
    session, other = await in_database_thread(new_session)(), await in_database_thread(new_session)()
    await read_once(session)
    async with aclosing(follow(session.pk, 0, heartbeat=0.01, on_waiting=lambda: None)) as log:
        await anext(log)
        # The other session loses its reader later, and is away now.
        await read_once(other)
        await until_away(other)
        assert not await in_database_thread(is_away)(session)


@in_database
async def test_a_session_that_another_process_follows_is_not_marked() -> None:
    session, other = await in_database_thread(new_session)(), await in_database_thread(new_session)()
    await read_once(session)
    await in_database_thread(Session.objects.filter(pk=session.pk).update)(followed_by="another")
    await read_once(other)
    await until_away(other)
    assert not await in_database_thread(is_away)(session)


@in_database
def test_the_watcher_corrects_a_session_that_has_a_reader() -> None:
    session = new_session(away_until=timezone.now() + timedelta(seconds=60), followed_by="another")
    assert watcher.newest_numbers([session.pk]) == {session.pk: 0}
    assert not is_away(session)
    assert session.followed_by == presence.PROCESS


@in_database
async def test_sessions_are_marked_after_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    session = await in_database_thread(new_session)()
    real, failures = presence.mark_away, [OperationalError("gone"), OperationalError("gone")]

    def failing(sessions: list[str]) -> None:
        if failures:
            raise failures.pop()
        real(sessions)

    monkeypatch.setattr(presence, "mark_away", failing)
    await read_once(session)
    await until_away(session)
    assert failures == []


@in_database
@pytest.mark.parametrize("wait", [0, 25])
async def test_a_poll_that_is_answered_at_once_is_a_reader_if_it_would_have_waited(
    async_client: AsyncClient, wait: int
) -> None:
    later = timezone.now() + timedelta(seconds=60)
    session = await in_database_thread(new_session)(away_until=later, followed_by="another", last_seq=1)
    conference = Conference(topology="peer", created_at=timezone.now())
    await in_database_thread(conference.save)()
    event = Event(session=session, seq=1, type="told", conference_id=conference.pk, wire='{"seq":1}', at=timezone.now())
    await in_database_thread(event.save)()
    await in_database_thread(Session.objects.filter(pk=session.pk).update)(token_hash=hash_token("token"))
    path, headers = f"/sessions/{session.pk}/events?wait={wait}", {"authorization": "Bearer token"}
    assert (await async_client.get(path, headers=headers)).json()["after"] == 1
    assert await in_database_thread(is_away)(session) is (wait == 0)
    if wait:
        await until_away(session)


@in_database
async def test_an_outage_is_no_absence(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """After an outage, clients have as much time to reconnect as usual."""
    settings.AWAY_AFTER = timedelta(seconds=1)
    session, other = await in_database_thread(new_session)(), await in_database_thread(new_session)()
    real, tried_at = presence.mark_away, list[float]()

    def failing(sessions: list[str]) -> None:
        tried_at.append(time.monotonic())
        if len(tried_at) == 1:
            raise OperationalError("gone")
        real(sessions)

    monkeypatch.setattr(presence, "mark_away", failing)
    await read_once(session)
    await read_once(other)
    await until_away(session)
    await until_away(other)
    assert all(later - tried_at[0] > 0.9 for later in tried_at[1:])


@in_database
async def test_a_session_whose_reader_starts_while_it_is_marked_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader finds its session present, so it writes nothing. After that, the session is marked."""
    session, real = await in_database_thread(new_session)(), presence.mark_away
    is_read, is_marked = threading.Event(), threading.Event()

    def slow(sessions: list[str]) -> None:
        is_marked.set()
        assert is_read.wait(20)
        real(sessions)

    monkeypatch.setattr(presence, "mark_away", slow)
    await read_once(session)
    assert await asyncio.to_thread(is_marked.wait, 20)
    async with aclosing(follow(session.pk, 0, heartbeat=0.1, on_waiting=lambda: None)) as log:
        await anext(log)
        is_read.set()
        # The other session is marked later, in the same way.
        other = await in_database_thread(new_session)()
        await read_once(other)
        await until_away(other)
        assert not await in_database_thread(is_away)(session)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the whole database")
@in_database
def test_sessions_are_locked_in_the_order_of_their_ids() -> None:
    """`log.append` locks them in this order, too. In any other order, the two could deadlock."""
    # PostgreSQL reads such a small table in the order in which its rows were written.
    for pk in ("b", "c", "a"):
        new_session(pk=pk, followed_by=presence.PROCESS)
    is_blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Session.objects.select_for_update().get(pk="a")
            marking = pool.submit(_mark_and_close, ["c", "b", "a"])
            wait_until(lambda: _value_of(is_blocked) > 0, "blocked at the first session")
            # The other sessions are not locked yet.
            Session.objects.select_for_update(nowait=True).get(pk="b")
            Session.objects.select_for_update(nowait=True).get(pk="c")
        marking.result(20)
    assert Session.objects.away().count() == 3


def _mark_and_close(sessions: list[str]) -> None:
    presence.mark_away(sessions)
    connection.close()


def _value_of(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


@in_database
def test_an_ended_session_is_not_marked() -> None:
    session = new_session(state="ended", ended_at=timezone.now(), followed_by=presence.PROCESS)
    presence.mark_away([session.pk])
    assert not is_away(session)


@in_database
def test_after_an_outage_clients_have_time_to_return_and_to_renew_their_sessions(settings: Any) -> None:
    settings.AWAY_LIFETIME = timedelta(seconds=60)
    now = timezone.now()
    past, future = now - timedelta(seconds=1), now + timedelta(hours=1)
    gone = new_session(away_until=past)
    expired = new_session()
    Session.objects.filter(pk=expired.pk).update(expires_at=past)
    ended = new_session(state="ended", ended_at=past)
    Session.objects.filter(pk=ended.pk).update(expires_at=past)
    presence.restart_deadlines()
    for session in (gone, expired, ended):
        session.refresh_from_db()
    assert gone.away_until is not None
    assert gone.away_until > now + timedelta(seconds=59)
    assert gone.expires_at >= future
    assert expired.expires_at > now + timedelta(seconds=59)
    assert ended.expires_at == past


@pytest.fixture(scope="module")
def two_servers(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two processes on one PostgreSQL and one Redis."""
    backend, directory = backends.grown(), tmp_path_factory.mktemp("presence")
    hasty = {"SBE_AWAY_SECONDS": "0.3"}
    with Server(backend, directory, hasty) as here, Server(backend, directory, hasty) as there:
        yield here, there


async def _is_away(endpoint: Endpoint) -> bool:
    return bool((await endpoint.request("GET", f"/sessions/{endpoint.id}")).json()["away"])


async def _is_followed(endpoint: Endpoint) -> bool:
    return bool((await endpoint.request("GET", f"/sessions/{endpoint.id}")).json()["followed"])


@pytest.mark.once
async def test_a_reconnection_to_another_process_is_no_absence(two_servers: tuple[Server, Server]) -> None:
    here, there = two_servers
    async with Endpoints() as endpoints:
        alice, bob, _ = await endpoints.call(here)
        assert not await _is_followed(alice)
        async with alice.socket(after=0) as first, bob.socket(after=0) as only:
            await asyncio.gather(next_event(first), next_event(only))
            await until(lambda: _is_followed(alice), "followed")
            async with alice.elsewhere(there).socket(after=0) as second:
                await next_event(second)
                await asyncio.gather(first.close(), only.close())
                await until(lambda: _is_away(bob), "away")
                assert not await _is_away(alice)
        # A poll that does not wait is no reader. Long polls are readers.
        await bob.poll(after=1)
        assert await _is_away(bob)
        await bob.poll(after=1, wait=1)
        assert not await _is_away(bob)
