"""A counter of existing things drops the keys whose count is zero."""

import pytest

from media.tally import Tally

pytestmark = pytest.mark.once


def test_key_whose_count_is_zero_takes_no_memory() -> None:
    tally = Tally()
    tally.update(["a", "b"])
    tally["a"] += 1
    tally.release(["a", "b"])
    assert dict(tally) == {"a": 1}
    assert (tally["b"], tally.total()) == (0, 1)
    tally.release(["a"])
    assert not tally
