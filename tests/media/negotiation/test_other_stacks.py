"""Offers of WebRTC stacks other than browsers."""

import re

import pytest

from media.sdp.description import parse
from media.sdp.extensions import PLAYOUT_DELAY, VIDEO_ORIENTATION
from media.sdp.negotiation import read_capabilities
from tests.support.media.negotiating import (
    BOB,
    CAROL,
    CHROMIUM,
    agreed_by,
    answering,
    changed,
    offered,
    section_text,
    settled,
    without,
)

pytestmark = pytest.mark.once


class TestOtherStacks:
    """Unusual lines of other stacks that Chromium accepts do no harm."""

    def test_two_fmtp_for_one_payload_type_are_one(self) -> None:
        text = changed(CHROMIUM, ("a=fmtp:98 profile-id=0", "a=fmtp:98 profile-id=0;a=1\r\na=fmtp:98 PROFILE-ID=2;b=2"))
        shown = {codec.payload_type: codec for codec in read_capabilities(text)["video"]}
        assert (shown[98].key, shown[98].fmtp) == (("VP9", "2"), "PROFILE-ID=2;a=1;b=2")

    @pytest.mark.parametrize(
        "stated",
        [
            "a=extmap:13/sendonly urn:3gpp:video-orientation\r\na=extmap:13/recvonly urn:3gpp:video-orientation",
            "a=extmap:13 urn:ietf:params:rtp-hdrext:encrypt urn:3gpp:video-orientation",
        ],
    )
    def test_an_extension_of_one_direction_or_encrypted_is_not_served(self, stated: str) -> None:
        leg, _ = settled(changed(CHROMIUM, ("a=extmap:13 urn:3gpp:video-orientation", stated)), BOB)
        assert VIDEO_ORIENTATION not in leg.sections[1].extensions
        assert PLAYOUT_DELAY in leg.sections[1].extensions

    def test_extension_attributes_are_passed_over(self) -> None:
        text = changed(CHROMIUM, ("urn:3gpp:video-orientation", "urn:3gpp:video-orientation x=1"))
        leg, _ = settled(text, BOB)
        assert leg.sections[1].extensions[VIDEO_ORIENTATION] == 13

    def test_encrypted_ones_keep_their_ids_apart(self) -> None:
        text = re.sub(r"(a=extmap:1[01]) (urn:\S+)", r"\1 urn:ietf:params:rtp-hdrext:encrypt \2", CHROMIUM)
        leg, _ = settled(changed(text, ("urn:3gpp:video-orientation", "urn:x")), BOB)
        assert not re.search("a=extmap:1[013] ", offered(leg, BOB, CAROL, agreed=agreed_by(text)))

    def test_a_removed_section_may_lose_its_attributes(self) -> None:
        leg, _ = settled(CHROMIUM, BOB)
        text = changed(
            CHROMIUM, (section_text(CHROMIUM, 1), "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"), ("BUNDLE 0 1", "BUNDLE 0")
        )
        leg.receive_offer(text, agreed_by(text))
        answer = parse(leg.create_answer([]))
        assert [(media.live, media.mid) for media in answer.media] == [(True, "0"), (False, "")]

    def test_a_removed_section_of_an_answer_may_too(self) -> None:
        leg, _ = settled(CHROMIUM)
        offer = offered(leg, BOB, CAROL, agreed=agreed_by(CHROMIUM))
        mid = parse(offer).media[2].mid
        answer = answering(offer)
        answer = changed(
            answer, (section_text(answer, 2), "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"), (f" {mid}\r\n", "\r\n")
        )
        leg.receive_answer(answer)
        assert [section.rejected for section in leg.sections] == [False, False, True]
        assert leg.sections[2].mid == mid

    def test_without_setup_the_choice_is_ours(self) -> None:
        _, answer = settled(without(CHROMIUM, "a=setup:actpass"))
        assert "a=setup:passive" in answer
