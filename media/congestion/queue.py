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
# If the queue has not become shorter by SHORTER in this time, and packets were not lost because it is full, then there
# is no queue: the path itself has become longer.
LASTING_SECONDS, SHORTER = 1.5, 0.025
# With this share of lost packets, the queue may be full. Then it must last for longer.
LOSSY, LOSSY_SECONDS = 0.02, 6.0
# The share of the earlier losses in the smoothed share.
_KEPT = 0.95
# A queue counts as full if this share of the packets of a feedback is lost.
FULL_LOSS = 0.25


class QueueDelay:
    """How long packets wait on the path, in seconds: `seconds`."""

    def __init__(self) -> None:
        # The time and the shortest delay of each step.
        self._steps: deque[tuple[float, float]] = deque()
        self._long_since: float | None = None
        self._lost = 0.0
        self.seconds = 0.0

    def lose(self, share: float) -> None:
        """Take the share of packets into account that a feedback reports as lost."""
        self._lost = share + _KEPT * (self._lost - share)
        if share >= FULL_LOSS:
            self._long_since = None

    def take(self, sent_at: float, delay: float) -> bool:
        """Take packets into account that were sent together. Return whether they show that the path is longer now.

        :param delay: the shortest time from their departure to their arrival, by two clocks that may differ.
        """
        if self._steps and sent_at - self._steps[-1][0] < STEP_SECONDS:
            begun_at, shortest = self._steps[-1]
            self._steps[-1] = begun_at, min(shortest, delay)
        else:
            self._steps.append((sent_at, delay))
        while sent_at - self._steps[0][0] > WINDOW_SECONDS:
            self._steps.popleft()
        self.seconds = self._steps[-1][1] - min(shortest for _, shortest in self._steps)
        return self._has_become_longer(sent_at)

    def _has_become_longer(self, now: float) -> bool:
        """Tell whether the present delay has lasted. If so, accept it as that of the path."""
        if self.seconds < LONG_QUEUE:
            self._long_since = None
        elif self._long_since is None:
            self._long_since = now
        elif now - self._long_since > self._patience and self._does_not_fall():
            self._steps = deque([self._steps[-1]])
            self._long_since, self.seconds = None, 0.0
            return True
        return False

    @property
    def _patience(self) -> float:
        """How long a queue must last to be taken for a longer path, in seconds."""
        return LOSSY_SECONDS if self._lost >= LOSSY else LASTING_SECONDS

    def _does_not_fall(self) -> bool:
        """Tell whether the delay is as long as at the beginning of LASTING_SECONDS."""
        last_at, last = self._steps[-1]
        recent = [shortest for at, shortest in self._steps if last_at - at <= LASTING_SECONDS]
        return last > max(recent) - SHORTER

    @property
    def is_long(self) -> bool:
        """Whether packets wait too long."""
        return self.seconds >= LONG_QUEUE
