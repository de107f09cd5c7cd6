"""A pause after a failure: callers skip the failed service for a while, so that they do not wait for it each time."""

import time


class Pause:
    """A pause of this many seconds after each failure. Call `begin` when something has failed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = 0.0

    def begin(self) -> None:
        """Begin the pause now: something has failed."""
        self._until = time.monotonic() + self.seconds

    @property
    def lasts(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self._until
