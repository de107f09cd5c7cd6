"""A simulated call: a real node, its participants, and what they saw and heard."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from media.focus.node import Node, Settings
from tests.support.media.by_json import by_json
from tests.support.media.node_harness import Clock, Notes
from tests.support.media.simulation.camera import Camera
from tests.support.media.simulation.endpoint import Endpoint
from tests.support.media.simulation.hearing import Hearing
from tests.support.media.simulation.network import HEADERS, Link, Network
from tests.support.media.simulation.screen import Screen
from tests.support.media.synthetic import SyntheticConference

# A gap between two frames is a freeze if it exceeds the usual gap by this, and by this factor: as browsers count them.
_FREEZE_SECONDS, _FREEZE_FACTOR = 0.15, 3


@dataclass(frozen=True)
class View:
    """What a receiver saw of a video in some time."""

    frames_a_second: float
    # The share of the time that was frozen, and the longest time between two frames, in seconds.
    frozen: float
    longest_gap: float
    # How many frames were of each layer, and how often the layer changed.
    layers: Counter[int]
    switches: int

    @property
    def layer(self) -> int:
        """The layer of most frames; -1 if there were none."""
        return max(self.layers, key=self.layers.__getitem__, default=-1)


@dataclass(frozen=True)
class Sound:
    """What a receiver heard of an audio track in some time."""

    # The share of the time that was concealed, and the longest stretch of it, in seconds.
    concealed: float
    longest_gap: float


def seen(screen: Screen, begin: float, end: float, *, frames_a_second: int) -> View:
    """Return what a screen showed between two times."""
    shown = [each for each in screen.shown if begin <= each.at < end]
    times = [begin, *(each.at for each in shown), end]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    usual = 1 / frames_a_second
    frozen = sum(gap for gap in gaps if gap >= max(_FREEZE_FACTOR * usual, usual + _FREEZE_SECONDS))
    switches = sum(one.place != other.place for one, other in itertools.pairwise(shown))
    layers = Counter(each.place for each in shown)
    return View(len(shown) / (end - begin), frozen / (end - begin), max(gaps), layers, switches)


def heard(hearing: Hearing, begin: float, end: float) -> Sound:
    """Return what was played between two times."""
    hearing.advance(end)
    played = [each for each in hearing.played if begin <= each.at < end]
    if not played:
        return Sound(1.0, end - begin)
    real = [begin, *(each.at for each in played if not each.is_concealed), end]
    longest = max(later - earlier for earlier, later in itertools.pairwise(real))
    return Sound(sum(each.is_concealed for each in played) / len(played), longest)


class Call:
    """One conference on one node, in virtual time."""

    def __init__(self, node: Node, network: Network, notes: Notes, clock: Clock, *, seed: int) -> None:
        self.node, self.network, self.notes, self.clock, self.seed = node, network, notes, clock, seed
        self.endpoints: dict[str, Endpoint] = {}
        self._conference = SyntheticConference("room", by_json(node))
        self._loop = asyncio.get_running_loop()

    @property
    def now(self) -> float:
        """The virtual time in seconds."""
        return self._loop.time()

    async def join(
        self, id_: str, *, camera: Camera | None = None, link: Link | None = None, watches: bool = True
    ) -> Endpoint:
        """Have a participant join. Its media begins with `start`."""
        number = len(self.endpoints) + 1
        endpoint = Endpoint(
            id_,
            self.network,
            f"127.1.0.{number}",
            link or Link(),
            camera,
            watches=watches,
            seed=100 * self.seed + number,
        )
        self.endpoints[id_] = endpoint
        await self._conference.join(endpoint)
        return endpoint

    async def start(self) -> None:
        """Have all participants send. Their paths get random numbers of their own."""
        for number, endpoint in enumerate(self.endpoints.values()):
            endpoint.link.up.reseed(1000 * self.seed + 2 * number)
            endpoint.link.down.reseed(1000 * self.seed + 2 * number + 1)
            endpoint.start()

    async def pass_time(self, seconds: float) -> None:
        """Go on for this many virtual seconds."""
        await asyncio.sleep(seconds)

    def camera(self, sender: str) -> Camera:
        """Return a participant's camera."""
        camera = self.endpoints[sender].sender.camera
        assert camera is not None
        return camera

    def view(self, receiver: str, sender: str, since: float, until: float | None = None) -> View:
        """Return what a participant saw of another one's camera."""
        screen = self.endpoints[receiver].screens[sender, "video"]
        return seen(screen, since, until or self.now, frames_a_second=self.camera(sender).frames_a_second)

    def sound(self, receiver: str, sender: str, since: float, until: float | None = None) -> Sound:
        """Return what a participant heard of another one."""
        return heard(self.endpoints[receiver].hearings[sender, "audio"], since, until or self.now)

    def rate(self, receiver: str, since: float, until: float | None = None) -> float:
        """Return the bits per second of media that a participant received, with all headers."""
        end = until or self.now
        arrived = self.endpoints[receiver].arrived
        return 8 * sum(size + HEADERS + 16 for at, size in arrived if since <= at < end) / (end - since)

    async def close(self) -> None:
        """End all connections."""
        for endpoint in self.endpoints.values():
            endpoint.stop()
            endpoint.link.change(is_cut=False)
            await endpoint.close()


@asynccontextmanager
async def calling(*, seed: int = 1, fast: bool = True) -> AsyncIterator[Call]:
    """Start a node and a network, on a `VirtualLoop`."""
    notes, clock = Notes(), Clock()
    node = Node(Settings(fast=fast), notes, now=clock.time)
    assert node.is_fast is fast, "the fast path is not compiled: `make test` does that"
    await node.start()
    network = Network(node.candidates[0])
    call = Call(node, network, notes, clock, seed=seed)
    try:
        yield call
    finally:
        await call.close()
        await node.stop()
        network.close()
