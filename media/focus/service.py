"""Runs a node: the node on a thread and event loop of its own, and its paperwork with the database on a second thread.

So a slow database never holds up a packet, and no sync code ever touches the node's loop. A third thread writes the
heartbeat, so slow paperwork never makes the node look dead.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db import InterfaceError, OperationalError, close_old_connections, connections

from media import tasks
from media.focus.heartbeat import Heartbeat
from media.focus.inspection import NodeCounts
from media.focus.node import Node, Settings, prepare_interpreter
from media.messages import Refusal, RefusalCode, Result, read_task
from media.models import MediaTask
from media.reports import Assignment, Connection

logger = logging.getLogger(__name__)

# A wake-up may be lost: then tasks wait for this long.
POLL_SECONDS = 1.0
# A result that cannot be applied, or a report that cannot be handed in, is given up after so many tries.
TRIES = 5
RETRY_SECONDS = 1.0
BATCH = 20
# A task with a longer description waits for the shorter ones of other conferences, but only so long: it takes up to a
# hundred times as long, and whoever sends many delays only those who do the same.
LONG_CHARACTERS = 64 * 1024
LONGEST_WAIT_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0
# How long a node that stops waits for its cancelled tasks.
_CANCEL_SECONDS = 2.0
_REPORTS_KEPT = 10_000
# Reports handed in before tasks get their turn again.
REPORTS_AT_ONCE = 20


class Settle(Protocol):
    """Applies the result of a task, and deletes its row in the same transaction."""

    def __call__(self, *, task_id: int, result: Result, now: datetime) -> None: ...


class LegLost(Protocol):
    """Lets a participant leave whose leg is lost."""

    def __call__(self, *, conference_id: str, participant_id: str, leg: str, by: Assignment, now: datetime) -> None: ...


class SpeakerChanged(Protocol):
    """Announces a conference's new active speaker to everybody in it."""

    def __call__(self, *, conference_id: str, participant_id: str, by: Assignment) -> None: ...


class ConnectionChanged(Protocol):
    """Announces how a participant's connection is to everybody in its conference."""

    def __call__(self, *, conference_id: str, participant_id: str, connection: Connection, by: Assignment) -> None: ...


class Assigned(Protocol):
    """Returns the conferences that a node is to serve, by ID, with the generation of each."""

    def __call__(self, *, node_id: str) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Wiring:
    """What the rest of the service lets a node do to conferences.

    `now` reads the clock that decides. `enter` is called first in the thread that does all this, with the node's loop.
    """

    settle: Settle
    leg_lost: LegLost
    speaker_changed: SpeakerChanged
    connection_changed: ConnectionChanged
    assigned: Assigned
    now: Callable[[], datetime]
    enter: Callable[[asyncio.AbstractEventLoop], None]


@dataclass
class _Trial:
    """What came of a task, and how often that could not be applied."""

    result: Result | None = None
    failures: int = 0


@dataclass(frozen=True)
class _Long:
    """A task that takes long, and since when it has waited for shorter ones (monotonic clock)."""

    task_id: int
    since: float


class Service:
    """A running node."""

    def __init__(self, settings: Settings, wiring: Wiring) -> None:
        """Bind the port; nothing runs yet.

        :raises OSError: when that cannot be done.
        """
        self.id = secrets.token_hex(16)
        self._wiring = wiring
        self._reports: deque[Callable[[], None]] = deque()
        # Of each conference whose speaker is still to be announced: the newest one.
        self._speaking: dict[str, tuple[str, Assignment]] = {}
        self._refused_reports = 0
        # What became of the tasks that are not settled yet; conferences whose tasks wait, and until when.
        self._trials: dict[int, _Trial] = {}
        self._rests: dict[str, float] = {}
        # The next tasks of conferences whose next task takes long, in their order.
        self._long: dict[str, _Long] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._node = Node(settings, self)
        self._loop = _new_loop()
        self._media = threading.Thread(target=self._run_node, name="media", daemon=True)
        self._clerk = threading.Thread(target=self._do_paperwork, name="media-clerk", daemon=True)
        self._heartbeat = Heartbeat(self._beat)

    @property
    def candidates(self) -> tuple[tuple[str, int], ...]:
        """Where clients reach the node."""
        return self._node.candidates

    def start(self) -> None:
        """Begin to serve, and return once the node is open for conferences."""
        prepare_interpreter()
        self._media.start()
        self._call(self._node.start())
        self._heartbeat.start()
        self._stop_listening = tasks.listen(self.id, self._wake.set)
        self._clerk.start()

    def stop(self) -> None:
        """Take no new conference, end every leg, and leave no thread or socket behind."""
        self._stop_listening()
        # The clerk retires the node, so no heartbeat may follow.
        self._heartbeat.stop()
        self._stopping.set()
        self._wake.set()
        self._clerk.join(_PATIENCE_SECONDS)
        self._call(self._node.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._media.join(_PATIENCE_SECONDS)

    def listen_from_afar(self) -> None:
        """Take wake-ups from other processes too."""
        asyncio.run_coroutine_threadsafe(tasks.listen_from_afar(self.id, self._wake.set), self._loop)

    def _call(self, work: Any) -> Any:
        """Run something on the node's loop and wait for it."""
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
        """Note that a leg is lost; called on the node's loop."""
        by = self._assignment(conference)
        self._report(
            lambda: self._wiring.leg_lost(
                conference_id=conference, participant_id=participant, leg=leg, by=by, now=self._wiring.now()
            )
        )

    def speaker_changed(self, conference: str, participant: str) -> None:
        """Note who speaks; called on the node's loop."""
        self._speaking[conference] = participant, self._assignment(conference)
        self._wake.set()

    def connection_changed(self, conference: str, participant: str, connection: Connection) -> None:
        """Note how somebody's connection is; called on the node's loop."""
        by = self._assignment(conference)
        self._report(
            lambda: self._wiring.connection_changed(
                conference_id=conference, participant_id=participant, connection=connection, by=by
            )
        )

    def held(self) -> dict[str, int]:
        """Return the conferences that this node serves, with the generation of each."""
        return self._node.held()

    @property
    def unsettled(self) -> int:
        """How many tasks have begun and are not settled."""
        return len(self._trials)

    def _assignment(self, conference: str) -> Assignment:
        """Return by what right a conference is served now; called on the node's loop."""
        return Assignment(self.id, self.held().get(conference, 0))

    def _report(self, report: Callable[[], None]) -> None:
        if len(self._reports) < _REPORTS_KEPT:
            self._reports.append(report)
        self._wake.set()

    # --- Paperwork --------------------------------------------------------------------------------------------

    def _do_paperwork(self) -> None:
        """Carry tasks to the node and results back until the end."""
        self._wiring.enter(self._loop)
        while not self._stopping.is_set():
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            try:
                while not self._stopping.is_set() and self._work_off():
                    pass
            except Exception:
                # The database may be away for a while: tasks and reports stay where they are.
                logger.exception("The media node's paperwork failed; it goes on in a moment")
                close_old_connections()
                self._stopping.wait(RETRY_SECONDS)
        try:
            tasks.retire(self.id)
        finally:
            connections.close_all()

    def _work_off(self) -> bool:
        """Do what is due, and some of what waits; return False when no task can be carried out now."""
        more = self._hand_in_reports()
        self._announce_speakers()
        waiting = tasks.waiting(self.id, BATCH, but=[*self._resting(), *self._long])
        for task in waiting:
            if task.conference in self._rests or task.conference in self._long:
                continue
            if len(task.payload.get("sdp", "")) > LONG_CHARACTERS:
                self._long[task.conference] = _Long(task.pk, time.monotonic())
            else:
                self._carry_out(task)
        return self._carry_out_a_long_one(may_wait=len(waiting) == BATCH) or more or bool(waiting)

    def _carry_out_a_long_one(self, *, may_wait: bool) -> bool:
        """Carry out the long task that has waited longest, and tell whether there was one."""
        oldest = next(iter(self._long), "")
        if not oldest or (may_wait and time.monotonic() - self._long[oldest].since < LONGEST_WAIT_SECONDS):
            return False
        # The conference may have got another node meanwhile: then its tasks are forgotten.
        if task := tasks.find(self._long.pop(oldest).task_id):
            self._carry_out(task)
        return True

    def _hand_in_reports(self) -> bool:
        """Hand in some of what the node has reported, and tell whether there is more.

        What fails again and again is given up.
        """
        for _ in range(min(len(self._reports), REPORTS_AT_ONCE)):
            report = self._reports[0]
            try:
                report()
            except (OperationalError, InterfaceError):
                # The database is away: reports wait for as long as that takes.
                raise
            except Exception:
                self._refused_reports += 1
                if self._refused_reports < TRIES:
                    raise
                logger.exception("A report of the media node cannot be handed in; it is given up")
            self._refused_reports = 0
            self._reports.popleft()
        return bool(self._reports)

    def _announce_speakers(self) -> None:
        """Tell conferences who speaks by now: of each one only the newest, whatever happened since the last time."""
        for conference in list(self._speaking):
            participant, by = self._speaking.pop(conference)
            try:
                self._wiring.speaker_changed(conference_id=conference, participant_id=participant, by=by)
            except (OperationalError, InterfaceError):
                self._speaking.setdefault(conference, (participant, by))
                raise
            except Exception:
                logger.exception("conference %s: who speaks cannot be announced", conference)

    def _resting(self) -> list[str]:
        """Return the conferences whose next task is not tried yet."""
        now = time.monotonic()
        self._rests = {conference: until for conference, until in self._rests.items() if until > now}
        return list(self._rests)

    def _carry_out(self, task: MediaTask) -> None:
        """Carry out one task and have its result applied. While that fails its conference waits, and no other."""
        trial = self._trials.setdefault(task.pk, _Trial())
        try:
            if trial.result is None:
                trial.result = self._execute(task)
            self._wiring.settle(task_id=task.pk, result=trial.result, now=self._wiring.now())
        except Exception as error:
            logger.exception("Media task %s (%s) is not settled", task.pk, task.kind)
            close_old_connections()
            # A database that is away says nothing about the result.
            trial.failures += not isinstance(error, OperationalError | InterfaceError)
            if trial.failures < TRIES:
                self._rests[task.conference] = time.monotonic() + RETRY_SECONDS
                return
            tasks.finish(task.pk)
        del self._trials[task.pk]

    def _execute(self, task: MediaTask) -> Result:
        """Let the node carry out a task; what it cannot do it could not do a second time either."""
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
        """Report that the node is alive, and what it has done. Stop to serve what it has lost meanwhile."""
        counts, held = self._call(self._state())
        announce = ", ".join(f"{host} {port}" for host, port in self._node.candidates)
        tasks.heartbeat(self.id, legs=counts.legs, counters=counts.reported(), announce=announce)
        if held:
            assigned = self._wiring.assigned(node_id=self.id)
            lost = {id_: generation for id_, generation in held.items() if assigned.get(id_) != generation}
            self._call(self._abandon(lost))

    async def _state(self) -> tuple[NodeCounts, dict[str, int]]:
        """Return the node's counts and the conferences that it holds, from its own loop."""
        return self._node.counts(), self._node.held()

    async def _abandon(self, lost: Mapping[str, int]) -> None:
        """Let go of conferences, on the node's own loop."""
        self._node.abandon(lost)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs on a loop, wait a moment for it to end, and close the loop."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=_CANCEL_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's, where that is installed, which wakes up sooner."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        logger.info("uvloop is not installed: asyncio's own event loop serves")
    return factory()
