"""The verdict on a connection changes when the loss lasts, not when it is brief."""

import pytest

from media.focus.quality import FINE_JUDGEMENTS, FINE_LOSS, POOR_JUDGEMENTS, POOR_LOSS, Quality

pytestmark = pytest.mark.once


def judged(*losses: float) -> list[bool]:
    """Return, for each of these successive shares of lost packets, whether the connection is poor after it."""
    quality, verdicts = Quality(), []
    for loss in losses:
        quality.judge(loss)
        verdicts.append(quality.is_poor)
    return verdicts


def test_connection_is_fine_until_too_much_is_lost_several_times_in_a_row() -> None:
    assert judged(*[POOR_LOSS] * POOR_JUDGEMENTS) == [False] * (POOR_JUDGEMENTS - 1) + [True]
    assert not any(judged(*([1.0] * (POOR_JUDGEMENTS - 1) + [0.0]) * 5))
    assert not any(judged(*[POOR_LOSS - 0.001] * 50))


def test_poor_connection_stays_poor_until_almost_nothing_is_lost_for_a_while() -> None:
    poor = [1.0] * POOR_JUDGEMENTS
    assert judged(*poor, *[0.0] * FINE_JUDGEMENTS)[POOR_JUDGEMENTS - 1 :] == [True] * FINE_JUDGEMENTS + [False]
    assert all(judged(*poor, *[FINE_LOSS] * 50)[POOR_JUDGEMENTS - 1 :])
