"""The score of a sample of quality."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.reports import Direction, Sample, Source
from media.score import BEST, INTERRUPTED_SECONDS, WORST, score, score_sound

# No test in this module uses the database.
pytestmark = pytest.mark.once

FINE = Sample(participant="x", source=Source.FOCUS, direction=Direction.DOWN, bitrate=1_000_000)


def test_a_clean_connection_has_the_best_score() -> None:
    assert score(FINE) == pytest.approx(BEST, abs=0.05)
    assert score(replace(FINE, loss=0.0, round_trip=0.03, videos=4)) == pytest.approx(BEST, abs=0.05)


@pytest.mark.parametrize(
    ("delay", "loss", "expected"),
    # R = 93.2 - 0.024 d - 0.11 max(0, d - 177.3) - 95 p / (p + 25.1), computed by hand.
    [(0.1, 0.0, 4.36), (0.3, 0.0, 3.71), (0.1, 0.02, 4.16), (0.1, 0.1, 3.29), (0.1, 0.3, 2.02), (1.0, 0.0, 1.0)],
)
def test_sound_is_scored_by_the_simplified_e_model(delay: float, loss: float, expected: float) -> None:
    assert score_sound(delay=delay, loss=loss) == pytest.approx(expected, abs=0.01)


def test_concealed_sound_counts_instead_of_lost_packets() -> None:
    # The losses were repaired.
    assert score(replace(FINE, loss=0.2, concealed=0.0)) == score(FINE)
    assert score(replace(FINE, concealed=0.2)) < 3


def test_the_worse_of_sound_and_pictures_counts() -> None:
    assert score(replace(FINE, videos=1, frozen=2.5)) < 1.1
    assert score(replace(FINE, videos=1, frozen=0.0, concealed=0.5)) < 2


def test_frozen_pictures_count_by_their_share_of_the_time() -> None:
    frozen = replace(FINE, videos=1, frozen=0.25)
    assert score(frozen) == pytest.approx(3.06, abs=0.01)
    assert score(replace(frozen, period=60.0)) > 4.2


def test_paused_videos_count() -> None:
    assert score(replace(FINE, videos=4, paused=1)) == pytest.approx(3.55)
    assert score(replace(FINE, videos=1, paused=1)) == WORST
    # Without videos, none can be paused.
    assert score(replace(FINE, videos=0, paused=0)) == score(FINE)


def test_a_silent_participant_has_the_worst_score() -> None:
    assert score(replace(FINE, silence=INTERRUPTED_SECONDS)) == WORST
    assert score(replace(FINE, silence=INTERRUPTED_SECONDS - 1)) == score(FINE)


amounts = st.none() | st.floats(0, 1e300)
counts = st.none() | st.integers(0, 10**9)


@given(*[amounts] * 7, counts, counts)
def test_any_sample_has_a_score(
    loss: float | None,
    jitter: float | None,
    round_trip: float | None,
    queue: float | None,
    silence: float | None,
    frozen: float | None,
    concealed: float | None,
    videos: int | None,
    paused: int | None,
) -> None:
    values = {"loss": loss, "jitter": jitter, "round_trip": round_trip, "queue": queue, "silence": silence}
    values |= {"frozen": frozen, "concealed": concealed}
    assert WORST <= score(replace(FINE, videos=videos, paused=paused, **values)) <= BEST  # type: ignore[arg-type]
