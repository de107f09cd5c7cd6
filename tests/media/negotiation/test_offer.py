"""A leg's offers to its participant."""

import re
from dataclasses import replace

import pytest

from media.sdp.codecs import section_codecs
from media.sdp.description import parse
from media.sdp.negotiation import Agreed, Negotiation
from tests.support.media.negotiating import (
    AIORTC,
    BOB,
    BOB_AUDIO,
    CAROL,
    CHROMIUM,
    FIREFOX,
    LOCAL,
    agreed_by,
    answering,
    changed,
    offered,
    section_text,
    settled,
    unheard_of,
    without,
)
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.once


class TestOffer:
    def test_tracks_without_a_section_get_one(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        offer = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)
        content = parse(offer)
        assert [media.mid for media in content.media] == ["0", "1", "f1"]
        assert [media.direction for media in content.media] == ["sendrecv", "sendrecv", "sendonly"]
        assert content.bundle == ("0", "1", "f1")
        assert "a=setup:actpass" in offer
        assert content.media[2].formats == content.media[1].formats == ("96", "97")
        leg.receive_answer(answering(offer))
        assert [section.sending for section in leg.sections] == [True, True, True]
        assert leg.sections[2].outgoing == CAROL
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], agreed) is None
        assert leg.role == "server"

    def test_nothing_new_is_no_offer(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        assert leg.create_offer([BOB, BOB_AUDIO], agreed) is None
        assert leg.create_offer([BOB, BOB_AUDIO, replace(CAROL, live=False)], agreed) is None
        assert not leg.offering
        assert Negotiation(LOCAL).create_offer([], agreed) is None

    def test_a_track_that_ends_leaves_its_section_to_the_next(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        for outgoing in (
            [BOB_AUDIO, BOB, CAROL],
            [BOB_AUDIO, CAROL],
            [BOB_AUDIO, CAROL, dave := replace(BOB, track="d")],
        ):
            offer = offered(leg, *outgoing, agreed=agreed)
            leg.receive_answer(answering(offer))
        assert [section.outgoing for section in leg.sections] == [BOB_AUDIO, dave, CAROL]

    def test_a_section_is_sent_while_its_track_is_live(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        leg.receive_answer(answering(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)))
        held = replace(CAROL, live=False)
        offer = offered(leg, BOB_AUDIO, BOB, held, agreed=agreed)
        assert parse(offer).media[2].direction == "inactive"
        leg.receive_answer(answering(offer))
        assert leg.sections[2].outgoing == held
        # The section stays reserved for the held track, so another track gets a new section.
        offer = offered(leg, BOB_AUDIO, BOB, held, replace(BOB, track="d"), agreed=agreed)
        assert [media.direction for media in parse(offer).media[2:]] == ["inactive", "sendonly"]

    def test_new_sources_of_a_track_are_news(self) -> None:
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        offer = offered(leg, BOB_AUDIO, replace(BOB, ssrc=5, rtx_ssrc=6), agreed=agreed_by(CHROMIUM))
        assert "a=ssrc-group:FID 5 6" in offer

    def test_codecs_that_the_leg_never_showed_get_free_numbers(self) -> None:
        text = changed(SAMPLES["chromium-audio"], ("a=rtpmap:110 telephone-event/48000", "a=rtpmap:96 fancy/48000"))
        text = changed(text, ("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 111 63 9 0 8 13 96 126"))
        agreed = agreed_by(text, CHROMIUM)
        leg, _ = settled(text, BOB_AUDIO, agreed=agreed)
        offer = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)
        taken = {111, 63, 9, 0, 8, 13, 96, 126}
        added = [int(each) for each in parse(offer).media[1].formats]
        assert not taken & set(added)
        assert len(set(added)) == len(added)
        assert all(35 <= each < 64 or 96 <= each < 128 for each in added)
        assert parse(offer).media[2].formats == parse(offer).media[1].formats
        assert "a=extmap:13 urn" in section_text(offer, 1)
        assert len(set(re.findall(r"a=extmap:(\d+) ", section_text(offer, 1)))) == section_text(offer, 1).count(
            "a=extmap:"
        )

    def test_nothing_of_one_leg_is_written_to_another(self) -> None:
        strange = changed(
            CHROMIUM, ("level-idx=5;", "level-idx=5;x-evil=1;"), ("minptime=10;", "minptime=10;x-evil=1;")
        )
        audio = SAMPLES["chromium-audio"]
        leg, answer = settled(audio, agreed=agreed_by(strange, audio))
        assert "evil" not in answer + offered(leg, BOB, agreed=agreed_by(strange, audio))

    def test_red_is_offered_only_with_the_number_of_its_opus(self) -> None:
        video = changed(
            AIORTC.replace(section_text(AIORTC, 0), ""),
            ("BUNDLE 0 1 2", "BUNDLE 1 2"),
            ("97 98", "111 98"),
            (":97 ", ":111 "),
        )
        leg, _ = settled(changed(video, ("apt=97", "apt=111")), agreed=agreed_by(CHROMIUM))
        offer = offered(leg, BOB_AUDIO, agreed=agreed_by(CHROMIUM))
        assert "opus" in offer
        assert "red" not in section_text(offer, 2)

    def test_a_kind_that_nobody_agreed_on_gets_no_section(self) -> None:
        audio = SAMPLES["chromium-audio"]
        leg, _ = settled(audio)
        assert leg.create_offer([BOB], agreed_by(audio)) is None

    def test_another_codec_is_offered_when_the_conference_changes_it(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        leg.receive_answer(answering(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)))
        assert [[codec.name for codec in section.codecs] for section in leg.sections[1:]] == [["VP8"], ["VP8"]]
        changed_to = agreed_by(CHROMIUM, unheard_of(FIREFOX, "VP8", "AV1"))
        offer = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=changed_to)
        leg.receive_answer(answering(offer))
        assert [[codec.name for codec in section.codecs] for section in leg.sections[1:]] == [["VP9"], ["VP9"]]
        assert [section.sending for section in leg.sections] == [True] * 3
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], changed_to) is None
        # The codec changes back when the member that caused the change has left.
        leg.receive_answer(answering(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)))
        assert [[codec.name for codec in section.codecs] for section in leg.sections[1:]] == [["VP8"], ["VP8"]]

    def test_a_codec_that_the_participant_never_showed_can_follow_another(self) -> None:
        audio = SAMPLES["chromium-audio"]
        leg, _ = settled(audio)
        leg.receive_answer(answering(offered(leg, BOB, agreed=agreed_by(audio, CHROMIUM)), by=audio))
        changed_to = agreed_by(audio, unheard_of(CHROMIUM, "VP8", "H264", "AV1"))
        leg.receive_answer(answering(offered(leg, BOB, agreed=changed_to), by=audio))
        assert [codec.name for codec in leg.sections[1].codecs] == ["VP9"]
        assert leg.sections[1].sending

    def test_a_codec_that_was_refused_in_a_section_is_not_offered_there_again(self) -> None:
        both = without(CHROMIUM, "a=rtpmap:(102|104|108|114|116|39|45) .*")
        only_vp9 = unheard_of(CHROMIUM, "VP8", "H264", "AV1")
        agreed = agreed_by(both).joined_by({}, section_codecs(parse(only_vp9).live()))
        leg, _ = settled(both, BOB_AUDIO, BOB, agreed=agreed)
        answer = answering(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed))
        added = section_text(answer, 2)
        leg.receive_answer(answer.replace(added, without(added, "a=rtpmap:98 .*")))
        assert [codec.name for codec in leg.sections[2].codecs] == ["VP8"]
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], agreed) is None

    def test_a_section_without_a_codec_left_is_inactive(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB)
        vp8 = tuple(codec for codec in agreed.codecs["video"] if codec.name == "VP8")
        narrow = Agreed({**agreed.codecs, "video": tuple(replace(codec, key=("VP9", "3")) for codec in vp8)})
        offer = offered(leg, BOB, agreed=narrow)
        assert parse(offer).media[1].direction == "inactive"
        leg.receive_answer(answering(offer))
        assert leg.create_offer([BOB], narrow) is None
        assert parse(offered(leg, BOB, agreed=agreed)).media[1].direction == "sendrecv"

    def test_only_the_participant_ends_its_hold(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        leg.receive_offer(changed(CHROMIUM, ("a=sendrecv", "a=inactive")), agreed)
        leg.create_answer([BOB_AUDIO, BOB])
        assert leg.create_offer([BOB_AUDIO, BOB], agreed) is None
        offer = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)
        assert [media.direction for media in parse(offer).media] == ["recvonly", "recvonly", "sendonly"]

    def test_the_leg_can_begin_with_our_offer(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg = Negotiation(LOCAL)
        offer = offered(leg, BOB_AUDIO, BOB, agreed=agreed)
        assert not leg.settled
        leg.receive_answer(answering(offer))
        assert leg.settled
        assert leg.role == "server"
        assert [section.sending for section in leg.sections] == [True, True]

    def test_a_fresh_leg_can_begin_with_what_the_participant_had_last_offered(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg = Negotiation(LOCAL)
        leg.adopt(CHROMIUM, agreed)
        offer = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)
        assert [media.direction for media in parse(offer).media] == ["sendrecv", "sendrecv", "sendonly"]
        leg.receive_answer(answering(offer))
        assert [(section.label, section.receiving) for section in leg.sections] == [
            ("audio", True),
            ("video", True),
            ("", False),
        ]
