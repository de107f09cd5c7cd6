"""A leg's answer to a participant's offer."""

import re
from dataclasses import replace

import pytest

from media.sdp.description import parse
from media.sdp.extensions import (
    AUDIO_LEVEL,
    MID,
    PLAYOUT_DELAY,
    REPAIRED_RID,
    RID,
    TIME_OFFSET,
    TRANSPORT_CC,
    VIDEO_ORIENTATION,
)
from media.sdp.negotiation import Negotiation, NegotiationError
from tests.support.media.negotiating import (
    AIORTC,
    BOB,
    BOB_AUDIO,
    CHROMIUM,
    FIREFOX,
    LOCAL,
    agreed_by,
    changed,
    section_text,
    settled,
    without,
)
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.once


class TestAnswer:
    @pytest.mark.parametrize("name", sorted(SAMPLES))
    def test_every_browser_is_answered(self, name: str) -> None:
        text = SAMPLES[name]
        leg, answer = settled(text, BOB_AUDIO, BOB)
        content = parse(answer)
        assert [media.mid for media in content.media] == [media.mid for media in parse(text).media]
        assert all(media.live for media in content.media)
        assert not any(section.rejected for section in leg.sections)
        assert leg.role == "server"
        assert "a=ice-lite" in answer
        assert "a=setup:passive" in answer

    def test_it_repeats_no_protection_that_it_does_not_serve(self) -> None:
        _, answer = settled(SAMPLES["chromium-hold"])
        for word in ("ulpfec", "flexfec", "red/90000", "a=rid", "PCMU"):
            assert word not in answer

    def test_opus_keeps_its_parameters_and_the_sender_its_own(self) -> None:
        text = changed(CHROMIUM, ("minptime=10;useinbandfec=1", "minptime=10;useinbandfec=1;usedtx=1;sprop-stereo=1"))
        _, answer = settled(text)
        assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n" in answer

    def test_feedback_is_what_both_have(self) -> None:
        leg, answer = settled(without(CHROMIUM, "a=rtcp-fb:96 (goog-remb|nack)"))
        assert leg.sections[1].codecs[0].feedback == ("nack pli", "ccm fir", "transport-cc")
        assert "a=rtcp-fb:96 nack pli" in answer
        assert re.findall("a=rtcp-fb:111 (.*)\r", answer) == ["transport-cc"]

    def test_feedback_may_be_for_all(self) -> None:
        text = changed(without(AIORTC, "a=rtcp-fb:.*"), ("a=rtpmap:97", "a=rtcp-fb:* nack pli\r\na=rtpmap:97"))
        assert {codec.feedback for codec in settled(text)[0].sections[1].codecs} == {("nack pli",)}

    def test_extensions_are_those_that_a_forwarder_can_serve(self) -> None:
        leg, answer = settled(CHROMIUM)
        audio, video = leg.sections
        assert audio.extensions == {AUDIO_LEVEL: 1, TRANSPORT_CC: 3, MID: 4}
        assert video.extensions == {
            TIME_OFFSET: 14,
            VIDEO_ORIENTATION: 13,
            TRANSPORT_CC: 3,
            PLAYOUT_DELAY: 5,
            MID: 4,
            RID: 10,
            REPAIRED_RID: 11,
        }
        assert audio.mixed
        assert "\r\na=extmap-allow-mixed\r\nm=" in answer

    def test_extensions_that_go_one_way_or_need_the_longer_form_are_left_out(self) -> None:
        leg, _ = settled(changed(without(CHROMIUM, "a=extmap-allow-mixed"), ("a=extmap:13 ", "a=extmap:200 ")))
        assert VIDEO_ORIENTATION not in leg.sections[1].extensions
        assert not leg.sections[1].mixed
        leg, _ = settled(changed(CHROMIUM, ("a=extmap:13 ", "a=extmap:200 ")))
        assert leg.sections[1].extensions[VIDEO_ORIENTATION] == 200
        leg, _ = settled(FIREFOX)
        assert PLAYOUT_DELAY not in leg.sections[1].extensions

    def test_candidates_are_our_hosts_in_order(self) -> None:
        _, answer = settled(CHROMIUM)
        found = re.findall(r"a=candidate:(\d+) 1 udp (\d+) (\S+) (\d+) typ host", section_text(answer, 0))
        assert [(address, int(port)) for _, _, address, port in found] == list(LOCAL.candidates)
        assert sorted(found, key=lambda each: -int(each[1])) == found
        assert len({foundation for foundation, *_ in found}) == 3
        assert section_text(answer, 0).count("a=end-of-candidates") == 1
        assert section_text(answer, 0).startswith("m=audio 5000 UDP/TLS/RTP/SAVPF 63 111 110\r\n")
        assert "\r\nc=IN IP4 192.0.2.1\r\n" in answer

    def test_an_ipv6_address_may_come_first(self) -> None:
        leg = Negotiation(replace(LOCAL, candidates=(("2001:db8::1", 5001),)))
        leg.receive_offer(CHROMIUM, agreed_by(CHROMIUM))
        assert "c=IN IP6 2001:db8::1\r\n" in leg.create_answer([])

    def test_it_says_whose_tracks_it_sends(self) -> None:
        leg, answer = settled(CHROMIUM, BOB_AUDIO, BOB)
        assert section_text(answer, 0).endswith(
            "a=msid:bob audio\r\na=ssrc:1000 cname:bob\r\n",
        )
        assert section_text(answer, 1).endswith(
            "a=msid:bob video\r\na=ssrc-group:FID 1001 1002\r\na=ssrc:1001 cname:bob\r\na=ssrc:1002 cname:bob\r\n"
        )
        assert [section.outgoing for section in leg.sections] == [BOB_AUDIO, BOB]

    def test_without_retransmission_it_states_no_source_for_it(self) -> None:
        leg, answer = settled(without(AIORTC, "a=rtpmap:(98|100|102) .*"), BOB)
        assert "FID" not in answer
        assert {codec.rtx_payload_type for codec in leg.sections[1].codecs} == {None}

    def test_sources_are_read_with_their_retransmissions(self) -> None:
        leg, _ = settled(CHROMIUM)
        assert leg.sections[0].ssrcs == (3708547927,)
        assert leg.sections[1].ssrcs == (1394097128,)
        assert leg.sections[1].rtx_ssrcs == {4001683543: 1394097128}
        several = settled(SAMPLES["firefox-simulcast"])[0].sections[0]
        assert (len(several.ssrcs), len(several.rtx_ssrcs)) == (3, 3)

    @pytest.mark.parametrize(
        ("offered", "ours", "settles"),
        [
            ("sendrecv", "sendrecv", (True, True)),
            ("sendonly", "recvonly", (True, False)),
            ("recvonly", "sendonly", (False, True)),
            ("inactive", "inactive", (False, False)),
        ],
    )
    def test_directions_follow_both_sides(self, offered: str, ours: str, settles: tuple[bool, bool]) -> None:
        text = changed(CHROMIUM, ("a=sendrecv", f"a={offered}"))
        leg, answer = settled(text, BOB_AUDIO, BOB)
        assert {media.direction for media in parse(answer).media} == {ours}
        assert {(section.receiving, section.sending) for section in leg.sections} == {settles}

    def test_attributes_of_the_session_hold_for_each_section(self) -> None:
        text = changed(without(CHROMIUM, "a=sendrecv"), ("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n"))
        assert [section.sending for section in settled(text, BOB_AUDIO, BOB)[0].sections] == [False, False]

    def test_a_track_that_is_not_live_is_not_sent(self) -> None:
        _, answer = settled(CHROMIUM, BOB_AUDIO, replace(BOB, live=False))
        assert [media.direction for media in parse(answer).media] == ["sendrecv", "recvonly"]
        assert "bob video" not in answer

    def test_labels_go_by_place(self) -> None:
        leg, _ = settled(SAMPLES["chromium-screen"])
        assert [section.label for section in leg.sections] == ["audio", "video", "screen"]

    def test_our_version_rises_with_what_differs(self) -> None:
        leg, first = settled(CHROMIUM)
        leg.receive_offer(CHROMIUM, agreed_by(CHROMIUM))
        assert leg.create_answer([]) == first
        leg.receive_offer(CHROMIUM, agreed_by(CHROMIUM))
        other = leg.create_answer([BOB])
        assert (parse(first).session_id, parse(first).version, parse(other).version) == (parse(other).session_id, 1, 2)

    def test_there_must_be_an_offer(self) -> None:
        with pytest.raises(NegotiationError):
            Negotiation(LOCAL).create_answer([])
