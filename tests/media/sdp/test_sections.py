"""Media sections, and which of them are live."""

import pytest

from media.sdp.description import parse as read
from media.sdp.syntax import SdpError
from tests.support.descriptions import describe
from tests.support.media.descriptions import changed, keys

pytestmark = pytest.mark.once


class TestSections:
    @pytest.mark.parametrize(
        "section",
        [
            "m=image 0 udptl t38",
            "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:t\r\na=rtpmap:98 t140/1000\r\na=fmtp:98 cps=30",
            "m=message 9 TCP/MSRP *\r\na=accept-types:text/plain\r\na=rtpmap:x",
            "m=x_y.z 9 FOO/BAR+1 a=b ?",
            "m=video 0 UDP/TLS/RTP/SAVPF 96",
        ],
    )
    def test_other_media_types_and_protocols_are_kept(self, section: str) -> None:
        found = read(describe() + section + "\r\n").media[2]
        assert [found.kind, str(found.port), found.protocol, *found.formats] == section.split("\r")[0][2:].split(" ")

    @pytest.mark.parametrize("line", ["m=audio", "m=audio 9", "m=audio 9 RTP/AVP", "m= 9 RTP/AVP 0", "m=audio  9 a 0"])
    def test_a_malformed_m_line_is_refused(self, line: str) -> None:
        with pytest.raises(SdpError):
            read(describe() + line + "\r\n")


class TestLiveLines:
    def test_port_0_rejects_a_section(self) -> None:
        assert [section.live for section in read(describe(ports=(9, 0))).media] == [True, False]

    def test_bundle_only_does_not(self) -> None:
        text = changed("a=mid:1\r\n", "a=mid:1\r\na=bundle-only\r\n", describe(ports=(9, 0)))
        assert [section.live for section in read(text).media] == [True, True]

    def test_a_rejected_line_needs_nothing(self) -> None:
        # A rejected section as Firefox writes it.
        rejected = "m=video 0 UDP/TLS/RTP/SAVPF 120\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:1\r\n"
        description = read(describe(kinds=("audio",)) + rejected)
        assert not description.media[1].live
        assert keys(description)[1] == (False, False)

    @pytest.mark.parametrize("port", ["65536", "99999999999", "-1", "x", "", "9/2", "9" * 5000])
    def test_a_malformed_port_is_refused(self, port: str) -> None:
        with pytest.raises(SdpError):
            read(changed("m=audio 9 ", f"m=audio {port} "))
