"""The number of cases of random tests: a sample in `make test`, all in `make test-deep` (`SBE_TEST_DEEP=1`)."""

import os
from collections.abc import Sequence
from itertools import cycle, islice, product
from typing import Any

DEEP = os.environ.get("SBE_TEST_DEEP") == "1"


def examples(sample: int, *, deep: int) -> int:
    """Return how many random cases a test tries now."""
    return deep if DEEP else sample


def pairs(some: Sequence[Any], others: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return pairs that contain each value at least once; in deep runs all pairs."""
    if DEEP:
        return list(product(some, others))
    some_pairs = zip(cycle(some), cycle(others), strict=False)
    return list(islice(some_pairs, max(len(some), len(others))))
