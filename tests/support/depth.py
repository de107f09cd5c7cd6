"""How far the random tests go: a sample in `make test`, all of it in `make test-deep` (`SBE_TEST_DEEP=1`)."""

import os

DEEP = os.environ.get("SBE_TEST_DEEP") == "1"


def examples(sample: int, *, deep: int) -> int:
    """Return how many random cases a test tries now."""
    return deep if DEEP else sample
