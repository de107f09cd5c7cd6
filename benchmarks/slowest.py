"""Show where the slowest events of a benchmark waited, from the server's log lines about slow requests.

`sbe_enabler.slowness` describes the phases. `delivery` is the time after the last commit, in which the event travels to
its reader. `delivery` also includes the request's way to the server, and this process's time to send and read.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

# Makes the server log almost every request.
VARIABLES = {"SBE_SLOW_REQUEST_SECONDS": "0.001"}
_LINE = re.compile(r"slow request: \S+ \S+ \d+ (?P<correlator>\S+) (?P<division>.*)")
_TICK_SECONDS = 0.01
_LATE_SECONDS = 0.002
# The phases add up to an event's time. The times in _OVERLAPS overlap with phases.
_PHASES = ("body", "queue", "lock", "view", "commit", "delivery")
_OVERLAPS = ("busy", "ready", "waits", "gc", "late", "late here")


@dataclass(frozen=True)
class Timed:
    """One event: the correlator of its PUT, and the monotonic instants of sending and arrival, in seconds."""

    correlator: str
    sent_at: float
    arrived_at: float

    @property
    def milliseconds(self) -> float:
        """The time from sending the PUT to the arrival of the event."""
        return 1000 * (self.arrived_at - self.sent_at)


class Lateness:
    """Records when this process's own event loop is late."""

    def __init__(self) -> None:
        self._stretches: list[tuple[float, float]] = []

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """Watch the loop during the block."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _watch(self) -> None:
        while True:
            due = time.perf_counter() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            if (now := time.perf_counter()) > due + _LATE_SECONDS:
                self._stretches.append((due, now))

    def during(self, event: Timed) -> float:
        """Return for how many milliseconds the loop was late while an event was under way."""
        return 1000 * sum(
            max(0.0, min(event.arrived_at, end) - max(event.sent_at, begin)) for begin, end in self._stretches
        )


def divisions(log: str) -> dict[str, dict[str, float]]:
    """Return the phases of each logged request by correlator, in milliseconds."""
    return {
        match["correlator"]: {
            name: float(value) for name, _, value in (pair.partition("=") for pair in match["division"].split())
        }
        for match in _LINE.finditer(log)
    }


def print_slowest(events: Sequence[Timed], log: str, lateness: Lateness) -> None:
    """Print the mean time of each phase, in milliseconds: over all events, and over the slowest 1 %."""
    requests = divisions(log)
    ordered = sorted(events, key=lambda each: -each.milliseconds)
    rows = [
        [
            _divide(each, requests[each.correlator], lateness.during(each))
            for each in group
            if each.correlator in requests
        ]
        for group in (ordered, ordered[: max(1, len(ordered) // 100)])
    ]
    print(f"{'ms':12} {'all':>8} {'slowest 1 %':>12}")
    for name in ("total", *_PHASES, *_OVERLAPS):
        everything, slowest = (fmean(each[name] for each in group) if group else 0.0 for group in rows)
        print(
            f"{name if name not in _OVERLAPS else '  of it ' + name:17} {everything:8.1f} {slowest:12.1f}", flush=True
        )


def _divide(event: Timed, request: Mapping[str, float], late_here: float) -> dict[str, float]:
    """Return the phases of one event, in milliseconds."""
    before = sum(request[name] for name in ("body", "queue", "lock", "commit"))
    return {
        **request,
        "total": event.milliseconds,
        "view": request["committed"] - before,
        "delivery": event.milliseconds - request["committed"],
        "late here": late_here,
    }
