"""A leg answers or refuses any offer, and its sections never change their positions."""

import contextlib
import re
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.sdp import description
from media.sdp.extensions import RID
from media.sdp.negotiation import (
    Agreed,
    Credentials,
    Fingerprint,
    LocalEnd,
    Negotiation,
    NegotiationError,
    Outgoing,
    Section,
    read_capabilities,
)
from media.sdp.syntax import SdpError
from tests.support.depth import examples
from tests.support.media.broken import NAMES, mutated
from tests.support.samples import SAMPLES
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once

LOCAL = LocalEnd((Fingerprint("sha-256", ":".join(["AB"] * 32)),), (("192.0.2.1", 5000), ("2001:db8::1", 5000)))
TRACKS = [
    Outgoing("bob-audio", "audio", "bob", "audio", 1000, None, live=True),
    Outgoing("bob-video", "video", "bob", "video", 1001, 1002, live=True),
    Outgoing("carol-video", "video", "carol", "video", 1003, 1004, live=True),
]


def negotiation() -> Negotiation:
    """Return a leg that always has the same IDs and credentials."""
    return Negotiation(LOCAL, session_id=1, credentials=lambda: Credentials("ours", "p" * 22))


def state(leg: Negotiation) -> tuple[object, ...]:
    """Return the public state of a leg."""
    return (
        leg.sections,
        leg.settled,
        leg.offering,
        leg.local_credentials,
        leg.remote_credentials,
        leg.remote_fingerprints,
        leg.role,
    )


FUZZ = settings(
    max_examples=examples(80, deep=10_000), deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@FUZZ
@given(mutated(st.sampled_from(NAMES)))
def test_a_broken_offer_is_answered_or_refused(text: str) -> None:
    leg = negotiation()
    agreed = Agreed()
    try:
        agreed = agreed.joined_by(read_capabilities(text))
        leg.receive_offer(text, agreed)
    except (NegotiationError, SdpError):
        assert not leg.sections
        return
    answer = description.parse(leg.create_answer(TRACKS))
    assert all(_lists_its_layers(section) for section in leg.sections)
    offered = description.parse(text)
    assert [(media.mid, media.kind) for media in answer.media] == [(media.mid, media.kind) for media in offered.media]
    offer = leg.create_offer(TRACKS, agreed)
    assert offer is None or description.parse(offer).media[: len(answer.media)]


@FUZZ
@given(st.sampled_from(["chromium-audio-video", "chromium-simulcast"]), st.data(), st.booleans())
def test_a_broken_offer_or_answer_to_a_leg_changes_nothing_or_is_taken(
    name: str, data: st.DataObject, as_answer: bool
) -> None:
    leg, text = negotiation(), data.draw(mutated(st.just(name)))
    agreed = Agreed().joined_by(read_capabilities(SAMPLES[name]))
    leg.receive_offer(SAMPLES[name], agreed)
    leg.create_answer(TRACKS[:1])
    assert leg.create_offer(TRACKS[:2], agreed) is not None
    before = state(leg)
    take = leg.receive_answer if as_answer else lambda text: leg.receive_offer(text, agreed)
    try:
        take(text.replace("actpass", "active") if as_answer else text)
    except (NegotiationError, SdpError):
        assert state(leg) == before
    else:
        if not as_answer:
            leg.create_answer(TRACKS)
        assert not leg.offering
        assert len(leg.sections) >= 2
        assert all(_lists_its_layers(section) for section in leg.sections)


def test_the_largest_description_costs_in_proportion() -> None:
    video = SAMPLES["chromium-audio-video"].split("m=video", 1)[1]
    head = SAMPLES["chromium-audio-video"].split("m=audio", 1)[0]

    def description_of(number: int) -> str:
        sections = [
            re.sub(r"a=ssrc.*\r\n", "", f"m=video{video}").replace("a=mid:1", f"a=mid:{index}")
            for index in range(number)
        ]
        return (head + "".join(sections)).replace("BUNDLE 0 1", f"BUNDLE {' '.join(map(str, range(number)))}")

    def cost(text: str) -> float:
        """Answer this offer three times. Return the least processor time of this thread for one answer, in seconds."""
        spent = []
        for _ in range(3):
            description.parse.cache_clear()
            leg, begun = negotiation(), time.thread_time()
            leg.receive_offer(text, Agreed())
            leg.create_answer(TRACKS)
            spent.append(time.thread_time() - begun)
        return min(spent)

    largest = description_of(114)
    assert 500_000 < len(largest) < 524_288
    # There are four times as many sections. Quadratic work would take sixteen times as long.
    assert cost(largest) < 10 * cost(description_of(28))


def test_a_browsers_offer_is_answered_within_three_milliseconds() -> None:
    text, spent = SAMPLES["chromium-audio-video"], []
    agreed = Agreed().joined_by(read_capabilities(text))
    for _ in range(20):
        description.parse.cache_clear()
        leg = negotiation()
        begun = time.thread_time()
        leg.receive_offer(text, agreed)
        leg.create_answer(TRACKS)
        spent.append(time.thread_time() - begun)
    assert min(spent) < 0.003 * slowness()


def sends_layers(section: dict[str, str]) -> bool:
    """Tell whether a section of the model has simulcast: the participant's own video sections have it."""
    return section["kind"] == "video" and section["mid"].isdigit()


@dataclass
class Participant:
    """A model of a browser. It remembers the settled sections and uses them in its offers and answers."""

    settled: list[dict[str, str]] = field(default_factory=list)  # mid, kind and direction (or "rejected")
    mids: int = 0

    def offer(self, kind: str | None, at: int, direction: str) -> tuple[str, list[dict[str, str]]]:
        """Return an offer and its sections. The offer adds a section of this kind, or changes a section."""
        sections = [dict(section) for section in self.settled]
        if kind or not sections:
            self.mids += 1
            section = {"mid": str(self.mids), "kind": kind or "audio", "direction": direction}
            free = [i for i, each in enumerate(sections) if each["direction"] == "rejected"]
            if free:
                sections[free[0]] = section
            else:
                sections.append(section)
        elif sections[at % len(sections)]["direction"] != "rejected":
            sections[at % len(sections)]["direction"] = direction
        return self.text(sections, "actpass"), sections

    def answer(self, offer: str, at: int, direction: str) -> tuple[str, list[dict[str, str]]]:
        """Return an answer and its sections. It accepts all offered sections unchanged, except one."""
        sections = []
        for index, media in enumerate(description.parse(offer).media):
            sends, receives = media.receives, media.sends
            if index == at % 8:
                sends, receives = sends and direction == "sendonly", receives and direction == "recvonly"
            words = {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}
            answered = words.get((sends, receives), "inactive")
            rejects = not media.live or (index == at % 8 and direction == "rejected" and index > 0)
            section = {"mid": media.mid, "kind": media.kind, "direction": "rejected" if rejects else answered}
            sections.append(section)
        return self.text(sections, "active"), sections

    def text(self, sections: list[dict[str, str]], setup: str) -> str:
        """Return a description of these sections, as Chromium writes it."""
        audio, video = re.split(r"(?=m=video)", SAMPLES["chromium-audio-video"].split("m=audio", 1)[1])
        templates = {"audio": f"m=audio{audio}", "video": video}
        layers = re.search("(?s)a=rid:.*", SAMPLES["chromium-simulcast"])
        assert layers is not None
        body = ""
        for section in sections:
            written = re.sub(r"a=ssrc.*\r\n", "", templates[section["kind"]])
            written = re.sub(r"a=mid:.*\r\n", f"a=mid:{section['mid']}\r\n", written)
            written += layers[0] * sends_layers(section)
            rejected = section["direction"] == "rejected"
            written = written.replace("a=sendrecv", "a=inactive" if rejected else f"a={section['direction']}")
            written = written.replace("actpass", setup)
            body += re.sub(r"^m=(\w+) \d+", r"m=\1 0" if rejected else r"m=\1 9", written)
        live = " ".join(section["mid"] for section in sections if section["direction"] != "rejected")
        return f"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {live}\r\n{body}"


steps = st.tuples(
    st.sampled_from(["offer", "add audio", "add video", "we offer", "we offer and it loses", "glare", "rollback"]),
    st.integers(0, 7),
    st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive", "rejected"]),
    st.sets(st.integers(0, 5)),
    st.booleans(),
)


@settings(max_examples=examples(20, deep=3_000), deadline=None, database=None)
@given(st.lists(steps, max_size=14))
def test_sections_keep_their_order_their_mids_and_their_tracks(
    sequence: list[tuple[str, int, str, set[int], bool]],
) -> None:
    leg, participant = negotiation(), Participant()
    agreed = Agreed().joined_by(read_capabilities(SAMPLES["chromium-audio-video"]))
    for what, at, direction, tracks, live in sequence:
        outgoing = [
            Outgoing(f"t{n}", ("audio", "video")[n % 2], f"p{n}", "x", n + 1, n + 100, live or n > 2) for n in tracks
        ]
        before = leg.sections
        if what in ("offer", "add audio", "add video", "glare"):
            if what == "glare":
                with contextlib.suppress(NegotiationError):
                    leg.create_offer(outgoing, agreed)
            kind = what.removeprefix("add ") if what.startswith("add") else None
            text, sections = participant.offer(kind, at, direction)
            try:
                leg.receive_offer(text, agreed)
            except NegotiationError:
                assert all(each["direction"] == "rejected" for each in sections)
                leg.rollback()
                continue
            leg.create_answer(outgoing)
            participant.settled = sections
        elif what == "rollback":
            leg.create_offer(outgoing, agreed)
            leg.rollback()
            assert leg.sections == before
            continue
        else:
            if not leg.settled or (offer := leg.create_offer(outgoing, agreed)) is None:
                continue
            if what == "we offer and it loses":
                leg.rollback()
                assert leg.sections == before
                # The next offer makes the same changes in the same sections.
                assert _without_mids(leg.create_offer(outgoing, agreed)) == _without_mids(offer)
                leg.rollback()
                continue
            text, sections = participant.answer(offer, at, direction)
            try:
                leg.receive_answer(text)
            except NegotiationError:
                assert all(each["direction"] == "rejected" for each in sections)
                leg.rollback()
                continue
            participant.settled = sections
            assert leg.create_offer(outgoing, agreed) is None
        _require_order(before, leg)
        assert [section.mid for section in leg.sections] == [each["mid"] for each in participant.settled]
        for settled in participant.settled:
            section = next(each for each in leg.sections if each.mid == settled["mid"])
            assert section.rejected == (settled["direction"] == "rejected")
            assert section.rids == (("q", "h", "f") if sends_layers(settled) and not section.rejected else ())
        placed = [section.outgoing.track for section in leg.sections if section.outgoing]
        assert len(placed) == len(set(placed))
        assert set(placed) <= {track.track for track in outgoing}


def _lists_its_layers(section: Section) -> bool:
    """Tell whether the section has two or three layers and the extension that names them, or neither."""
    return not section.rids or (len(section.rids) in {2, 3} and RID in section.extensions)


def _without_mids(text: str | None) -> str:
    return re.sub(r"\bf[0-9]+\b|o=.*", "", text or "")


def _require_order(before: tuple[Section, ...], leg: Negotiation) -> None:
    """Require that live sections keep their positions, and that no track moves to another section."""
    assert len(leg.sections) >= len(before)
    for old, new in zip(before, leg.sections, strict=False):
        if not old.rejected:
            assert (new.mid, new.kind) == (old.mid, old.kind)
            assert new.rejected or new.label == old.label or not old.label
        if old.outgoing and not new.rejected:
            elsewhere = [each.outgoing.track for each in leg.sections if each.outgoing and each is not new]
            assert old.outgoing.track not in elsewhere
