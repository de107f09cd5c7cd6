"""Decide which layers of one video its sender may switch off. Without a clock, packets and legs.

A layer that no receiver gets only occupies the sender's connection. The sender may switch it off, and must switch it on
again as soon as a receiver needs it. Senders may ignore both.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

# A layer is switched off if no receiver has got it for this long. The time doubles if the layer was needed again soon.
UNUSED_SECONDS, LONGEST_UNUSED_SECONDS = 5.0, 60.0
# A layer that is switched on again is expected for this long. If it does not come, its sender does not send it.
COMING_SECONDS = 5.0
# After a switch, the measured rate of a layer is wrong for this long: it is smoothed, and covers whole seconds.
SETTLING_SECONDS = 3.0
# If a sender does not do what it was told, it is told again after this long, and then after twice as long each time.
FIRST_REMINDER, LONGEST_REMINDER = 3.0, 60.0


Layer = TypeVar("Layer")


@dataclass
class _State:
    """What is known about one layer."""

    used_at: float
    patience: float = UNUSED_SECONDS
    is_off: bool = False
    # Whether the layer was switched on again and has not come since.
    is_awaited: bool = False
    switched_at: float = -inf
    # The rate when it was last switched off, in multiples of the smallest layer's.
    ratio: float = 0.0

    def use(self, now: float) -> bool:
        """Record that a receiver needs the layer now. Return whether it must be switched on for that."""
        was_off, self.used_at = self.is_off, now
        if was_off:
            is_soon = now - self.switched_at < 2 * self.patience
            self.patience = min(LONGEST_UNUSED_SECONDS, 2 * self.patience) if is_soon else UNUSED_SECONDS
            self.is_off, self.is_awaited, self.switched_at = False, True, now
        return was_off


class Switches(Generic[Layer]):
    """The layers of one video of one sender. Call `update` several times per second."""

    def __init__(self) -> None:
        self._states: dict[Layer, _State] = {}
        self._smallest = 0.0
        # When the sender is told again, and the wait after that.
        self._remind_at, self._wait = inf, FIRST_REMINDER

    def update(self, rates: Mapping[Layer, float], used: Collection[Layer], now: float) -> bool:
        """Decide anew, and return whether to tell the sender.

        :param rates: the measured bits per second of every layer; 0 for one that does not come.
        :param used: the layers that a receiver gets or awaits.
        """
        states = {layer: self._states.get(layer) or _State(now) for layer in rates}
        self._states = states
        coming = {layer: rate for layer, rate in rates.items() if rate}
        switched = [state.use(now) for layer, state in states.items() if layer in used]
        smallest = min((layer for layer in coming if self.is_on(layer)), key=coming.__getitem__, default=None)
        self._smallest = coming[smallest] if smallest is not None else 0.0
        for layer, state in states.items():
            is_settled = now - state.switched_at >= SETTLING_SECONDS
            state.is_awaited = state.is_awaited and not (is_settled and layer in coming)
            if smallest is None or layer is smallest:
                state.used_at = now
            elif layer in coming and not state.is_off and is_settled and now - state.used_at >= state.patience:
                state.is_off, state.switched_at, state.ratio = True, now, coming[layer] / coming[smallest]
                switched.append(True)
        return self._tells(any(switched), self._is_ignored(coming), now)

    def _is_ignored(self, coming: Collection[Layer]) -> bool:
        """Tell whether the sender has not done what it was told."""
        return any(layer in coming if state.is_off else state.is_awaited for layer, state in self._states.items())

    def _tells(self, is_new: bool, is_ignored: bool, now: float) -> bool:
        if is_new:
            self._wait = FIRST_REMINDER
        elif not is_ignored or now < self._remind_at:
            return False
        self._remind_at, self._wait = now + self._wait, min(LONGEST_REMINDER, 2 * self._wait)
        return True

    def is_on(self, layer: Layer) -> bool:
        """Tell whether a layer can be given to a receiver at once: it is neither switched off nor about to come."""
        state = self._states.get(layer)
        return state is None or not (state.is_off or state.is_awaited)

    @property
    def wanted(self) -> list[Layer]:
        """The layers that the sender shall send."""
        return [layer for layer, state in self._states.items() if not state.is_off]

    def rate(self, layer: Layer, measured: float, now: float) -> float:
        """Return the bits per second of a layer. For one that is switched off: what it would have.

        :param measured: 0 for a layer that does not come.
        """
        state = self._states.get(layer)
        if state is None or not (state.is_off or state.is_awaited):
            return measured
        since = now - state.switched_at
        if measured and since >= SETTLING_SECONDS:
            return measured
        return state.ratio * self._smallest if state.is_off or since < COMING_SECONDS else 0.0
