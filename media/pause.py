"""Do not try something again for a while after it has failed, so that not every caller waits for the failure."""

import time


class Pause:
    """A pause of this many seconds after each failure. `begin` begins it."""

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
