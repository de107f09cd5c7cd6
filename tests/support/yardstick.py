"""How slow this machine is now. Limits on processor time are multiplied by this factor, to suit any machine."""

import time

# Seconds that the work below took on the machine for which the limits were chosen.
_NOMINAL = 0.009


def slowness() -> float:
    """Return by which factor this thread is slower than the machine for which the limits were chosen; at least 1."""
    return max(1.0, min(_seconds() for _ in range(5)) / _NOMINAL)


def _seconds() -> float:
    """Do some work in Python, as parsers do it, and return how much processor time it took."""
    began = time.thread_time()
    for number in range(3000):
        words = f"a=candidate:{number} 1 udp 2130706431 192.0.2.1 9 typ host".split(" ")
        assert len({word: place for place, word in enumerate(words)}) == len(set(words))
    return time.thread_time() - began
