"""Offers that are refused with an explanation, and leave the leg unchanged."""

import re

import pytest

from media.sdp.negotiation import NegotiationError
from media.sdp.syntax import SdpError
from tests.support.media.negotiating import BOB, BOB_AUDIO, CAROL, CHROMIUM, agreed_by, changed, offered, settled
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.once


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
            ([("a=mid:1", "a=mid:one two")], "one short token"),
            ([("m=video 51794", "m=video 70000")], "no m= line"),
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

    def test_sections_neither_disappear_nor_change_places(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM)
        with pytest.raises(NegotiationError, match="never removed"):
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
