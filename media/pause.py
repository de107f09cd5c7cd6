"""Leave something alone for a while after it has failed, so that not every caller waits for it in vain."""

import time


class Pause:
    """A pause of so many seconds after each failure. It begins when somebody calls `begin`."""

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
