"""Descriptions that Chromium accepts are accepted, and those that it refuses are refused."""

import re

import pytest

from media.sdp.description import parse as read
from media.sdp.syntax import SdpError
from tests.support.descriptions import describe
from tests.support.media.descriptions import changed

pytestmark = pytest.mark.once

CHOKES = """
a=rtpmap:111|a=rtpmap:x opus/48000|a=rtpmap:111 opus|a=rtpmap:200 x/1|a=rtpmap:-1 x/1
a=fmtp:111|a=fmtp:x y=1|a=fmtp:200 x|a=rtcp-fb:111|a=rtcp-fb:x nack
a=extmap:1|a=extmap:x uri:y|a=extmap:300 uri:y|a=extmap:0 uri:y
a=ssrc:x cname:y|a=ssrc:1|a=ssrc:1 |a=ssrc:99999999999 cname:y|a=ssrc-group:FID x|a=ssrc-group:FID
a=mid|a=group|a=ice-pwd|a=msid-semantic
a=setup:both|a=setup|a=fingerprint:sha-256|a=ice-options|a=msid:|a=simulcast:foo|a=mid:a b
c=IN IP4|b=AS:x|b=TIAS:-1
a=candidate:1|a=candidate:1 1 udp 1 ::1 5 typ foo|a=candidate:1 1 foo 1 ::1 9 typ host
"""


@pytest.mark.parametrize("line", re.split(r"[|\n]", CHOKES.strip()))
def test_a_line_that_chromium_chokes_on_is_refused(line: str) -> None:
    text = changed("a=rtcp-rsize", line, describe(kinds=("audio",)))
    with pytest.raises(SdpError):
        read(text)


def test_a_data_channels_size_is_a_number() -> None:
    with pytest.raises(SdpError):
        read(changed("max-message-size:262144", "max-message-size:x", describe(kinds=("application",))))


TAKES = """
a=fmtp:111 minptime=x|a=fmtp:111 useinbandfec=0|a=fmtp:8 x|a=rtpmap:111 opus/48000/2|a=rtcp-fb:* nack
a=rtcp-fb:111 |a=rtcp-fb:* |a=fmtp:111 x
a=rtpmap:8 PCMA/8000 x
a=extmap:5/foo uri:y|a=extmap:3 urn:a attribute=1 other|a=extmap:5 urn:ietf:params:rtp-hdrext:encrypt urn:a
a=rtcp:x|a=rtcp:9 IN IP5 x|a=ssrc-group:SIM 1 2 3|a=max-message-size:x|a=sctp-port:x|a=crypto:1 x y
a=candidate:1 1 udp 1 x 5 typ host|a=candidate: 1 udp 1 ::1 5 typ host
a=candidate:1 1 tcp 1 ::1 9 typ host tcptype active
a=mid:0|a=ptime:x|a=rid:|a=rid:a foo|a=simulcast:send a|a=imageattr:x|a=x-y|a=:x|a=framerate:x|a=msid:x|a=group:BUNDLE 9
b=AS:100|b=X-YZ:1|c=IN IP5 x|k=x|x=1
"""


@pytest.mark.parametrize("line", re.split(r"[|\n]", TAKES.strip()))
def test_a_line_that_chromium_takes_is_taken(line: str) -> None:
    text = changed("SAVPF 111", "SAVPF 8 111", describe(kinds=("audio",)))
    assert read(changed("a=rtcp-rsize", line, text)).media[0].kind == "audio"
