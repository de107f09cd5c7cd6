"""Which layers of a section both sides agree on, in offers and in answers."""

import re
import time
from contextlib import suppress

import pytest

from media.sdp import description
from media.sdp.extensions import MID, REPAIRED_RID, RID
from media.sdp.negotiation import Negotiation, NegotiationError
from media.sdp.syntax import SdpError
from tests.support.media.negotiating import (
    BOB,
    CAROL,
    LOCAL,
    agreed_by,
    answering,
    changed,
    offered,
    section_text,
    settled,
    without,
)
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.once

CHROMIUM, FIREFOX = SAMPLES["chromium-simulcast"], SAMPLES["firefox-simulcast"]
RIDS = "a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\n"
SIMULCAST = "a=simulcast:send q;h;f"


def with_layers(rids: str, simulcast: str) -> str:
    """Return Chromium's offer with these lines about layers, which `|` separates."""
    lines = "".join(f"{line}\r\n" for line in rids.split("|") if line)
    return changed(CHROMIUM, (RIDS, lines), (f"{SIMULCAST}\r\n", f"{simulcast}\r\n" if simulcast else ""))


def rids_of(text: str) -> tuple[str, ...]:
    """Return the rids of the video section in this offer. The focus's answer must list the same ones."""
    leg, answer = settled(text)
    rids = leg.sections[-1].rids
    assert tuple(re.findall("a=rid:(.*) recv\r", answer)) == rids
    assert [line.replace("~", "") for line in re.findall("a=simulcast:(.*)\r", answer)] == (
        [f"recv {';'.join(rids)}"] if rids else []
    )
    assert ("a=rid:" in answer) == bool(rids)
    assert bool(rids) <= (RID in leg.sections[-1].extensions)
    return rids


def layers(leg: Negotiation) -> tuple[str, ...]:
    """Return the settled rids of the video section."""
    return leg.sections[1].rids


class TestOffers:
    @pytest.mark.parametrize(("text", "ids"), [(CHROMIUM, (10, 11)), (FIREFOX, (9, 10))])
    def test_each_browsers_layers_are_taken(self, text: str, ids: tuple[int, int]) -> None:
        leg, answer = settled(text)
        section = leg.sections[-1]
        assert section.rids == ("q", "h", "f")
        assert (section.extensions[RID], section.extensions[REPAIRED_RID]) == ids
        assert f"a=extmap:{ids[0]}/recvonly {RID}\r\n" in answer
        assert "a=rid:q recv\r\na=rid:h recv\r\na=rid:f recv\r\na=simulcast:recv q;h;f\r\n" in answer

    @pytest.mark.parametrize(
        ("simulcast", "rids"),
        [
            ("send f;h;q", ("f", "h", "q")),
            ("send q;h", ("q", "h")),
            ("send q,h;f,h", ("q", "f")),
            ("send ~q;h;~f", ("q", "h", "f")),
            ("send q,~h;~f,h", ("q", "f")),
            ("recv x;y send q;h", ("q", "h")),
            ("send q;h recv x", ("q", "h")),
            (" send q;h ", ("q", "h")),
            ("send q;q;h", ("q", "h")),
            ("send q;x;h", ("q", "h")),
            ("send q;x", ()),
            ("send q", ()),
            ("send q;q", ()),
            ("recv q;h", ()),
            ("send q;h;", ()),
            ("send ;q;h", ()),
            ("send q;;h", ()),
            ("send q,;h", ()),
            ("send q;~;h", ()),
            ("send q;h send q;f", ()),
            ("send q;h recv", ()),
            ("send q;h recv x more", ()),
            ("send q; h", ()),
            ("send q;h both x", ()),
        ],
    )
    def test_the_list_states_the_layers_and_their_order(self, simulcast: str, rids: tuple[str, ...]) -> None:
        assert rids_of(with_layers("a=rid:q send|a=rid:h send|a=rid:f send", f"a=simulcast:{simulcast}")) == rids

    @pytest.mark.parametrize(
        ("lines", "rids"),
        [
            ("a=rid:q send|a=rid:h send", ("q", "h")),
            ("a=rid:q send|a=rid:h recv|a=rid:f send", ("q", "f")),
            ("a=rid:q send|a=rid:h|a=rid:f send|a=rid:", ("q", "f")),
            ("a=rid:q send pt=96|a=rid:h send pt=98,96;max-width=9|a=rid:f send pt=98", ("q", "h")),
            ("a=rid:q send max-fps=9;pt=96|a=rid:h send pt=|a=rid:f send pt=x,-1,9999999999999,96", ("q", "f")),
            ("a=rid:q send max-width=|a=rid:h send ;;=|a=rid:f send pt", ("q", "h")),
            ("a=rid:q send|a=rid:h send|a=rid:h send|a=rid:f send", ("q", "f")),
            ("a=rid:q send|a=rid:h send|a=rid:h recv|a=rid:f send", ("q", "f")),
            ("a=rid:q send", ()),
            ("", ()),
        ],
    )
    def test_each_layer_needs_one_line_and_the_codec_in_use(self, lines: str, rids: tuple[str, ...]) -> None:
        assert rids_of(with_layers(lines, SIMULCAST)) == rids

    def test_names_are_short_and_plain(self) -> None:
        names = ["x" * 16, "y" * 17, "é", "-_9", "a.b", "A"]
        text = with_layers("|".join(f"a=rid:{name} send" for name in names), f"a=simulcast:send {';'.join(names)}")
        assert rids_of(text) == ("x" * 16, "-_9", "A")

    def test_at_most_three_layers_are_taken(self) -> None:
        names = [f"r{number}" for number in range(300)]
        text = with_layers("|".join(f"a=rid:{name} send" for name in names), f"a=simulcast:send {';'.join(names)}")
        assert rids_of(text) == ("r0", "r1", "r2")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (SIMULCAST, f"{SIMULCAST}\r\n{SIMULCAST}"),
            (SIMULCAST, "a=x"),
            (f"a=extmap:10 {RID}", "a=x"),
            (f"a=extmap:10 {RID}", f"a=extmap:10/recvonly {RID}"),
            (f"a=extmap:10 {RID}", f"a=extmap:10/inactive {RID}"),
            (f"a=extmap:10 {RID}", f"a=extmap:10 urn:ietf:params:rtp-hdrext:encrypt {RID}"),
            (f"a=extmap:10 {RID}", f"a=extmap:15 {RID}"),
            (f"a=extmap:4 {MID}\r\n", ""),
        ],
    )
    def test_without_the_list_or_an_extension_there_is_no_simulcast(self, old: str, new: str) -> None:
        assert rids_of(changed(CHROMIUM, (old, new))) == ()

    def test_without_a_mid_there_is_no_simulcast(self) -> None:
        assert rids_of(without(FIREFOX, "a=(mid|group):.*")) == ()

    def test_ids_above_14_need_mixed_extensions(self) -> None:
        text = changed(CHROMIUM, (f"a=extmap:10 {RID}", f"a=extmap:20 {RID}"))
        assert rids_of(text) == ("q", "h", "f")
        assert rids_of(without(text, "a=extmap-allow-mixed")) == ()

    def test_audio_has_no_layers(self) -> None:
        lines = f"a=rid:q send\r\na=rid:h send\r\na=simulcast:send q;h\r\na=extmap:10 {RID}\r\n"
        leg, answer = settled(changed(SAMPLES["chromium-audio"], ("a=rtcp-rsize\r\n", f"a=rtcp-rsize\r\n{lines}")))
        assert leg.sections[0].rids == ()
        assert "rid" not in answer

    def test_an_answer_repeats_which_layers_are_paused_and_an_offer_does_not(self) -> None:
        leg, answer = settled(changed(CHROMIUM, (SIMULCAST, "a=simulcast:send q;~h;f")))
        assert "a=simulcast:recv q;~h;f\r\n" in answer
        assert "a=simulcast:recv q;h;f\r\n" in offered(leg, BOB, agreed=agreed_by(CHROMIUM))


def leg_that_offers() -> tuple[Negotiation, str]:
    """Return a leg that has agreed to layers and offers a track, and its offer."""
    leg, _ = settled(CHROMIUM)
    return leg, offered(leg, BOB, CAROL, agreed=agreed_by(CHROMIUM))


def with_layers_sent(offer: str) -> str:
    """Return an answer that sends the layers that the offer asks for."""
    return re.sub(r"a=(rid:\w+|simulcast:)( ?)recv", r"a=\1\2send", answering(offer, CHROMIUM)).replace(
        "/recv", "/send"
    )


class TestOurOffers:
    def test_they_list_the_layers_in_their_section_only(self) -> None:
        _, offer = leg_that_offers()
        assert "a=simulcast:recv q;h;f\r\n" in section_text(offer, 1)
        assert "rid" not in section_text(offer, 2).replace("nack", "")

    def test_an_answer_may_keep_the_layers(self) -> None:
        leg, offer = leg_that_offers()
        leg.receive_answer(with_layers_sent(offer))
        assert leg.sections[1].rids == ("q", "h", "f")
        assert leg.create_offer([BOB, CAROL], agreed_by(CHROMIUM)) is None

    @pytest.mark.parametrize(
        ("changes", "rids"),
        [
            ([("send q;h;f", "send f;q")], ("f", "q")),
            ([("send q;h;f", "send q;h;x"), ("a=rid:f", "a=rid:x")], ("q", "h")),
            ([("a=rid:h send", "a=rid:h send pt=98")], ("q", "f")),
            ([("send q;h;f", "send q")], ()),
            ([("a=simulcast:send q;h;f\r\n", "")], ()),
            ([(f"a=extmap:10/sendonly {RID}\r\n", "")], ()),
        ],
    )
    def test_an_answer_may_reduce_or_drop_the_layers(
        self, changes: list[tuple[str, str]], rids: tuple[str, ...]
    ) -> None:
        leg, offer = leg_that_offers()
        leg.receive_answer(changed(with_layers_sent(offer), *changes))
        assert leg.sections[1].rids == rids
        assert bool(rids) <= (RID in leg.sections[1].extensions)
        again = offered(leg, BOB, agreed=agreed_by(CHROMIUM))
        assert re.findall("a=simulcast:(.*)\r", again) == ([f"recv {';'.join(rids)}"] if rids else [])
        assert ("a=rid:" in again) == bool(rids)

    def test_an_answer_adds_no_layers(self) -> None:
        leg, _ = settled(SAMPLES["chromium-audio-video"])
        offer = offered(leg, BOB, agreed=agreed_by(CHROMIUM))
        lines = f"a=extmap:10 {RID}\r\n{RIDS}{SIMULCAST}\r\n"
        answer = answering(offer)
        leg.receive_answer(answer + lines)
        assert leg.sections[1].rids == ()


def held(text: str) -> str:
    """Return the offer of a participant that holds, as Firefox writes it: without a word about layers."""
    return without(changed(text, ("a=sendrecv\r\na=msid:", "a=recvonly\r\na=msid:")), "a=(rid|simulcast):.*")


class TestChanges:
    def test_layers_follow_the_participants_newest_offer(self) -> None:
        leg, _ = settled(CHROMIUM)
        for lines, rids in (("send f;q", ("f", "q")), ("send q", ()), ("send h;q;f", ("h", "q", "f"))):
            leg.receive_offer(changed(CHROMIUM, ("send q;h;f", lines)), agreed_by(CHROMIUM))
            leg.create_answer([])
            assert layers(leg) == rids

    def test_layers_stay_during_a_hold_without_a_word_about_them(self) -> None:
        leg, _ = settled(CHROMIUM)
        leg.receive_offer(held(CHROMIUM), agreed_by(CHROMIUM))
        answer = leg.create_answer([BOB])
        assert not leg.sections[1].receiving
        assert layers(leg) == ("q", "h", "f")
        assert "a=simulcast:recv q;h;f\r\n" in answer
        # An answer during the hold does not mention layers either.
        offer = offered(leg, BOB, CAROL, agreed=agreed_by(CHROMIUM))
        assert "a=simulcast:recv q;h;f\r\n" in offer
        silent = without(with_layers_sent(offer), "a=(rid|simulcast):.*")
        leg.receive_answer(changed(silent, ("a=sendrecv", "a=recvonly")))
        assert layers(leg) == ("q", "h", "f")
        # Without the hold, the silence means that there are no layers.
        leg.receive_offer(without(CHROMIUM, "a=(rid|simulcast):.*") + added(offer), agreed_by(CHROMIUM))
        leg.create_answer([BOB])
        assert layers(leg) == ()

    def test_a_hold_begins_without_layers_if_there_were_none(self) -> None:
        leg, answer = settled(held(CHROMIUM))
        assert layers(leg) == ()
        assert "rid" not in answer

    def test_a_rejected_section_has_no_layers_when_it_is_used_again(self) -> None:
        leg, _ = settled(CHROMIUM)
        stopped = re.sub(r"m=video \d+", "m=video 0", changed(CHROMIUM, ("BUNDLE 0 1", "BUNDLE 0")))
        leg.receive_offer(stopped, agreed_by(CHROMIUM))
        leg.create_answer([])
        assert layers(leg) == ()
        assert "rid" not in section_text(offered(leg, BOB, agreed=agreed_by(CHROMIUM)), 1)

    def test_a_rollback_or_a_revoked_answer_brings_the_layers_back(self) -> None:
        leg, _ = settled(CHROMIUM)
        plain = without(CHROMIUM, "a=(rid|simulcast):.*")
        leg.receive_offer(plain, agreed_by(CHROMIUM))
        leg.rollback()
        assert layers(leg) == ("q", "h", "f")
        leg.receive_offer(plain, agreed_by(CHROMIUM))
        leg.create_answer([])
        assert layers(leg) == ()
        leg.revoke()
        assert layers(leg) == ("q", "h", "f")
        assert "a=simulcast:recv q;h;f" in offered(leg, BOB, agreed=agreed_by(CHROMIUM))

    def test_an_adopted_participant_is_asked_for_its_layers(self) -> None:
        leg = Negotiation(LOCAL)
        leg.adopt(CHROMIUM, agreed_by(CHROMIUM))
        offer = offered(leg, BOB, agreed=agreed_by(CHROMIUM))
        assert "a=simulcast:recv q;h;f\r\n" in offer
        leg.receive_answer(with_layers_sent(offer))
        assert layers(leg) == ("q", "h", "f")


def added(offer: str) -> str:
    """Return the section that our offer has added, as the participant repeats it."""
    return without(section_text(offer, 2), "a=(ssrc|ssrc-group|msid|candidate|end-of-candidates|ice-.*):?.*").replace(
        "a=sendonly", "a=recvonly"
    )


class TestHostileText:
    @pytest.mark.parametrize(
        "text",
        [
            "a=simulcast:send " + ";".join(f"r{number}" for number in range(100_000)),
            "a=simulcast:send " + ";" * 400_000,
            "a=simulcast:send " + "," * 400_000,
            "a=simulcast:send " + "~" * 400_000,
            "a=simulcast:send q" + " " * 400_000 + "recv",
            "a=simulcast:" + "send q;h " * 40_000,
            "a=simulcast:send q;h;f\r\na=rid:x send " + "pt=96;" * 60_000,
            "a=simulcast:send q;h;f\r\na=rid:x send pt=" + "96," * 100_000,
            "a=simulcast:send q;h;f\r\na=rid:" + "x" * 400_000,
            "a=simulcast:send q;h;f\r\na=rid:x" + " " * 400_000,
        ],
    )
    def test_it_takes_time_in_proportion_to_its_length(self, text: str) -> None:
        def fastest(lines: str) -> float:
            spent = []
            for _ in range(3):
                description.parse.cache_clear()
                leg, begun = Negotiation(LOCAL), time.thread_time()
                with suppress(NegotiationError, SdpError):
                    leg.receive_offer(changed(CHROMIUM, (SIMULCAST, lines)), agreed)
                    leg.create_answer([])
                spent.append(time.thread_time() - begun)
            return min(spent)

        agreed = agreed_by(CHROMIUM)
        # Quadratic work would take 64 times as long.
        assert fastest(text) < 32 * fastest(text[: len(text) // 8]) + 0.002
