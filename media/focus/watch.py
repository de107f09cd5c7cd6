"""Measure how long this process has watched the media nodes while the database was always reachable."""

import time
from collections.abc import Callable
from datetime import timedelta

# If two looks at the database are further apart than this, it is unknown whether nodes could write in between.
LONGEST_GAP_SECONDS = 2.0


class Watch:
    """Measures how long looks at the database have succeeded without a break, by the monotonic clock.

    A node that is silent while the database is unreachable is not dead. So only silence that was watched counts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without having watched anything."""
        self._clock = clock
        self._since: float | None = None
        self._looked_at = 0.0

    def note_look(self) -> timedelta:
        """Record a look that has just succeeded. Return how long this process has watched."""
        now = self._clock()
        if self._since is None or now - self._looked_at > LONGEST_GAP_SECONDS:
            self._since = now
        self._looked_at = now
        return timedelta(seconds=now - self._since)

    def note_failure(self) -> None:
        """Record a look that has failed. The time of watching starts from zero again."""
        self._since = None
