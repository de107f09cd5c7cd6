"""Measure how long packets wait on the path: the present delay less the shortest one.

The slope of the delays (`delay`) cannot show a queue that is full: its delay is constant. That happens when a path
suddenly becomes narrow, and the queue fills before the sender has reacted.
"""

from collections import deque

# In seconds. The shortest delay of this time is the path without a queue. The clocks of both ends drift apart by a
# millisecond in this time.
WINDOW_SECONDS = 20.0
# The delays of this time are compared as one.
STEP_SECONDS = 0.2
# A queue that lasts longer than this is too long.
LONG_QUEUE = 0.1
# If the queue is no shorter after this time, though less was sent than the path carries, then the path itself has
# become longer.
LASTING_SECONDS = 2.5


class QueueDelay:
    """How long packets wait on the path, in seconds: `seconds`."""

    def __init__(self) -> None:
        # The time and the shortest delay of each step.
        self._steps: deque[tuple[float, float]] = deque()
        self._long_since: float | None = None
        self.seconds = 0.0

    def take(self, sent_at: float, arrived_at: float) -> None:
        """Take a packet into account, in the order of sending."""
        delay = arrived_at - sent_at
        if self._steps and sent_at - self._steps[-1][0] < STEP_SECONDS:
            begun_at, shortest = self._steps[-1]
            self._steps[-1] = begun_at, min(shortest, delay)
        else:
            self._steps.append((sent_at, delay))
        while sent_at - self._steps[0][0] > WINDOW_SECONDS:
            self._steps.popleft()
        self.seconds = self._steps[-1][1] - min(shortest for _, shortest in self._steps)
        self._watch(sent_at)

    def _watch(self, now: float) -> None:
        """Accept the present delay as that of the path if it has lasted."""
        if self.seconds < LONG_QUEUE:
            self._long_since = None
        elif self._long_since is None:
            self._long_since = now
        elif now - self._long_since > LASTING_SECONDS and self._does_not_fall():
            self._steps = deque([self._steps[-1]])
            self._long_since, self.seconds = None, 0.0

    def _does_not_fall(self) -> bool:
        """Tell whether the delay is as long as at the beginning of LASTING_SECONDS."""
        last_at, last = self._steps[-1]
        recent = [shortest for at, shortest in self._steps if last_at - at <= LASTING_SECONDS]
        return last > max(recent) - LONG_QUEUE / 4

    @property
    def is_long(self) -> bool:
        """Whether packets wait too long."""
        return self.seconds >= LONG_QUEUE
