"""Measure how much time the messages of data channels cost the event loop that forwards media.

    python -m benchmarks.data [--out file.json] [--seconds 5]

Both ends of each leg are in this process, without a network. The node's ends run on one event loop, the browsers' ends
on another loop in a separate thread. In each conference one member sends 200 messages of 100 bytes a second. Loop time
is the processor time of the node's thread, including DTLS, SCTP and SCTP's acknowledgements.

- `busy_percent`: the share of a core that the loop uses.
- `us_a_delivery`: loop time per message and receiver.
- `longest_ms`: the most loop time between two waits of the loop.
"""

import argparse
import asyncio
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiortc import RTCDataChannelParameters

from benchmarks.large import Meter
from media.aiortc_adapter import RTCDataChannel, Sctp
from media.focus.node import prepare_interpreter
from media.focus.relay import Budget, Relay
from media.transport.dtls import State
from media.transport.sctp import DataChannels
from tests.support.media.dtls_pair import End

_MESSAGES_A_SECOND = 200
_MESSAGE = "x" * 100
_SETTLE_SECONDS = 2.0
# The number of conferences, and the number of members of each.
_SCENES = ((1, 2), (1, 32), (30, 2), (30, 4))


class Browsers:
    """The event loop of the browsers' ends, in a separate thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the browsers' loop and return its result."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return await asyncio.wrap_future(future)


class Browser:
    """The browser's end of one leg."""

    def __init__(self) -> None:
        self.end = End("client")
        self.received = 0

    async def open(self) -> None:
        """Open the association with its channel."""
        self.sctp = Sctp("client", self.end.transport.send_data)
        self.end.transport.on_data = self.sctp.receive
        self.channel = RTCDataChannel(self.sctp, RTCDataChannelParameters(label="chat"))
        self.channel.on("message", self._count)
        await self.sctp.connect(5000, 65536)

    async def close(self) -> None:
        """Close the association and the transport."""
        await self.sctp.finish()
        await self.end.transport.close()

    def _count(self, message: str) -> None:
        self.received += 1

    async def flood(self) -> None:
        """Send at _MESSAGES_A_SECOND until cancelled, or more slowly if the relay accepts less."""
        while True:
            if self.channel.bufferedAmount < 10 * len(_MESSAGE):
                self.channel.send(_MESSAGE)
            await asyncio.sleep(1 / _MESSAGES_A_SECOND)


def _hand(loop: asyncio.AbstractEventLoop, end: End, datagram: bytes) -> None:
    """Deliver a datagram to one end of a leg, on that end's event loop in another thread."""
    loop.call_soon_threadsafe(partial(end.transport.feed, datagram))


@dataclass(frozen=True)
class Leg:
    """Both ends of a leg."""

    server: End
    channels: DataChannels
    browser: Browser

    async def close(self, browsers: Browsers) -> None:
        """Close both ends."""
        await browsers.run(self.browser.close())
        await self.channels.close()
        await self.server.transport.close()


async def _connect(browsers: Browsers) -> tuple[End, Browser]:
    """Connect one leg."""
    server = End("server")

    async def make() -> Browser:
        return Browser()

    browser: Browser = await browsers.run(make())
    here = asyncio.get_running_loop()
    server.deliver = partial(_hand, browsers.loop, browser.end)
    browser.end.deliver = partial(_hand, here, server)

    async def start() -> None:
        browser.end.transport.start(server.certificate.fingerprints)

    server.transport.start(browser.end.certificate.fingerprints)
    await browsers.run(start())
    return server, browser


async def _make_conference(browsers: Browsers, budget: Budget, size: int) -> list[Leg]:
    """Connect this many browsers to one conference, each with a data channel."""
    made: list[Leg] = []
    relay = Relay(lambda: [leg.channels for leg in made], budget)
    for _ in range(size):
        server, browser = await _connect(browsers)
        await server.reach(State.CONNECTED)
        await browsers.run(browser.end.reach(State.CONNECTED))
        made.append(Leg(server, DataChannels(server.transport, 5000, 65536, relay.take), browser))
        await browsers.run(browser.open())
    while not all(leg.channels.labels for leg in made):
        await asyncio.sleep(0.01)
    return made


async def _measure(browsers: Browsers, meter: Meter, count: int, size: int, seconds: float) -> dict[str, float]:
    """Measure while one member of each conference sends.

    The measurement begins after _SETTLE_SECONDS, when the relay's budgets for bursts are used up.
    """
    budget = Budget()
    conferences = [await _make_conference(browsers, budget, size) for _ in range(count)]
    legs = [leg for conference in conferences for leg in conference]
    floods = [asyncio.run_coroutine_threadsafe(each[0].browser.flood(), browsers.loop) for each in conferences]
    await asyncio.sleep(_SETTLE_SECONDS)
    meter.read()
    before = sum(leg.browser.received for leg in legs)
    await asyncio.sleep(seconds)
    spent = meter.read()
    delivered = sum(leg.browser.received for leg in legs) - before
    for flood in floods:
        flood.cancel()
    for leg in legs:
        await leg.close(browsers)
    return {
        "conferences": count,
        "members": size,
        "deliveries_per_s": round(delivered / seconds),
        "busy_percent": round(spent["total"] / seconds / 10, 1),
        "us_a_delivery": round(1000 * spent["total"] / delivered),
        "longest_ms": round(spent["longest"], 1),
    }


async def _run(options: argparse.Namespace, meter: Meter) -> None:
    prepare_interpreter()
    browsers = Browsers()
    rows = []
    for count, size in _SCENES:
        rows.append(await _measure(browsers, meter, count, size, options.seconds))
        print(" ".join(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5, help="how long each measurement lasts")
    parser.add_argument("--out", type=Path, help="write the rows to this file as JSON")
    options = parser.parse_args()
    meter = Meter()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(meter)) as runner:
        runner.run(_run(options, meter))


if __name__ == "__main__":
    main()
