"""After a failure, do not try again for a while, so that not every caller waits for another failure."""

import time


class Pause:
    """A pause of this many seconds after each failure. Call `begin` at a failure."""

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
