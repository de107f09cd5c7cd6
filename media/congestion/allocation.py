"""Divide the bandwidth of one receiver among the videos that it gets. A pure function from facts to a decision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

# A higher layer than the present one must fit with this share of it to spare, so that a receiver does not go back and
# forth between two layers.
SPARE = 0.1
# Rounding errors are smaller than this, in bits per second. What a receiver gets must fit if the budget is its sum.
_ROUNDING = 0.1
# Instead of a layer: the video is not sent to the receiver, because even its smallest layer does not fit.
PAUSED = -1


Video = TypeVar("Video")


@dataclass(frozen=True)
class Demand(Generic[Video]):
    """One video that a receiver should get."""

    video: Video
    # A video with a smaller number comes first.
    priority: int
    # The bits per second of each layer, the smallest first.
    rates: tuple[float, ...]
    # The layer that the receiver gets now; PAUSED if it gets none.
    present: int = 0

    def within(self, steps: int) -> "Demand[Video]":
        """Return the demand without the layers more than this many steps above the present one."""
        return replace(self, rates=self.rates[: self.present + 1 + steps])

    def rate(self, layer: int) -> float:
        """Return the bits per second of a layer; 0 for PAUSED."""
        return self.rates[layer] if layer >= 0 else 0.0


def allocate(budget: float, demands: Sequence[Demand[Video]]) -> dict[Video, int]:
    """Return the layer of each video that the receiver shall get.

    Every video gets its smallest layer, those with the highest priority first, as long as the budget lasts. Then the
    videos of the highest priority get larger layers, in turns; then those of the next priority. A video that does not
    fit at all is PAUSED.

    :param budget: in bits per second, for all of these videos.
    """
    chosen = dict.fromkeys((each.video for each in demands), PAUSED)
    left = budget
    # A video that the receiver gets stays before one that is paused.
    for demand in sorted(demands, key=lambda each: (each.priority, each.present == PAUSED)):
        left, _ = _raise([demand], chosen, left)
    for priority in sorted({each.priority for each in demands}):
        rising = [each for each in demands if each.priority == priority and chosen[each.video] != PAUSED]
        while rising:
            left, rising = _raise(rising, chosen, left)
    return chosen


def most(demands: Sequence[Demand[Video]]) -> float:
    """Return the bits per second with which every video would get its largest layer."""
    return sum((1 + SPARE) * each.rates[-1] for each in demands)


def _raise(rising: list[Demand[Video]], chosen: dict[Video, int], left: float) -> tuple[float, list[Demand[Video]]]:
    """Give each of these videos one more layer, if it fits. Return what is left, and the videos that may rise more."""
    more = []
    for demand in rising:
        layer = chosen[demand.video] + 1
        if layer < len(demand.rates) and _step(demand, layer) <= left + _ROUNDING:
            left -= demand.rate(layer) - demand.rate(layer - 1)
            chosen[demand.video] = layer
            more.append(demand)
    return left, more


def _step(demand: Demand[Video], layer: int) -> float:
    """Return the bits per second that must be left for this layer, instead of the one below it."""
    spare = SPARE * demand.rates[layer] if layer > demand.present else 0.0
    return demand.rate(layer) - demand.rate(layer - 1) + spare
