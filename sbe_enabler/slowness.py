"""Log where slow requests wait: one line for each request that takes longer than `SBE_SLOW_REQUEST_SECONDS`.

Without that setting, nothing here runs. The phases of a request add up to its time:

- `body`: the event loop reads the rest of the request.
- `queue`: all database threads are busy, or the thread that takes the request does not run yet.
- `lock`: another transaction holds SQLite's write lock, or rows that PostgreSQL must lock.
- `commit`: the database writes. SQLite sometimes also copies its log into the database file.
- `view`: everything else in the thread, including all other statements.
- `answer`: the response waits for the event loop.
- `send`: the event loop writes the response.

More columns, some of which overlap with the phases:

- `busy`: the thread's processor time.
- `ready`: the thread could have run, but the machine ran something else.
- `waits`: the part of `view` in which the thread waited for the interpreter's lock or for PostgreSQL.
- `gc`: the time for which the garbage collector paused the process.
- `late`: the time by which the event loop ran its callbacks late.
- `committed`: the time from the beginning of the request until its last commit ended.

All values are in milliseconds.
"""

import asyncio
import contextlib
import gc
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote

from django.db import connection
from django.http import HttpResponseBase

from sbe_enabler.handler import Receive, Send, SyncHandler

logger = logging.getLogger(__name__)

PHASES = ("body", "queue", "lock", "commit", "view", "answer", "send")
_IN_THREAD = ("lock", "commit", "view")
_TICK_SECONDS = 0.01
# A smaller delay of the event loop is not counted.
_LATE_SECONDS = 0.002
# How many pauses are kept. If a request has more pauses than that, its `gc` or `late` is too low.
_MOST_PAUSES = 1000
_thread = threading.local()


class Pauses:
    """Intervals in which the event loop or the whole process was paused, the newest last."""

    def __init__(self) -> None:
        self._stretches: deque[tuple[float, float]] = deque(maxlen=_MOST_PAUSES)

    def add(self, begin: float, end: float) -> None:
        """Record a pause."""
        self._stretches.append((begin, end))

    def within(self, begin: float, end: float) -> float:
        """Return the seconds of all pauses between these instants."""
        return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in list(self._stretches))


@dataclass(frozen=True)
class _Reading:
    """The clocks of a thread, in seconds.

    They count elapsed time, processor time, and the time for which the thread was runnable but did not run.
    """

    at: float
    busy: float
    ready: float


def _read_clocks() -> _Reading:
    return _Reading(time.monotonic(), time.thread_time(), _ready())


def _ready() -> float:
    """Return how many seconds this thread was runnable but did not run. It is 0 if the kernel does not count them."""
    try:
        if not hasattr(_thread, "schedstat"):
            _thread.schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        return int(os.pread(_thread.schedstat, 100, 0).split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class Timing:
    """The time of one request, by phase."""

    def __init__(self) -> None:
        self._phase, self._last = "body", _read_clocks()
        self.began_at = self.ended_at = self._last.at
        self.committed = 0.0
        # The status of the response and the correlator, for the log.
        self.answer = "- -"
        self._spent = {phase: [0.0, 0.0, 0.0] for phase in PHASES}

    def enter(self, phase: str) -> None:
        """End the current phase and begin another."""
        last, now = self._last, _read_clocks()
        for number, seconds in enumerate((now.at - last.at, now.busy - last.busy, now.ready - last.ready)):
            self._spent[self._phase][number] += seconds
        if self._phase == "commit":
            self.committed = now.at - self.began_at
        self._phase, self._last, self.ended_at = phase, now, now.at

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Count a part of the view as another phase."""
        self.enter(phase)
        try:
            yield
        finally:
            self.enter("view")

    @property
    def seconds(self) -> float:
        """How long the request took until the last change of phase."""
        return self.ended_at - self.began_at

    def division(self) -> Mapping[str, float]:
        """Return the phases, `busy`, `ready`, `waits` and `committed`, in milliseconds."""
        busy, ready = (sum(self._spent[phase][clock] for phase in _IN_THREAD) for clock in (1, 2))
        view, view_busy, view_ready = self._spent["view"]
        seconds = {phase: self._spent[phase][0] for phase in PHASES}
        seconds |= {"busy": busy, "ready": ready, "waits": max(0.0, view - view_busy - view_ready)}
        return {name: 1000 * value for name, value in {**seconds, "committed": self.committed}.items()}


_timing: ContextVar[Timing] = ContextVar("timing")
_collections = Pauses()


class _Collector:
    """Records when the garbage collector runs, which pauses the whole process."""

    def __init__(self) -> None:
        self._began_at = 0.0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """The callback of `gc.callbacks`: a collection starts or stops."""
        if phase == "start":
            self._began_at = time.monotonic()
        else:
            _collections.add(self._began_at, time.monotonic())


_collector = _Collector()


class TimedHandler(SyncHandler):
    """Serves sync views, and logs where slow requests spent their time."""

    def __init__(self, slow_seconds: float) -> None:
        """Log requests that take longer than `slow_seconds`."""
        super().__init__()
        self._slow_seconds = slow_seconds
        self._late = Pauses()
        self._watching: asyncio.Task[None] | None = None
        if _collector not in gc.callbacks:
            gc.callbacks.append(_collector)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._watching is None:
            self._watching = asyncio.create_task(_watch_loop(self._late))
        timing = Timing()
        _timing.set(timing)
        try:
            await super().__call__(scope, receive, send)
        finally:
            timing.enter("send")
            if timing.seconds > self._slow_seconds:
                self._log(scope, timing)

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """Read the body. The request then waits for a thread."""
        body: IO[bytes] = await super().read_body(receive)
        _timing.get().enter("queue")
        return body

    def _respond(self, scope: dict[str, Any], body: IO[bytes]) -> HttpResponseBase:
        """Return the complete response."""
        timing = _timing.get()
        timing.enter("view")
        with _timed_database(timing):
            response = super()._respond(scope, body)
        timing.enter("answer")
        return response

    async def send_response(self, response: HttpResponseBase, send: Send) -> None:
        """Send the response."""
        timing = _timing.get()
        timing.enter("send")
        timing.answer = f"{response.status_code} {response.get('x-correlator', '-')}"
        await super().send_response(response, send)

    def _log(self, scope: dict[str, Any], timing: Timing) -> None:
        """Log one line."""
        span = (timing.began_at, timing.ended_at)
        division = {
            **timing.division(),
            "gc": 1000 * _collections.within(*span),
            "late": 1000 * self._late.within(*span),
        }
        logger.warning(
            "slow request: %s %s %s total=%.1f %s",
            scope["method"],
            quote(scope["path"]),
            timing.answer,
            1000 * timing.seconds,
            " ".join(f"{name}={value:.1f}" for name, value in division.items()),
        )


@contextlib.contextmanager
def _timed_database(timing: Timing) -> Iterator[None]:
    """Measure two phases of this thread's connection: waiting for locks, and committing."""

    def execute(run: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if "FOR UPDATE" not in sql:
            return run(sql, *rest)
        with timing.during("lock"):
            return run(sql, *rest)

    with connection.execute_wrapper(execute), contextlib.ExitStack() as stack:
        # Django's undocumented methods. SQLite takes its write lock when a transaction begins.
        for name, phase in (("_start_transaction_under_autocommit", "lock"), ("_commit", "commit")):
            if hasattr(connection, name):
                stack.enter_context(_timed(name, timing, phase))
        yield


@contextlib.contextmanager
def _timed(name: str, timing: Timing, phase: str) -> Iterator[None]:
    """Count the time in a method of this thread's connection as a phase."""
    method = getattr(connection, name)

    def run() -> None:
        with timing.during(phase):
            method()

    setattr(connection, name, run)
    try:
        yield
    finally:
        delattr(connection, name)


async def _watch_loop(late: Pauses) -> None:
    """Record when the event loop is late, until cancelled."""
    while True:
        due = time.monotonic() + _TICK_SECONDS
        await asyncio.sleep(_TICK_SECONDS)
        if (now := time.monotonic()) > due + _LATE_SECONDS:
            late.add(due, now)
