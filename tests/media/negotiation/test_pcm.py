"""G.711 serves participants without Opus."""

from dataclasses import replace

import pytest

from media.sdp.codecs import section_codecs
from media.sdp.description import parse
from media.sdp.negotiation import Agreed, NegotiationError, read_capabilities
from tests.support.media.negotiating import (
    BOB,
    BOB_AUDIO,
    CAROL,
    CHROMIUM,
    agreed_by,
    answering,
    changed,
    names,
    offered,
    section_text,
    settled,
    without,
)
from tests.support.samples import CASES, SAMPLES

pytestmark = pytest.mark.once

CAROL_AUDIO = replace(BOB_AUDIO, track="carol-audio", stream="carol", ssrc=1005)
PCM_ONLY = CASES["100-pcm-only"]


class TestPcm:
    """PCMU and PCMA, for members that lack Opus (RFC 7874 section 3)."""

    def test_they_are_not_in_use_while_everybody_has_opus(self) -> None:
        for preferred in (CHROMIUM, changed(CHROMIUM, ("SAVPF 111 63 9 0 8", "SAVPF 0 8 111 63 9"))):
            agreed = agreed_by(preferred, CHROMIUM)
            assert names(agreed.in_use(), "audio") == ["red", "opus", "telephone-event"]
            leg, answer = settled(preferred, agreed=agreed)
            assert (answer + offered(leg, BOB_AUDIO, CAROL, agreed=agreed)).count("PCM") == 0

    def test_one_that_has_nothing_else_is_answered_with_them(self) -> None:
        leg, answer = settled(PCM_ONLY, BOB_AUDIO)
        assert section_text(answer, 0).startswith("m=audio ")
        assert parse(answer).media[0].formats == ("0", "101")
        assert "a=rtpmap:0 PCMU/8000\r\n" in answer
        (codec, _) = leg.sections[0].codecs
        assert (codec.key, codec.clock_rate, codec.payload_type) == (("PCMU",), 8000, 0)

    @pytest.mark.parametrize("name", ["chromium-audio-video", "firefox-audio-video", "aiortc-data"])
    def test_when_one_joins_that_lacks_opus_the_others_are_offered_them(self, name: str) -> None:
        first = agreed_by(SAMPLES[name])
        leg, answer = settled(SAMPLES[name], BOB_AUDIO, agreed=first)
        assert "PCM" not in answer
        assert leg.create_offer([BOB_AUDIO], first) is None
        both = first.joined_by(read_capabilities(PCM_ONLY))
        offer = offered(leg, BOB_AUDIO, CAROL_AUDIO, agreed=both)
        audio = [media for media in parse(offer).media if media.kind == "audio"]
        assert [media.formats[0] for media in audio] == ["0", "0"]
        assert all("opus" not in str(media.attributes["rtpmap"]) for media in audio)
        leg.receive_answer(answering(offer, SAMPLES[name]))
        assert [section.codecs[0].key for section in leg.sections if section.kind == "audio"] == [("PCMU",)] * 2
        # Once that member has left, everybody goes back to Opus.
        again = offered(leg, BOB_AUDIO, CAROL_AUDIO, agreed=first)
        assert "PCM" not in again

    @pytest.mark.parametrize("rtpmap", ["a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n", ""])
    @pytest.mark.parametrize(("listed", "key"), [("0 8", "PCMU"), ("8 0", "PCMA"), ("8", "PCMA"), ("0", "PCMU")])
    def test_static_payload_types_need_no_rtpmap(self, rtpmap: str, listed: str, key: str) -> None:
        text = changed(PCM_ONLY, ("SAVPF 0 8 101", f"SAVPF {listed}"))
        text = changed(text, ("a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n", rtpmap))
        leg, answer = settled(without(text, "a=rtpmap:101.*"), BOB_AUDIO)
        assert [codec.key for codec in leg.sections[0].codecs] == [(key,)]
        assert parse(answer).media[0].formats == ({"PCMU": "0", "PCMA": "8"}[key],)
        offer = offered(leg, BOB_AUDIO, CAROL_AUDIO, agreed=agreed_by(text))
        leg.receive_answer(answering(offer, text))
        assert [codec.key for codec in leg.sections[1].codecs] == [(key,)]

    @pytest.mark.parametrize("meaning", ["PCMA/8000", "opus/48000/2"])
    def test_an_rtpmap_counts_more_than_the_static_meaning(self, meaning: str) -> None:
        text = changed(PCM_ONLY, ("SAVPF 0 8 101", "SAVPF 0"), ("a=rtpmap:0 PCMU/8000", f"a=rtpmap:0 {meaning}"))
        leg, _ = settled(text)
        assert [(codec.name, codec.payload_type) for codec in leg.sections[0].codecs] == [
            (meaning.partition("/")[0], 0)
        ]

    @pytest.mark.parametrize("stated", ["PCMU/16000", "PCMU/8000/2", "G729/8000"])
    def test_other_codecs_of_telephones_are_not_served(self, stated: str) -> None:
        text = changed(PCM_ONLY, ("SAVPF 0 8 101", "SAVPF 98 101"), ("a=rtpmap:0 PCMU/8000", f"a=rtpmap:98 {stated}"))
        with pytest.raises(NegotiationError):
            settled(text)

    def test_a_video_section_has_no_static_payload_types_of_audio(self) -> None:
        text = changed(CHROMIUM, ("SAVPF 96 97", "SAVPF 0 96 97"))
        assert "PCM" not in str(settled(text)[0].sections[1].codecs)

    def test_a_member_without_them_keeps_opus_and_the_newcomer_gets_no_audio(self) -> None:
        agreed = agreed_by(without(CHROMIUM, "a=rtpmap:[08] .*").replace("63 9 0 8", "63 9"))
        with pytest.raises(NegotiationError, match=r"^The conference uses opus; this offer has only PCMU and PCMA\.$"):
            settled(PCM_ONLY, agreed=agreed)

    def test_where_its_static_type_is_taken_another_is_used(self) -> None:
        text = changed(CHROMIUM, ("SAVPF 111 63 9 0 8", "SAVPF 0 63 9 8"), (":111 ", ":0 "))
        text = without(text, "a=rtpmap:[08] PCM.*")
        leg, _ = settled(text)
        lacks = replace(agreed_by(PCM_ONLY), sections=section_codecs(parse(PCM_ONLY).live()))
        narrow = Agreed({"audio": lacks.codecs["audio"][:1]})
        offer = parse(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=narrow))
        assert ["0" in media.formats for media in offer.media[2:]] == [False]
