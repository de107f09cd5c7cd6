"""Count how many items of each kind exist now."""

from collections import Counter
from collections.abc import Hashable, Iterable


class Tally(Counter[Hashable]):
    """A counter that takes memory only for kinds with a count above zero."""

    def release(self, kinds: Iterable[Hashable]) -> None:
        """Subtract one for each of these kinds. Each must have been counted before."""
        for kind in kinds:
            self[kind] -= 1
            if not self[kind]:
                del self[kind]
