"""What a leg agrees to: codecs, numbers, directions, lines, the transport; with the descriptions of real browsers."""

import re
import secrets
from dataclasses import replace

import pytest

from media.sdp import codecs
from media.sdp.codecs import lines_of
from media.sdp.description import parse
from media.sdp.extensions import AUDIO_LEVEL, MID, PLAYOUT_DELAY, VIDEO_ORIENTATION
from media.sdp.negotiation import (
    Agreed,
    Fingerprint,
    LocalEnd,
    Negotiation,
    NegotiationError,
    Outgoing,
    Section,
    new_credentials,
    read_capabilities,
)
from media.sdp.syntax import SdpError
from tests.support.descriptions import describe
from tests.support.samples import CASES, SAMPLES

pytestmark = pytest.mark.once

CHROMIUM, FIREFOX, AIORTC = SAMPLES["chromium-audio-video"], SAMPLES["firefox-audio-video"], SAMPLES["aiortc-data"]
AUDIO = ("opus", "PCMU", "PCMA")
LOCAL = LocalEnd(
    (Fingerprint("sha-256", ":".join(["AB"] * 32)),), (("192.0.2.1", 5000), ("2001:db8::1", 5001), ("10.0.0.1", 5002))
)
BOB_AUDIO = Outgoing("bob-audio", "audio", "bob", "audio", 1000, None, live=True)
BOB = Outgoing("bob-video", "video", "bob", "video", 1001, 1002, live=True)
CAROL = Outgoing("carol-video", "video", "carol", "video", 1003, 1004, live=True)


def changed(text: str, *changes: tuple[str, str]) -> str:
    """Return the description with something changed; it must have been there."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def without(text: str, pattern: str) -> str:
    """Return the description without the lines."""
    return re.sub(rf"(?m)^{pattern}\r\n", "", text)


def unheard_of(text: str, *codecs: str) -> str:
    """Return the description with other codecs instead of these, which nobody knows."""
    return re.sub(rf"(a=rtpmap:\d+) ({'|'.join(codecs)})/", r"\1 un\2/", text)


def agreed_by(*texts: str) -> Agreed:
    agreed = Agreed()
    for text in texts:
        agreed = agreed.joined_by(read_capabilities(text))
    return agreed


def names(agreed: Agreed, kind: str) -> list[str]:
    return list(dict.fromkeys(codec.name for codec in agreed.codecs[kind]))


def settled(text: str, *outgoing: Outgoing, agreed: Agreed | None = None) -> tuple[Negotiation, str]:
    """Return a leg that has answered the offer, and its answer."""
    leg = Negotiation(LOCAL)
    leg.receive_offer(text, agreed or agreed_by(text))
    return leg, leg.create_answer(outgoing)


def offered(leg: Negotiation, *outgoing: Outgoing, agreed: Agreed) -> str:
    """Return the leg's offer, which there must be."""
    offer = leg.create_offer(outgoing, agreed)
    assert offer is not None
    return offer


def line(text: str, index: int) -> str:
    """Return one m= section."""
    return "m=" + re.split(r"(?m)^m=", text)[1 + index]


def answering(offer: str, by: str = CHROMIUM, directions: dict[str, str] | None = None) -> str:
    """Return an answer: the offer's lines, taken as they are, with the other side's transport."""
    swapped = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
    keys = "".join(
        f"{each}\r\n" for each in dict.fromkeys(re.findall(r"a=(?:ice-ufrag|ice-pwd|fingerprint):[^\r]*", by))
    )
    text = without(offer, "a=(ice-lite|ice-ufrag|ice-pwd|fingerprint|setup|ssrc|ssrc-group|msid|candidate).*")
    for media in parse(offer).media:
        direction = (directions or {}).get(media.mid, swapped[media.direction])
        text = text.replace(
            section := line(text, parse(offer).media.index(media)),
            re.sub(r"a=(sendrecv|sendonly|recvonly|inactive)", f"a={direction}", section),
        )
    return changed(text, ("t=0 0\r\n", f"t=0 0\r\n{keys}a=setup:active\r\n"))


class TestAgreement:
    def test_a_conference_speaks_what_every_member_can_receive(self) -> None:
        assert names(agreed_by(CHROMIUM), "video") == ["VP8", "H264", "AV1", "VP9"]
        assert names(agreed_by(CHROMIUM, FIREFOX), "video") == ["VP8", "AV1", "VP9"]
        assert names(agreed_by(CHROMIUM, FIREFOX, AIORTC), "video") == ["VP8"]
        assert names(agreed_by(FIREFOX, CHROMIUM), "audio") == ["opus", "PCMU", "PCMA", "telephone-event"]

    def test_the_first_members_preference_holds(self) -> None:
        assert names(agreed_by(FIREFOX, CHROMIUM), "video") == ["VP8", "VP9", "AV1"]

    def test_who_has_shown_no_video_restricts_none(self) -> None:
        assert agreed_by(CHROMIUM, SAMPLES["chromium-audio"]) == agreed_by(CHROMIUM)
        assert "video" not in agreed_by(SAMPLES["chromium-audio"]).codecs

    def test_joining_twice_changes_nothing(self) -> None:
        assert agreed_by(CHROMIUM, CHROMIUM, CHROMIUM) == agreed_by(CHROMIUM)

    def test_none_left_is_refused_in_words(self) -> None:
        conference = agreed_by(AIORTC)
        alone = without(FIREFOX, r"a=rtpmap:12[01] .*")
        with pytest.raises(NegotiationError, match=r"^The conference speaks VP8 and H264; this offer has only AV1\.$"):
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

    def test_what_members_receive_counts_before_what_they_only_send(self) -> None:
        video = line(AIORTC, 1)
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

    def test_red_is_agreed_on_only_with_the_same_opus_inside(self) -> None:
        other = changed(CHROMIUM, ("SAVPF 111 ", "SAVPF 112 "), (":111 ", ":112 "), ("111/111", "112/112"))
        assert "red" in names(agreed_by(CHROMIUM, CHROMIUM), "audio")
        assert "red" in names(agreed_by(other), "audio")
        assert "red" not in names(agreed_by(CHROMIUM, other), "audio")


class TestCodecsInUse:
    def test_lines_list_the_preferred_codec_and_tones_for_it(self) -> None:
        in_use = agreed_by(CHROMIUM).in_use()
        assert [codec.key for codec in in_use.codecs["video"]] == [("VP8",)]
        assert [codec.key for codec in in_use.codecs["audio"]] == [("opus",), ("telephone-event", "48000")]
        assert in_use.in_use() == in_use

    def test_a_line_that_lacks_the_preferred_codec_brings_its_own_into_use(self) -> None:
        screen = changed(unheard_of(line(CHROMIUM, 1), "VP8", "H264", "AV1"), ("a=mid:1", "a=mid:2"))
        text = changed(CHROMIUM + without(screen, "a=ssrc.*"), ("BUNDLE 0 1", "BUNDLE 0 1 2"))
        leg, _ = settled(text)
        assert not any(section.rejected for section in leg.sections)
        agreed = agreed_by(CHROMIUM).joined_by(leg.capabilities, leg.shown)
        other, _ = settled(CHROMIUM, BOB, agreed=agreed)
        assert [codec.key for codec in other.sections[1].codecs] == [("VP8",), ("VP9", "0")]
        offer = parse(offered(other, BOB, CAROL, agreed=agreed))
        assert offer.media[2].formats == offer.media[1].formats

    def test_red_is_in_use_where_it_is_preferred(self) -> None:
        text = changed(CHROMIUM, ("SAVPF 111 63 ", "SAVPF 63 111 "))
        assert names(agreed_by(text).in_use(), "audio") == ["red", "opus", "telephone-event"]


CAROL_AUDIO = replace(BOB_AUDIO, track="carol-audio", stream="carol", ssrc=1005)
PCM_ONLY = CASES["100-pcm-only"]


class TestPcm:
    """PCMU and PCMA, for members that lack Opus (RFC 7874 section 3)."""

    def test_they_are_not_in_use_while_everybody_has_opus(self) -> None:
        for preferred in (CHROMIUM, changed(CHROMIUM, ("SAVPF 111 63 9 0 8", "SAVPF 0 8 111 63 9"))):
            agreed = agreed_by(preferred, CHROMIUM)
            assert names(agreed.in_use(), "audio") == ["opus", "telephone-event"]
            leg, answer = settled(preferred, agreed=agreed)
            assert (answer + offered(leg, BOB_AUDIO, CAROL, agreed=agreed)).count("PCM") == 0

    def test_one_that_has_nothing_else_is_answered_with_them(self) -> None:
        leg, answer = settled(PCM_ONLY, BOB_AUDIO)
        assert line(answer, 0).startswith("m=audio ")
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

    def test_a_video_line_has_no_static_payload_types_of_audio(self) -> None:
        text = changed(CHROMIUM, ("SAVPF 96 97", "SAVPF 0 96 97"))
        assert "PCM" not in str(settled(text)[0].sections[1].codecs)

    def test_a_member_without_them_keeps_opus_and_the_newcomer_gets_no_audio(self) -> None:
        agreed = agreed_by(without(CHROMIUM, "a=rtpmap:[08] .*").replace("63 9 0 8", "63 9"))
        with pytest.raises(
            NegotiationError, match=r"^The conference speaks opus; this offer has only PCMU and PCMA\.$"
        ):
            settled(PCM_ONLY, agreed=agreed)

    def test_where_its_static_type_is_taken_another_is_used(self) -> None:
        text = changed(CHROMIUM, ("SAVPF 111 63 9 0 8", "SAVPF 0 63 9 8"), (":111 ", ":0 "))
        text = without(text, "a=rtpmap:[08] PCM.*")
        leg, _ = settled(text)
        lacks = replace(agreed_by(PCM_ONLY), lines=lines_of(parse(PCM_ONLY).live()))
        narrow = Agreed({"audio": lacks.codecs["audio"][:1]})
        offer = parse(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=narrow))
        assert ["0" in media.formats for media in offer.media[2:]] == [False]


class TestSize:
    def test_an_offer_of_thirty_nine_others_has_at_most_forty_kilobytes(self) -> None:
        tracks = [
            Outgoing(
                f"{id_} {label}", kind, id_, label, 2**31 + at, 2**31 + 100 + at if kind == "video" else None, True
            )
            for at, id_ in enumerate(secrets.token_hex(16) for _ in range(39))
            for kind, label in (("audio", "audio"), ("video", "video"))
        ]
        leg, answer = settled(CHROMIUM)
        assert len(answer) < 3_000
        offer = offered(leg, *tracks, agreed=agreed_by(CHROMIUM))
        assert len(parse(offer).media) == 78
        assert len(offer.encode()) <= 40_000

    def test_the_transport_is_stated_once_and_by_the_line_that_speaks_for_the_bundle(self) -> None:
        leg, _ = settled(CHROMIUM)
        offer = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed_by(CHROMIUM))
        session, *lines = re.split(r"(?m)^(?=m=)", offer)
        for attribute in ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"):
            assert [attribute in each for each in (session, *lines)] == [True, True, False, False]
        # aiortc takes candidates from the last line.
        assert [each.count("a=candidate:") for each in lines] == [3, 0, 3]

    def test_the_first_line_that_lives_speaks_for_the_bundle(self) -> None:
        text = changed(CHROMIUM, ("m=audio 37498", "m=audio 0"), ("BUNDLE 0 1", "BUNDLE 1"))
        _, answer = settled(text)
        assert "a=ice-ufrag:" not in line(answer, 0)
        assert "a=ice-ufrag:" in line(answer, 1)
        assert "a=candidate:" in line(answer, 1)


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
        for word in ("ulpfec", "flexfec", "red/90000", "transport-cc", "transport-wide-cc", "rtp-stream-id", "PCMU"):
            assert word not in answer

    def test_a_simulcast_offer_gets_an_answer_without(self) -> None:
        leg, answer = settled(SAMPLES["chromium-simulcast"])
        assert "rid" not in answer
        assert "simulcast" not in answer
        assert leg.sections[1].ssrcs == ()

    def test_opus_keeps_its_parameters_and_the_sender_its_own(self) -> None:
        text = changed(CHROMIUM, ("minptime=10;useinbandfec=1", "minptime=10;useinbandfec=1;usedtx=1;sprop-stereo=1"))
        _, answer = settled(text)
        assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n" in answer

    def test_feedback_is_what_both_have(self) -> None:
        leg, answer = settled(without(CHROMIUM, "a=rtcp-fb:96 (goog-remb|nack)"))
        assert leg.sections[1].codecs[0].feedback == ("nack pli", "ccm fir")
        assert "a=rtcp-fb:96 nack pli" in answer
        assert "a=rtcp-fb:111" not in answer

    def test_feedback_may_be_for_all(self) -> None:
        text = changed(without(AIORTC, "a=rtcp-fb:.*"), ("a=rtpmap:97", "a=rtcp-fb:* nack pli\r\na=rtpmap:97"))
        assert {codec.feedback for codec in settled(text)[0].sections[1].codecs} == {("nack pli",)}

    def test_extensions_are_those_that_a_forwarder_can_serve(self) -> None:
        leg, answer = settled(CHROMIUM)
        audio, video = leg.sections
        assert audio.extensions == {AUDIO_LEVEL: 1, MID: 4}
        assert video.extensions == {VIDEO_ORIENTATION: 13, PLAYOUT_DELAY: 5, MID: 4}
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
        found = re.findall(r"a=candidate:(\d+) 1 udp (\d+) (\S+) (\d+) typ host", line(answer, 0))
        assert [(address, int(port)) for _, _, address, port in found] == list(LOCAL.candidates)
        assert sorted(found, key=lambda each: -int(each[1])) == found
        assert len({foundation for foundation, *_ in found}) == 3
        assert line(answer, 0).count("a=end-of-candidates") == 1
        assert line(answer, 0).startswith("m=audio 5000 UDP/TLS/RTP/SAVPF 111 110\r\nc=IN IP4 192.0.2.1")

    def test_an_ipv6_address_may_come_first(self) -> None:
        leg = Negotiation(replace(LOCAL, candidates=(("2001:db8::1", 5001),)))
        leg.receive_offer(CHROMIUM, agreed_by(CHROMIUM))
        assert "c=IN IP6 2001:db8::1\r\n" in leg.create_answer([])

    def test_it_says_whose_tracks_it_sends(self) -> None:
        leg, answer = settled(CHROMIUM, BOB_AUDIO, BOB)
        assert line(answer, 0).endswith(
            "a=msid:bob audio\r\na=ssrc:1000 cname:bob\r\n",
        )
        assert line(answer, 1).endswith(
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

    def test_what_stands_above_all_lines_holds_for_each(self) -> None:
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


class TestOtherStacks:
    """What other stacks write, and Chromium takes, costs nothing."""

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

    def test_a_removed_line_may_lose_its_attributes(self) -> None:
        leg, _ = settled(CHROMIUM, BOB)
        text = changed(CHROMIUM, (line(CHROMIUM, 1), "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"), ("BUNDLE 0 1", "BUNDLE 0"))
        leg.receive_offer(text, agreed_by(text))
        answer = parse(leg.create_answer([]))
        assert [(media.live, media.mid) for media in answer.media] == [(True, "0"), (False, "")]

    def test_a_removed_line_of_an_answer_may_too(self) -> None:
        leg, _ = settled(CHROMIUM)
        offer = offered(leg, BOB, CAROL, agreed=agreed_by(CHROMIUM))
        mid = parse(offer).media[2].mid
        answer = answering(offer)
        answer = changed(answer, (line(answer, 2), "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"), (f" {mid}\r\n", "\r\n"))
        leg.receive_answer(answer)
        assert [section.rejected for section in leg.sections] == [False, False, True]
        assert leg.sections[2].mid == mid

    def test_without_setup_the_choice_is_ours(self) -> None:
        _, answer = settled(without(CHROMIUM, "a=setup:actpass"))
        assert "a=setup:passive" in answer


class TestRejectedLines:
    def test_a_line_without_a_common_codec_is_rejected(self) -> None:
        leg, answer = settled(unheard_of(CHROMIUM, "VP8", "VP9", "H264", "AV1"), BOB)
        assert [section.rejected for section in leg.sections] == [False, True]
        assert line(answer, 1).startswith("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n")
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
    def test_a_line_of_another_sort_is_rejected(self, old: str, new: str) -> None:
        leg, answer = settled(changed(AIORTC, (old, new)))
        assert leg.sections[2].rejected
        assert not parse(answer).media[2].live

    def test_data_channels_are_accepted_once(self) -> None:
        second = changed(line(AIORTC, 2), ("a=mid:2", "a=mid:3"))
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

    def test_the_line_that_speaks_for_the_bundle_cannot_be_rejected_alone(self) -> None:
        text = changed(CHROMIUM, ("m=video 51794", "m=video 0"), ("a=mid:1", "a=mid:1\r\na=bundle-only"))
        with pytest.raises(NegotiationError, match="speaks for the bundle"):
            settled(unheard_of(text, *AUDIO))

    def test_a_rejected_line_is_used_again(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(changed(CHROMIUM, ("m=video 51794", "m=video 0"), ("BUNDLE 0 1", "BUNDLE 0")), agreed=agreed)
        leg.receive_offer(changed(CHROMIUM, ("a=mid:1", "a=mid:7"), ("BUNDLE 0 1", "BUNDLE 0 7")), agreed)
        leg.create_answer([])
        assert [(section.mid, section.label) for section in leg.sections] == [("0", "audio"), ("7", "video")]

    def test_an_offer_of_nothing_that_can_be_served_is_refused(self) -> None:
        with pytest.raises(NegotiationError, match="No media line"):
            settled(unheard_of(CHROMIUM, *AUDIO, "VP8", "VP9", "H264", "AV1"))


def live(answer: str) -> list[bool]:
    return [media.live for media in parse(answer).media]


class TestTransports:
    """One transport of an offer is served; what is outside it is answered with port 0 and costs nothing else."""

    @pytest.mark.parametrize(
        ("group", "served", "ours"),
        [
            ("a=group:BUNDLE 0\r\n", [True, False], ("0",)),
            ("a=group:BUNDLE 1\r\n", [True, False], ()),
            ("a=group:BUNDLE 0\r\na=group:BUNDLE 1\r\n", [True, False], ("0",)),
            ("a=group:BUNDLE 1 0\r\n", [True, True], ("1", "0")),
            ("a=group:BUNDLE\r\n", [True, False], ()),
            ("", [True, False], ()),
        ],
    )
    def test_the_first_is_served(self, group: str, served: list[bool], ours: tuple[str, ...]) -> None:
        text = changed(CHROMIUM, ("a=group:BUNDLE 0 1\r\n", group))
        leg, answer = settled(text, BOB_AUDIO, BOB)
        assert (live(answer), parse(answer).bundle) == (served, ours)
        assert ("video" in leg.capabilities) is served[1]

    @pytest.mark.parametrize("group", ["", "a=group:BUNDLE 0\r\na=group:BUNDLE 1\r\n"])
    def test_the_first_that_can_be_served_is(self, group: str) -> None:
        text = changed(unheard_of(CHROMIUM, *AUDIO), ("a=group:BUNDLE 0 1\r\n", group))
        leg, answer = settled(text, BOB)
        assert live(answer) == [False, True]
        assert leg.sections[1].sending

    def test_the_legs_own_stays_served(self) -> None:
        leg, _ = settled(changed(unheard_of(CHROMIUM, *AUDIO), ("a=group:BUNDLE 0 1\r\n", "")), BOB)
        text = changed(CHROMIUM, ("a=group:BUNDLE 0 1\r\n", ""))
        leg.receive_offer(text, agreed_by(text))
        assert live(leg.create_answer([BOB])) == [False, True]

    def test_a_number_may_mean_another_thing_in_another_transport(self) -> None:
        text = changed(CHROMIUM, ("m=video 51794 UDP/TLS/RTP/SAVPF 96", "m=video 9 UDP/TLS/RTP/SAVPF 111"))
        text = changed(text, ("map:96 ", "map:111 "), ("a=group:BUNDLE 0 1\r\n", ""))
        assert live(settled(text)[1]) == [True, False]

    def test_a_participant_that_does_not_bundle_gets_no_more_lines(self) -> None:
        text = changed(CHROMIUM, ("a=group:BUNDLE 0 1\r\n", ""))
        leg, _ = settled(text)
        offer = leg.create_offer([BOB_AUDIO, BOB], agreed_by(text))
        assert offer is not None
        assert (live(offer), parse(offer).bundle) == ([True, False], ())
        assert leg.sections[0].outgoing is None

    def test_many_are_not_all_tried(self) -> None:
        text = changed(unheard_of(CHROMIUM, *AUDIO), ("a=group:BUNDLE 0 1\r\n", ""))
        text = text.replace(line(text, 0), "".join(changed(line(text, 0), ("mid:0", f"mid:a{n}")) for n in range(200)))
        with pytest.raises(NegotiationError, match="No media line"):
            settled(text)

    @pytest.mark.parametrize(
        "section", ["m=text 9 UDP/TLS/RTP/SAVPF 98", "m=image 9 udptl t38", "m=x 9 FOO/BAR 1", "m=audio 9 FOO/BAR 111"]
    )
    @pytest.mark.parametrize("bundle", ["BUNDLE 0 1", "BUNDLE 0 1 t", "BUNDLE t 0 1"])
    def test_a_section_of_another_sort_is_answered_with_port_0(self, section: str, bundle: str) -> None:
        text = changed(CHROMIUM, ("BUNDLE 0 1", bundle)) + f"{section}\r\na=mid:t\r\na=rtcp-mux\r\n"
        leg, answer = settled(text, BOB)
        assert live(answer) == [True, True, False]
        assert line(answer, 2).startswith(" ".join([section.split(" ")[0], "0", *section.split(" ")[2:]]) + "\r\n")
        assert set(parse(answer).bundle) == {"0", "1"}
        assert leg.settled

    @pytest.mark.parametrize("formats", ["", "  "])
    def test_a_section_without_formats_is_answered_with_port_0(self, formats: str) -> None:
        for section in ("m=image 0 udptl", "m=text 9 UDP/TLS/RTP/SAVPF", "m=audio 9 UDP/TLS/RTP/SAVPF"):
            leg, answer = settled(f"{CHROMIUM}{section} {formats}\r\na=mid:t\r\na=rtcp-mux\r\n", BOB)
            assert live(answer) == [True, True, False]
            assert re.fullmatch(r"m=\w+ 0 \S+ 0", line(answer, 2).split("\r\n")[0])
            assert leg.settled

    @pytest.mark.parametrize("above", ["ice-ufrag", "ice-pwd", "fingerprint", "setup"])
    def test_each_of_the_keys_may_stand_above_all_sections(self, above: str) -> None:
        text = SAMPLES["chromium-audio"]
        (stated,) = re.findall(rf"(?m)^a={above}:.*\r\n", text)
        leg, _ = settled(changed(text, (stated, ""), ("t=0 0\r\n", f"t=0 0\r\n{stated}")))
        whole, _ = settled(text)
        assert (leg.remote_credentials, leg.remote_fingerprints) == (
            whole.remote_credentials,
            whole.remote_fingerprints,
        )

    def test_the_cases(self) -> None:
        """Offers of other stacks (see the peer topology's test), with the sections that are served."""
        right = {"20": [True, False], "21": [True, False], "66": [True, False]}
        for name, offer in CASES.items():
            answer = settled(offer)[1]
            assert live(answer) == right.get(name[:2], [True] * len(live(answer))), name

    def test_one_section_needs_neither_mid_nor_bundle(self) -> None:
        text = changed(SAMPLES["chromium-audio"], ("a=group:BUNDLE 0\r\n", ""), ("a=mid:0\r\n", ""))
        leg, answer = settled(text, BOB_AUDIO)
        assert "a=mid" not in answer
        assert "a=group" not in answer
        assert leg.sections[0].sending
        assert leg.create_offer([BOB_AUDIO, BOB], agreed_by(CHROMIUM)) is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ([("a=rtcp-mux\r\n", "")], "rtcp-mux"),
            ([("a=setup:actpass", "a=setup:holdconn")], "DTLS role"),
            ([("t=0 0", "t=0 0\r\na=ice-lite")], "Two ICE-lite"),
            ([("a=ice-ufrag:voHs\r\n", "")], "no ICE credentials"),
            ([("a=ice-ufrag:voHs", "a=ice-ufrag:v s")], "RFC 8839"),
            ([("a=fingerprint:sha-256", "a=fingerprint:sha-1")], "no fingerprint"),
            ([("a=fingerprint:sha-256 A9:", "a=fingerprint:sha-256 ")], "length"),
            ([("a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP8/90000\r\na=rtpmap:96 VP9/90000")], "two different a=rtpmap"),
            (
                [("m=video 51794 UDP/TLS/RTP/SAVPF 96", "m=video 9 UDP/TLS/RTP/SAVPF 111"), ("map:96 ", "map:111 ")],
                "one bundle",
            ),
            ([("a=extmap:13 urn:3gpp", "a=extmap:1 urn:3gpp")], "extension 1 has two meanings"),
            ([("a=extmap:13 urn:3gpp", "a=extmap:2 urn:3gpp")], "extension 2 has two meanings"),
            ([("a=ssrc:1394097128 cname", "a=ssrc:3708547927 cname")], "SSRC 3708547927"),
            ([("a=mid:1\r\n", ""), ("BUNDLE 0 1", "BUNDLE 0")], "has no a=mid|changed its place"),
            ([("a=mid:1", "a=mid:0")], "same a=mid"),
            ([("a=mid:1", "a=mid:one two")], "one short word"),
            ([("m=video 51794", "m=video 70000")], "media line"),
        ],
    )
    def test_it_refuses_in_words_and_stays_as_it_was(self, changes: list[tuple[str, str]], words: str) -> None:
        text = changed(CHROMIUM, *changes)
        leg, _ = settled(CHROMIUM, BOB_AUDIO)
        offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed_by(CHROMIUM))
        before = leg.sections, leg.local_credentials, leg.remote_credentials
        with pytest.raises((NegotiationError, SdpError), match=words):
            leg.receive_offer(text, agreed_by(CHROMIUM))
        assert before == (leg.sections, leg.local_credentials, leg.remote_credentials)
        assert leg.offering

    def test_too_many_sources_are_refused(self) -> None:
        many = "".join(f"a=ssrc:{number} cname:c\r\n" for number in range(1, 60))
        with pytest.raises(NegotiationError, match="more sources"):
            settled(CHROMIUM + many)

    def test_lines_neither_disappear_nor_change_places(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM)
        with pytest.raises(NegotiationError, match="never disappear"):
            leg.receive_offer(SAMPLES["chromium-audio"], agreed)
        head, audio, video = re.split(r"(?m)(?=^m=)", CHROMIUM)
        with pytest.raises(NegotiationError, match="changed its place"):
            leg.receive_offer(head + video + audio, agreed)
        with pytest.raises(NegotiationError, match="changed its place"):
            leg.receive_offer(changed(CHROMIUM, ("a=mid:1", "a=mid:x"), ("BUNDLE 0 1", "BUNDLE 0 x")), agreed)

    def test_another_certificate_takes_a_new_connection(self) -> None:
        leg, _ = settled(CHROMIUM)
        with pytest.raises(NegotiationError, match="certificate"):
            leg.receive_offer(changed(CHROMIUM, ("sha-256 A9:", "sha-256 AA:")), agreed_by(CHROMIUM))

    def test_another_role_takes_a_new_connection(self) -> None:
        leg, _ = settled(CHROMIUM)
        leg.receive_offer(changed(CHROMIUM, ("a=setup:actpass", "a=setup:active")), agreed_by(CHROMIUM))
        with pytest.raises(NegotiationError, match="role"):
            leg.receive_offer(changed(CHROMIUM, ("a=setup:actpass", "a=setup:passive")), agreed_by(CHROMIUM))


class TestTransport:
    def test_the_other_side_is_as_its_offer_says(self) -> None:
        leg, _ = settled(CHROMIUM)
        assert leg.remote_credentials is not None
        assert leg.remote_credentials.ufrag == "voHs"
        assert [each.algorithm for each in leg.remote_fingerprints] == ["sha-256"]
        assert len(settled(AIORTC)[0].remote_fingerprints) == 3

    def test_it_is_client_where_the_other_must_be_server(self) -> None:
        leg, answer = settled(changed(CHROMIUM, ("a=setup:actpass", "a=setup:passive")))
        assert leg.role == "client"
        assert "a=setup:active" in answer

    def test_our_credentials_change_with_the_others_only(self) -> None:
        leg, first = settled(CHROMIUM)
        before = leg.local_credentials
        assert f"a=ice-ufrag:{before.ufrag}\r\na=ice-pwd:{before.password}" in first
        leg.receive_offer(changed(CHROMIUM, ("a=sendrecv", "a=recvonly")), agreed_by(CHROMIUM))
        leg.create_answer([])
        assert leg.local_credentials == before
        leg.receive_offer(changed(CHROMIUM, ("voHs", "dEfG")), agreed_by(CHROMIUM))
        assert leg.local_credentials == before
        again = leg.create_answer([])
        assert leg.local_credentials != before
        assert before.ufrag not in again
        assert leg.role == "server"

    def test_credentials_are_as_rfc_8839_wants_them(self) -> None:
        assert len({new_credentials().ufrag for _ in range(100)}) == 100
        assert re.fullmatch(r"[0-9a-f]{8}", new_credentials().ufrag)
        assert re.fullmatch(r"[0-9a-f]{32}", new_credentials().password)


class TestOffer:
    def test_tracks_without_a_line_get_one(self) -> None:
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

    def test_a_track_that_ends_leaves_its_line_to_the_next(self) -> None:
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

    def test_a_line_follows_whether_its_track_lives(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        leg.receive_answer(answering(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)))
        held = replace(CAROL, live=False)
        offer = offered(leg, BOB_AUDIO, BOB, held, agreed=agreed)
        assert parse(offer).media[2].direction == "inactive"
        leg.receive_answer(answering(offer))
        assert leg.sections[2].outgoing == held
        # The line is kept for it: another track gets one of its own.
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
        assert "a=extmap:13 urn" in line(offer, 1)
        assert len(set(re.findall(r"a=extmap:(\d+) ", line(offer, 1)))) == line(offer, 1).count("a=extmap:")

    def test_nothing_of_one_leg_is_written_to_another(self) -> None:
        strange = changed(
            CHROMIUM, ("level-idx=5;", "level-idx=5;x-evil=1;"), ("minptime=10;", "minptime=10;x-evil=1;")
        )
        audio = SAMPLES["chromium-audio"]
        leg, answer = settled(audio, agreed=agreed_by(strange, audio))
        assert "evil" not in answer + offered(leg, BOB, agreed=agreed_by(strange, audio))

    def test_red_is_offered_only_with_the_number_of_its_opus(self) -> None:
        video = changed(
            AIORTC.replace(line(AIORTC, 0), ""), ("BUNDLE 0 1 2", "BUNDLE 1 2"), ("97 98", "111 98"), (":97 ", ":111 ")
        )
        leg, _ = settled(changed(video, ("apt=97", "apt=111")), agreed=agreed_by(CHROMIUM))
        offer = offered(leg, BOB_AUDIO, agreed=agreed_by(CHROMIUM))
        assert "opus" in offer
        assert "red" not in line(offer, 2)

    def test_a_kind_that_nobody_agreed_on_gets_no_line(self) -> None:
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
        # And back, when the one that made it change has left.
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

    def test_a_codec_that_was_refused_on_a_line_is_not_offered_there_again(self) -> None:
        both = without(CHROMIUM, "a=rtpmap:(102|104|108|114|116|39|45) .*")
        only_vp9 = unheard_of(CHROMIUM, "VP8", "H264", "AV1")
        agreed = agreed_by(both).joined_by({}, lines_of(parse(only_vp9).live()))
        leg, _ = settled(both, BOB_AUDIO, BOB, agreed=agreed)
        answer = answering(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed))
        added = line(answer, 2)
        leg.receive_answer(answer.replace(added, without(added, "a=rtpmap:98 .*")))
        assert [codec.name for codec in leg.sections[2].codecs] == ["VP8"]
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], agreed) is None

    def test_a_line_for_which_nothing_is_left_rests(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB)
        vp8 = tuple(codec for codec in agreed.codecs["video"] if codec.name == "VP8")
        narrow = Agreed({**agreed.codecs, "video": tuple(replace(codec, key=("VP9", "3")) for codec in vp8)})
        offer = offered(leg, BOB, agreed=narrow)
        assert parse(offer).media[1].direction == "inactive"
        leg.receive_answer(answering(offer))
        assert leg.create_offer([BOB], narrow) is None
        assert parse(offered(leg, BOB, agreed=agreed)).media[1].direction == "sendrecv"

    def test_holding_the_line_is_the_participants_to_end(self) -> None:
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


class TestAnswerToUs:
    @staticmethod
    def leg() -> tuple[Negotiation, str, Agreed]:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        return leg, offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed), agreed

    def test_a_line_may_be_rejected_and_is_not_offered_again(self) -> None:
        leg, offer, agreed = self.leg()
        answer = changed(answering(offer), ("BUNDLE 0 1 f1", "BUNDLE 0 1"))
        added = line(answer, 2)
        leg.receive_answer(answer.replace(added, re.sub(r"m=video \d+", "m=video 0", added)))
        assert leg.sections[2].rejected
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], agreed) is None
        # Until the participant has something to offer; then the line is used again, under another name.
        text = CHROMIUM + re.sub(r"(?m)^a=ssrc.*\r\n", "", added).replace("m=video 5000", "m=video 0")
        leg.receive_offer(text, agreed)
        leg.create_answer([BOB_AUDIO, BOB, CAROL])
        assert [media.mid for media in parse(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)).media] == [
            "0",
            "1",
            "f2",
        ]

    def test_what_was_rejected_is_not_offered_on_another_line_that_is_free(self) -> None:
        leg, offer, agreed = self.leg()
        leg.receive_answer(answering(offer))
        leg.receive_answer(answering(offered(leg, BOB_AUDIO, agreed=agreed)))
        answer = changed(answering(offered(leg, BOB_AUDIO, CAROL, agreed=agreed)), ("BUNDLE 0 1 f1", "BUNDLE 0 f1"))
        leg.receive_answer(answer.replace(line(answer, 1), re.sub(r"m=video \d+", "m=video 0", line(answer, 1))))
        assert [section.rejected for section in leg.sections] == [False, True, False]
        assert leg.create_offer([BOB_AUDIO, CAROL], agreed) is None

    def test_it_may_receive_less_than_offered(self) -> None:
        leg, offer, agreed = self.leg()
        leg.receive_answer(answering(offer, directions={"f1": "inactive", "1": "sendonly"}))
        assert [section.sending for section in leg.sections] == [True, False, False]
        assert leg.create_offer([BOB_AUDIO, BOB, CAROL], agreed) is None

    def test_it_may_keep_fewer_codecs_and_extensions(self) -> None:
        leg, offer, agreed = self.leg()
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
        assert section.codecs[0].feedback == ("nack pli", "ccm fir", "goog-remb")
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
        leg, offer, _ = self.leg()
        before = leg.sections
        text = answering(offer).replace("BUNDLE 0 1 f1", "BUNDLE 0 1 2") if "mid:2" in new else answering(offer)
        with pytest.raises(NegotiationError, match=words):
            leg.receive_answer(changed(text, (old, new)))
        assert leg.sections == before
        assert leg.offering

    def test_it_must_have_all_lines(self) -> None:
        leg, offer, _ = self.leg()
        answer = answering(offer)
        with pytest.raises(NegotiationError, match="must have the offer's media lines"):
            leg.receive_answer(changed(answer.replace(line(answer, 2), ""), (" f1", "")))
        with pytest.raises(NegotiationError, match="rejects every"):
            leg.receive_answer(changed(re.sub(r"m=(\w+) \d+", r"m=\1 0", answer), ("BUNDLE 0 1 f1", "BUNDLE")))

    def test_there_must_be_an_offer(self) -> None:
        leg, _ = settled(CHROMIUM)
        with pytest.raises(NegotiationError, match="no offer"):
            leg.receive_answer(CHROMIUM)

    def test_a_line_that_we_rejected_cannot_come_back_in_an_answer(self) -> None:
        agreed = agreed_by(CHROMIUM)
        text = changed(CHROMIUM, ("m=audio 37498", "m=audio 0"), ("BUNDLE 0 1", "BUNDLE 1"))
        leg, _ = settled(text, agreed=agreed)
        offer = offered(leg, BOB, agreed=agreed)
        answer = changed(answering(offer), ("m=audio 0 UDP", "m=audio 9 UDP"))
        with pytest.raises(NegotiationError, match="does not have"):
            leg.receive_answer(answer)


class TestRollback:
    def test_it_forgets_lines_and_tracks(self) -> None:
        leg, _, agreed = TestAnswerToUs.leg()
        with pytest.raises(NegotiationError, match="pending"):
            leg.create_offer([], agreed)
        leg.rollback()
        assert not leg.offering
        assert len(leg.sections) == 2
        again = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)
        assert len(parse(again).media) == 3

    def test_the_participants_offer_rolls_ours_back(self) -> None:
        leg, offer, agreed = TestAnswerToUs.leg()
        leg.receive_offer(SAMPLES_SCREEN, agreed)
        leg.create_answer([BOB_AUDIO, BOB, CAROL])
        assert not leg.offering
        assert [section.mid for section in leg.sections] == ["0", "1", "2"]
        assert leg.sections[2].outgoing == CAROL
        with pytest.raises(NegotiationError):
            leg.receive_answer(answering(offer))

    def test_the_participants_offer_leaves_ours_pending_where_it_is_not_answered(self) -> None:
        leg, offer, agreed = TestAnswerToUs.leg()
        leg.receive_offer(SAMPLES_SCREEN, agreed)
        leg.rollback()
        leg.receive_answer(answering(offer))
        assert leg.sections[2].outgoing == CAROL

    def test_a_received_offer_can_be_forgotten(self) -> None:
        leg, _ = settled(CHROMIUM)
        leg.receive_offer(SAMPLES_SCREEN, agreed_by(CHROMIUM))
        leg.rollback()
        with pytest.raises(NegotiationError):
            leg.create_answer([])
        assert len(leg.sections) == 2


class TestRevoking:
    def test_it_is_as_before_the_participants_offer(self) -> None:
        leg, _ = settled(CHROMIUM)
        sections, credentials = leg.sections, leg.local_credentials
        restarted = re.sub(r"a=ice-(ufrag|pwd):.*", r"a=ice-\1:anotherUfragAndPassword", SAMPLES_SCREEN)
        leg.receive_offer(restarted, agreed_by(CHROMIUM))
        leg.create_answer([BOB])
        assert leg.sections != sections
        assert leg.local_credentials != credentials
        leg.revoke()
        assert leg.sections == sections
        assert leg.local_credentials == credentials
        assert leg.remote_credentials is not None
        assert leg.remote_credentials.ufrag != "anotherUfragAndPassword"

    def test_what_the_answer_overtook_waits_again(self) -> None:
        leg, offer, agreed = TestAnswerToUs.leg()
        leg.receive_offer(SAMPLES_SCREEN, agreed)
        leg.create_answer([BOB_AUDIO, BOB])
        leg.revoke()
        leg.receive_answer(answering(offer))
        assert [section.mid for section in leg.sections] == ["0", "1", "f1"]
        assert leg.sections[2].outgoing == CAROL

    def test_what_the_participant_can_receive_is_what_it_said_before(self) -> None:
        leg, _ = settled(CHROMIUM)
        assert "video" in leg.capabilities
        leg.receive_offer(without(CHROMIUM, "a=rtpmap:.* VP9/90000"), agreed_by(CHROMIUM))
        leg.create_answer([])
        assert "VP9" not in {codec.name for codec in leg.capabilities["video"]}
        leg.revoke()
        assert "VP9" in {codec.name for codec in leg.capabilities["video"]}

    def test_what_comes_next_has_a_version_of_its_own(self) -> None:
        leg, first = settled(CHROMIUM)
        leg.receive_offer(SAMPLES_SCREEN, agreed_by(CHROMIUM))
        never_seen = leg.create_answer([])
        leg.revoke()
        ours = offered(leg, BOB, agreed=agreed_by(CHROMIUM))
        versions = [int(text.split()[3]) for text in (first, never_seen, ours)]
        assert versions == [1, 2, 3]


class TestLabels:
    def test_a_participant_may_send_in_a_line_that_we_added(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        leg.receive_answer(answering(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)))
        assert labels(leg) == ["audio", "video", ""]
        added = line(SAMPLES_SCREEN, 2).replace("a=mid:2", "a=mid:f1")
        text = changed(SAMPLES_SCREEN.replace(line(SAMPLES_SCREEN, 2), added), ("BUNDLE 0 1 2", "BUNDLE 0 1 f1"))
        leg.receive_offer(text, agreed)
        leg.create_answer([BOB_AUDIO, BOB, CAROL])
        assert labels(leg) == ["audio", "video", "screen"]
        # It keeps it when it stops and begins again.
        leg.receive_offer(text.replace(added, changed(added, ("a=sendrecv", "a=recvonly"))), agreed)
        leg.create_answer([BOB_AUDIO, BOB, CAROL])
        assert labels(leg) == ["audio", "video", "screen"]

    def test_there_may_be_many(self) -> None:
        head, *sections = re.split(r"(?m)(?=^m=)", without(SAMPLES_SCREEN, "a=ssrc.*"))
        more = [sections[0].replace("a=mid:0", "a=mid:8"), sections[1].replace("a=mid:1", "a=mid:9")]
        text = changed(head + "".join(sections + more), ("BUNDLE 0 1 2", "BUNDLE 0 1 2 8 9"))
        assert labels(settled(text)[0]) == ["audio", "video", "screen", "audio2", "screen2"]


def test_the_table_of_feedback_serves_no_transport_cc() -> None:
    assert not codecs.SERVES_TRANSPORT_CC
    assert "transport-cc" not in codecs.FEEDBACK["video"]


SAMPLES_SCREEN = re.sub(
    r"(?m)^a=(ice-ufrag|ice-pwd|fingerprint):.*(?=\r)",
    lambda match: re.findall(rf"a={match[1]}:.*", CHROMIUM)[0].strip(),
    SAMPLES["chromium-screen"],
)


def labels(leg: Negotiation) -> list[str]:
    sections: tuple[Section, ...] = leg.sections
    return [section.label for section in sections]


def test_parameters_of_a_codec_that_is_not_listed_are_passed_over() -> None:
    """Firefox keeps `a=fmtp` of what `setCodecPreferences` has removed from the list and from `a=rtpmap`."""
    video = parse(describe(kinds=("audio", "video")).rstrip() + "\r\na=fmtp:121 max-fs=12288;max-fr=60\r\n").media[-1]
    assert video.nameless_codecs() == set()
    listed = replace(video, formats=(*video.formats, "121"))
    assert listed.nameless_codecs() == {121}
