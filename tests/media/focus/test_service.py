"""A node's service: tasks that fail, results that cannot be applied, and reports that must not get lost."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from media import samples, tasks
from media.focus import conference as conferences
from media.focus import heartbeat, retransmission, sampler, service
from media.focus.node import Node, Settings
from media.focus.service import Service, Wiring
from media.messages import (
    ConferenceView,
    OfferTask,
    ParticipantView,
    Refusal,
    RefusalCode,
    Result,
    Task,
    TaskKind,
    UpdateTask,
    WithdrawTask,
    read_task,
)
from media.models import MediaNode, MediaTask, QualitySample
from media.reports import (
    Assignment,
    Connection,
    Direction,
    Notice,
    PausedVideos,
    Sample,
    Source,
    UsedLayers,
    Verdict,
    Video,
)
from tests.support.media.by_json import written
from tests.support.media.node_harness import Listener
from tests.support.media.synthetic import SyntheticConference
from tests.support.services import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 10.0
REFUSAL = Refusal(RefusalCode.SDP_INVALID, "No codec in common.")
Settle = Callable[[int, Result], None]


class Books:
    """Takes the place of the operations: records a node's results and reports, and refuses them if a test says so."""

    def __init__(self) -> None:
        self.settled: list[tuple[str, Result]] = []
        self.lost: list[str] = []
        self.announced: list[tuple[str, str]] = []
        self.refuse_announcements = 0
        self.notices: list[tuple[str, Notice]] = []
        self.rated: list[tuple[str, str, Connection]] = []
        self.recorded: list[tuple[str, Verdict, float]] = []
        self.refuse: Callable[[MediaTask], bool] = lambda task: False
        self.refuse_reports = 0
        self.error: Exception = RuntimeError("The books are closed")
        self.serves: dict[str, int] = {}
        self.lost_by: list[Assignment] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self._news = threading.Condition()

    def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._news:
            self.loop = loop
            self._news.notify_all()

    def on_loop(self, report: Callable[..., None], *what: object) -> None:
        """Call a reporting method on the node's loop, as the node itself does."""
        self.wait(lambda: self.loop is not None)
        assert self.loop is not None
        self.loop.call_soon_threadsafe(report, *what)

    def settle(self, *, task_id: int, result: Result, now: datetime) -> None:
        task = MediaTask.objects.get(pk=task_id)
        refused = self.refuse(task)
        if not refused:
            tasks.finish(task_id)
        with self._news:
            self.settled.append((task.conference, result))
            self._news.notify_all()
        if refused:
            raise self.error

    def lose(self, *, conference_id: str, participant_id: str, leg: str, by: Assignment, now: datetime) -> None:
        with self._news:
            self.lost.append(participant_id)
            self.lost_by.append(by)
            self._news.notify_all()
        if len(self.lost) <= self.refuse_reports:
            raise self.error

    def announce(self, *, conference_id: str, participant_id: str, by: Assignment) -> None:
        with self._news:
            self.announced.append((conference_id, participant_id))
            self._news.notify_all()
        if len(self.announced) <= self.refuse_announcements:
            raise self.error

    def rate(self, *, conference_id: str, participant_id: str, connection: Connection, by: Assignment) -> None:
        with self._news:
            self.rated.append((conference_id, participant_id, connection))
            self._news.notify_all()

    def record(self, *, participant_id: str, verdict: Verdict, since: datetime, now: datetime, **_: Any) -> None:
        with self._news:
            self.recorded.append((participant_id, verdict, (now - since).total_seconds()))
            self._news.notify_all()

    def notify(self, *, conference_id: str, participant_id: str, notice: Notice, by: Assignment) -> None:
        with self._news:
            self.notices.append((participant_id, notice))
            self._news.notify_all()
        if len(self.notices) <= self.refuse_announcements:
            raise self.error

    def assigned(self, *, node_id: str) -> dict[str, int]:
        return self.serves

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until the results and reports so far meet a condition."""
        with self._news:
            assert self._news.wait_for(condition, SECONDS)

    def of(self, conference: str) -> list[Result]:
        """Return the results of a conference's tasks."""
        return [result for name, result in self.settled if name == conference]


@contextmanager
def running(books: Books) -> Iterator[Service]:
    """Run a node that passes its results and reports to these books."""
    wiring = Wiring(
        settle=books.settle,
        leg_lost=books.lose,
        speaker_changed=books.announce,
        connection_changed=books.rate,
        record_connection=books.record,
        notify=books.notify,
        assigned=books.assigned,
        now=timezone.now,
        enter=books.enter,
    )
    node = Service(Settings(), wiring)
    node.start()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    # The service tries again only when it polls: no wake-up comes for a second attempt.
    monkeypatch.setattr(service, "POLL_SECONDS", 0.01)
    return Books()


@pytest.fixture
def node(books: Books) -> Iterator[Service]:
    with running(books) as node:
        yield node


NOBODY = ConferenceView(participants=(), ready=())


def ask(node: Service, conference: str, task: Task | None = None, view: ConferenceView = NOBODY) -> None:
    """Write a task for a node."""
    tasks.enqueue(node_id=node.id, conference_id=conference, task=task or UpdateTask(), view=view, now=timezone.now())


def test_a_task_that_cannot_be_carried_out_is_refused_at_once(node: Service, books: Books) -> None:
    ask(node, "broken", OfferTask("nobody", "1", "", fresh=True))
    ask(node, "sound")
    books.wait(lambda: len(books.settled) == 2)
    assert [each.refusal and each.refusal.code for each in books.of("broken")] == [RefusalCode.MEDIA_UNAVAILABLE]
    assert books.of("sound") == [Result()]


def test_a_result_that_cannot_be_applied_holds_up_its_own_conference_only(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 1000.0)
    books.refuse = lambda task: task.conference == "closed"
    for conference in ("closed", "closed", "sound", "sound"):
        ask(node, conference)
    books.wait(lambda: len(books.of("sound")) == 2)
    ask(node, "sound")
    books.wait(lambda: len(books.of("sound")) == 3)
    assert len(books.of("closed")) == 1
    assert [task.conference for task in MediaTask.objects.all()] == ["closed", "closed"]


LONG = (service.LONG_CHARACTERS + 1) * "x"


def refused_offer(node: Service, conference: str, sdp: str) -> None:
    """Give a node an offer of an unknown participant, which the node refuses."""
    ask(node, conference, OfferTask("nobody", "1", sdp, fresh=True))


def test_long_descriptions_wait_for_shorter_ones_of_other_conferences(node: Service, books: Books) -> None:
    with transaction.atomic():
        for conference in ("first", "second"):
            refused_offer(node, conference, LONG)
            ask(node, conference)
        for number in range(service.BATCH):
            refused_offer(node, f"further {number}", LONG)
        ask(node, "sound")
    books.wait(lambda: len(books.settled) == 5 + service.BATCH)
    order = [conference for conference, _ in books.settled]
    assert order[0] == "sound"
    # The long descriptions keep their order. Later tasks of a conference wait for its long description.
    assert [each for each in dict.fromkeys(order) if each != "sound"][:2] == ["first", "second"]
    assert [result.refusal is not None for result in books.of("first")] == [True, False]


def test_long_descriptions_do_not_wait_for_ever(node: Service, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BATCH", 1)
    monkeypatch.setattr(service, "LONGEST_WAIT_SECONDS", 0.0)
    with transaction.atomic():
        refused_offer(node, "long", LONG)
        for _ in range(3):
            ask(node, "sound")
    books.wait(lambda: len(books.settled) == 4)
    assert [conference for conference, _ in books.settled] == ["long", "sound", "sound", "sound"]


def test_a_long_task_that_is_forgotten_is_not_carried_out(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Node.execute

    async def forget(node: Node, conference: str, task: Task, view: ConferenceView) -> Any:
        await asyncio.to_thread(MediaTask.objects.filter(conference="moved").delete)
        return await execute(node, conference, task, view)

    monkeypatch.setattr(Node, "execute", forget)
    with transaction.atomic():
        refused_offer(node, "moved", LONG)
        ask(node, "sound")
    books.wait(lambda: len(books.settled) == 1)
    ask(node, "sound")
    books.wait(lambda: len(books.settled) == 2)
    assert {conference for conference, _ in books.settled} == {"sound"}


def test_a_result_is_kept_until_it_can_be_applied(node: Service, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)
    executed: list[str] = []

    async def execute(node: Node, conference: str, task: Task, view: ConferenceView) -> Result:
        executed.append(conference)
        # If the task were carried out twice, the second result would contain no refusal.
        return Result(refusal=REFUSAL) if len(executed) == 1 else Result()

    monkeypatch.setattr(Node, "execute", execute)
    books.refuse = lambda task: len(books.settled) < 2
    ask(node, "conference")
    books.wait(lambda: len(books.settled) == 3)
    assert executed == ["conference"]
    assert {result.refusal for result in books.of("conference")} == {REFUSAL}


def test_a_result_that_can_never_be_applied_is_given_up(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)
    books.refuse = lambda task: task.kind == TaskKind.WITHDRAW
    ask(node, "conference", WithdrawTask("nobody", "1", rejected=False))
    ask(node, "conference")
    books.wait(lambda: len(books.settled) == service.TRIES + 1)


def test_a_report_is_kept_until_it_can_be_handed_in(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)
    books.refuse_reports = 2
    books.on_loop(node.leg_lost, "conference", "alice", "leg")
    books.wait(lambda: books.lost == ["alice"] * 3)


def test_a_broken_connection_is_reported(node: Service, books: Books) -> None:
    books.on_loop(node.connection_changed, "conference", "alice", Connection.DISCONNECTED)
    books.wait(lambda: books.rated == [("conference", "alice", Connection.DISCONNECTED)])


def test_a_change_of_a_connection_is_recorded_with_its_beginning(node: Service, books: Books) -> None:
    books.wait(lambda: books.loop is not None)
    assert books.loop is not None
    books.on_loop(node.connection_judged, "conference", "alice", Verdict.POOR, books.loop.time() - 3)
    books.wait(lambda: len(books.recorded) == 1)
    ((who, verdict, seconds),) = books.recorded
    assert (who, verdict) == ("alice", Verdict.POOR)
    assert 3 <= seconds < 3 + SECONDS


def test_only_the_newest_notice_of_a_subject_is_sent_after_an_outage(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.3)
    books.error, books.refuse_announcements = OperationalError("away"), 1
    books.on_loop(node.noticed, "conference", "alice", PausedVideos((Video("bob", "video"),)))
    books.wait(lambda: len(books.notices) == 1)
    for notice in (UsedLayers("1", ("a",)), PausedVideos(()), UsedLayers("1", ("a", "b")), UsedLayers("2", ())):
        books.on_loop(node.noticed, "conference", "alice", notice)
    books.wait(lambda: len(books.notices) == 4)
    newest = [UsedLayers("1", ("a", "b")), PausedVideos(()), UsedLayers("2", ())]
    assert sorted(books.notices[1:], key=str) == sorted((("alice", notice) for notice in newest), key=str)


def test_a_report_that_can_never_be_handed_in_is_given_up(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)
    books.refuse_reports = service.TRIES
    for who in ("alice", "bob"):
        books.on_loop(node.leg_lost, "conference", who, "leg")
    books.wait(lambda: books.lost == ["alice"] * service.TRIES + ["bob"])


def test_an_outage_of_the_database_gives_up_no_report(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)
    books.error, books.refuse_reports = OperationalError("away"), 2 * service.TRIES
    books.on_loop(node.leg_lost, "conference", "alice", "leg")
    books.wait(lambda: books.lost == ["alice"] * (2 * service.TRIES + 1))


def test_an_outage_of_the_database_gives_up_no_result(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)
    books.error = OperationalError("away")
    books.refuse = lambda task: len(books.settled) < 2 * service.TRIES
    ask(node, "conference")
    books.wait(lambda: len(books.settled) > 2 * service.TRIES)


def test_a_node_with_a_batch_of_slow_tasks_still_beats(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.02)
    beats: list[datetime] = []

    async def execute(node: Node, conference: str, task: Task, view: ConferenceView) -> Result:
        await asyncio.sleep(0.1)
        return Result()

    def note_beat(task: MediaTask) -> bool:
        beats.append(MediaNode.objects.get().heartbeat_at)
        return False

    books.refuse = note_beat
    with running(books) as node:
        monkeypatch.setattr(Node, "execute", execute)
        for _ in range(20):
            ask(node, "conference")
        books.wait(lambda: len(books.settled) == 20)
    assert len(set(beats)) > 10
    assert max(later - earlier for earlier, later in pairwise(beats)) < timedelta(seconds=1)


def test_a_heartbeat_that_fails_is_repeated(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(heartbeat, "RETRY_SECONDS", 0.02)
    beat, beats = tasks.heartbeat, 0
    repeated = threading.Event()

    def fail_sometimes(node_id: str, **news: Any) -> None:
        nonlocal beats
        beats += 1
        if beats in {2, 3}:
            raise OperationalError("The database is away")
        beat(node_id, **news)
        if beats > 3:
            repeated.set()

    monkeypatch.setattr(tasks, "heartbeat", fail_sometimes)
    with running(books):
        assert repeated.wait(SECONDS)


def test_a_node_stops_serving_what_it_has_lost(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.02)
    view = ConferenceView(participants=(ParticipantView("alice", "accepted"),), ready=())
    with running(books) as node:
        books.serves = {"kept": 1, "moved": 1, "back": 1}
        for conference in ("kept", "moved", "back"):
            ask(node, conference, view=view)
        books.wait(lambda: len(books.settled) == 3)
        assert node.held() == {"kept": 1, "moved": 1, "back": 1}
        # Another node had served the conference `back` for a while, without this node's knowledge.
        books.serves = {"kept": 1, "back": 3}
        wait_until(lambda: set(node.held()) <= {"kept"}, "the node lets go")
        ask(node, "back", view=replace(view, generation=3))
        books.wait(lambda: len(books.settled) == 4)
        assert node.held() == {"kept": 1, "back": 3}


def test_a_newer_assignment_replaces_what_is_left_of_an_older_one(node: Service, books: Books) -> None:
    books.serves = {"conference": 3}
    view = ConferenceView(participants=(ParticipantView("alice", "accepted"),), ready=())
    ask(node, "conference", view=view)
    books.wait(lambda: len(books.settled) == 1)
    ask(node, "conference", view=replace(view, generation=3))
    books.wait(lambda: len(books.settled) == 2)
    assert node.held() == {"conference": 3}
    books.on_loop(node.leg_lost, "conference", "alice", "leg")
    books.wait(lambda: books.lost_by == [Assignment(node.id, 3)])


def test_a_node_that_is_stopped_leaves_nothing(books: Books) -> None:
    before = set(threading.enumerate())
    with running(books) as node:
        assert MediaNode.objects.filter(pk=node.id).exists()
        threads = set(threading.enumerate()) - before
        assert {thread.name for thread in threads} >= {"media", "media-tasks"}
    assert not MediaNode.objects.exists()
    assert not any(thread.is_alive() for thread in threads)
    assert books.loop is not None
    assert books.loop.is_closed()
    assert node.unsettled == 0


def test_only_the_newest_speaker_of_a_conference_is_announced(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(books, "lose", lambda **_: held.wait(SECONDS))
    with running(books) as node:
        node.leg_lost("call", "somebody", "leg")
        for number in range(100):
            node.speaker_changed("call", f"speaker {number}")
        node.speaker_changed("other", "another")
        held.set()
        books.wait(lambda: len(books.announced) >= 2)
    assert books.announced[-2:] == [("call", "speaker 99"), ("other", "another")]
    assert len(books.announced) <= 3


@pytest.mark.parametrize(("error", "announced"), [(OperationalError("away"), 2), (RuntimeError("broken"), 1)])
def test_an_announcement_waits_for_the_database_and_for_nothing_else(
    books: Books, monkeypatch: pytest.MonkeyPatch, node: Service, error: Exception, announced: int
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)
    books.error, books.refuse_announcements = error, 1
    node.speaker_changed("call", "alice")
    books.wait(lambda: len(books.announced) == announced)
    node.speaker_changed("other", "bob")
    books.wait(lambda: books.announced[-1] == ("other", "bob"))
    assert books.announced == [("call", "alice")] * announced + [("other", "bob")]


def test_tasks_do_not_wait_for_all_reports(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    rated: list[int] = []

    def settle(*, task_id: int, result: Result, now: datetime) -> None:
        rated.append(len(books.rated))
        tasks.finish(task_id)

    monkeypatch.setattr(books, "lose", lambda **_: held.wait(SECONDS))
    monkeypatch.setattr(books, "settle", settle)
    with running(books) as node:
        node.leg_lost("call", "somebody", "leg")
        ask(node, "sound")
        for number in range(10 * service.REPORTS_AT_ONCE):
            node.connection_changed("call", str(number), Connection.POOR)
        held.set()
        books.wait(lambda: len(books.rated) == 10 * service.REPORTS_AT_ONCE)
    assert rated[0] <= service.REPORTS_AT_ONCE


# --- Samples of quality --------------------------------------------------------------------------------------


def sample(who: str = "alice") -> Sample:
    return Sample(participant=who, source=Source.FOCUS, direction=Direction.UP, bitrate=1_000)


def stored() -> list[str]:
    """Return the participants of the stored samples, in the order of their rows."""
    return list(QualitySample.objects.values_list("participant_id", flat=True))


def test_samples_are_stored_with_the_time_at_which_they_were_taken(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_at = timezone.now()
    books.on_loop(node.sampled, "conference", [sample("alice"), sample("bob")])
    wait_until(lambda: stored() == ["alice", "bob"], "the samples are stored")
    for row in QualitySample.objects.all():
        assert row.conference_id == "conference"
        assert abs(row.at - taken_at) < timedelta(seconds=5)


def test_during_an_outage_a_bounded_number_of_samples_waits(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SAMPLES_KEPT", 3)
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)
    is_away = threading.Event()
    is_away.set()
    waiting, looked = tasks.waiting, threading.Semaphore(0)

    def look(*args: Any, **options: Any) -> list[MediaTask]:
        looked.release()
        if is_away.is_set():
            raise OperationalError("away")
        return waiting(*args, **options)

    monkeypatch.setattr(tasks, "waiting", look)
    with running(books) as node:
        books.on_loop(node.sampled, "conference", [sample(str(number)) for number in range(5)])
        for _ in range(3):
            assert looked.acquire(timeout=SECONDS)
        assert stored() == []
        ask(node, "sound")
        is_away.clear()
        wait_until(lambda: stored() == ["2", "3", "4"], "the newest samples are stored")
        books.wait(lambda: books.of("sound") == [Result()])


def test_samples_that_cannot_be_stored_delay_nothing(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 1000.0)
    refused: list[int] = []

    def refuse(rows: Iterable[samples.Taken]) -> None:
        refused.append(len(list(rows)))
        raise OperationalError("locked")

    monkeypatch.setattr(samples, "store", refuse)
    monkeypatch.setattr(samples, "BATCH", 2)
    books.on_loop(node.sampled, "conference", [sample(), sample(), sample()])
    wait_until(lambda: len(refused) == 2, "both batches are refused")
    ask(node, "sound")
    books.wait(lambda: books.of("sound") == [Result()])
    assert refused == [2, 1]
    assert "2 samples of quality are lost" in caplog.text


async def test_the_samples_of_a_call_on_a_real_node_are_stored(
    node: Service, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conferences, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(conferences, "SAMPLE_SECONDS", 0.3)
    monkeypatch.setattr(retransmission, "MEASURE_SECONDS", 0.05)
    monkeypatch.setattr(sampler, "SHORTEST_SECONDS", 0.1)

    async def execute(conference_id: str, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        settled = len(books.settled)
        await asyncio.to_thread(ask, node, conference_id, *read_task(kind, payload))
        await asyncio.to_thread(books.wait, lambda: len(books.settled) > settled)
        return written(books.settled[-1][1])

    books.serves = {"call": 1}
    call, peers = SyntheticConference("call", execute), [Listener("alice"), Listener("bob")]
    try:
        for peer in peers:
            await call.join(peer)
        alice, _ = peers
        async with asyncio.timeout(SECONDS):
            rows = QualitySample.objects.filter(conference_id="call", bitrate__gt=0)
            while {(row.participant_id, row.direction) async for row in rows.all()} != {
                ("alice", "up"),
                ("bob", "down"),
            }:
                alice.film()
                await asyncio.sleep(0.01)
    finally:
        for peer in peers:
            await peer.close()
