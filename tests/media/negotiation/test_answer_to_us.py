"""The answers that a participant may give to the leg's offer."""

import re

import pytest

from media.sdp.description import parse
from media.sdp.extensions import PLAYOUT_DELAY
from media.sdp.negotiation import NegotiationError
from tests.support.media.negotiating import (
    BOB,
    BOB_AUDIO,
    CAROL,
    CHROMIUM,
    agreed_by,
    answering,
    changed,
    leg_that_offers,
    offered,
    section_text,
    settled,
    without,
)

pytestmark = pytest.mark.once


class TestAnswerToUs:
    def test_a_section_may_be_rejected_and_is_not_offered_again(self) -> None:
        leg, offer, agreed = leg_that_offers()
        answer = changed(answering(offer), ("BUNDLE 0 1 f1", "BUNDLE 0 1"))
        added = section_text(answer, 2)
        leg.receive_answer(answer.replace(added, re.sub(r"m=video \d+", "m=video 0", added)))
        assert leg.sections[2].rejected
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], agreed) is None
        # Once the participant makes an offer, the section is used again, under another mid.
        text = CHROMIUM + re.sub(r"(?m)^a=ssrc.*\r\n", "", added).replace("m=video 5000", "m=video 0")
        leg.receive_offer(text, agreed)
        leg.create_answer([BOB_AUDIO, BOB, CAROL])
        assert [media.mid for media in parse(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)).media] == [
            "0",
            "1",
            "f2",
        ]

    def test_a_rejected_track_is_not_offered_in_another_free_section(self) -> None:
        leg, offer, agreed = leg_that_offers()
        leg.receive_answer(answering(offer))
        leg.receive_answer(answering(offered(leg, BOB_AUDIO, agreed=agreed)))
        answer = changed(answering(offered(leg, BOB_AUDIO, CAROL, agreed=agreed)), ("BUNDLE 0 1 f1", "BUNDLE 0 f1"))
        leg.receive_answer(
            answer.replace(section_text(answer, 1), re.sub(r"m=video \d+", "m=video 0", section_text(answer, 1)))
        )
        assert [section.rejected for section in leg.sections] == [False, True, False]
        assert leg.create_offer([BOB_AUDIO, CAROL], agreed) is None

    def test_it_may_receive_less_than_offered(self) -> None:
        leg, offer, agreed = leg_that_offers()
        leg.receive_answer(answering(offer, directions={"f1": "inactive", "1": "sendonly"}))
        assert [section.sending for section in leg.sections] == [True, False, False]
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], agreed) is None

    def test_it_may_keep_fewer_codecs_and_extensions(self) -> None:
        leg, offer, agreed = leg_that_offers()
        answer = answering(offer)
        for pattern in (
            "a=rtpmap:(9[78]|10[0-9]|11[4-7]|39|4[0-9]) .*",
            "a=extmap:5 .*",
            "a=rtcp-fb:96 nack",
            "a=rtcp-rsize",
        ):
            answer = without(answer, pattern)
        leg.receive_answer(without(answer, "a=extmap-allow-mixed"))
        section = leg.sections[2]
        assert [(codec.name, codec.rtx_payload_type) for codec in section.codecs] == [("VP8", None)]
        assert section.codecs[0].feedback == ("nack pli", "transport-cc")
        assert PLAYOUT_DELAY not in section.extensions
        assert not section.mixed
        assert not section.reduced_size
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], agreed) is None

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("a=recvonly", "a=sendrecv", "sendrecv cannot answer"),
            ("a=recvonly", "a=sendonly", "sendonly cannot answer"),
            ("a=mid:f1", "a=mid:2", "in their order"),
            ("a=setup:active", "a=setup:actpass", "choose its DTLS role"),
            ("a=setup:active", "a=setup:passive", "role has changed"),
            ("a=ice-ufrag:voHs", "a=ice-ufrag:dEfG", "cannot restart ICE"),
            ("sha-256 A9:", "sha-256 AA:", "certificate"),
            ("BUNDLE 0 1 f1", "BUNDLE 0 1", "BUNDLE"),
            ("a=rtcp-mux\r\n", "", "rtcp-mux"),
            ("a=rtpmap:", "a=x-map:", "none of the codecs"),
            ("m=video", "m=text", "in their order"),
        ],
    )
    def test_it_refuses_what_is_no_answer_and_stays_as_it_was(self, old: str, new: str, words: str) -> None:
        leg, offer, _ = leg_that_offers()
        before = leg.sections
        text = answering(offer).replace("BUNDLE 0 1 f1", "BUNDLE 0 1 2") if "mid:2" in new else answering(offer)
        with pytest.raises(NegotiationError, match=words):
            leg.receive_answer(changed(text, (old, new)))
        assert leg.sections == before
        assert leg.offering

    def test_it_must_have_all_sections(self) -> None:
        leg, offer, _ = leg_that_offers()
        answer = answering(offer)
        with pytest.raises(NegotiationError, match="must have the offer's media sections"):
            leg.receive_answer(changed(answer.replace(section_text(answer, 2), ""), (" f1", "")))
        with pytest.raises(NegotiationError, match="rejects every"):
            leg.receive_answer(changed(re.sub(r"m=(\w+) \d+", r"m=\1 0", answer), ("BUNDLE 0 1 f1", "BUNDLE")))

    def test_there_must_be_an_offer(self) -> None:
        leg, _ = settled(CHROMIUM)
        with pytest.raises(NegotiationError, match="no offer"):
            leg.receive_answer(CHROMIUM)

    def test_a_section_that_we_rejected_cannot_come_back_in_an_answer(self) -> None:
        agreed = agreed_by(CHROMIUM)
        text = changed(CHROMIUM, ("m=audio 37498", "m=audio 0"), ("BUNDLE 0 1", "BUNDLE 1"))
        leg, _ = settled(text, agreed=agreed)
        offer = offered(leg, BOB, agreed=agreed)
        answer = changed(answering(offer), ("m=audio 0 UDP", "m=audio 9 UDP"))
        with pytest.raises(NegotiationError, match="that the offer rejects"):
            leg.receive_answer(answer)
