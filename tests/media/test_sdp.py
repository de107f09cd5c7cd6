"""Reading session descriptions: what is one, what is none, and in bounded time."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.credentials import Fingerprint
from media.sdp import description
from media.sdp.description import Description, parse, read_fingerprints
from media.sdp.description import parse as read
from media.sdp.syntax import MAX_MEDIA_LINES, MAX_SECTION_LINES, SdpError
from tests.support.depth import examples
from tests.support.descriptions import describe
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once

FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)


def changed(old: str, new: str, text: str | None = None) -> str:
    """Return a description in which something is changed; it must have been there."""
    text = text or describe()
    assert old in text
    return text.replace(old, new)


def keys(description: Description) -> list[tuple[bool, bool]]:
    """Return of each section whether it has ICE credentials and a fingerprint."""
    return [(description.has_ice(line), description.has_fingerprint(line)) for line in description.media]


def test_it_says_what_the_enabler_judges() -> None:
    text = describe(kinds=("audio", "video", "application"), directions=("recvonly", "sendonly", "sendrecv"))
    description = read(text)
    assert (description.session_id, description.version) == ("4611731400430051336", 2)
    assert description.bundle == ("0", "1", "2")
    assert [line.kind for line in description.media] == ["audio", "video", "application"]
    assert [line.mid for line in description.media] == ["0", "1", "2"]
    assert [line.direction for line in description.media] == ["recvonly", "sendonly", "sendrecv"]
    assert all(line.live for line in description.media)
    assert keys(description) == [(True, True)] * 3


class TestLines:
    def test_bare_line_feeds_are_line_ends_too(self) -> None:
        assert read(describe().replace("\r\n", "\n")) == read(describe())

    def test_line_ends_may_be_mixed(self) -> None:
        head, rest = describe().split("\r\n", 1)
        assert read(f"{head}\n{rest}") == read(describe())

    @pytest.mark.parametrize("end", ["\r", "\n\r", "\r\r\n", "\n\n", "\r\n\r\n", " \x0b", "\x0c", "\x00", ""])
    def test_nothing_else_is_a_line_end(self, end: str) -> None:
        with pytest.raises(SdpError):
            read(describe().replace("\r\n", end))

    @pytest.mark.parametrize(
        "separator", ["\r", "\n\r", "\x00", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x7f", "\x85", "\u2028", "\u2029"]
    )
    def test_a_value_cannot_smuggle_a_line_in(self, separator: str) -> None:
        with pytest.raises(SdpError):
            read(changed("s=-", f"s=-{separator}m=video 9 UDP/TLS/RTP/SAVPF 96"))
        with pytest.raises(SdpError):
            read(changed("a=msid:- track-0", f"a=msid:- track-0{separator}a=inactive"))

    @pytest.mark.parametrize("character", ["\ud800", "\x01", "\x1f", "\x7f"])
    def test_a_value_has_no_controls_and_no_halves_of_characters(self, character: str) -> None:
        with pytest.raises(SdpError):
            read(changed("s=-", f"s={character}"))

    @pytest.mark.parametrize("character", ["é", "漢", "😀", "\t", "\xa0", "\u200b"])
    def test_a_value_may_have_other_characters(self, character: str) -> None:
        assert read(changed("s=-", f"s={character}")) == read(describe())

    @pytest.mark.parametrize("line", ["x", "=", "a=", "a", "A=b", "aa=b", " a=b", "1=2", "é=1"])
    def test_a_line_is_a_letter_and_a_value(self, line: str) -> None:
        with pytest.raises(SdpError):
            read(changed("s=-", line))

    @pytest.mark.parametrize(
        "text", ["", "\n", "\r\n", "v=0", "v=0\r\n", "m=audio 9 RTP 0\r\n", "nonsense", "\ufeff" + describe()]
    )
    def test_what_does_not_begin_like_one_is_none(self, text: str) -> None:
        with pytest.raises(SdpError):
            read(text)

    def test_it_is_bounded_in_lines(self) -> None:
        assert read(describe() + "a=x\r\n" * 100)
        with pytest.raises(SdpError):
            read(describe() + "a=x\r\n" * MAX_SECTION_LINES)
        section = "m=audio 0 RTP/AVP 0\r\n"
        head = describe(kinds=())
        assert len(read(head + section * MAX_MEDIA_LINES).media) == MAX_MEDIA_LINES
        with pytest.raises(SdpError):
            read(head + section * (MAX_MEDIA_LINES + 1))


class TestTruncation:
    TEXT = describe(kinds=("audio", "video", "application"))

    def test_at_a_line_end_it_is_either_shorter_or_none(self) -> None:
        lines = self.TEXT.split("\r\n")[:-1]
        for count in range(len(lines)):
            text = "".join(line + "\r\n" for line in lines[:count])
            try:
                description = read(text)
            except SdpError:
                continue
            assert len(description.media) == text.count("\nm=")

    def test_inside_a_line_it_is_none(self) -> None:
        for end in range(len(self.TEXT)):
            if not self.TEXT[:end].endswith("\n"):
                with pytest.raises(SdpError):
                    read(self.TEXT[:end])


class TestOrigin:
    @pytest.mark.parametrize("numbers", ["0 0", "1 18446744073709551615", "99999999999999999999 1"])
    def test_its_numbers_are_decimal(self, numbers: str) -> None:
        session_id, version = numbers.split()
        description = read(changed("o=- 4611731400430051336 2 ", f"o=- {numbers} "))
        assert (description.session_id, description.version) == (session_id, int(version))

    @pytest.mark.parametrize("numbers", ["1 -2", "x x", "\u0663 \u0663"])
    def test_a_version_that_is_no_number_cannot_go_back(self, numbers: str) -> None:
        description = read(changed("o=- 4611731400430051336 2 IN IP4", f"o=- {numbers} in ip5"))
        assert (description.session_id, description.version) == (numbers.split()[0], 0)

    @pytest.mark.parametrize(
        "origin", ["o=-", "o=- 1 2 IN IP4", "o= 1 2 IN IP4 x", "o=- 1 " + "9" * 21 + " IN IP4 x", "s=-"]
    )
    def test_one_that_is_none(self, origin: str) -> None:
        with pytest.raises(SdpError):
            read(changed("o=- 4611731400430051336 2 IN IP4 127.0.0.1", origin))


class TestDirections:
    @pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly", "inactive"])
    def test_the_session_states_one_for_the_lines_that_do_not(self, direction: str) -> None:
        text = changed("t=0 0\r\n", f"t=0 0\r\na={direction}\r\n", describe(kinds=("audio",)))
        assert [line.direction for line in read(text.replace("a=sendrecv\r\na=msid", "a=msid")).media] == [direction]
        text = changed("t=0 0\r\n", f"t=0 0\r\na={direction}\r\n", describe("sendonly", kinds=("audio",)))
        assert [line.direction for line in read(text).media] == ["sendonly"]

    def test_nothing_said_is_both_ways(self) -> None:
        assert {line.direction for line in read(changed("a=sendrecv\r\n", "")).media} == {"sendrecv"}

    @pytest.mark.parametrize("line", ["r=inactive", "a=x:inactive", "a=inactive:1"])
    def test_only_the_attribute_states_one(self, line: str) -> None:
        text = changed("t=0 0", f"t=0 0\r\n{line}", changed("a=sendrecv\r\n", ""))
        assert {each.direction for each in read(text).media} == {"sendrecv"}

    def test_the_last_of_several_counts_as_in_browsers(self) -> None:
        text = changed("a=sendrecv\r\n", "a=sendrecv\r\na=recvonly\r\n")
        assert {line.direction for line in read(text).media} == {"recvonly"}


class TestSession:
    @pytest.mark.parametrize("name", ["s", "t"])
    def test_a_required_line_is_missing(self, name: str) -> None:
        with pytest.raises(SdpError):
            read(re.sub(rf"(?m)^{name}=.*\n", "", describe()))

    def test_the_order_is_fixed_up_to_the_times(self) -> None:
        order = "s=-\r\ni=x\r\nu=x\r\ne=x\r\np=x\r\nc=IN IP4 0.0.0.0\r\nb=AS:9\r\nt=0 0\r\nr=1\r\nz=0\r\nk=x"
        assert read(changed("s=-\r\nt=0 0", order)) == read(describe())
        for early in ("t=0 0\r\na=x\r\ni=x", "a=x\r\nt=0 0", "t=0 0\r\ns=-"):
            with pytest.raises(SdpError):
                read(changed("s=-\r\nt=0 0", early))


class TestBundle:
    def bundles(self, *groups: str, text: str | None = None) -> tuple[tuple[str, ...], ...]:
        lines = "".join(f"a=group:{group}\r\n" for group in groups)
        return read(changed("a=group:BUNDLE 0 1\r\n", lines, text)).bundles

    def test_a_group_may_name_only_some_sections(self) -> None:
        assert self.bundles("BUNDLE 1") == (("1",),)

    def test_there_may_be_several_groups_and_other_ones(self) -> None:
        assert self.bundles("BUNDLE 0", "LS 0 1", "BUNDLE", "BUNDLE 1", "BUNDLEX 7") == (("0",), ("1",))

    def test_a_repeated_mid_counts_once(self) -> None:
        assert self.bundles("BUNDLE 1 0 1") == (("1", "0"),)

    @pytest.mark.parametrize("groups", [("BUNDLE 0 1 7",), ("BUNDLE 0 1", "BUNDLE 1")])
    def test_a_mid_that_is_absent_or_in_two_groups_is_refused(self, groups: tuple[str, ...]) -> None:
        with pytest.raises(SdpError):
            self.bundles(*groups)

    def test_sections_without_mid_leave_open_whom_a_group_names(self) -> None:
        assert self.bundles("BUNDLE 0 1", text=changed("a=mid:1\r\n", "")) == (("0", "1"),)


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
        line = read(describe() + section + "\r\n").media[2]
        assert [line.kind, str(line.port), line.protocol, *line.formats] == section.split("\r")[0][2:].split(" ")

    @pytest.mark.parametrize("line", ["m=audio", "m=audio 9", "m=audio 9 RTP/AVP", "m= 9 RTP/AVP 0", "m=audio  9 a 0"])
    def test_a_line_that_is_none(self, line: str) -> None:
        with pytest.raises(SdpError):
            read(describe() + line + "\r\n")


class TestLiveLines:
    def test_port_0_rejects_a_line(self) -> None:
        assert [line.live for line in read(describe(ports=(9, 0))).media] == [True, False]

    def test_bundle_only_does_not(self) -> None:
        text = changed("a=mid:1\r\n", "a=mid:1\r\na=bundle-only\r\n", describe(ports=(9, 0)))
        assert [line.live for line in read(text).media] == [True, True]

    def test_a_rejected_line_needs_nothing(self) -> None:
        # As Firefox writes it.
        rejected = "m=video 0 UDP/TLS/RTP/SAVPF 120\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:1\r\n"
        description = read(describe(kinds=("audio",)) + rejected)
        assert not description.media[1].live
        assert keys(description)[1] == (False, False)

    @pytest.mark.parametrize("port", ["65536", "99999999999", "-1", "x", "", "9/2", "9" * 5000])
    def test_a_port_that_is_none(self, port: str) -> None:
        with pytest.raises(SdpError):
            read(changed("m=audio 9 ", f"m=audio {port} "))


class TestKeys:
    @pytest.mark.parametrize(
        ("ufrag", "password", "has_ice"),
        [
            ("4ZcD", "2/1muCWoOi3uLifh0NuRHlRg", True),
            ("a" * 256, "b" * 256, True),
            ("a" * 4, "b" * 22, True),
            ("a" * 3, "b" * 22, False),
            ("a" * 4, "b" * 21, False),
            ("a" * 257, "b" * 22, False),
            ("a" * 4, "b" * 257, False),
            ("a b c", "b" * 22, False),
            ("a" * 4, "b" * 21 + "é", False),
            ("abc:d", "b" * 22, False),
        ],
    )
    def test_ice_credentials(self, ufrag: str, password: str, has_ice: bool) -> None:
        assert {ice for ice, _ in keys(read(describe(ufrag=ufrag, password=password)))} == {has_ice}

    @pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint", "setup"])
    def test_missing_ones(self, name: str) -> None:
        text = "".join(line for line in describe().splitlines(keepends=True) if not line.startswith(f"a={name}"))
        assert keys(read(text))[0] == (name not in {"ice-ufrag", "ice-pwd"}, name != "fingerprint")

    def test_the_session_may_state_them_for_all_lines(self) -> None:
        stated = f"a=ice-ufrag:4ZcD\r\na=ice-pwd:2/1muCWoOi3uLifh0NuRHlRg\r\n{FINGERPRINT}\r\na=setup:actpass\r\n"
        names = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup")
        text = "".join(line for line in describe().splitlines(keepends=True) if not line.startswith(names))
        assert keys(read(text)) == [(False, False)] * 2
        assert keys(read(changed("t=0 0\r\n", f"t=0 0\r\n{stated}", text))) == [(True, True)] * 2

    @pytest.mark.parametrize(
        ("algorithm", "size", "counts"),
        [("sha-256", 32, True), ("SHA-256", 32, True), ("sha-384", 48, True), ("sha-512", 64, True),
         ("sha-1", 20, False), ("md5", 16, False), ("x", 1, False)],
    )  # fmt: skip
    def test_fingerprints_count_by_their_algorithm(self, algorithm: str, size: int, counts: bool) -> None:
        digest = ":".join(["aB"] * size)
        text = changed(FINGERPRINT, f"a=fingerprint:{algorithm} {digest}")
        assert {fingerprint for _, fingerprint in keys(read(text))} == {counts}

    @pytest.mark.parametrize(
        "value", ["sha-256", "sha-256 ", "sha-256 AB", "sha-256 " + ":".join(["AB"] * 31),
                  "sha-256 " + ":".join(["GG"] * 32),
                  "sha-256 " + "AB" * 32, "sha-512 " + ":".join(["AB"] * 32), "sha-256 AB CD"]
    )  # fmt: skip
    def test_fingerprints_of_the_wrong_length(self, value: str) -> None:
        with pytest.raises(SdpError):
            keys(read(changed(FINGERPRINT, f"a=fingerprint:{value}")))


class TestCandidates:
    CANDIDATE = "a=candidate:1 1 udp 2122260223 127.0.0.1 50000 typ host generation 0 network-id 1"

    @pytest.mark.parametrize(
        "host",
        [
            "example.invalid",
            "a" * 300 + ".invalid",
            "8f5c.local",
            "::1",
            "fe80::1%eth0",
            "169.254.169.254",
            "0",
            "-",
            "😀",
        ],
    )
    def test_an_odd_host_is_text_and_nothing_is_looked_up(self, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            pytest.fail("an SDP made the enabler use the network")

        for name in ("socket", "getaddrinfo", "gethostbyname", "create_connection"):
            monkeypatch.setattr(socket, name, fail)
        assert read(changed(self.CANDIDATE, f"a=candidate:1 1 udp 1 {host} 50000 typ host")).media
        assert read(changed(self.CANDIDATE, f"a=candidate:1 1 udp 1 ::1 5 typ srflx raddr {host} rport 9")).media

    @pytest.mark.parametrize("port", ["0", "9", "65535"])
    def test_a_port_in_range(self, port: str) -> None:
        assert read(changed(" 50000 typ", f" {port} typ")).media

    @pytest.mark.parametrize("port", ["-1", "65536", "x", "", "9" * 5000, "1e3"])
    def test_a_port_out_of_range(self, port: str) -> None:
        with pytest.raises(SdpError):
            read(changed(" 50000 typ", f" {port} typ"))

    @pytest.mark.parametrize(
        "value", ["", ":", ":1", ":1 1 udp", ":1 x udp 1 ::1 9 typ host", ":1 1 udp x ::1 9 typ host"]
    )
    def test_a_broken_one(self, value: str) -> None:
        with pytest.raises(SdpError):
            read(changed(self.CANDIDATE, f"a=candidate{value}"))


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
        found = read(describe(kinds=()) + fingerprints + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * MAX_MEDIA_LINES)
        assert [fingerprint for _, fingerprint in keys(found)] == [True] * MAX_MEDIA_LINES
        assert len(calls) == 1

    LIMIT = 512 * 1024

    def hostile(self, limit: int) -> Iterator[str]:
        """Yield descriptions of this size that are meant to be slow."""
        head = describe(kinds=())
        codecs = "".join(f"a=rtpmap:{number % 128} x/1\r\n" for number in range(240))
        sections = [
            "m=audio 9 UDP/TLS/RTP/SAVPF 1\r\n" + codecs + "a=rtcp-fb:* nack\r\n" * 240,
            "m=audio 9 UDP/TLS/RTP/SAVPF 1\r\n" + "".join(f"a=ssrc:{number} cname:x\r\n" for number in range(480)),
            "m=audio 9 A 1\r\n",
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

    def test_what_fits_into_the_limit_of_an_sdp_and_is_meant_to_be_slow(self) -> None:
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
            # Quadratic would be 64 times as long.
            assert fastest(large) < 32 * fastest(small) + 0.002, large[:400]


# --- Mutation ---------------------------------------------------------------------------------------------

VALID = describe(kinds=("audio", "video", "application"))
NASTY = [
    "\r",
    "\n",
    "\0",
    "\r\n",
    "m=",
    "a=",
    ":",
    " ",
    "/",
    "0",
    "-1",
    "9" * 30,
    "é",
    "\u2028",
    "\ud800",
    "%s",
    "\t",
    "",
]
PIECES = st.sampled_from(NASTY) | st.text(max_size=8)


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Draw a valid description with a few places cut, replaced, doubled or swapped."""
    text = VALID
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["replace", "double", "line", "cut"]))
        if kind == "replace":
            text = text[:start] + draw(PIECES) + text[end:]
        elif kind == "double":
            text = text[:end] + text[start:end] * draw(st.integers(1, 20)) + text[end:]
        elif kind == "cut":
            text = text[:start] + text[end:]
        else:
            lines = text.split("\r\n")
            one = draw(st.integers(0, len(lines) - 1))
            other = draw(st.integers(0, len(lines) - 1))
            lines[one], lines[other] = lines[other], lines[one]
            text = "\r\n".join(lines)
    return text


@settings(
    max_examples=examples(300, deep=10_000),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(mutants())
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    begun = time.thread_time()
    try:
        description = read(text)
    except SdpError:
        pass
    else:
        assert isinstance(description, Description)
        assert len(description.media) == len([line for line in text.split("\n") if line.startswith("m=")])
        assert {line.direction for line in description.media} <= {"sendrecv", "sendonly", "recvonly", "inactive"}
        assert description.version >= 0
    # To ask for the slowness takes longer than most texts.
    assert (took := time.thread_time() - begun) < 1 or took < slowness()
