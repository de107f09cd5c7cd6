"""A real Firefox accepts the focus's answers and offers, and keeps its layers."""

from itertools import count
from typing import Any

import pytest

from media.sdp.negotiation import Agreed, Negotiation, Outgoing, read_capabilities
from tests.support.journeys.firefox import Firefox, firefox
from tests.support.media.negotiating import BOB, CAROL, LOCAL

pytestmark = [pytest.mark.once, pytest.mark.asyncio]

_ACT = """async ([name, what, value]) => {
  window.pcs ??= {};
  const pc = window.pcs[name] ??= new RTCPeerConnection();
  const describe = async () => { await pc.setLocalDescription(); return pc.localDescription.sdp; };
  const actions = {
    simulcast: () => { pc.addTransceiver("video", {sendEncodings: [...value].map((rid) => ({rid}))}); },
    direction: () => { pc.getTransceivers()[0].direction = value; },
    offer: describe,
    answer: describe,
    answered: () => pc.setRemoteDescription({type: "answer", sdp: value}),
    offered: () => pc.setRemoteDescription({type: "offer", sdp: value}),
    layers: () => pc.getTransceivers()[0].sender.getParameters().encodings.map(({rid}) => rid),
  };
  return (await actions[what]()) ?? null;
}"""
_names = count()


class Leg:
    """A peer connection in Firefox, and the focus's side of it."""

    def __init__(self, browser: Firefox) -> None:
        self.browser = browser
        self.name = f"pc{next(_names)}"
        self.negotiation = Negotiation(LOCAL)
        self.agreed = Agreed()

    async def act(self, what: str, value: object = None) -> Any:
        return await self.browser.evaluate(_ACT, [self.name, what, value])

    async def offers(self, *outgoing: Outgoing) -> None:
        """Make Firefox offer, and the focus answer."""
        text = await self.act("offer")
        self.agreed = self.agreed.joined_by(read_capabilities(text))
        self.negotiation.receive_offer(text, self.agreed)
        await self.act("answered", self.negotiation.create_answer(outgoing))

    async def is_offered(self, *outgoing: Outgoing) -> None:
        """Make the focus offer, and Firefox answer."""
        await self.act("offered", self.negotiation.create_offer(outgoing, self.agreed))
        self.negotiation.receive_answer(await self.act("answer"))

    async def layers(self) -> list[str]:
        """Return the layers that Firefox sends. The focus must know the same ones."""
        layers = list(await self.act("layers"))
        assert layers == list(self.negotiation.sections[0].rids)
        return layers


# One test, because a Firefox takes seconds to start.
async def test_it_keeps_its_layers() -> None:
    async with firefox() as browser:
        await browser.open("about:blank")
        leg = Leg(browser)
        await leg.act("simulcast", "qhf")
        await leg.offers()
        assert await leg.layers() == ["q", "h", "f"]
        # Firefox names the SSRCs of its layers as well.
        assert len(leg.negotiation.sections[0].ssrcs) == 3
        await leg.is_offered(BOB)
        assert await leg.layers() == ["q", "h", "f"]

        for direction in ("recvonly", "inactive"):
            await leg.act("direction", direction)
            await leg.offers(BOB)
            assert await leg.layers() == ["q", "h", "f"]
            await leg.is_offered(BOB, CAROL)
            assert await leg.layers() == ["q", "h", "f"]
            await leg.act("direction", "sendrecv")
            await leg.offers(BOB)
            assert leg.negotiation.sections[0].receiving
            assert await leg.layers() == ["q", "h", "f"]

        # Another node, or another device, asks for the same layers.
        new = Leg(browser)
        new.negotiation.adopt(await leg.act("offer"), leg.agreed)
        await new.act("offered", new.negotiation.create_offer([BOB], leg.agreed))
        await new.act("direction", "sendrecv")
        new.negotiation.receive_answer(await new.act("answer"))
        assert await new.layers() == ["q", "h", "f"]
