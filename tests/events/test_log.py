"""The log of events and the wake-ups of its readers: what holds whatever the transport."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.test import AsyncClient
from django.utils import timezone

import events.views  # noqa: F401 - before a test replaces what it imports
from conferences.models import Conference, Topology
from events import log, wakeups, watcher
from events.log import Message
from events.messages import StoredEvent
from events.models import Event, Session, hash_token
from events.reader import BATCH, Entry, SessionOverError, follow, read
from events.readers import READERS, ReplacedError
from events.threads import POOL, in_database_thread
from tests.support.endpoints import UNLIMITED, Endpoints, events_until, next_event
from tests.support.services import Backend, Backends, Server, redis

Serve = Callable[..., Server]
in_database = pytest.mark.django_db(transaction=True)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def conference(now: datetime) -> Conference:
    return Conference.objects.create(topology=Topology.PEER, created_at=now)


@pytest.fixture
def new_session(now: datetime) -> Callable[..., Session]:
    def make(name: str = "alice", **fields: Any) -> Session:
        made = {"created_at": now, "expires_at": now + timedelta(hours=1), "token_hash": f"{Session.objects.count()}"}
        return Session.objects.create(username=name, **{**made, **fields})

    return make


@pytest.fixture
def news(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[tuple[int, str]]]]:
    """What readers are woken with."""
    woken: list[dict[str, list[tuple[int, str]]]] = []
    monkeypatch.setattr(wakeups, "wake", woken.append)
    return woken


@dataclass(frozen=True, kw_only=True)
class Told(StoredEvent):
    """An event with any fields."""

    type = "told"
    fields: Mapping[str, object]

    def as_wire(self) -> dict[str, object]:
        return dict(self.fields)


def messages(conference: Conference, *sessions: Session, **fields: object) -> list[Message]:
    """Return one message for each session."""
    return [Message(session.pk, conference.pk, Told(fields=fields)) for session in sessions]


def append(*told: Message, now: datetime | None = None) -> None:
    """Append in a transaction of its own."""
    with transaction.atomic():
        log.append(told, now=now or timezone.now())


def numbers(session: Session) -> list[int]:
    """Return the numbers in a session's log, and see that its counter agrees."""
    found = list(Event.objects.of(session.pk).values_list("seq", flat=True))
    session.refresh_from_db()
    assert session.last_seq == len(found)
    return found


# --- Writing ----------------------------------------------------------------------------------------------


@in_database
def test_messages_of_one_transaction_keep_their_order(
    conference: Conference, new_session: Callable[..., Session], news: list[Any]
) -> None:
    alice, bob = new_session("alice"), new_session("bob")
    told = [message for n in range(5) for message in messages(conference, alice, bob, n=n)]
    append(*told)
    append(*messages(conference, bob, n=5))
    for session, number in ((alice, 5), (bob, 6)):
        assert numbers(session) == list(range(1, number + 1))
        wires = [json.loads(wire) for wire in Event.objects.of(session.pk).values_list("wire", flat=True)]
        assert [(wire["seq"], wire["n"]) for wire in wires] == [(n + 1, n) for n in range(number)]


@in_database
def test_sessions_that_are_over_are_told_nothing(
    conference: Conference, new_session: Callable[..., Session], news: list[Any], now: datetime
) -> None:
    alice = new_session("alice")
    gone = [new_session(state="ended"), new_session(state="expired"), new_session(expires_at=now)]
    append(*messages(conference, *gone, alice), now=now)
    assert numbers(alice) == [1]
    assert Event.objects.count() == 1
    append(*messages(conference, *gone), now=now)
    assert Event.objects.count() == 1
    assert [set(each) for each in news] == [{alice.pk}]


@in_database
def test_readers_are_woken_after_the_commit_and_only_then(
    conference: Conference, new_session: Callable[..., Session], news: list[Any]
) -> None:
    alice = new_session()
    with transaction.atomic():
        log.append(messages(conference, alice), now=timezone.now())
        assert news == []
    assert [list(each) for each in news] == [[alice.pk]]

    class TakenBackError(Exception):
        pass

    def append_and_fail() -> None:
        with transaction.atomic():
            log.append(messages(conference, alice), now=timezone.now())
            raise TakenBackError

    with pytest.raises(TakenBackError):
        append_and_fail()
    assert len(news) == 1
    append(*messages(conference, alice))
    assert numbers(alice) == [1, 2]
    assert [seq for seq, _ in news[1][alice.pk]] == [2]


@in_database
def test_numbers_have_no_gaps_however_transactions_interleave(
    conference: Conference, new_session: Callable[..., Session], news: list[Any]
) -> None:
    sessions = [new_session(name) for name in "abcd"]
    rounds, together = 15, threading.Barrier(4)
    kept = 4 * rounds * 4 // 5
    watched: list[list[int]] = []
    done, seen_half_way = threading.Event(), threading.Event()

    def write(worker: int) -> None:
        try:
            together.wait(10)
            for n in range(rounds):
                # Each worker names the sessions in another order: locks taken in that order would deadlock.
                order = sessions[worker:] + sessions[:worker]
                with transaction.atomic():
                    log.append(messages(conference, *order, worker=worker, n=n), now=timezone.now())
                    if n % 5 == 4:
                        transaction.set_rollback(True)
                if worker == 0 and n == rounds // 2:
                    seen_half_way.wait(10)
        finally:
            connections.close_all()

    def watch() -> None:
        """Look at one log over and over: it must never have a hole, not even for a moment."""
        try:
            while not done.is_set():
                watched.append(list(Event.objects.of(sessions[0].pk).values_list("seq", flat=True)))
                if 0 < len(watched[-1]) < kept:
                    seen_half_way.set()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        watching = pool.submit(watch)
        writing = [pool.submit(write, worker) for worker in range(4)]
        try:
            for each in writing:
                each.result(60)
        finally:
            done.set()
            watching.result(60)
    for session in sessions:
        assert numbers(session) == list(range(1, kept + 1))
    assert seen_half_way.is_set()
    assert [seen for seen in watched if seen != list(range(1, len(seen) + 1))] == []


@in_database
def test_second_transaction_waits_for_the_number_of_the_first(
    conference: Conference, new_session: Callable[..., Session], news: list[Any]
) -> None:
    alice = new_session()
    begun = threading.Event()

    def write_second() -> None:
        try:
            begun.set()
            append(*messages(conference, alice, by="second"))
        finally:
            connections.close_all()

    second = threading.Thread(target=write_second)
    with transaction.atomic():
        log.append(messages(conference, alice, by="first"), now=timezone.now())
        second.start()
        assert begun.wait(10)
        second.join(0.3)
        assert second.is_alive()
    second.join(20)
    assert not second.is_alive()
    wires = [json.loads(wire) for wire in Event.objects.of(alice.pk).values_list("wire", flat=True)]
    assert [(wire["seq"], wire["by"]) for wire in wires] == [(1, "first"), (2, "second")]


@in_database
def test_appending_takes_a_bounded_number_of_queries(
    conference: Conference,
    new_session: Callable[..., Session],
    news: list[Any],
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    sessions = [new_session(str(n)) for n in range(10)]
    with transaction.atomic(), django_assert_num_queries(2):
        log.append(messages(conference, *sessions, *sessions), now=timezone.now())


# --- Wake-ups ---------------------------------------------------------------------------------------------


@in_database
def test_large_events_travel_by_the_log(
    conference: Conference, new_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    async def send(to: Any) -> None:
        sent.append(to)

    monkeypatch.setattr(wakeups, "_send", send)
    alice, bob = new_session("alice"), new_session("bob")
    append(
        *messages(conference, alice, text="x" * wakeups.CARRIED_CHARACTERS),
        *messages(conference, bob, text="x" * (wakeups.CARRIED_CHARACTERS // 2)),
    )
    (to,) = sent
    assert to[alice.pk]["news"] == []
    assert [seq for seq, _ in to[bob.pk]["news"]] == [1]


# --- Reading ----------------------------------------------------------------------------------------------


class Reader:
    """Follows a log, and says how often it asked the database for it, and whether it has read all there was."""

    def __init__(self, session: Session, after: int, heartbeat: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.readings = 0
        self.is_up_to_date = False

        async def counted(session_id: str, cursor: int) -> list[Entry]:
            self.readings += 1
            entries = await read(session_id, cursor)
            self.is_up_to_date = not entries
            return entries

        monkeypatch.setattr("events.reader.read", counted)
        self.log = follow(session.pk, after, heartbeat=heartbeat, on_waiting=lambda: None)

    async def next(self) -> list[int]:
        """Return the numbers of what comes next, none for a heartbeat."""
        async with asyncio.timeout(20):
            return [entry.cursor for entry in await anext(self.log)]

    async def start(self) -> asyncio.Task[list[int]]:
        """Wait until there is nothing left to read; return the task of what comes next."""
        coming = asyncio.create_task(self.next())
        async with asyncio.timeout(20):
            while not self.is_up_to_date:
                await asyncio.sleep(0.01)
        return coming


@pytest.fixture
async def reader(
    new_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Reader]]:
    """Make readers that stop with the test."""
    readers: list[Reader] = []

    def make(session: Session, after: int = 0, heartbeat: float = 20) -> Reader:
        readers.append(Reader(session, after, heartbeat, monkeypatch))
        return readers[-1]

    yield make
    for each in readers:
        await each.log.aclose()


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_reader_that_is_up_to_date_lives_on_wake_ups(
    conference: Conference, new_session: Callable[..., Session], reader: Callable[..., Reader]
) -> None:
    alice = await in_database_thread(new_session)()
    following = reader(alice)
    waiting = await following.start()
    await in_database_thread(append)(*messages(conference, alice))
    assert await waiting == [1]
    before = following.readings
    for seq in (2, 3, 4):
        await in_database_thread(append)(*messages(conference, alice))
        assert await following.next() == [seq]
    # It was up to date before the first event, so all of them came by wake-ups alone.
    assert following.readings == before == 1


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
@pytest.mark.parametrize("wake_up", ["lost", "empty", "late", "early", "doubled"])
async def test_wake_up_that_is_not_right_loses_and_doubles_nothing(
    conference: Conference,
    new_session: Callable[..., Session],
    reader: Callable[..., Reader],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    wake_up: str,
) -> None:
    alice = await in_database_thread(new_session)()
    right, held = wakeups.wake, []

    def wrong(entries: dict[str, list[tuple[int, str]]]) -> None:
        match wake_up:
            case "empty":
                right({alice.pk: []})
            case "late":
                held.append(entries)
                if len(held) == 3:
                    for each in reversed(held):
                        right(each)
            case "early":
                right({alice.pk: [(seq + 7, wire) for seq, wire in entries[alice.pk]]})
            case "doubled":
                right(entries)
                right(entries)

    monkeypatch.setattr(wakeups, "wake", wrong)
    settings.HEARTBEAT_SECONDS = 0.5
    following = reader(alice, heartbeat=0.5)
    assert await following.next() == []
    for _ in range(3):
        await in_database_thread(append)(*messages(conference, alice))
    seen: list[int] = []
    while len(seen) < 3:
        seen += await following.next()
    assert seen == [1, 2, 3]
    assert await following.next() == []


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_reader_that_is_far_behind_goes_on_by_batches(
    conference: Conference, new_session: Callable[..., Session], reader: Callable[..., Reader]
) -> None:
    alice = await in_database_thread(new_session)()
    await in_database_thread(append)(*(messages(conference, alice) * (2 * BATCH + 1)))
    following = reader(alice)
    assert [len(await following.next()) for _ in range(3)] == [BATCH, BATCH, 1]


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_reader_reads_to_the_end_of_a_session_and_goes(
    conference: Conference, new_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await in_database_thread(new_session)()

    def end() -> None:
        with transaction.atomic():
            log.append(messages(conference, alice), now=timezone.now())
            Session.objects.filter(pk=alice.pk).update(state="ended")
            log.close(alice.pk)

    async def read_and_let_it_end(session_id: str, cursor: int) -> list[Entry]:
        monkeypatch.undo()
        entries = await read(session_id, cursor)
        await in_database_thread(end)()
        return entries

    monkeypatch.setattr("events.reader.read", read_and_let_it_end)
    following = follow(alice.pk, 0, heartbeat=20, on_waiting=lambda: None)
    assert [entry.cursor for entry in await anext(following)] == [1]
    with pytest.raises(SessionOverError):
        await anext(following)


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
@pytest.mark.parametrize(("wait", "heartbeat"), [(1, 15.0), (25, 0.2)])
async def test_poll_finds_an_event_whose_wake_up_was_lost(
    conference: Conference,
    new_session: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    async_client: AsyncClient,
    wait: int,
    heartbeat: float,
) -> None:
    settings.HEARTBEAT_SECONDS = heartbeat
    alice = await in_database_thread(new_session)(token_hash=hash_token("secret"))
    monkeypatch.setattr(wakeups, "wake", lambda entries: None)

    async def read_before_the_event(session_id: str, cursor: int) -> list[Entry]:
        monkeypatch.setattr("events.reader.read", read)
        entries = await read(session_id, cursor)
        await in_database_thread(append)(*messages(conference, alice))
        return entries

    monkeypatch.setattr("events.reader.read", read_before_the_event)
    headers = {"authorization": "Bearer secret"}
    async with asyncio.timeout(10):
        answered = await async_client.get(f"/sessions/{alice.pk}/events?after=0&wait={wait}", headers=headers)
    assert answered.json()["after"] == 1
    assert [event["seq"] for event in answered.json()["events"]] == [1]


# --- Waiting ----------------------------------------------------------------------------------------------


@pytest.fixture
def errands(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the database threads were given to do."""
    given: list[Any] = []
    submit = POOL.submit

    def note(function: Any, *args: Any, **kwargs: Any) -> Any:
        given.append(function)
        return submit(function, *args, **kwargs)

    monkeypatch.setattr(POOL, "submit", note)
    return given


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_reader_that_waits_makes_no_query(
    new_session: Callable[..., Session], reader: Callable[..., Reader], errands: list[Any]
) -> None:
    following = reader(await in_database_thread(new_session)(), heartbeat=0.05)
    assert await following.next() == []
    errands.clear()
    for _ in range(10):
        assert await following.next() == []
    assert errands == []


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_many_waiting_readers_share_one_query(
    new_session: Callable[..., Session], reader: Callable[..., Reader], errands: list[Any], settings: Any
) -> None:
    settings.HEARTBEAT_SECONDS = 0.2
    readers = [reader(await in_database_thread(new_session)(), heartbeat=0.5) for _ in range(30)]
    await asyncio.gather(*(each.next() for each in readers))
    errands.clear()
    for _ in range(2):
        await asyncio.gather(*(each.next() for each in readers))
    # There was a look every 0.2 s; on a slow machine there were more, but far from one for each reader.
    assert 1 <= len(errands) < 30


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_end_of_a_session_whose_wake_up_was_lost_is_noticed(
    new_session: Callable[..., Session], reader: Callable[..., Reader], settings: Any
) -> None:
    settings.HEARTBEAT_SECONDS = 0.2
    alice = await in_database_thread(new_session)()
    following = reader(alice)
    waiting = await following.start()
    await in_database_thread(Session.objects.filter(pk=alice.pk).update)(state="ended")
    with pytest.raises(SessionOverError):
        await waiting


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a fault of ours")])
async def test_watcher_goes_on_after_a_failure_and_rests_before(
    conference: Conference,
    new_session: Callable[..., Session],
    reader: Callable[..., Reader],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    error: Exception,
) -> None:
    settings.HEARTBEAT_SECONDS = 0.1
    looks: list[float] = []
    real = watcher.newest_numbers

    def failing(sessions: list[str]) -> Any:
        looks.append(time.monotonic())
        if len(looks) <= 3:
            raise error
        return real(sessions)

    monkeypatch.setattr(watcher, "newest_numbers", failing)
    monkeypatch.setattr(wakeups, "wake", lambda entries: None)
    alice = await in_database_thread(new_session)()
    following = reader(alice)
    waiting = await following.start()
    await in_database_thread(append)(*messages(conference, alice))
    assert await waiting == [1]
    assert looks[3] - looks[0] >= 0.3


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_one_look_asks_for_a_bounded_number_of_sessions(
    new_session: Callable[..., Session],
    reader: Callable[..., Reader],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.HEARTBEAT_SECONDS = 0.1
    monkeypatch.setattr(watcher, "BATCH", 3)
    asked: list[int] = []
    real = watcher.newest_numbers

    def counting(sessions: list[str]) -> Any:
        asked.append(len(sessions))
        return real(sessions)

    readers = [reader(await in_database_thread(new_session)(), heartbeat=0.5) for _ in range(7)]
    await asyncio.gather(*(each.next() for each in readers))
    monkeypatch.setattr(watcher, "newest_numbers", counting)
    async with asyncio.timeout(20):
        while len(asked) < 6:
            await asyncio.sleep(0.01)
    assert max(asked) == 3
    assert sum(asked[-3:]) == 7


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_readers_that_have_stopped_leave_nothing(
    new_session: Callable[..., Session], reader: Callable[..., Reader], settings: Any
) -> None:
    settings.READERS_PER_SESSION = 2
    alice = await in_database_thread(new_session)()
    readers = [reader(alice, heartbeat=0.05) for _ in range(4)]
    for each in readers:
        assert await each.next() == []
    assert len(READERS.of(alice.pk)) == 2
    for each in readers[:2]:
        with pytest.raises(ReplacedError):
            await each.next()
    for each in readers:
        await each.log.aclose()
    assert READERS.sessions() == []
    async with asyncio.timeout(20):
        while any(task.get_name() == "watcher" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)


# --- Servers and the channel layer ------------------------------------------------------------------------


@pytest.mark.once
async def test_lost_wake_ups_cost_latency_only(serve: Serve, backends: Backends, endpoints: Endpoints) -> None:
    grown = backends.grown()
    apart = Backend({name: grown.variables[name] for name in ("DATABASE_URL", "SBE_STATIC_DIR")}, grown.api_key)
    one, other = (serve(apart, **UNLIMITED, SBE_HEARTBEAT_SECONDS="0.5") for _ in range(2))
    alice, bob, conference = await endpoints.call(one)
    async with bob.elsewhere(other).socket(after=1) as socket:
        for seq in (2, 4, 6):
            modified = await alice.modify(conference)
            assert (await next_event(socket))["modId"] == modified.headers["x-mod-id"]
            await alice.withdraw(conference, modified.headers["x-mod-id"])
            assert (await next_event(socket))["seq"] == seq + 1


@pytest.mark.once
async def test_events_go_on_while_the_channel_layer_is_away(
    serve: Serve, backends: Backends, endpoints: Endpoints
) -> None:
    grown = backends.grown()
    with redis() as url:
        backend = Backend({**grown.variables, "REDIS_URL": url}, grown.api_key)
        server = serve(backend, **UNLIMITED, SBE_HEARTBEAT_SECONDS="0.5")
        alice, bob, conference = await endpoints.call(server)
        socket = await bob.socket(after=1)
        await alice.modify(conference)
        assert (await next_event(socket))["seq"] == 2
    # Redis has stopped. Who reads all the time answers the heartbeats in time.
    reading = asyncio.create_task(events_until(socket, 8))
    for _ in range(3):
        async with asyncio.timeout(5):
            pending = (await alice.request("GET", f"/mediaConferences/{conference}")).json()["pendingModifications"]
            withdrawn = await alice.withdraw(conference, pending[0]["modId"])
            assert withdrawn.status_code == 204, withdrawn.text
            modified = await alice.modify(conference)
            assert modified.status_code == 204, modified.text
    log_ = await bob.log()
    assert [event["seq"] for event in log_] == list(range(1, 9))
    assert await reading == log_[2:]
    await socket.close()
    async with bob.socket(after=6) as late:
        assert await events_until(late, 8) == log_[6:]
    # What is logged of it is one line now and then, and what the layer itself says.
    assert not [line for line in server.log().splitlines() if " ERROR " in line and " ERROR channels_redis" not in line]
