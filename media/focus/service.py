"""Run a node in three threads: one for media, one for its work with the database, and one for the heartbeat.

The media thread runs the node's event loop. A slow database never delays a packet, because no sync code runs on that
loop. Slow tasks never make the node look dead, because the heartbeat does not wait for them.
"""

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db import InterfaceError, OperationalError, close_old_connections, connections

from media import samples, tasks
from media.focus.heartbeat import Heartbeat
from media.focus.inspection import NodeCounts
from media.focus.node import Node, Settings, prepare_interpreter
from media.messages import Refusal, RefusalCode, Result, read_task
from media.models import MediaTask
from media.reports import Assignment, Connection, Notice, Sample, Verdict

logger = logging.getLogger(__name__)

# Query the database for tasks this often, because a wake-up may be lost.
POLL_SECONDS = 1.0
# Give up on a result that cannot be applied, or a report that cannot be delivered, after this many tries.
TRIES = 5
RETRY_SECONDS = 1.0
BATCH = 20
# A task with a description longer than this may take a hundred times as long as a shorter task. So it waits for the
# shorter tasks of other conferences. A client that sends many long descriptions thus delays only clients like itself.
LONG_CHARACTERS = 64 * 1024
# A long task waits at most this long for shorter tasks.
LONGEST_WAIT_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0
# When a node stops, wait this long for its cancelled asyncio tasks.
_CANCEL_SECONDS = 2.0
_REPORTS_KEPT = 10_000
# Deliver this many reports before the next tasks.
REPORTS_AT_ONCE = 20
# The most samples of quality that wait for the database; the oldest are dropped. That is a minute of 400 legs.
SAMPLES_KEPT = 10_000


class Settle(Protocol):
    """Applies the result of a task, and deletes the task's row in the same transaction."""

    def __call__(self, *, task_id: int, result: Result, now: datetime) -> None: ...


class LegLost(Protocol):
    """Removes a participant whose leg is lost."""

    def __call__(self, *, conference_id: str, participant_id: str, leg: str, by: Assignment, now: datetime) -> None: ...


class SpeakerChanged(Protocol):
    """Announces a conference's new active speaker to its participants."""

    def __call__(self, *, conference_id: str, participant_id: str, by: Assignment) -> None: ...


class ConnectionChanged(Protocol):
    """Announces the quality of a participant's connection to all participants of the conference."""

    def __call__(self, *, conference_id: str, participant_id: str, connection: Connection, by: Assignment) -> None: ...


class RecordConnection(Protocol):
    """Records a change of the quality of a participant's connection in the participant's event log."""

    def __call__(
        self,
        *,
        conference_id: str,
        participant_id: str,
        verdict: Verdict,
        since: datetime,
        by: Assignment,
        now: datetime,
    ) -> None: ...


class Notify(Protocol):
    """Sends a notice to one participant."""

    def __call__(self, *, conference_id: str, participant_id: str, notice: Notice, by: Assignment) -> None: ...


class Assigned(Protocol):
    """Returns the conferences that are assigned to a node: the generation of each assignment, by conference ID."""

    def __call__(self, *, node_id: str) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Wiring:
    """The functions of the rest of the service that a node calls.

    `now` is the clock that the operations use. The thread for tasks and reports begins by calling `enter` with the
    node's loop.
    """

    settle: Settle
    leg_lost: LegLost
    speaker_changed: SpeakerChanged
    connection_changed: ConnectionChanged
    record_connection: RecordConnection
    notify: Notify
    assigned: Assigned
    now: Callable[[], datetime]
    enter: Callable[[asyncio.AbstractEventLoop], None]


@dataclass
class _Trial:
    """The result of a task, and how many attempts to apply the result have failed."""

    result: Result | None = None
    failures: int = 0


@dataclass(frozen=True)
class _Long:
    """A long task, and the time at which it began to wait for shorter tasks (monotonic clock)."""

    task_id: int
    since: float


class Service:
    """A running node."""

    def __init__(self, settings: Settings, wiring: Wiring) -> None:
        """Bind the port; nothing runs yet.

        :raises OSError: when the port cannot be bound.
        """
        self.id = secrets.token_hex(16)
        self._wiring = wiring
        self._reports: deque[Callable[[], None]] = deque()
        # The newest news of each subject, until they are sent: the speaker of a conference, or a participant's notices.
        self._news: dict[tuple[str, ...], Callable[[], None]] = {}
        self._refused_reports = 0
        # The samples that wait: the conference, the time by the monotonic clock, and the sample.
        self._samples: deque[tuple[str, float, Sample]] = deque(maxlen=SAMPLES_KEPT)
        # The tasks that have begun but are not settled, by the ID of the row.
        self._trials: dict[int, _Trial] = {}
        # The conferences whose next task waits after a failure, with the time at which it is tried again.
        self._rests: dict[str, float] = {}
        # The conferences whose next task is long, with that task. They are in the order in which they began to wait.
        self._long: dict[str, _Long] = {}
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._node = Node(settings, self)
        self._loop = _new_loop()
        self._media = threading.Thread(target=self._run_node, name="media", daemon=True)
        self._task_thread = threading.Thread(target=self._handle_work, name="media-tasks", daemon=True)
        self._heartbeat = Heartbeat(self._beat)

    @property
    def candidates(self) -> tuple[tuple[str, int], ...]:
        """The addresses and ports at which clients reach the node."""
        return self._node.candidates

    def start(self) -> None:
        """Start the node, and return when it is ready for conferences."""
        prepare_interpreter()
        self._media.start()
        self._call(self._node.start())
        self._heartbeat.start()
        self._stop_listening = tasks.listen(self.id, self._woken.set)
        self._task_thread.start()

    def stop(self) -> None:
        """Accept no new conference, end every leg, stop all threads and close all sockets."""
        self._stop_listening()
        # Stop the heartbeat first: the task thread retires the node, and a later heartbeat would register it again.
        self._heartbeat.stop()
        self._stopping.set()
        self._woken.set()
        self._task_thread.join(_PATIENCE_SECONDS)
        self._call(self._node.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._media.join(_PATIENCE_SECONDS)

    def listen_from_afar(self) -> None:
        """Also receive wake-ups from other processes."""
        asyncio.run_coroutine_threadsafe(tasks.listen_from_afar(self.id, self._woken.set), self._loop)

    def _call(self, work: Any) -> Any:
        """Run a coroutine on the node's loop and wait for its result."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(_PATIENCE_SECONDS)
        except TimeoutError:
            future.cancel()
            raise

    def _run_node(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            _close(self._loop)

    def leg_lost(self, conference: str, participant: str, leg: str) -> None:
        """Queue the report that a leg is lost. Call this on the node's loop."""
        by = self._assignment(conference)
        self._report(
            lambda: self._wiring.leg_lost(
                conference_id=conference, participant_id=participant, leg=leg, by=by, now=self._wiring.now()
            )
        )

    def speaker_changed(self, conference: str, participant: str) -> None:
        """Record a conference's new speaker. Call this on the node's loop."""
        by = self._assignment(conference)
        self._replace(
            (conference,),
            lambda: self._wiring.speaker_changed(conference_id=conference, participant_id=participant, by=by),
        )

    def noticed(self, conference: str, participant: str, notice: Notice) -> None:
        """Record a notice for a participant. Call this on the node's loop."""
        by = self._assignment(conference)
        self._replace(
            (conference, participant, notice.subject),
            lambda: self._wiring.notify(conference_id=conference, participant_id=participant, notice=notice, by=by),
        )

    def connection_changed(self, conference: str, participant: str, connection: Connection) -> None:
        """Queue the report on a participant's connection. Call this on the node's loop."""
        by = self._assignment(conference)
        self._report(
            lambda: self._wiring.connection_changed(
                conference_id=conference, participant_id=participant, connection=connection, by=by
            )
        )

    def connection_judged(self, conference: str, participant: str, verdict: Verdict, since: float) -> None:
        """Queue the record of a participant's connection. Call this on the node's loop."""
        by, begun = self._assignment(conference), time.monotonic() - (self._loop.time() - since)

        def record() -> None:
            now = self._wiring.now()
            self._wiring.record_connection(
                conference_id=conference,
                participant_id=participant,
                verdict=verdict,
                since=now - timedelta(seconds=time.monotonic() - begun),
                by=by,
                now=now,
            )

        self._report(record)

    def sampled(self, conference: str, samples: list[Sample]) -> None:
        """Queue samples. This wakes nobody: the thread for tasks looks for samples whenever it polls."""
        now = time.monotonic()
        self._samples.extend((conference, now, each) for each in samples)

    def held(self) -> dict[str, int]:
        """Return the conferences that this node serves, with the generation of each."""
        return self._node.held()

    @property
    def unsettled(self) -> int:
        """How many tasks have begun but are not settled."""
        return len(self._trials)

    def _assignment(self, conference: str) -> Assignment:
        """Return the assignment by which this node serves a conference. Call this on the node's loop."""
        return Assignment(self.id, self.held().get(conference, 0))

    def _report(self, report: Callable[[], None]) -> None:
        if len(self._reports) < _REPORTS_KEPT:
            self._reports.append(report)
        self._woken.set()

    def _replace(self, subject: tuple[str, ...], send: Callable[[], None]) -> None:
        """Record news. They replace earlier news of the same subject that were not sent yet."""
        self._news[subject] = send
        self._woken.set()

    # --- Tasks and reports: the `media-tasks` thread --------------------------------------------------

    def _handle_work(self) -> None:
        """Carry out tasks, apply their results and deliver reports, until the service stops."""
        self._wiring.enter(self._loop)
        while not self._stopping.is_set():
            self._woken.wait(POLL_SECONDS)
            self._woken.clear()
            try:
                while not self._stopping.is_set() and self._handle_some():
                    pass
                self._store_samples()
            except (OperationalError, InterfaceError) as error:
                logger.warning("The media node cannot use the database; it tries again soon: %s", error)
                self._wait_for_database()
            except Exception:
                logger.exception("The media node could not handle its tasks and reports; it tries again soon")
                self._wait_for_database()
        try:
            tasks.retire(self.id)
        finally:
            connections.close_all()

    def _wait_for_database(self) -> None:
        """Pause before the next attempt. Tasks and reports are kept."""
        close_old_connections()
        self._stopping.wait(RETRY_SECONDS)

    def _handle_some(self) -> bool:
        """Deliver reports, and carry out some tasks. Return whether there is more to do now."""
        more = self._deliver_reports()
        more = self._send_news() or more
        waiting = tasks.waiting(self.id, BATCH, but=[*self._resting(), *self._long])
        for task in waiting:
            if task.conference in self._rests or task.conference in self._long:
                continue
            if len(task.payload.get("sdp", "")) > LONG_CHARACTERS:
                self._long[task.conference] = _Long(task.pk, time.monotonic())
            else:
                self._carry_out(task)
        return self._carry_out_long_task(may_wait=len(waiting) == BATCH) or more or bool(waiting)

    def _carry_out_long_task(self, *, may_wait: bool) -> bool:
        """Carry out the long task that has waited longest. Return False if there is none, or if it still waits.

        :param may_wait: whether shorter tasks may be waiting. If so, the long task waits up to LONGEST_WAIT_SECONDS.
        """
        oldest = next(iter(self._long), "")
        if not oldest or (may_wait and time.monotonic() - self._long[oldest].since < LONGEST_WAIT_SECONDS):
            return False
        # If another node serves the conference by now, the task has been deleted.
        if task := tasks.find(self._long.pop(oldest).task_id):
            self._carry_out(task)
        return True

    def _deliver_reports(self) -> bool:
        """Deliver some of the node's reports. Return whether there are more.

        A report that fails TRIES times is given up.
        """
        for _ in range(min(len(self._reports), REPORTS_AT_ONCE)):
            report = self._reports[0]
            try:
                report()
            except (OperationalError, InterfaceError):
                # The database is unreachable. Reports wait until it is back.
                raise
            except Exception:
                self._refused_reports += 1
                if self._refused_reports < TRIES:
                    raise
                logger.exception("A report of the media node cannot be delivered; it is given up")
            self._refused_reports = 0
            self._reports.popleft()
        return bool(self._reports)

    def _send_news(self) -> bool:
        """Send some of the news, the oldest subjects first. Return whether there are more."""
        for subject in list(self._news)[:REPORTS_AT_ONCE]:
            send = self._news.pop(subject)
            try:
                send()
            except (OperationalError, InterfaceError):
                self._news.setdefault(subject, send)
                raise
            except Exception:
                logger.exception("%s: the news cannot be sent", " ".join(subject))
        return bool(self._news)

    def _store_samples(self) -> None:
        """Store one batch of samples. Samples that cannot be stored are lost: tasks and reports must not wait for them.

        If more samples wait, do not wait for the next poll.
        """
        # The node's loop may add samples meanwhile, and thus drop the oldest.
        batch: list[tuple[str, float, Sample]] = []
        with contextlib.suppress(IndexError):
            while len(batch) < samples.BATCH:
                batch.append(self._samples.popleft())
        if not batch:
            return
        now, clock = self._wiring.now(), time.monotonic()
        try:
            samples.store(
                samples.Taken(conference, now - timedelta(seconds=clock - at), sample)
                for conference, at, sample in batch
            )
        except Exception as error:
            logger.warning("%d samples of quality are lost: they cannot be stored: %r", len(batch), error)
            close_old_connections()
        if self._samples:
            self._woken.set()

    def _resting(self) -> list[str]:
        """Return the conferences whose next task has failed and waits for its retry."""
        now = time.monotonic()
        self._rests = {conference: until for conference, until in self._rests.items() if until > now}
        return list(self._rests)

    def _carry_out(self, task: MediaTask) -> None:
        """Carry out one task and apply its result. After a failure, only the task's conference waits for a retry."""
        trial = self._trials.setdefault(task.pk, _Trial())
        try:
            if trial.result is None:
                trial.result = self._execute(task)
            self._wiring.settle(task_id=task.pk, result=trial.result, now=self._wiring.now())
        except Exception as error:
            logger.exception("Media task %s (%s) is not settled", task.pk, task.kind)
            close_old_connections()
            # If the database is unreachable, the result is not at fault, so this try does not count.
            trial.failures += not isinstance(error, OperationalError | InterfaceError)
            if trial.failures < TRIES:
                self._rests[task.conference] = time.monotonic() + RETRY_SECONDS
                return
            tasks.finish(task.pk)
        del self._trials[task.pk]

    def _execute(self, task: MediaTask) -> Result:
        """Carry out a task on the node. A task that fails is not repeated, because it would fail again."""
        try:
            result: Result = self._call(self._node.execute(task.conference, *read_task(task.kind, task.payload)))
        except TimeoutError:
            raise
        except Exception:
            logger.exception("Media task %s (%s) failed", task.pk, task.kind)
            result = Result(refusal=Refusal(RefusalCode.MEDIA_UNAVAILABLE, "The media node could not do this."))
        return result

    # --- Heartbeat --------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Write the node's heartbeat and counts. Stop serving conferences that ended or that another node serves."""
        counts, held = self._call(self._state())
        announce = ", ".join(f"{host} {port}" for host, port in self._node.candidates)
        tasks.heartbeat(self.id, legs=counts.legs, counters=counts.reported(), announce=announce)
        if held:
            assigned = self._wiring.assigned(node_id=self.id)
            lost = {id_: generation for id_, generation in held.items() if assigned.get(id_) != generation}
            self._call(self._abandon(lost))

    async def _state(self) -> tuple[NodeCounts, dict[str, int]]:
        """Return the node's counts and the conferences that it serves. This runs on the node's own loop."""
        return self._node.counts(), self._node.held()

    async def _abandon(self, lost: Mapping[str, int]) -> None:
        """Stop serving these conferences. This runs on the node's own loop."""
        self._node.abandon(lost)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that still run on a loop, wait a moment for them to end, and close the loop."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=_CANCEL_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's if it is installed, because that loop wakes up sooner."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        logger.info("uvloop is not installed: the node uses asyncio's event loop")
    return factory()
