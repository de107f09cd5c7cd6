"""Tell the senders of one conference which layers of their videos somebody receives."""

from collections.abc import Callable, Iterable, Mapping

from media.focus.leg import Leg
from media.focus.switching import Switches
from media.forward.ladder import Ladder
from media.forward.tracks import Track
from media.reports import UsedLayers


class Usage:
    """The switches of every video that is sent in layers. `tell` is called with a participant's ID and its layers."""

    def __init__(self, tell: Callable[[str, UsedLayers], None]) -> None:
        self._tell = tell
        # By the first layer of the video, with the ID of the leg that sends it. A new leg sends all layers.
        self._switches: dict[Track, tuple[str, Switches[Track]]] = {}

    def update(self, legs: Iterable[Leg], ladders: Iterable[Ladder], rates: Mapping[Track, float], now: float) -> None:
        """Decide which layers are needed, and tell the senders concerned.

        :param rates: the bits per second of each layer that is being sent.
        """
        sources, before, self._switches = {leg.participant: leg for leg in legs}, self._switches, {}
        for ladder in ladders:
            face = ladder.layers[0]
            leg = sources.get(face.participant)
            section = leg.layout.published.get(face.label) if leg is not None and leg.is_connected else None
            if leg is None or section is None or not section.rids:
                continue
            id_, switches = before.get(face, ("", Switches[Track]()))
            switches = switches if id_ == leg.id else Switches[Track]()
            self._switches[face] = leg.id, switches
            names = dict(zip(ladder.layers, section.rids, strict=False))
            if switches.update({layer: rates.get(layer, 0.0) for layer in names}, ladder.used(), now):
                rids = tuple(names[layer] for layer in switches.wanted)
                self._tell(face.participant, UsedLayers(section.mid, rids))

    def rate(self, ladder: Ladder, layer: Track, measured: float, now: float) -> float:
        """Return the bits per second of a layer, also of one that is switched off (`Switches.rate`)."""
        _, switches = self._switches.get(ladder.layers[0], ("", None))
        return switches.rate(layer, measured, now) if switches is not None else measured

    def is_on(self, ladder: Ladder, layer: Track) -> bool:
        """Tell whether a layer can be given to a receiver at once (`Switches.is_on`)."""
        _, switches = self._switches.get(ladder.layers[0], ("", None))
        return switches is None or switches.is_on(layer)
