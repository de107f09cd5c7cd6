"""Runs a node: the node on a thread and event loop of its own, and its paperwork with the database on a second thread.

So a slow database never holds up a packet, and no sync code ever touches the node's loop.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db import close_old_connections, connections
from django.utils import timezone

from media import tasks
from media.models import MediaTask
from media.node import Node, Settings

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0
# A wake-up may be lost: then tasks wait for this long.
POLL_SECONDS = 1.0
# A task that cannot be carried out, or whose result cannot be applied, is given up as refused.
TRIES = 3
_BATCH = 20
_PATIENCE_SECONDS = 10.0
_REPORTS_KEPT = 10_000


class Settle(Protocol):
    """Applies the result of a task, and deletes its row in the same transaction."""

    def __call__(self, *, task_id: int, result: tasks.Result, now: datetime) -> None: ...


class Lose(Protocol):
    """Lets a participant go whose leg is lost."""

    def __call__(self, *, conference_id: str, participant_id: str, leg: str, now: datetime) -> None: ...


class Announce(Protocol):
    """Tells a conference who speaks."""

    def __call__(self, *, conference_id: str, participant_id: str) -> None: ...


@dataclass(frozen=True)
class Wiring:
    """What the rest of the service lets a node do to conferences.

    `enter` is called first in the thread that does all this, with the node's loop.
    """

    settle: Settle
    lose: Lose
    announce: Announce
    enter: Callable[[asyncio.AbstractEventLoop], None]


class Service:
    """A running node."""

    def __init__(self, settings: Settings, wiring: Wiring) -> None:
        """Bind the port; nothing runs yet.

        :raises OSError: when that cannot be done.
        """
        self.id = secrets.token_hex(16)
        self._wiring = wiring
        self._reports: deque[Callable[[], None]] = deque(maxlen=_REPORTS_KEPT)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._node = Node(settings, self)
        self._loop = _new_loop()
        self._media = threading.Thread(target=self._run_node, name="media", daemon=True)
        self._clerk = threading.Thread(target=self._do_paperwork, name="media-clerk", daemon=True)

    @property
    def candidates(self) -> tuple[tuple[str, int], ...]:
        """Where clients reach the node."""
        return self._node.candidates

    def start(self) -> None:
        """Begin to serve, and return once the node is open for conferences."""
        self._media.start()
        self._call(self._node.start())
        self._register()
        self._stop_listening = tasks.listen(self.id, self._wake.set)
        self._clerk.start()

    def stop(self) -> None:
        """Take no new conference, end every leg, and leave no thread or socket behind."""
        self._stop_listening()
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
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)

    def _run_node(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def lost(self, conference: str, participant: str, leg: str) -> None:
        """Note that a leg is lost; called on the node's loop."""
        self._report(
            lambda: self._wiring.lose(conference_id=conference, participant_id=participant, leg=leg, now=timezone.now())
        )

    def speaks(self, conference: str, participant: str) -> None:
        """Note who speaks; called on the node's loop."""
        self._report(lambda: self._wiring.announce(conference_id=conference, participant_id=participant))

    def _report(self, report: Callable[[], None]) -> None:
        self._reports.append(report)
        self._wake.set()

    # --- Paperwork --------------------------------------------------------------------------------------------

    def _do_paperwork(self) -> None:
        """Carry tasks to the node and results back until the end."""
        self._wiring.enter(self._loop)
        beat_at = time.monotonic() + HEARTBEAT_SECONDS
        while not self._stopping.is_set():
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            try:
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + HEARTBEAT_SECONDS
                    self._register()
                while self._reports:
                    self._reports.popleft()()
                while not self._stopping.is_set() and self._work_off():
                    pass
            except Exception:
                # The database may be away for a while: the tasks stay where they are.
                logger.exception("The media node's paperwork failed; it goes on in a moment")
                close_old_connections()
                self._stopping.wait(POLL_SECONDS)
        try:
            tasks.retire(self.id)
        finally:
            connections.close_all()

    def _register(self) -> None:
        """Tell that the node is alive."""
        counters = self._call(self._count())
        announce = ", ".join(f"{host} {port}" for host, port in self._node.candidates)
        tasks.heartbeat(self.id, now=timezone.now(), legs=counters["legs"], counters=counters, announce=announce)

    async def _count(self) -> dict[str, int]:
        """Ask the node on its own loop."""
        return self._node.counters()

    def _work_off(self) -> bool:
        """Carry out some tasks; return False when there were none."""
        claimed = tasks.claim(self.id, _BATCH)
        for task in claimed:
            self._carry_out(task)
        return bool(claimed)

    def _carry_out(self, task: MediaTask) -> None:
        """Carry out one task and have its result applied; what fails again and again is refused."""
        try:
            result: tasks.Result = self._call(self._node.execute(task.conference, task.kind, task.payload))
        except Exception:
            logger.exception("Media task %s (%s) failed", task.pk, task.kind)
            if task.attempts < TRIES:
                raise
            result = tasks.Result(refusal={"code": "media-unavailable", "detail": "The media node could not do this."})
        try:
            self._wiring.settle(task_id=task.pk, result=result, now=timezone.now())
        except Exception:
            if task.attempts < 2 * TRIES:
                raise
            logger.exception("The result of media task %s (%s) cannot be applied; it is given up", task.pk, task.kind)
            tasks.finish(task.pk)


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's, where that is installed, which wakes up sooner."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        logger.info("uvloop is not installed: asyncio's own event loop serves")
    return factory()
