"""Score a sample of a connection's quality from 1 (bad) to 5 (excellent), as a mean opinion score.

The score of a sample is the lower one of two scores: that of its sound, and that of its pictures.

**Sound:** a simplified E-model (ITU-T G.107; the simplification of the delay is that of R. Cole and J. Rosenbluth,
"Voice over IP performance monitoring", 2001).

    R   = 93.2 - Id - Ie
    Id  = 0.024 d + 0.11 max(0, d - 177.3)      d: delay from mouth to ear, in milliseconds
    Ie  = 95 p / (p + Bpl)                      p: lost packets, in percent
    MOS = 1 + 0.035 R + 7e-6 R (R - 60)(100 - R)

Bpl is 25.1, that of a codec with packet loss concealment (ITU-T G.113, appendix I). The recommendation has no value for
Opus. The best score is 4.4.

**Pictures:** the form of ITU-T G.1070, in which losses reduce the score exponentially. The numbers are our own.

    V = 1 + 3.4 s exp(-f / 0.1)      s: share of the videos that are shown (not paused), f: share of time frozen

If it is unknown for how long pictures were frozen, losses take its place: exp(-p / 0.15), with p as a share.
"""

from math import exp

from media.reports import Sample

# In seconds: the delay that a call has without a network, and how many times the jitter a jitter buffer holds.
LEAST_DELAY = 0.06
BUFFERED_JITTER = 2.0
# A participant that has answered no check for this many seconds sees and hears nothing.
INTERRUPTED_SECONDS = 6.0
WORST, BEST = 1.0, 4.4
# The E-model's rating of a connection without impairments, and its robustness against lost packets, in percent.
_R, _BPL = 93.2, 25.1
_FREEZE_SCALE, _LOSS_SCALE = 0.1, 0.15


def score(sample: Sample) -> float:
    """Return the score of a sample, from WORST to BEST."""
    if sample.silence is not None and sample.silence >= INTERRUPTED_SECONDS:
        return WORST
    loss = sample.loss or 0.0
    sound = score_sound(delay=_delay(sample), loss=loss if sample.concealed is None else sample.concealed)
    if not sample.videos:
        return sound
    shown = 1 - min(sample.videos, sample.paused or 0) / sample.videos
    frozen = None if sample.frozen is None else sample.frozen / sample.period
    return min(sound, score_pictures(shown=shown, loss=loss, frozen=frozen))


def score_sound(*, delay: float, loss: float) -> float:
    """Return the score of sound.

    :param delay: from mouth to ear, in seconds.
    :param loss: the share of packets that are lost, or of sound that is invented.
    """
    milliseconds, percent = 1000 * delay, 100 * min(1.0, loss)
    impairment = 0.024 * milliseconds + 0.11 * max(0.0, milliseconds - 177.3) + 95 * percent / (percent + _BPL)
    rating = max(0.0, _R - impairment)
    return _within_bounds(1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating))


def score_pictures(*, shown: float, loss: float, frozen: float | None) -> float:
    """Return the score of pictures.

    :param shown: the share of the videos that are not paused.
    :param loss: the share of packets that are lost. It counts only if `frozen` is None.
    :param frozen: the share of time in which a picture was frozen; None if unknown.
    """
    impairment = loss / _LOSS_SCALE if frozen is None else frozen / _FREEZE_SCALE
    return _within_bounds(1 + (BEST - WORST) * shown * exp(-impairment))


def _delay(sample: Sample) -> float:
    """Return the delay from mouth to ear between the participant and the focus, as far as it is known."""
    network = (sample.round_trip or 0.0) / 2 + (sample.queue or 0.0)
    return LEAST_DELAY + network + BUFFERED_JITTER * (sample.jitter or 0.0)


def _within_bounds(value: float) -> float:
    return min(BEST, max(WORST, value))
