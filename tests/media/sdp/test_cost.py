"""Reading a description takes time in proportion to its size."""

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from media.credentials import Fingerprint
from media.sdp import description
from media.sdp.description import Description, parse, read_fingerprints
from media.sdp.description import parse as read
from media.sdp.syntax import MAX_MEDIA_SECTIONS, SdpError
from tests.support.descriptions import describe
from tests.support.media.descriptions import FINGERPRINT, changed, keys
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once


class TestCost:
    def read_in_time(self, text: str) -> Description | None:
        begun = time.thread_time()
        try:
            return read(text)
        except SdpError:
            return None
        finally:
            assert time.thread_time() - begun < 2 * slowness()

    def test_a_megabyte(self) -> None:
        assert self.read_in_time("v" * 1_000_000) is None
        assert self.read_in_time("\r\n" * 500_000) is None
        assert self.read_in_time("a=x\r\n" * 200_000) is None
        assert self.read_in_time(describe() + "m=audio 9 RTP/AVP 0\r\n" * 50_000) is None
        assert self.read_in_time(describe() + "a=x:" + "y" * 1_000_000 + "\r\n")
        assert self.read_in_time("\x00" * 1_000_000) is None

    def test_the_sessions_fingerprints_are_read_once_for_all_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[object] = []

        def count(attributes: description.Attributes) -> tuple[Fingerprint, ...]:
            calls.append(attributes)
            return read_fingerprints(attributes)

        monkeypatch.setattr(description, "read_fingerprints", count)
        fingerprints = 400 * f"{FINGERPRINT}\r\n"
        found = read(describe(kinds=()) + fingerprints + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * MAX_MEDIA_SECTIONS)
        assert [fingerprint for _, fingerprint in keys(found)] == [True] * MAX_MEDIA_SECTIONS
        assert len(calls) == 1

    LIMIT = 512 * 1024

    def hostile(self, limit: int) -> Iterator[str]:
        """Yield descriptions of this size that are designed to be slow to read."""
        head = describe(kinds=())
        codecs = "".join(f"a=rtpmap:{number % 128} x/1\r\n" for number in range(240))
        sections = [
            "m=audio 9 UDP/TLS/RTP/SAVPF 1\r\n" + codecs + "a=rtcp-fb:* nack\r\n" * 240,
            "m=audio 9 UDP/TLS/RTP/SAVPF 1\r\n" + "".join(f"a=ssrc:{number} cname:x\r\n" for number in range(480)),
            "m=audio 9 A 1\r\n",
            "m=video 9 UDP/TLS/RTP/SAVPF 1\r\n" + "".join(f"a=rid:{number} send pt=1\r\n" for number in range(480)),
        ]
        for section in sections:
            yield head + section * ((limit - len(head)) // len(section))
        yield head + "a=group:BUNDLE " + "1 " * (limit // 2) + "\r\n"
        yield head + "".join(f"a=group:BUNDLE {n}" + f" x{n}" * (limit // 2000) + "\r\n" for n in range(400))
        for line in (
            "m=audio 9 UDP/TLS/RTP/SAVPF ",
            "m=" + "a" * limit,
            "a=extmap:1" + " " * limit,
            "a=msid:" + " " * limit,
        ):
            yield head + line + "1 " * (limit // 2) + "\r\n"
        yield "v=0\r\no=" + " 1" * (limit // 2) + " IN IP4 x\r\n"
        for line in (
            "a=candidate:",
            "a=ssrc-group:FID ",
            "a=simulcast:send ",
            "a=fingerprint:sha-256",
            "a=extmap:1 ",
            "c=",
        ):
            yield changed("a=rtcp-rsize", line + "1 " * (limit // 2) + "!", describe(kinds=("audio",)))
            yield changed("a=rtcp-rsize", line + " " * limit, describe(kinds=("audio",)))
        yield changed("a=rtcp-rsize", "a=fmtp:111 " + "a=1;" * (limit // 4), describe(kinds=("audio",)))
        yield changed("a=rtcp-rsize", "a=fingerprint:sha-256 " + "AB:" * (limit // 3), describe(kinds=("audio",)))

    def test_a_description_that_is_meant_to_be_slow_and_fits_the_limit_is_read_quickly(self) -> None:
        for text in self.hostile(self.LIMIT):
            self.read_in_time(text)

    def test_the_time_is_linear_in_the_size(self) -> None:
        def fastest(text: str) -> float:
            def once() -> float:
                parse.cache_clear()
                begun = time.thread_time()
                with suppress(SdpError):
                    keys(read(text))
                return time.thread_time() - begun

            return min(once() for _ in range(3))

        for small, large in zip(self.hostile(self.LIMIT // 8), self.hostile(self.LIMIT), strict=True):
            # Quadratic work would take 64 times as long.
            assert fastest(large) < 32 * fastest(small) + 0.002, large[:400]
