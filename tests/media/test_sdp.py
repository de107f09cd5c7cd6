"""Reading session descriptions: what is one, what is none, and in bounded time."""

import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media import sdp
from media.sdp import MAX_MEDIA_LINES, MAX_SECTION_LINES, Description, SdpError, read
from tests.depth import examples
from tests.descriptions import describe

pytestmark = pytest.mark.once

FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)


def changed(old: str, new: str, text: str | None = None) -> str:
    """Return a description in which something is changed; it must have been there."""
    text = text or describe()
    assert old in text
    return text.replace(old, new)


def test_it_says_what_the_enabler_judges() -> None:
    text = describe(kinds=("audio", "video", "application"), directions=("recvonly", "sendonly", "sendrecv"))
    description = read(text)
    assert (description.session_id, description.version) == ("4611731400430051336", 2)
    assert description.bundled == {"0", "1", "2"}
    assert [line.kind for line in description.media] == ["audio", "video", "application"]
    assert [line.mid for line in description.media] == ["0", "1", "2"]
    assert [line.direction for line in description.media] == ["recvonly", "sendonly", "sendrecv"]
    assert all(line.live and line.has_ice and line.has_fingerprint for line in description.media)


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

    @pytest.mark.parametrize(
        "origin", ["o=-", "o=- 1 2 IN IP4", "o=- 1 -2 IN IP4 x", "o=- x 2 IN IP4 x", "o=- 1 2 IN IP5 x",
                   "o= 1 2 IN IP4 x", "o=- \u0663 \u0663 IN IP4 x", "o=- 1 " + "9" * 21 + " IN IP4 x",
                   "o=- 1 2 in ip4 x", "s=-"]
    )  # fmt: skip
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

    @pytest.mark.parametrize("line", ["s=inactive", "i=inactive", "a=x:inactive", "a=inactive:1"])
    def test_only_the_attribute_states_one(self, line: str) -> None:
        text = changed("s=-", f"s=-\r\n{line}", changed("a=sendrecv\r\n", ""))
        assert {each.direction for each in read(text).media} == {"sendrecv"}

    def test_two_in_one_section_are_refused(self) -> None:
        with pytest.raises(SdpError):
            read(changed("a=sendrecv\r\n", "a=recvonly\r\na=sendrecv\r\n"))
        with pytest.raises(SdpError):
            read(changed("t=0 0\r\n", "t=0 0\r\na=recvonly\r\na=recvonly\r\n"))


class TestLiveLines:
    def test_port_0_rejects_a_line(self) -> None:
        assert [line.live for line in read(describe(ports=(9, 0))).media] == [True, False]

    def test_bundle_only_does_not(self) -> None:
        text = changed("a=mid:1\r\n", "a=mid:1\r\na=bundle-only\r\n", describe(ports=(9, 0)))
        assert [line.live for line in read(text).media] == [True, True]

    def test_a_rejected_line_needs_nothing(self) -> None:
        # As Firefox writes it.
        rejected = "m=video 0 UDP/TLS/RTP/SAVPF 120\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:1\r\n"
        line = read(describe(kinds=("audio",)) + rejected).media[1]
        assert (line.live, line.has_ice, line.has_fingerprint) == (False, False, False)

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
        assert {line.has_ice for line in read(describe(ufrag=ufrag, password=password)).media} == {has_ice}

    @pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint", "setup"])
    def test_missing_ones(self, name: str) -> None:
        text = "".join(line for line in describe().splitlines(keepends=True) if not line.startswith(f"a={name}"))
        line = read(text).media[0]
        assert line.has_ice is (name not in {"ice-ufrag", "ice-pwd"})
        assert line.has_fingerprint is (name not in {"fingerprint", "setup"})

    def test_the_session_may_state_them_for_all_lines(self) -> None:
        keys = f"a=ice-ufrag:4ZcD\r\na=ice-pwd:2/1muCWoOi3uLifh0NuRHlRg\r\n{FINGERPRINT}\r\na=setup:actpass\r\n"
        names = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup")
        text = "".join(line for line in describe().splitlines(keepends=True) if not line.startswith(names))
        assert not any(line.has_ice or line.has_fingerprint for line in read(text).media)
        text = changed("t=0 0\r\n", f"t=0 0\r\n{keys}", text)
        assert all(line.has_ice and line.has_fingerprint for line in read(text).media)

    @pytest.mark.parametrize(
        ("algorithm", "size", "counts"),
        [("sha-256", 32, True), ("SHA-256", 32, True), ("sha-384", 48, True), ("sha-512", 64, True),
         ("sha-1", 20, False), ("md5", 16, False), ("x", 1, False)],
    )  # fmt: skip
    def test_fingerprints_count_by_their_algorithm(self, algorithm: str, size: int, counts: bool) -> None:
        digest = ":".join(["aB"] * size)
        text = changed(FINGERPRINT, f"a=fingerprint:{algorithm} {digest}")
        assert {line.has_fingerprint for line in read(text).media} == {counts}

    @pytest.mark.parametrize(
        "value", ["sha-256", "sha-256 ", "sha-256 AB", "sha-256 " + ":".join(["AB"] * 31),
                  "sha-256 " + ":".join(["GG"] * 32),
                  "sha-256 " + "AB" * 32, "sha-512 " + ":".join(["AB"] * 32), "sha-256 AB CD"]
    )  # fmt: skip
    def test_fingerprints_of_the_wrong_length(self, value: str) -> None:
        with pytest.raises(SdpError):
            read(changed(FINGERPRINT, f"a=fingerprint:{value}"))


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


@pytest.mark.parametrize(
    "line",
    [
        "a=rtpmap:111",
        "a=rtpmap:x opus/48000",
        "a=rtpmap:111 opus",
        "a=fmtp:99 x=1",
        "a=fmtp:111 minptime=x",
        "a=rtcp:x",
        "a=rtcp:9 IN IP5 x",
        "a=extmap:1",
        "a=extmap:x uri:y",
        "a=ssrc:x cname:y",
        "a=ssrc:1",
        "a=ssrc-group:FID x",
        "a=setup:both",
        "a=max-message-size:x",
        "c=IN IP4",
        "a=rtcp-fb:111",
    ],
)
def test_a_line_that_the_parser_chokes_on_is_refused_and_is_no_fault(line: str) -> None:
    text = changed("a=rtcp-rsize", line, describe(kinds=("audio",)))
    with pytest.raises(SdpError):
        read(text)


class TestCost:
    def read_in_time(self, text: str) -> Description | None:
        begun = time.perf_counter()
        try:
            return read(text)
        except SdpError:
            return None
        finally:
            assert time.perf_counter() - begun < 2

    def test_a_megabyte(self) -> None:
        assert self.read_in_time("v" * 1_000_000) is None
        assert self.read_in_time("\r\n" * 500_000) is None
        assert self.read_in_time("a=x\r\n" * 200_000) is None
        assert self.read_in_time(describe() + "m=audio 9 RTP/AVP 0\r\n" * 50_000) is None
        assert self.read_in_time(describe() + "a=x:" + "y" * 1_000_000 + "\r\n")
        assert self.read_in_time("\x00" * 1_000_000) is None

    def test_what_fits_into_the_limit_of_an_sdp_and_is_meant_to_be_slow(self) -> None:
        limit = 128 * 1024
        codecs = "".join(f"a=rtpmap:{number % 128} x/1\r\n" for number in range(240))
        feedback = "a=rtcp-fb:* nack\r\n" * 240
        section = "m=audio 9 UDP/TLS/RTP/SAVPF 1\r\n" + codecs + feedback
        head = describe(kinds=())
        self.read_in_time(head + section * ((limit - len(head)) // len(section)))
        self.read_in_time(head + "a=group:BUNDLE " + "1 " * (limit // 2) + "\r\n")
        self.read_in_time(head + "m=audio 9 UDP/TLS/RTP/SAVPF " + "1 " * (limit // 2) + "\r\n")
        self.read_in_time(head + "".join(f"m=audio 9 A 1\r\na=ssrc:{n} cname:x\r\n" for n in range(250)))
        ssrcs = "".join(f"a=ssrc:{number} cname:x\r\n" for number in range(480))
        self.read_in_time(head + ("m=audio 9 UDP/TLS/RTP/SAVPF 1\r\n" + ssrcs) * 12)
        self.read_in_time("v=0\r\no=" + " 1" * (limit // 2) + " IN IP4 x\r\n")
        self.read_in_time(changed("s=-", "s=-\r\na=candidate:" + "1 " * (limit // 2)))
        self.read_in_time(changed("a=mid:0", "a=fmtp:111 " + "a=1;" * (limit // 4)))


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
    begun = time.perf_counter()
    try:
        description = sdp.read(text)
    except SdpError:
        pass
    else:
        assert isinstance(description, Description)
        assert len(description.media) == len([line for line in text.split("\n") if line.startswith("m=")])
        assert {line.direction for line in description.media} <= {"sendrecv", "sendonly", "recvonly", "inactive"}
        assert description.version >= 0
    assert time.perf_counter() - begun < 1
