"""Events are numbered without gaps and written in the caller's transaction."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from conferences.models import Conference
from events import log, wakeups
from events.models import Event, Session
from tests.support.log import append, in_database, messages


@pytest.fixture
def news(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[tuple[int, str]]]]:
    """The events of each wake-up."""
    woken: list[dict[str, list[tuple[int, str]]]] = []
    monkeypatch.setattr(wakeups, "wake", woken.append)
    return woken


def numbers(session: Session) -> list[int]:
    """Return the event numbers in a session's log, and require that the session's counter agrees."""
    found = list(Event.objects.of(session.pk).values_list("seq", flat=True))
    session.refresh_from_db()
    assert session.last_seq == len(found)
    return found


@in_database
def test_messages_of_one_transaction_keep_their_order(
    conference: Conference, new_session: Callable[..., Session], news: list[Any]
) -> None:
    alice, bob = new_session("alice"), new_session("bob")
    written = [message for n in range(5) for message in messages(conference, alice, bob, n=n)]
    append(*written)
    append(*messages(conference, bob, n=5))
    for session, number in ((alice, 5), (bob, 6)):
        assert numbers(session) == list(range(1, number + 1))
        wires = [json.loads(wire) for wire in Event.objects.of(session.pk).values_list("wire", flat=True)]
        assert [(wire["seq"], wire["n"]) for wire in wires] == [(n + 1, n) for n in range(number)]


@in_database
def test_ended_sessions_get_no_event(
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
def test_readers_are_woken_only_after_the_commit(
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
                # Each worker names the sessions in a different order. Locks taken in that order would deadlock.
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
        """Read one log repeatedly, and require that it never has a gap."""
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


@in_database
def test_large_events_are_read_from_the_log(
    conference: Conference, new_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    async def send(to: Any) -> None:
        sent.append(to)

    monkeypatch.setattr(wakeups, "send", send)
    alice, bob = new_session("alice"), new_session("bob")
    append(
        *messages(conference, alice, text="x" * wakeups.CARRIED_CHARACTERS),
        *messages(conference, bob, text="x" * (wakeups.CARRIED_CHARACTERS // 2)),
    )
    (to,) = sent
    assert to[alice.pk]["news"] == []
    assert [seq for seq, _ in to[bob.pk]["news"]] == [1]
