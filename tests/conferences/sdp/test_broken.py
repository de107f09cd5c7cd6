"""Text that is not SDP, or that allows no connection, is refused and changes nothing."""

import socket
from typing import Any

import pytest

from tests.support.actions import MOD
from tests.support.descriptions import describe
from tests.support.devices import Call
from tests.support.modifications import BARE, same_everywhere
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


@same_everywhere
class TestBroken:
    """Broken text is refused and changes nothing."""

    TEXT = describe(version=3)

    def refuse(self, call: Call, text: str | bytes) -> None:
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, text, **BARE)
        if isinstance(text, str):
            refused(422, "sdp-invalid", call.alice.put, call.id, MOD, {"type": "offer", "sdp": text})

    def test_text_that_ends_inside_a_line_is_refused(self, call: Call) -> None:
        for end in [*range(40), *range(60, len(self.TEXT), 97)]:
            if not self.TEXT[:end].endswith("\n"):
                self.refuse(call, self.TEXT[:end])

    def test_text_that_ends_before_its_fingerprint_is_refused(self, call: Call) -> None:
        lines = self.TEXT.splitlines(keepends=True)
        complete = next(index for index, line in enumerate(lines) if line.startswith("a=fingerprint"))
        for count in range(complete + 1):
            self.refuse(call, "".join(lines[:count]))

    @pytest.mark.parametrize(
        "separator", ["\r", "\n\r", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\0"]
    )
    def test_a_value_with_a_line_separator_is_refused(self, call: Call, separator: str) -> None:
        self.refuse(call, self.TEXT.replace("a=mid:0", f"a=mid:0{separator}m=video 9 UDP/TLS/RTP/SAVPF 96"))
        self.refuse(call, self.TEXT.replace("s=-", f"s=-{separator}a=inactive"))

    @pytest.mark.parametrize("text", ["", "\0" * 1000, "v=0", "nonsense\r\n", "{}", "\ufeffv=0\r\n", "\r\n" * 9000])
    def test_text_that_is_not_sdp_is_refused(self, call: Call, text: str) -> None:
        self.refuse(call, text)

    def test_lone_surrogates_are_refused(self, call: Call) -> None:
        body = {"type": "offer", "sdp": self.TEXT.replace("s=-", "s=\ud800")}
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, body)

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_a_bare_sdp_that_is_not_utf_8_is_refused(self, call: Call, encoding: str) -> None:
        body = self.TEXT.replace("s=-", "s=é").encode(encoding)
        refused(400, "malformed", call.alice.put, call.id, MOD, body, **BARE)

    def test_a_megabyte_is_refused(self, call: Call) -> None:
        for text in ("v=0\r\n" * 200_000, self.TEXT + "a=x\r\n" * 200_000):
            refused(413, "too-large", call.alice.put, call.id, MOD, text, **BARE)
            refused(413, "too-large", call.alice.put, call.id, MOD, {"type": "offer", "sdp": text})

    @pytest.mark.parametrize(
        "variation",
        [
            {"ufrag": "abc"},
            {"password": "short"},
            {"fingerprint": "AB:CD"},
            {"fingerprint": ":".join(["ZZ"] * 32)},
            {"setup": "both"},
            {"ports": (70000, 9)},
            {"kinds": ()},
        ],
    )
    def test_sections_that_cannot_connect_are_refused(self, call: Call, variation: dict[str, Any]) -> None:
        self.refuse(call, describe(version=3, **variation))

    @pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint"])
    def test_keys_must_not_be_missing_in_all_sections(self, call: Call, name: str) -> None:
        lines = self.TEXT.splitlines(keepends=True)
        self.refuse(call, "".join(line for line in lines if not line.startswith(f"a={name}")))

    @pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint"])
    def test_keys_can_be_missing_in_a_bundled_section(self, call: Call, name: str) -> None:
        head, video = self.TEXT.split("m=video")
        lines = [line for line in video.splitlines(keepends=True) if not line.startswith(f"a={name}")]
        text = head + "m=video" + "".join(lines)
        # Outside the bundle, a video section without keys could not connect. In the bundle, the keys of audio apply to
        # both sections (RFC 9143 section 7.1.3).
        self.refuse(call, text.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"))
        assert call.alice.put(call.id, MOD, text, **BARE).status_code == 204

    def test_keys_of_the_session_apply_to_every_section(self, call: Call) -> None:
        names = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup")
        lines = self.TEXT.splitlines(keepends=True)
        keys = "".join(line for line in lines[: len(lines) // 2] if line.startswith(names))
        text = "".join(line for line in lines if not line.startswith((*names, "a=group")))
        self.refuse(call, text)
        assert call.alice.put(call.id, MOD, text.replace("t=0 0\r\n", f"t=0 0\r\n{keys}"), **BARE).status_code == 204

    @pytest.mark.parametrize("line", ["a=fmtp:99 x=1", "a=rtcp-fb:99 nack"])
    def test_parameters_of_a_codec_without_a_name_are_refused(self, call: Call, line: str) -> None:
        self.refuse(
            call,
            self.TEXT.replace("SAVPF 111 63", "SAVPF 111 63 99").replace("SAVPF 96 97", "SAVPF 96 97 99")
            + line
            + "\r\n",
        )

    @pytest.mark.parametrize("port", ["-1", "65536", "x"])
    def test_a_candidate_with_a_bad_port_is_refused(self, call: Call, port: str) -> None:
        self.refuse(call, self.TEXT.replace(" 50000 typ", f" {port} typ"))

    def test_a_candidate_with_an_odd_host_is_forwarded_and_never_looked_up(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked_up: list[object] = []
        getaddrinfo = socket.getaddrinfo

        def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
            looked_up.append(host)
            return getaddrinfo(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        text = self.TEXT.replace("127.0.0.1 50000", "metadata.internal.invalid 80")
        assert call.alice.put(call.id, MOD, text, **BARE).status_code == 204
        assert call.bob.news()[0]["description"]["sdp"] == text
        assert "metadata.internal.invalid" not in looked_up
