"""How slow this machine is now: a bound on processor time must hold on each of them, in each of its hours."""

import time

# What the work below took where the bounds of tests were set, in seconds.
_NOMINAL = 0.009


def slowness() -> float:
    """Return how many times longer than there this thread takes for the same work; 1 where it is faster."""
    return max(1.0, min(_seconds() for _ in range(5)) / _NOMINAL)


def _seconds() -> float:
    """Do some work in Python, as parsers do it, and return how much processor time it took."""
    began = time.thread_time()
    for number in range(3000):
        words = f"a=candidate:{number} 1 udp 2130706431 192.0.2.1 9 typ host".split(" ")
        assert len({word: place for place, word in enumerate(words)}) == len(set(words))
    return time.thread_time() - began
