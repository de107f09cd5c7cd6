"""When a receiver may get larger layers again, and when a video may be paused."""

import pytest

from media.congestion.patience import (
    ANOTHER_PATH,
    FAR_PAUSE_SECONDS,
    FAR_SHARE,
    FIRST_HOLD,
    LASTING_SECONDS,
    LEAST_SHARE,
    LONGEST_HOLD,
    PAUSE_SECONDS,
    Patience,
)

pytestmark = pytest.mark.once

RATE = 400_000


def _hold(patience: Patience, now: float, rate: float = RATE) -> float:
    """Return for how long the receiver may get no larger layers."""
    steps = (step / 10 for step in range(int(10 * LONGEST_HOLD) + 1))
    return next(step for step in steps if patience.may_raise(rate, now + step))


def test_several_falls_in_a_row_count_as_one() -> None:
    patience = Patience()
    patience.rose(0.0)
    for step in range(6):
        patience.fell(5.0 + step / 10)
    assert _hold(patience, 5.5) == 2 * FIRST_HOLD


def test_the_hold_doubles_each_time_that_larger_layers_do_not_last() -> None:
    patience, now, holds = Patience(), 100.0, []
    for _ in range(8):
        patience.fell(now)
        holds.append(_hold(patience, now))
        now += holds[-1]
        patience.rose(now)
        now += LASTING_SECONDS / 2
    assert holds == [2, 4, 8, 16, 30, 30, 30, 30]
    patience.fell(now + LASTING_SECONDS)
    assert _hold(patience, now + LASTING_SECONDS) == FIRST_HOLD


def test_a_much_higher_estimate_ends_the_hold() -> None:
    patience = Patience()
    patience.fell(100.0)
    assert not patience.may_raise(RATE, 100.1)
    assert not patience.may_raise(0.99 * ANOTHER_PATH * RATE, 100.2)
    assert patience.may_raise(ANOTHER_PATH * RATE, 100.3)


def test_an_estimate_that_ended_the_hold_in_error_must_be_twice_as_high_next_time() -> None:
    patience, now = Patience(), 100.0
    for factor in (ANOTHER_PATH, 2 * ANOTHER_PATH, 4 * ANOTHER_PATH):
        patience.fell(now)
        assert not patience.may_raise(RATE, now)
        assert not patience.may_raise(0.99 * factor * RATE, now)
        assert patience.may_raise(factor * RATE, now)
        patience.rose(now)
        now += 1.0


def test_a_video_is_paused_if_it_has_not_fitted_for_long() -> None:
    patience = Patience()
    for step in range(3):
        assert not patience.may_pause(0.9 * LEAST_SHARE, 10.0 + step * PAUSE_SECONDS)
        assert not patience.may_pause(LEAST_SHARE, 10.1 + step * PAUSE_SECONDS)
    assert not patience.may_pause(0.9 * LEAST_SHARE, 50.0)
    assert not patience.may_pause(0.9 * LEAST_SHARE, 49.9 + PAUSE_SECONDS)
    assert patience.may_pause(0.9 * LEAST_SHARE, 50.0 + PAUSE_SECONDS)


def test_a_video_that_is_far_from_fitting_is_paused_sooner() -> None:
    patience = Patience()
    assert not patience.may_pause(0.9 * FAR_SHARE, 10.0)
    assert not patience.may_pause(FAR_SHARE, 10.0 + FAR_PAUSE_SECONDS)
    assert not patience.may_pause(0.9 * FAR_SHARE, 10.1 + FAR_PAUSE_SECONDS)
    assert patience.may_pause(0.9 * FAR_SHARE, 10.1 + 2 * FAR_PAUSE_SECONDS)
