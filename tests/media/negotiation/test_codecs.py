"""The codecs that a conference agrees on, and those of them that it uses."""

import re
from dataclasses import replace

import pytest

from media.sdp.description import parse
from media.sdp.negotiation import NegotiationError, read_capabilities
from tests.support.descriptions import describe
from tests.support.media.negotiating import (
    AIORTC,
    BOB,
    BOB_AUDIO,
    CAROL,
    CHROMIUM,
    FIREFOX,
    agreed_by,
    changed,
    names,
    offered,
    section_text,
    settled,
    unheard_of,
    without,
)
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.once


class TestAgreement:
    def test_a_conference_uses_codecs_that_every_member_can_receive(self) -> None:
        assert names(agreed_by(CHROMIUM), "video") == ["VP8", "H264", "AV1", "VP9"]
        assert names(agreed_by(CHROMIUM, FIREFOX), "video") == ["VP8", "AV1", "VP9"]
        assert names(agreed_by(CHROMIUM, FIREFOX, AIORTC), "video") == ["VP8"]
        assert names(agreed_by(FIREFOX, CHROMIUM), "audio") == ["opus", "PCMU", "PCMA", "telephone-event"]

    def test_the_first_members_preference_holds(self) -> None:
        assert names(agreed_by(FIREFOX, CHROMIUM), "video") == ["VP8", "VP9", "AV1"]

    def test_a_participant_without_video_restricts_no_video_codec(self) -> None:
        assert agreed_by(CHROMIUM, SAMPLES["chromium-audio"]) == agreed_by(CHROMIUM)
        assert "video" not in agreed_by(SAMPLES["chromium-audio"]).codecs

    def test_joining_twice_changes_nothing(self) -> None:
        assert agreed_by(CHROMIUM, CHROMIUM, CHROMIUM) == agreed_by(CHROMIUM)

    def test_none_left_is_refused_in_words(self) -> None:
        conference = agreed_by(AIORTC)
        alone = without(FIREFOX, r"a=rtpmap:12[01] .*")
        with pytest.raises(NegotiationError, match=r"^The conference uses VP8 and H264; this offer has only AV1\.$"):
            conference.joined_by(read_capabilities(alone))

    def test_profiles_are_named_where_only_they_differ(self) -> None:
        offers = [
            changed(without(AIORTC, "a=rtpmap:(97|101) .*"), ("profile-level-id=42001f", f"profile-level-id={profile}"))
            for profile in ("42e01f", "64001f")
        ]
        with pytest.raises(NegotiationError, match=r"H264 constrained baseline 1; .* only H264 high 1"):
            agreed_by(*offers)

    def test_an_offer_of_nothing_known_is_refused_where_video_is_in_use(self) -> None:
        alone = changed(without(AIORTC, "a=rtpmap:(99|101) .*"), ("VP8", "H265"))
        with pytest.raises(NegotiationError, match="has no video codec that the focus knows"):
            agreed_by(CHROMIUM, alone)
        assert "video" not in agreed_by(alone).codecs

    def test_codecs_that_participants_receive_count_before_those_that_they_only_send(self) -> None:
        video = section_text(AIORTC, 1)
        sent = changed(without(video, "a=rtpmap:(97|99) .*"), ("a=sendrecv", "a=sendonly"), ("a=mid:1", "a=mid:3"))
        text = changed(AIORTC + sent, ("BUNDLE 0 1 2", "BUNDLE 0 1 2 3"))
        assert names(agreed_by(without(text, "a=ssrc.*")), "video") == ["VP8", "H264"]

    def test_h264_has_the_lowest_level_of_all(self) -> None:
        low, high = (
            changed(AIORTC, ("profile-level-id=42e01f", f"profile-level-id=42E0{level}")) for level in ("1f", "34")
        )
        agreed = agreed_by(high, low)
        _, answer = settled(without(high, "a=rtpmap:(97|99) .*"), agreed=agreed)
        assert "a=fmtp:101 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42E01f" in answer
        assert agreed_by(low, high) == agreed_by(low)

    @pytest.mark.parametrize(
        ("profile", "key"),
        [
            ("42e01f", "constrained baseline"),
            ("42001f", "baseline"),
            ("4d001f", "main"),
            ("4d8028", "constrained baseline"),
            ("640c1f", "constrained high"),
            ("64001f", "high"),
            ("f4001f", "high 4:4:4"),
        ],
    )
    def test_h264_profiles_are_read_as_rfc_6184_has_them(self, profile: str, key: str) -> None:
        text = changed(
            without(AIORTC, "a=rtpmap:(97|101) .*"), ("profile-level-id=42001f", f"profile-level-id={profile}")
        )
        assert [codec.key for codec in read_capabilities(text)["video"]] == [("H264", key, "1")]

    @pytest.mark.parametrize(
        "fmtp", ["packetization-mode=2", "profile-level-id=42e0", "profile-level-id=zzzzzz", "profile-level-id=13001f"]
    )
    def test_h264_that_nobody_can_match_is_left_out(self, fmtp: str) -> None:
        text = re.sub(r"a=fmtp:(99|101) .*", rf"a=fmtp:\1 {fmtp}", AIORTC)
        assert [codec.name for codec in read_capabilities(text)["video"]] == ["VP8"]

    def test_vp9_and_av1_match_by_profile(self) -> None:
        hold, usual = read_capabilities(SAMPLES["chromium-hold"])["video"], read_capabilities(CHROMIUM)["video"]
        assert {codec.key for codec in hold} - {codec.key for codec in usual} >= {("VP9", "1"), ("AV1", "1")}
        assert {codec.key for codec in agreed_by(SAMPLES["chromium-hold"], CHROMIUM).codecs["video"]} == {
            codec.key for codec in usual
        }


class TestCodecsInUse:
    def test_sections_list_the_preferred_codec_and_tones_for_it(self) -> None:
        in_use = agreed_by(CHROMIUM).in_use()
        assert [codec.key for codec in in_use.codecs["video"]] == [("VP8",)]
        assert [codec.key for codec in in_use.codecs["audio"]] == [
            ("red", "111"),
            ("opus",),
            ("telephone-event", "48000"),
        ]
        assert in_use.in_use() == in_use

    def test_a_section_that_lacks_the_preferred_codec_brings_its_own_into_use(self) -> None:
        screen = changed(unheard_of(section_text(CHROMIUM, 1), "VP8", "H264", "AV1"), ("a=mid:1", "a=mid:2"))
        text = changed(CHROMIUM + without(screen, "a=ssrc.*"), ("BUNDLE 0 1", "BUNDLE 0 1 2"))
        leg, _ = settled(text)
        assert not any(section.rejected for section in leg.sections)
        agreed = agreed_by(CHROMIUM).joined_by(leg.capabilities, leg.shown)
        other, _ = settled(CHROMIUM, BOB, agreed=agreed)
        assert [codec.key for codec in other.sections[1].codecs] == [("VP8",), ("VP9", "0")]
        offer = parse(offered(other, BOB, CAROL, agreed=agreed))
        assert offer.media[2].formats == offer.media[1].formats

    def test_each_section_lists_its_own_red_before_opus_whatever_others_have(self) -> None:
        other = changed(CHROMIUM, ("SAVPF 111 ", "SAVPF 112 "), (":111 ", ":112 "), ("111/111", "112/112"))
        agreed = agreed_by(AIORTC, other, CHROMIUM)
        assert names(agreed.in_use(), "audio")[:2] == ["red", "opus"]
        for text, types in ((CHROMIUM, ("63", "111")), (other, ("63", "112")), (AIORTC, ("96",))):
            leg, answer = settled(text, agreed=agreed)
            assert parse(answer).media[0].formats[: len(types)] == types
            assert ("red" in answer) == ("63" in types)
            assert offered(leg, BOB_AUDIO, agreed=agreed).count("red/") == ("63" in types)

    def test_red_is_not_listed_without_opus(self) -> None:
        agreed = agreed_by(changed(CHROMIUM, ("SAVPF 111 63 ", "SAVPF 63 ")))
        assert "red" not in names(agreed.in_use(), "audio")


def test_parameters_of_a_codec_that_is_not_listed_are_passed_over() -> None:
    """Firefox keeps `a=fmtp` of codecs that `setCodecPreferences` has removed from the m= line and from `a=rtpmap`."""
    video = parse(describe(kinds=("audio", "video")).rstrip() + "\r\na=fmtp:121 max-fs=12288;max-fr=60\r\n").media[-1]
    assert video.nameless_codecs() == set()
    listed = replace(video, formats=(*video.formats, "121"))
    assert listed.nameless_codecs() == {121}
