"""A model of an encoder that makes a picture in several sizes at once (simulcast), as Chromium encodes VP8."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# A key frame has this many times the bytes of another frame. The encoder saves them in the following frames.
KEY_FRAME_FACTOR = 5.0
_SAVED_A_FRAME = 0.08
# The sizes of frames vary by this share, and a frame has at least this share of its usual bytes.
_VARIATION, _LEAST_SHARE = 0.15, 0.3
# Requests for a key frame within this time get one key frame.
KEY_FRAME_SECONDS = 0.3
# A layer that is switched off comes back only if this multiple of its lowest rate is there.
_RETURN_FACTOR = 1.2
# The most bytes of a packet's payload.
PAYLOAD = 1100


class Size(NamedTuple):
    """One layer: the width of its picture, and its lowest and highest rates in bits per second."""

    width: int
    least: float
    most: float


SMALL, MIDDLE, LARGE = Size(320, 30_000, 150_000), Size(640, 120_000, 400_000), Size(1280, 350_000, 900_000)
THREE = (SMALL, MIDDLE, LARGE)


class Picture(NamedTuple):
    """An encoded frame of one layer."""

    place: int
    octets: int
    is_key: bool


@dataclass
class _Encoder:
    size: Size
    # In bits per second; 0 while the layer is switched off.
    rate: float = 0.0
    is_key: bool = True
    # The bytes that earlier frames had too many.
    debt: float = 0.0


@dataclass
class Camera:
    """Encodes layers, the smallest first. Call `frame` once per frame; nothing here knows the time."""

    sizes: Sequence[Size] = THREE
    frames_a_second: int = 20
    # Whether it makes key frames when it is asked to.
    obeys: bool = True
    seed: int = 1
    # The layers that are never sent.
    missing: frozenset[int] = frozenset()
    key_frames: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Begin with all layers switched off."""
        self._chance = random.Random(self.seed)
        self._encoders = [_Encoder(size) for size in self.sizes]
        self._asked_at = float("-inf")

    @property
    def most(self) -> float:
        """The highest rate of all layers together, in bits per second."""
        return sum(size.most for size in self.sizes)

    def allow(self, rate: float) -> None:
        """Divide a rate in bits per second among the layers, the smallest first, as Chromium does."""
        for place, encoder in enumerate(self._encoders):
            least = encoder.size.least * (1.0 if encoder.rate or not place else _RETURN_FACTOR)
            given = min(rate, encoder.size.most) if (rate >= least or not place) else 0.0
            if given and not encoder.rate:
                encoder.is_key = True
            encoder.rate = max(given, encoder.size.least) if given or not place else 0.0
            rate = max(0.0, rate - given) if given else 0.0

    def ask(self, now: float) -> None:
        """Make the next frame of each layer a key frame. Chromium does so, whichever layer was asked for."""
        if self.obeys and now - self._asked_at >= KEY_FRAME_SECONDS:
            self._asked_at = now
            for encoder in self._encoders:
                encoder.is_key = True

    def frame(self) -> Iterator[Picture]:
        """Encode the next frame of each layer that is switched on."""
        for place, encoder in enumerate(self._encoders):
            if not encoder.rate or place in self.missing:
                continue
            usual = encoder.rate / 8 / self.frames_a_second
            wanted = usual * max(_LEAST_SHARE, self._chance.gauss(1.0, _VARIATION))
            octets = KEY_FRAME_FACTOR * wanted if encoder.is_key else wanted - _SAVED_A_FRAME * encoder.debt
            octets = max(_LEAST_SHARE * usual, octets)
            encoder.debt = min(8 * usual, max(0.0, encoder.debt + octets - usual))
            self.key_frames += encoder.is_key
            yield Picture(place, int(octets) + 1, encoder.is_key)
            encoder.is_key = False
