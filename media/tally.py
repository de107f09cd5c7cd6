"""Count what there is of each kind right now."""

from collections import Counter
from collections.abc import Hashable, Iterable


class Tally(Counter[Hashable]):
    """A counter that takes memory only for kinds of which there are some."""

    def release(self, kinds: Iterable[Hashable]) -> None:
        """Take one away of each of these kinds, which were added before."""
        for kind in kinds:
            self[kind] -= 1
            if not self[kind]:
                del self[kind]
