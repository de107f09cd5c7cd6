"""Media sections that are rejected, and used again."""

import pytest

from media.sdp.description import parse
from media.sdp.negotiation import NegotiationError
from tests.support.media.negotiating import (
    AIORTC,
    AUDIO,
    BOB,
    CHROMIUM,
    agreed_by,
    changed,
    section_text,
    settled,
    unheard_of,
)

pytestmark = pytest.mark.once


class TestRejectedLines:
    def test_a_section_without_a_common_codec_is_rejected(self) -> None:
        leg, answer = settled(unheard_of(CHROMIUM, "VP8", "VP9", "H264", "AV1"), BOB)
        assert [section.rejected for section in leg.sections] == [False, True]
        assert section_text(answer, 1).startswith("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n")
        assert "a=group:BUNDLE 0\r\n" in answer

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("m=application 49415 UDP/DTLS/SCTP", "m=application 49415 DTLS/SCTP"),
            ("webrtc-datachannel", "t38"),
            ("a=sctp-port:5000", "a=sctp-port:0"),
            ("a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 256"),
            ("m=application", "m=text"),
        ],
    )
    def test_a_section_of_another_sort_is_rejected(self, old: str, new: str) -> None:
        leg, answer = settled(changed(AIORTC, (old, new)))
        assert leg.sections[2].rejected
        assert not parse(answer).media[2].live

    def test_data_channels_are_accepted_once(self) -> None:
        second = changed(section_text(AIORTC, 2), ("a=mid:2", "a=mid:3"))
        leg, _ = settled(changed(AIORTC + second, ("BUNDLE 0 1 2", "BUNDLE 0 1 2 3")))
        assert [section.rejected for section in leg.sections] == [False, False, False, True]
        assert (leg.sections[2].sctp_port, leg.sections[2].max_message_size) == (5000, 262144)

    def test_port_0_rejects_and_bundle_only_does_not(self) -> None:
        text = changed(CHROMIUM, ("m=video 51794", "m=video 0"))
        leg, answer = settled(changed(text, ("BUNDLE 0 1", "BUNDLE 0")), BOB)
        assert leg.sections[1].rejected
        assert not parse(answer).media[1].live
        leg, answer = settled(changed(text, ("a=mid:1", "a=mid:1\r\na=bundle-only")), BOB)
        assert leg.sections[1].sending
        assert parse(answer).media[1].live

    def test_the_tagged_section_cannot_be_rejected_alone(self) -> None:
        text = changed(CHROMIUM, ("m=video 51794", "m=video 0"), ("a=mid:1", "a=mid:1\r\na=bundle-only"))
        with pytest.raises(NegotiationError, match="tagged one of its BUNDLE group"):
            settled(unheard_of(text, *AUDIO))

    def test_a_rejected_section_is_used_again(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(changed(CHROMIUM, ("m=video 51794", "m=video 0"), ("BUNDLE 0 1", "BUNDLE 0")), agreed=agreed)
        leg.receive_offer(changed(CHROMIUM, ("a=mid:1", "a=mid:7"), ("BUNDLE 0 1", "BUNDLE 0 7")), agreed)
        leg.create_answer([])
        assert [(section.mid, section.label) for section in leg.sections] == [("0", "audio"), ("7", "video")]

    def test_an_offer_of_nothing_that_can_be_served_is_refused(self) -> None:
        with pytest.raises(NegotiationError, match="No media section"):
            settled(unheard_of(CHROMIUM, *AUDIO, "VP8", "VP9", "H264", "AV1"))
