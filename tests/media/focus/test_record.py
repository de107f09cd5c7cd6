"""Which changes of a connection are recorded: all that last, but no flood."""

import itertools
from collections.abc import Callable

import pytest

from media.focus.record import CALM_SECONDS, CHANGE_SECONDS, CHANGES_BURST, Record
from media.reports import Verdict

# No test in this module uses the database.
pytestmark = pytest.mark.once

FINE, POOR, INTERRUPTED = Verdict.FINE, Verdict.POOR, Verdict.INTERRUPTED
TICK = 0.1


def recorded(verdict_at: Callable[[float], Verdict], seconds: float) -> list[tuple[float, Verdict, float]]:
    """Judge ten times a second; return when each change was recorded, the verdict, and since when it holds."""
    record, changes = Record(), []
    for tick in range(round(seconds / TICK)):
        now = 1_000 + tick * TICK
        change = record.judge(verdict_at(now - 1_000), now, now)
        if change is not None:
            changes.append((round(now - 1_000, 1), change[0], round(change[1] - 1_000, 1)))
    return changes


def test_a_fine_connection_is_not_recorded() -> None:
    assert recorded(lambda at: FINE, 3_600) == []


def test_a_worse_state_is_recorded_at_once_and_a_better_one_when_it_has_lasted() -> None:
    def verdict(at: float) -> Verdict:
        return FINE if at < 5 or at >= 60 else POOR if at < 20 or at >= 40 else INTERRUPTED

    assert recorded(verdict, 100) == [
        (5.0, POOR, 5.0),
        (20.0, INTERRUPTED, 20.0),
        (40.0 + CALM_SECONDS, POOR, 40.0),
        (60.0 + CALM_SECONDS, FINE, 60.0),
    ]


def test_a_short_improvement_is_not_recorded() -> None:
    def verdict(at: float) -> Verdict:
        return POOR if at < 5 or at >= 14 else FINE

    assert recorded(verdict, 60) == [(0.0, POOR, 0.0)]


def test_the_worst_state_of_an_improvement_is_recorded() -> None:
    def verdict(at: float) -> Verdict:
        return INTERRUPTED if at < 5 else POOR if at < 6 or int(at) % 2 else FINE

    assert recorded(verdict, 30) == [(0.0, INTERRUPTED, 0.0), (5.0 + CALM_SECONDS, POOR, 5.0)]


@pytest.mark.parametrize("period", [0.2, 1.0, 2.0, 11.0, 25.0])
@pytest.mark.parametrize("bad", [POOR, INTERRUPTED])
def test_a_path_that_flaps_for_an_hour_does_not_flood_the_log(period: float, bad: Verdict) -> None:
    def verdict(at: float) -> Verdict:
        return FINE if at >= 3_600 or at // period % 2 else bad

    changes = recorded(verdict, 3_600 + 2 * CHANGE_SECONDS)
    assert 1 < len(changes) <= CHANGES_BURST + 62
    if period < CALM_SECONDS:
        assert len(changes) == 2
    # In the end, the record is true.
    assert changes[-1][1] is FINE
    assert all(before[1] is not after[1] for before, after in itertools.pairwise(changes))
