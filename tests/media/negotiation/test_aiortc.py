"""aiortc's own peer connection agrees with the focus, whichever side offers."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from media.sdp.negotiation import Agreed, Fingerprint, LocalEnd, Negotiation, Outgoing, read_capabilities

pytestmark = pytest.mark.once

LOCAL = LocalEnd((Fingerprint("sha-256", ":".join(["AB"] * 32)),), (("127.0.0.1", 9),))
AUDIO = Outgoing("bob-audio", "audio", "bob", "audio", 1000, None, live=True)
VIDEO = Outgoing("bob-video", "video", "bob", "video", 1001, 1002, live=True)
MORE = Outgoing("carol-video", "video", "carol", "video", 1003, 1004, live=True)


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[RTCPeerConnection]:
    peer = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    yield peer
    await peer.close()


def directions(peer: RTCPeerConnection) -> dict[str | None, str | None]:
    return {each.mid: each.currentDirection for each in peer.getTransceivers()}


async def test_it_offers_and_then_takes_an_offer(peer: RTCPeerConnection) -> None:
    peer.addTrack(AudioStreamTrack())
    peer.addTrack(VideoStreamTrack())
    peer.createDataChannel("chat")
    await peer.setLocalDescription(await peer.createOffer())
    text = peer.localDescription.sdp
    negotiation = Negotiation(LOCAL)
    negotiation.receive_offer(text, Agreed())
    answer = negotiation.create_answer([AUDIO, VIDEO])
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert directions(peer) == {"0": "sendrecv", "1": "sendrecv"}
    assert [codec.name for codec in negotiation.sections[1].codecs] == ["VP8"]
    assert negotiation.sections[2].max_message_size == 262144

    offer = negotiation.create_offer([AUDIO, VIDEO, MORE], Agreed(negotiation.capabilities))
    assert offer is not None
    await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    negotiation.receive_answer(peer.localDescription.sdp)
    assert directions(peer) == {"0": "sendrecv", "1": "sendrecv", "f1": "recvonly"}
    assert [section.sending for section in negotiation.sections] == [True, True, False, True]
    assert negotiation.role == "server"


async def test_it_answers_the_first_offer(peer: RTCPeerConnection) -> None:
    other = RTCPeerConnection()
    other.addTrack(VideoStreamTrack())
    other.addTrack(AudioStreamTrack())
    shown = dict(read_capabilities((await other.createOffer()).sdp))
    await other.close()
    negotiation = Negotiation(LOCAL)
    offer = negotiation.create_offer([AUDIO, VIDEO, MORE], Agreed(shown))
    assert offer is not None
    await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    negotiation.receive_answer(peer.localDescription.sdp)
    assert set(directions(peer).values()) == {"recvonly"}
    assert [section.sending for section in negotiation.sections] == [True, True, True]
    assert negotiation.role == "server"
