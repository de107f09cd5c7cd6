"""Measure how long this process has watched the media nodes while the database was always reachable."""

import time
from collections.abc import Callable
from datetime import timedelta

# If two accesses to the database are further apart than this, it is unknown whether nodes could write between them.
LONGEST_GAP_SECONDS = 2.0


class Watch:
    """Measures for how long all accesses to the database have succeeded, by the monotonic clock.

    A node that is silent while the database is unreachable may be alive. So a node's silence counts only while the
    database is reachable.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with a watched time of zero."""
        self._clock = clock
        self._since: float | None = None
        self._looked_at = 0.0

    def note_look(self) -> timedelta:
        """Record an access that has just succeeded. Return for how long this process has watched."""
        now = self._clock()
        if self._since is None or now - self._looked_at > LONGEST_GAP_SECONDS:
            self._since = now
        self._looked_at = now
        return timedelta(seconds=now - self._since)

    def note_failure(self) -> None:
        """Record an access that has failed. The watched time starts from zero again."""
        self._since = None
