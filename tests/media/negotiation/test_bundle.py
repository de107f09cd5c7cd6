"""The one transport of a leg: the sections that may use it, and its authentication."""

import re

import pytest

from media.sdp.description import parse
from media.sdp.negotiation import NegotiationError, new_credentials
from tests.support.media.negotiating import (
    AIORTC,
    AUDIO,
    BOB,
    BOB_AUDIO,
    CHROMIUM,
    agreed_by,
    changed,
    section_text,
    settled,
    unheard_of,
)
from tests.support.samples import CASES, SAMPLES

pytestmark = pytest.mark.once


def live(answer: str) -> list[bool]:
    return [media.live for media in parse(answer).media]


class TestTransports:
    """Only one transport of an offer is served. Sections outside it are answered with port 0. Nothing else changes."""

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

    def test_a_participant_that_does_not_bundle_gets_no_more_sections(self) -> None:
        text = changed(CHROMIUM, ("a=group:BUNDLE 0 1\r\n", ""))
        leg, _ = settled(text)
        offer = leg.create_offer([BOB_AUDIO, BOB], agreed_by(text))
        assert offer is not None
        assert (live(offer), parse(offer).bundle) == ([True, False], ())
        assert leg.sections[0].outgoing is None

    def test_many_are_not_all_tried(self) -> None:
        text = changed(unheard_of(CHROMIUM, *AUDIO), ("a=group:BUNDLE 0 1\r\n", ""))
        text = text.replace(
            section_text(text, 0), "".join(changed(section_text(text, 0), ("mid:0", f"mid:a{n}")) for n in range(200))
        )
        with pytest.raises(NegotiationError, match="No media section"):
            settled(text)

    @pytest.mark.parametrize(
        "section", ["m=text 9 UDP/TLS/RTP/SAVPF 98", "m=image 9 udptl t38", "m=x 9 FOO/BAR 1", "m=audio 9 FOO/BAR 111"]
    )
    @pytest.mark.parametrize("bundle", ["BUNDLE 0 1", "BUNDLE 0 1 t", "BUNDLE t 0 1"])
    def test_a_section_of_another_sort_is_answered_with_port_0(self, section: str, bundle: str) -> None:
        text = changed(CHROMIUM, ("BUNDLE 0 1", bundle)) + f"{section}\r\na=mid:t\r\na=rtcp-mux\r\n"
        leg, answer = settled(text, BOB)
        assert live(answer) == [True, True, False]
        assert section_text(answer, 2).startswith(
            " ".join([section.split(" ")[0], "0", *section.split(" ")[2:]]) + "\r\n"
        )
        assert set(parse(answer).bundle) == {"0", "1"}
        assert leg.settled

    @pytest.mark.parametrize("formats", ["", "  "])
    def test_a_section_without_formats_is_answered_with_port_0(self, formats: str) -> None:
        for section in ("m=image 0 udptl", "m=text 9 UDP/TLS/RTP/SAVPF", "m=audio 9 UDP/TLS/RTP/SAVPF"):
            leg, answer = settled(f"{CHROMIUM}{section} {formats}\r\na=mid:t\r\na=rtcp-mux\r\n", BOB)
            assert live(answer) == [True, True, False]
            assert re.fullmatch(r"m=\w+ 0 \S+ 0", section_text(answer, 2).split("\r\n")[0])
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
        """Check which sections are served in offers of other stacks.

        The tests of `peer` topology use the same offers.
        """
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
