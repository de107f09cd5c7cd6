"""ICE credentials, fingerprints and candidates."""

import socket

import pytest

from media.sdp.description import parse as read
from media.sdp.syntax import SdpError
from tests.support.descriptions import describe
from tests.support.media.descriptions import FINGERPRINT, changed, keys

pytestmark = pytest.mark.once


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

    def test_the_session_may_state_them_for_all_sections(self) -> None:
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
