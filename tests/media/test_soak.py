"""A minute of the soak: six participants do whatever comes to their minds."""

import pytest

from benchmarks.soak import soak


@pytest.mark.once
@pytest.mark.timeout(180)
async def test_minute_of_everything_leaves_nothing_behind(record_property):
    record_property("happened", await soak(60, seed=3))
