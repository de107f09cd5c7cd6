"""A sender may switch off the layers that nobody gets, and switches them on again when somebody needs them."""

from collections.abc import Mapping

import pytest

from media.focus import switching
from media.focus.switching import Switches

pytestmark = pytest.mark.once

RATES = {"low": 150e3, "middle": 500e3, "high": 2e6}
STEP = 0.3


class Sender:
    """A sender of three layers, by default one that does what it is told at once."""

    def __init__(self, *, obeys: bool = True) -> None:
        self.switches = Switches[str]()
        self.obeys = obeys
        self.now = 100.0
        # When the sender was told, and the layers that it was told to send.
        self.told: list[tuple[float, list[str]]] = []

    def rates(self) -> Mapping[str, float]:
        """Return the rates that arrive."""
        wanted = self.switches.wanted if self.obeys and self.told else RATES
        return {layer: rate if layer in wanted else 0.0 for layer, rate in RATES.items()}

    def go_on(self, seconds: float, *used: str, rates: Mapping[str, float] | None = None) -> None:
        """Let time pass, while receivers get these layers."""
        until = self.now + seconds
        while self.now < until:
            self.now += STEP
            if self.switches.update(self.rates() if rates is None else rates, used, self.now):
                self.told.append((self.now, self.switches.wanted))

    def rate(self, layer: str) -> float:
        """Return the rate of a layer that the choice of layers counts with."""
        return self.switches.rate(layer, self.rates()[layer], self.now)


def test_an_unused_layer_is_switched_off_after_a_while() -> None:
    sender = Sender()
    sender.go_on(switching.UNUSED_SECONDS - 2 * STEP, "middle")
    assert sender.told == []
    sender.go_on(5 * STEP, "middle")
    assert [layers for _, layers in sender.told] == [["low", "middle"]]
    sender.go_on(300, "middle")
    assert len(sender.told) == 1


def test_the_smallest_layer_stays_on_even_if_nobody_gets_it() -> None:
    sender = Sender()
    sender.go_on(100)
    assert sender.told[-1][1] == ["low"]
    sender.go_on(100, "high")
    assert sender.told[-1][1] == ["low", "high"]


def test_a_layer_is_switched_on_as_soon_as_somebody_needs_it() -> None:
    sender = Sender()
    sender.go_on(60, "low")
    sender.go_on(STEP, "high")
    assert sender.told[-1] == (sender.now, ["low", "high"])


def test_a_layer_that_is_off_keeps_its_rate_relative_to_the_smallest() -> None:
    sender = Sender()
    sender.go_on(60, "low")
    assert sender.rates()["high"] == 0
    assert sender.rate("high") == RATES["high"]
    sender.go_on(5, "low", rates={"low": 75e3, "middle": 0.0, "high": 0.0})
    assert sender.rate("high") == RATES["high"] / 2
    assert not sender.switches.is_on("high")


def test_a_layer_that_comes_again_is_measured_only_after_a_moment() -> None:
    sender = Sender()
    sender.go_on(60, "low")
    sender.go_on(1, "high", rates={"low": 150e3, "middle": 0.0, "high": 1e3})
    assert sender.switches.rate("high", 1e3, sender.now) == RATES["high"]
    sender.go_on(switching.SETTLING_SECONDS, "high")
    assert sender.switches.rate("high", 1e3, sender.now) == 1e3
    assert sender.switches.is_on("high")


def test_a_layer_that_does_not_come_again_is_given_up_and_taken_when_it_comes() -> None:
    sender = Sender()
    sender.go_on(60, "low")
    off = dict.fromkeys(RATES, 0.0) | {"low": RATES["low"]}
    sender.go_on(switching.COMING_SECONDS - STEP, "high", rates=off)
    assert sender.switches.rate("high", 0.0, sender.now) > 0
    sender.go_on(3 * STEP, "high", rates=off)
    assert sender.switches.rate("high", 0.0, sender.now) == 0
    before = len(sender.told)
    sender.go_on(600, "low", rates=off)
    # The sender is reminded: it may have missed the event.
    assert 5 <= len(sender.told) - before <= 15
    assert sender.switches.rate("high", 0.0, sender.now) == 0
    sender.go_on(STEP, "low")
    assert sender.rate("high") == RATES["high"]


def test_a_sender_that_does_not_follow_is_reminded_rarely_and_its_layers_stay_in_use() -> None:
    sender = Sender(obeys=False)
    sender.go_on(600, "low")
    assert 8 <= len(sender.told) <= 16
    assert sender.rate("high") == RATES["high"]
    sender.told = []
    sender.go_on(STEP, "high")
    assert sender.told == [(sender.now, ["low", "high"])]


def test_a_receiver_that_comes_and_goes_switches_a_layer_ever_more_rarely() -> None:
    sender = Sender()
    for _ in range(60):
        sender.go_on(9, "low")
        sender.go_on(1, "low", "high")
    assert len(sender.told) <= 10


def test_nothing_is_switched_while_a_sender_sends_nothing() -> None:
    sender = Sender()
    sender.go_on(100, "low", rates=dict.fromkeys(RATES, 0.0))
    assert sender.told == []
    sender.go_on(switching.UNUSED_SECONDS - 2 * STEP, "low")
    assert sender.told == []


def test_a_layer_that_nobody_sends_is_not_switched_off() -> None:
    sender = Sender()
    sender.go_on(100, "low", rates={"low": 150e3, "middle": 400e3, "high": 0.0})
    assert sender.told[-1][1] == ["low", "high"]
