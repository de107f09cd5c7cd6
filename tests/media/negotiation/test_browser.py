"""A real Chromium accepts the focus's answers and offers, and interprets them as the focus does."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from conferences.sdp import SDP_LIMIT
from media.sdp.negotiation import Agreed, Fingerprint, LocalEnd, Negotiation, Outgoing
from tests.support.chromium import launch_chromium
from tests.support.media.negotiating import agreed_by, joined
from tests.support.samples import SAMPLES

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="module")]

LOCAL = LocalEnd((Fingerprint("sha-256", ":".join(["AB"] * 32)),), (("127.0.0.1", 5000), ("::1", 5000)))
_ARGUMENTS = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
]
_ORIGIN = "http://127.0.0.1:1/"  # no server listens there: the test itself answers the request

_SCRIPT = """
window.pcs = {};
window.tracks = {};
const connect = (name, bundlePolicy = "max-bundle") => {
  const pc = new RTCPeerConnection({bundlePolicy});
  const tracks = window.tracks[name] = {};
  pc.ontrack = ({streams, track, transceiver}) => { tracks[transceiver.mid] = [streams[0].id, track.kind]; };
  return pc;
};
window.media = null;
window.act = async (name, what, value) => {
  window.media ??= await navigator.mediaDevices.getUserMedia({audio: true, video: true});
  const pc = window.pcs[name] ??= connect(name);
  const [audio] = window.media.getAudioTracks(), [video] = window.media.getVideoTracks();
  const by = (mid) => pc.getTransceivers().find((each) => each.mid === mid);
  const actions = {
    audio: () => pc.addTrack(audio, window.media),
    video: () => pc.addTrack(video, window.media),
    screen: () => pc.addTrack(video.clone(), new MediaStream()),
    simulcast: (rids) => pc.addTransceiver(video, {sendEncodings: [...rids].map((rid) => ({rid}))}),
    pause: async (rid) => {
      const [{sender}] = pc.getTransceivers(), parameters = sender.getParameters();
      parameters.encodings.find((each) => each.rid === rid).active = false;
      await sender.setParameters(parameters);
    },
    balanced: () => { window.pcs[name] = connect(name, "balanced"); },
    only: (names) => pc.getTransceivers().filter((each) => each.receiver.track.kind === "video").forEach((each) =>
      each.setCodecPreferences(RTCRtpReceiver.getCapabilities("video").codecs.filter((codec) =>
        names.some((name) => codec.mimeType.toLowerCase() === "video/" + name)))),
    speaks: (name) => pc.getTransceivers().forEach((each) =>
      each.setCodecPreferences(RTCRtpReceiver.getCapabilities("audio").codecs.filter((codec) =>
        codec.mimeType === "audio/" + name))),
    data: () => pc.createDataChannel("chat"),
    direction: ([mid, direction]) => { by(mid).direction = direction; },
    stop: (mid) => by(mid).stop(),
    restart: () => pc.restartIce(),
    offer: async () => { await pc.setLocalDescription(); return pc.localDescription.sdp; },
    answered: (sdp) => pc.setRemoteDescription({type: "answer", sdp}),
    offered: (sdp) => pc.setRemoteDescription({type: "offer", sdp}),
    answer: async () => { await pc.setLocalDescription(); return pc.localDescription.sdp; },
    back: () => pc.setRemoteDescription({type: "rollback", sdp: ""}),
  };
  const result = await actions[what](value);
  return typeof result === "string" ? result : null;
};
window.transceivers = (name) => window.pcs[name].getTransceivers().map((each) => ({
  mid: each.mid,
  kind: each.receiver.track.kind,
  direction: each.currentDirection,
  codecs: each.sender.getParameters().codecs.map((codec) => codec.mimeType),
  layers: each.sender.getParameters().encodings.map(({rid, active}) => rid + (active ? "" : "~")),
  received: each.receiver.getParameters().codecs.map((codec) => codec.mimeType),
}));
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as driver:
        browser = await launch_chromium(driver, *_ARGUMENTS)
        page = await browser.new_page()
        await page.route(_ORIGIN, lambda route: route.fulfill(body="<p>", content_type="text/html"))
        await page.goto(_ORIGIN)
        await page.add_script_tag(content=_SCRIPT)
        yield page
        await browser.close()


_names = count()


class Leg:
    """A peer connection in the browser, and the focus's side of it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.name = f"pc{next(_names)}"
        self.negotiation = Negotiation(LOCAL)
        # The conference already has other participants, which use Chromium with audio and video.
        sample = SAMPLES["chromium-audio-video"]
        self.agreed = agreed_by(sample)
        self.answer = self.offer = ""

    async def act(self, what: str, value: object = None) -> Any:
        return await self.page.evaluate("([...a]) => act(...a)", [self.name, what, value])

    async def offers(self, *outgoing: Outgoing) -> None:
        """Make the participant offer. The focus answers with these tracks, if the offer has sections for them."""
        text = await self.act("offer")
        self.agreed = joined(self.agreed, text)
        self.negotiation.receive_offer(text, self.agreed)
        self.answer = self.negotiation.create_answer(outgoing)
        await self.act("answered", self.answer)
        await self.agrees()

    async def is_offered(self, *outgoing: Outgoing) -> None:
        """Make the focus offer these tracks to the participant."""
        offer = self.negotiation.create_offer(outgoing, self.agreed)
        assert offer is not None
        self.offer = offer
        await self.act("offered", offer)
        self.negotiation.receive_answer(await self.act("answer"))
        await self.agrees()
        assert self.negotiation.create_offer(outgoing, self.agreed) is None

    async def agrees(self) -> None:
        """Require that the browser and the focus agree on the sections."""
        seen = {each["mid"]: each for each in await self.page.evaluate("(name) => transceivers(name)", self.name)}
        for section in self.negotiation.sections:
            if section.kind == "application" or section.rejected:
                continue
            transceiver = seen.pop(section.mid)
            ours = {"sendrecv": (True, True), "sendonly": (True, False), "recvonly": (False, True)}
            assert ours.get(transceiver["direction"], (False, False)) == (section.receiving, section.sending)
            names = {codec.name.lower() for codec in section.codecs}
            if section.receiving:
                assert {name.split("/")[1].lower() for name in transceiver["codecs"]} - {"rtx"} == names
            if section.sending:
                assert {name.split("/")[1].lower() for name in transceiver["received"]} >= names
        assert all(transceiver["direction"] in (None, "stopped") for transceiver in seen.values())

    async def transceivers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.page.evaluate("(name) => transceivers(name)", self.name)
        return found

    async def layers(self) -> list[str]:
        """Return the layers that the browser sends in its first section, paused ones with a tilde.

        The focus must know the same layers.
        """
        first = (await self.transceivers())[0]["layers"]
        assert [each.removesuffix("~") for each in first] == list(self.negotiation.sections[0].rids)
        return list(first)

    async def tracks(self) -> dict[str, list[str]]:
        """Return, for each mid, the stream ID and the kind of the track that the browser added last."""
        tracks: dict[str, list[str]] = await self.page.evaluate("(name) => tracks[name]", self.name)
        return tracks

    def directions(self) -> list[str]:
        """Return the direction of each section as the participant sees it."""
        names = {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}
        return [
            "rejected" if each.rejected else names.get((each.receiving, each.sending), "inactive")
            for each in self.negotiation.sections
        ]


_ssrcs = count(1000)


def track(who: str, label: str, *, live: bool = True) -> Outgoing:
    """Return a participant's track."""
    kind = "audio" if label == "audio" else "video"
    rtx = None if kind == "audio" else next(_ssrcs)
    return Outgoing(f"{who}-{label}", kind, who, label, next(_ssrcs), rtx, live)


async def test_it_takes_an_answer_that_sends_in_its_own_sections(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    await leg.act("video")
    await leg.offers(track("bob", "audio"), track("bob", "video"))
    assert leg.directions() == ["sendrecv", "sendrecv"]
    assert [section.label for section in leg.negotiation.sections] == ["audio", "video"]
    assert await leg.tracks() == {"0": ["bob", "audio"], "1": ["bob", "video"]}


async def test_it_takes_offers_of_new_sections_and_reused_ones(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    await leg.act("video")
    bob, carol, dave = ([track(who, "audio"), track(who, "video")] for who in ("bob", "carol", "dave"))
    await leg.offers()
    assert leg.directions() == ["sendonly", "sendonly"]
    await leg.is_offered(*bob, *carol)
    assert leg.directions() == ["sendrecv", "sendrecv", "recvonly", "recvonly"]
    await leg.is_offered(*bob)
    assert leg.directions() == ["sendrecv", "sendrecv", "inactive", "inactive"]
    await leg.is_offered(*bob, *dave)
    assert leg.directions() == ["sendrecv", "sendrecv", "recvonly", "recvonly"]
    assert f"a=msid:dave video\r\na=ssrc-group:FID {dave[1].ssrc} {dave[1].rtx_ssrc}" in leg.offer
    await leg.is_offered(*dave)
    assert leg.directions() == ["sendonly", "sendonly", "recvonly", "recvonly"]


async def test_it_may_send_in_a_section_that_we_added(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    bob = [track("bob", "audio"), track("bob", "video")]
    await leg.offers(*bob)
    await leg.is_offered(*bob)
    assert [section.label for section in leg.negotiation.sections] == ["audio", ""]
    await leg.act("video")
    await leg.offers(*bob)
    assert leg.directions() == ["sendrecv", "sendrecv"]
    assert [section.label for section in leg.negotiation.sections] == ["audio", "video"]
    await leg.act("data")
    await leg.offers(*bob)
    assert leg.negotiation.sections[-1].sctp_port == 5000


async def test_a_reused_section_names_its_new_track(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    await leg.offers()
    bob, carol = track("bob", "video"), track("carol", "video")
    await leg.is_offered(bob)
    assert list((await leg.tracks()).values()) == [["bob", "video"]]
    await leg.is_offered()
    await leg.is_offered(carol)
    assert list((await leg.tracks()).values()) == [["carol", "video"]]


async def test_it_takes_another_track_in_place_of_the_last_at_once(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    await leg.offers()
    await leg.is_offered(track("bob", "video"))
    await leg.is_offered(track("carol", "video"))
    assert leg.directions() == ["sendonly", "recvonly"]
    assert "a=msid:carol video" in leg.offer


async def test_it_shares_a_screen_beside_the_camera(page: Page) -> None:
    leg = Leg(page)
    for what in ("audio", "video", "screen", "data"):
        await leg.act(what)
    await leg.offers(track("bob", "audio"), track("bob", "video"), track("bob", "screen"), track("carol", "video"))
    assert [section.label for section in leg.negotiation.sections] == ["audio", "video", "screen", ""]


async def test_it_keeps_its_layers_whoever_offers(page: Page) -> None:
    leg = Leg(page)
    await leg.act("simulcast", "qhf")
    bob, carol = track("bob", "video"), track("carol", "video")
    await leg.offers()
    assert await leg.layers() == ["q", "h", "f"]
    await leg.is_offered(bob, carol)
    assert await leg.layers() == ["q", "h", "f"]
    await leg.offers(bob, carol)
    assert await leg.layers() == ["q", "h", "f"]
    # The browser chooses the offer of the focus, and then offers itself.
    await leg.act("offered", leg.negotiation.create_offer([bob], leg.agreed))
    await leg.act("back")
    await leg.act("restart")
    await leg.offers(bob)
    assert await leg.layers() == ["q", "h", "f"]
    await leg.act("pause", "f")
    await leg.offers(bob)
    assert await leg.layers() == ["q", "h", "f~"]
    # Our offer cannot know which layers are paused, so it resumes them.
    await leg.is_offered(bob, carol)
    assert await leg.layers() == ["q", "h", "f"]


@pytest.mark.parametrize("direction", ["recvonly", "sendonly", "inactive"])
async def test_it_keeps_its_layers_during_a_hold(page: Page, direction: str) -> None:
    leg = Leg(page)
    await leg.act("simulcast", "qhf")
    bob, carol = track("bob", "video"), track("carol", "video")
    await leg.offers(bob)
    await leg.act("direction", ["0", direction])
    await leg.offers(bob)
    assert await leg.layers() == ["q", "h", "f"]
    await leg.is_offered(bob, carol)
    assert await leg.layers() == ["q", "h", "f"]
    await leg.act("direction", ["0", "sendrecv"])
    await leg.offers(bob, carol)
    assert leg.directions()[0] == "sendrecv"
    assert await leg.layers() == ["q", "h", "f"]


async def test_it_keeps_its_layers_with_another_codec(page: Page) -> None:
    other = Leg(page)
    await other.act("video")
    await other.act("only", ["vp9", "h264"])
    await other.offers()
    leg = Leg(page)
    await leg.act("simulcast", "qhf")
    await leg.offers()
    leg.agreed = leg.agreed.joined_by(other.agreed.codecs)
    await leg.is_offered(track("bob", "video"))
    assert leg.negotiation.sections[0].codecs[0].name != "VP8"
    assert await leg.layers() == ["q", "h", "f"]


async def test_it_drops_the_layers_above_three(page: Page) -> None:
    leg = Leg(page)
    await leg.act("simulcast", "abcd")
    await leg.offers()
    assert await leg.layers() == ["a", "b", "c"]
    await leg.is_offered(track("bob", "video"))
    assert await leg.layers() == ["a", "b", "c"]


async def test_a_new_connection_is_asked_for_the_same_layers(page: Page) -> None:
    leg = Leg(page)
    await leg.act("simulcast", "qhf")
    await leg.offers()
    new, bob = Leg(page), track("bob", "video")
    new.negotiation.adopt(await leg.act("offer"), new.agreed)
    offer = new.negotiation.create_offer([bob], new.agreed)
    await new.act("offered", offer)
    await new.act("video")
    new.negotiation.receive_answer(await new.act("answer"))
    assert await new.layers() == ["q", "h", "f"]
    await new.is_offered(bob, track("carol", "video"))
    await new.offers(bob)
    assert await new.layers() == ["q", "h", "f"]


@pytest.mark.parametrize("direction", ["recvonly", "sendonly", "inactive"])
async def test_it_holds_and_resumes(page: Page, direction: str) -> None:
    leg = Leg(page)
    await leg.act("audio")
    await leg.act("video")
    bob = [track("bob", "audio"), track("bob", "video")]
    await leg.offers(*bob)
    for mid in "01":
        await leg.act("direction", [mid, direction])
    await leg.offers(*bob)
    assert leg.directions() == [direction, direction]
    # A change during the hold does not end it.
    await leg.is_offered(*bob, track("carol", "audio"))
    assert leg.directions() == [direction, direction, "recvonly"]
    for mid in "01":
        await leg.act("direction", [mid, "sendrecv"])
    await leg.offers(*bob)
    assert leg.directions()[:2] == ["sendrecv", "sendrecv"]


async def test_it_learns_that_another_holds(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    bob, held = track("bob", "audio"), track("carol", "audio")
    await leg.offers(bob)
    await leg.is_offered(bob, held)
    on_hold = Outgoing(held.track, "audio", "carol", "audio", held.ssrc, None, live=False)
    await leg.is_offered(bob, on_hold)
    assert leg.directions() == ["sendrecv", "inactive"]
    await leg.is_offered(bob, held)
    assert leg.directions() == ["sendrecv", "recvonly"]


async def test_it_stops_a_section_and_uses_it_again(page: Page) -> None:
    leg = Leg(page)
    for what in ("audio", "video", "screen"):
        await leg.act(what)
    bob = track("bob", "audio")
    await leg.offers(bob)
    await leg.act("stop", "2")
    await leg.offers(bob)
    assert leg.directions() == ["sendrecv", "sendonly", "rejected"]
    await leg.act("screen")
    await leg.offers(bob)
    assert leg.directions() == ["sendrecv", "sendonly", "sendonly"]
    assert leg.negotiation.sections[2].label == "screen"
    await leg.act("stop", leg.negotiation.sections[2].mid)
    await leg.offers(bob)
    # Now the focus uses the section that the participant has stopped.
    await leg.is_offered(bob, track("bob", "video"), track("carol", "video"))
    assert leg.directions() == ["sendrecv", "sendrecv", "recvonly"]


async def test_a_section_without_common_codecs_is_rejected_and_the_rest_goes_on(page: Page) -> None:
    leg = Leg(page)
    await leg.act("balanced")
    await leg.act("video")
    await leg.act("only", ["h264"])
    await leg.act("audio")
    # The focus does not know the only codec of the video section.
    text = str(await leg.act("offer")).replace("H264/", "H260/")
    leg.negotiation.receive_offer(text, Agreed())
    await leg.act("answered", leg.negotiation.create_answer([]))
    assert leg.directions() == ["rejected", "sendonly"]
    await leg.agrees()


async def test_it_sends_another_codec_when_the_conference_changes_it(page: Page) -> None:
    other = Leg(page)
    await other.act("video")
    await other.act("only", ["vp9", "h264"])
    await other.offers()
    leg = Leg(page)
    await leg.act("video")
    bob, carol = track("bob", "video"), track("carol", "video")
    await leg.offers(bob)
    await leg.is_offered(bob, carol)
    assert {name for each in await leg.transceivers() for name in each["codecs"]} == {"video/VP8", "video/rtx"}
    before, leg.agreed = leg.agreed, leg.agreed.joined_by(other.agreed.codecs)
    await leg.is_offered(bob, carol)
    codec = leg.agreed.in_use().codecs["video"][0].name
    assert codec in ("VP9", "H264")
    for each in await leg.transceivers():
        assert set(each["codecs"] + each["received"]) == {f"video/{codec}", "video/rtx"}
    # The conference changes back to VP8. The participant then sends VP8 in the section that the focus added, too.
    leg.agreed = before
    await leg.is_offered(bob, carol)
    assert {name for each in await leg.transceivers() for name in each["received"]} == {"video/VP8", "video/rtx"}


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
async def test_it_uses_pcm_while_a_member_lacks_opus(page: Page, name: str) -> None:
    other = Leg(page)
    await other.act("audio")
    await other.act("speaks", name)
    await other.offers()
    assert {codec for each in await other.transceivers() for codec in each["codecs"]} == {f"audio/{name}"}
    leg = Leg(page)
    await leg.act("audio")
    bob, carol = track("bob", "audio"), track("carol", "audio")
    await leg.offers(bob)
    before, leg.agreed = leg.agreed, leg.agreed.joined_by(other.negotiation.capabilities)
    await leg.is_offered(bob, carol)
    for each in await leg.transceivers():
        assert {codec for codec in each["codecs"] + each["received"] if "tel" not in codec} == {f"audio/{name}"}
    # The conference changes back to Opus.
    leg.agreed = before
    await leg.is_offered(bob, carol)
    for each in await leg.transceivers():
        assert {codec for codec in each["codecs"] + each["received"] if "tel" not in codec} == {
            "audio/opus",
            "audio/red",
        }


async def test_it_restarts_ice(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    await leg.offers()
    before, role = leg.negotiation.local_credentials, leg.negotiation.role
    await leg.offers()
    assert leg.negotiation.local_credentials == before
    await leg.act("restart")
    await leg.offers()
    assert leg.negotiation.local_credentials != before
    assert leg.negotiation.role == role == "server"


async def test_it_wins_when_both_offer_at_once(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    bob = [track("bob", "audio"), track("bob", "video")]
    await leg.offers(bob[0])
    offer = leg.negotiation.create_offer(bob, leg.agreed)
    await leg.act("offered", offer)
    await leg.act("back")
    await leg.act("video")
    await leg.offers(*bob)
    assert leg.directions() == ["sendrecv", "sendrecv"]
    assert leg.negotiation.create_offer(bob, leg.agreed) is None


async def test_it_takes_the_sections_of_a_large_conference(page: Page) -> None:
    leg = Leg(page)
    await leg.act("audio")
    await leg.act("video")
    ids = [f"{number:032x}" for number in range(39)]
    tracks = [track(id_, label) for id_ in ids for label in ("audio", "video")]
    await leg.offers()
    await leg.is_offered(*tracks)
    assert leg.directions().count("recvonly") == 76
    assert len(leg.offer) <= 40_000
    # The browser's own offer fits into one request.
    assert len(await leg.act("offer")) < SDP_LIMIT
