"""A short part of the soak test: six participants do random things."""

from collections.abc import Callable

import pytest

from tests.support.depth import examples
from tests.support.media.soak import soak


@pytest.mark.once
@pytest.mark.timeout(180)
async def test_minute_of_everything_leaves_nothing_behind(record_property: Callable[[str, object], None]) -> None:
    record_property("happened", await soak(examples(5, deep=60), seed=3))
