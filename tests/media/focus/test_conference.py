"""Descriptions in a conference: a bad offer of one participant never affects another."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.focus import node, participants, signalling
from media.focus.node import Node, Settings
from media.reports import LOST_SECONDS, Connection, Notice, Sample, Verdict
from media.sdp.description import parse
from media.sdp.negotiation import Negotiation
from media.sdp.syntax import MAX_MEDIA_SECTIONS
from tests.support.depth import examples
from tests.support.media.broken import NAMES, mutated
from tests.support.media.by_json import by_json
from tests.support.media.negotiating import answering
from tests.support.media.node_harness import Clock
from tests.support.media.synthetic import Peer
from tests.support.samples import SAMPLES

# No test in this module uses the database.
pytestmark = pytest.mark.once

FORMATS = re.compile(r"a=(?:rtpmap|fmtp|rtcp-fb):.*\r\n")


class Nobody:
    """Ignores the node's reports."""

    def leg_lost(self, conference: str, participant: str, leg: str) -> None: ...

    def speaker_changed(self, conference: str, participant: str) -> None: ...

    def connection_changed(self, conference: str, participant: str, connection: Connection) -> None: ...

    def connection_judged(self, conference: str, participant: str, verdict: Verdict, since: float) -> None: ...

    def sampled(self, conference: str, samples: list[Sample]) -> None: ...

    def noticed(self, conference: str, participant: str, notice: Notice) -> None: ...


class SignalledConference:
    """A conference on a node. Its participants exchange descriptions and send no media."""

    def __init__(self, node: Node, clock: Clock | None = None) -> None:
        self.node = node
        self.clock = clock or Clock()
        self.participants: list[str] = []
        self.states: dict[str, str] = {}
        self._numbers = count()

    async def offer(self, who: str, text: str, *, fresh: bool = True, modification: str = "") -> dict[str, Any]:
        """Pass a participant's offer to the focus.

        Return the result, which may contain offers to the other participants.
        """
        if who not in self.participants:
            self.participants.append(who)
        modification = modification or f"{who}-{next(self._numbers)}"
        offer = {"participant": who, "modId": modification, "sdp": text, "fresh": fresh}
        return await self._task("offer", offer, modification)

    async def answer(self, offer: dict[str, Any], text: str) -> dict[str, Any]:
        """Pass a participant's answer to an offer of the focus. Return the result."""
        return await self._task("answer", {"participant": offer["participant"], "modId": offer["modId"], "sdp": text})

    async def withdraw(self, who: str, modification: str, *, rejected: bool = False) -> dict[str, Any]:
        """Withdraw a participant's offer, or reject an offer of the focus. Return the result."""
        return await self._task("withdraw", {"participant": who, "modId": modification, "rejected": rejected})

    async def update(self, **payload: Any) -> dict[str, Any]:
        return await self._task("update", payload)

    async def _task(self, kind: str, payload: dict[str, Any], modification: str = "") -> dict[str, Any]:
        participants = [
            {"participant": participant, "state": self.states.get(participant, "accepted"), "muted": []}
            for participant in self.participants
        ]
        view = {"seats": participants, "cause": {"modId": modification, "kind": "sync"}}
        return await by_json(self.node)("room", kind, {"view": view, "ready": self.participants, **payload})


@pytest_asyncio.fixture
async def conference() -> AsyncIterator[SignalledConference]:
    clock = Clock()
    node = Node(Settings(), Nobody(), now=clock.time)
    await node.start()
    yield SignalledConference(node, clock)
    await node.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[list[str]]:
    """The parts of a browser's offer: the session-level lines, the audio section and the video section."""
    peer = Peer("browser")
    yield re.split(r"(?m)^(?=m=)", peer.offer())
    peer.socket.close()


def described(head: str, *sections: str) -> str:
    """Return a description of these media sections. Their positions are the mids."""
    named = [re.sub(r"a=mid:\S+", f"a=mid:{number}", section) for number, section in enumerate(sections)]
    return re.sub(r"BUNDLE.*\r", f"BUNDLE {' '.join(map(str, range(len(sections))))}\r", head) + "".join(named)


def speaking(section: str, codec: str) -> str:
    """Return the media section with this codec as its only codec."""
    first, _, rest = FORMATS.sub("", section).partition("\r\n")
    return f"{' '.join([*first.split(' ')[:3], '100'])}\r\n{rest}a=rtpmap:100 {codec}\r\n"


def nameless(section: str) -> str:
    """Return the media section without its sources."""
    return re.sub(r"a=(?:ssrc|ssrc-group|msid|candidate|end-of-candidates).*\r\n", "", section)


def sent_to(conference: SignalledConference, who: str) -> list[str]:
    """Return the labels of the tracks that a participant gets."""
    leg = conference.node.conferences["room"].participants[who].leg
    assert leg is not None
    return [each.outgoing.label for each in leg.negotiation.sections if each.sending and each.outgoing]


async def test_a_participant_without_a_known_codec_delays_nobody(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    assert "answer" in await conference.offer("alice", described(head, audio))
    unusual = described(head, audio, speaking(nameless(video), "H265/90000"))
    assert "answer" in await conference.offer("bob", unusual)
    started = await conference.offer("alice", described(head, audio, video), fresh=False)
    assert "answer" in started
    assert [offer["participant"] for offer in (await conference.update())["offers"]] == ["bob"]


async def test_only_the_camera_that_the_conference_cannot_decode_is_rejected(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    await conference.offer("alice", described(head, audio, video))
    answer = await conference.offer("bob", described(head, audio, speaking(nameless(video), "H265/90000")))
    assert re.findall(r"(?m)^m=(\w+) (0?)", answer["answer"]) == [("audio", ""), ("video", "0")]
    assert sent_to(conference, "bob") == ["audio"]
    # The video of the others is not affected.
    assert "answer" in await conference.offer("carol", described(head, audio, video))
    assert sent_to(conference, "carol").count("video") == 1


async def test_an_offer_without_a_common_codec_is_refused_with_an_explanation(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    await conference.offer("alice", described(head, audio, video))
    answer = await conference.offer("bob", described(head, speaking(nameless(video), "H265/90000")))
    assert answer["refusal"]["code"] == "sdp-invalid"
    assert "VP8" in answer["refusal"]["detail"]


async def test_another_certificate_with_other_credentials_is_a_new_association(
    conference: SignalledConference, chromium: list[str]
) -> None:
    text = described(*chromium)
    await conference.offer("alice", text, modification="first")
    before = conference.node.conferences["room"].participants["alice"].leg
    changed = re.sub("(a=fingerprint:sha-256) ..", r"\1 FF", text)
    changed = changed if changed != text else re.sub("(a=fingerprint:sha-256) ..", r"\1 EE", text)
    kept = await conference.offer("alice", changed, fresh=False, modification="same-credentials")
    assert "certificate" in kept["refusal"]["detail"]
    assert conference.node.conferences["room"].participants["alice"].leg is before
    changed = re.sub("a=ice-ufrag:.*\r", "a=ice-ufrag:another\r", changed)
    second = await conference.offer("alice", changed, fresh=False, modification="second")
    # `restart` informs the operations about the new leg, so that they accept a report of its loss.
    assert second.get("restart") is True
    assert await conference.offer("alice", changed, fresh=False, modification="second") == second
    assert "restart" not in await conference.offer("alice", changed, fresh=False, modification="third")
    after = conference.node.conferences["room"].participants["alice"].leg
    assert after is not None
    assert (after is before, after.id) == (False, "second")


async def test_tones_alone_are_no_audio_and_keep_nobody_out(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    tones = speaking(nameless(audio), "telephone-event/8000")
    assert "answer" in await conference.offer("alice", described(head, video, tones))
    both = nameless(audio).replace("SAVPF", "SAVPF 126", 1) + "a=rtpmap:126 telephone-event/8000\r\n"
    assert "answer" in await conference.offer("bob", described(head, video, both))


async def test_a_participant_sends_a_few_tracks(conference: SignalledConference, chromium: list[str]) -> None:
    head, audio, video = chromium
    await conference.offer("alice", described(head, audio, video))
    screens = [nameless(video)] * (signalling.MAX_TRACKS - 1)
    assert "answer" in await conference.offer("bob", described(head, audio, *screens))
    before = dict(conference.node.conferences["room"].tracks)
    refused = await conference.offer("bob", described(head, audio, *screens, nameless(video)), fresh=False)
    assert refused["refusal"]["code"] == "sdp-invalid"
    assert conference.node.conferences["room"].tracks == before
    # Sending the tracks in turn, a few at a time, is refused as well: a track lasts as long as its participant.
    idle = [screen.replace("a=sendrecv", "a=inactive") for screen in screens]
    refused = await conference.offer("bob", described(head, audio, *idle, nameless(video)), fresh=False)
    assert refused["refusal"]["code"] == "sdp-invalid"
    assert "answer" in await conference.offer("bob", described(head, audio, *idle), fresh=False)


async def test_sections_that_only_receive_are_no_tracks(conference: SignalledConference, chromium: list[str]) -> None:
    head, audio, video = chromium
    wanted = [nameless(video).replace("a=sendrecv", "a=recvonly")] * 20
    assert "answer" in await conference.offer("alice", described(head, audio, video, *wanted))


async def test_tracks_that_a_leg_has_no_section_for_are_left_out(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    closed = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
    full = [audio, video] + [closed] * (MAX_MEDIA_SECTIONS - 2)
    assert "answer" in await conference.offer("alice", described(head, *full))
    assert "answer" in await conference.offer("bob", described(head, audio, video, nameless(video)))
    assert "answer" in await conference.offer("carol", described(head, audio, video))
    assert [offer["participant"] for offer in (await conference.update())["offers"]]


async def test_while_a_participant_moves_only_tracks_that_it_was_sending_and_no_screen_are_expected(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    screen = nameless(video)
    quiet = screen.replace("a=sendrecv", "a=recvonly")
    await conference.offer("bob", described(head, audio, video))
    for pictures, kept in [
        ((video, screen), ["audio", "video"]),
        ((video, quiet), ["audio", "video"]),
        ((quiet, screen), ["audio"]),
    ]:
        conference.states["alice"] = "accepted"
        await conference.offer("alice", described(head, audio, video, screen))
        await conference.offer("alice", described(head, audio, *pictures), fresh=False)
        # The hold that arms the move does not count.
        held = [text.replace("a=sendrecv", "a=recvonly") for text in (audio, *pictures)]
        await conference.offer("alice", described(head, *held), fresh=False)
        conference.states["alice"] = "moving"
        await conference.update()
        assert [each.label for each in conference.node.conferences["room"].plan.outgoing("bob") if each.live] == kept


async def test_an_offer_that_cannot_be_made_affects_only_its_participant(
    conference: SignalledConference, chromium: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    head, audio, video = chromium
    await conference.offer("alice", described(head, audio))
    broken = conference.node.conferences["room"].participants["alice"].leg
    assert broken is not None
    monkeypatch.setattr(broken.negotiation, "create_offer", None)
    await conference.offer("bob", described(head, audio, video))
    result = await conference.offer("carol", described(head, audio, video))
    assert "answer" in result
    assert [offer["participant"] for offer in result["offers"]] == ["bob", "carol"]


async def test_an_answer_settles_only_the_offer_that_it_answers(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    both = described(head, audio, video)
    await conference.offer("alice", both)
    (offer,) = (await conference.offer("bob", both))["offers"]
    await conference.answer(offer, answering(offer["sdp"], both))
    (held,) = (await conference.offer("bob", both.replace("a=sendrecv", "a=recvonly"), fresh=False))["offers"]
    # Alice has not answered `held`, and might not have received it. So the focus returns it again.
    assert (await conference.offer("bob", both, fresh=False))["offers"] == [held]
    (resumed,) = (await conference.answer(held, answering(held["sdp"], both)))["offers"]
    assert resumed["modId"] != held["modId"]
    # This answer belongs to `held`. As an answer to `resumed`, it would mean that alice wants to see nobody.
    assert await conference.answer(held, answering(held["sdp"], both)) == {"offers": [resumed]}
    assert await conference.withdraw("alice", held["modId"], rejected=True) == {"offers": [resumed]}
    assert await conference.answer(resumed, answering(resumed["sdp"], both)) == {}
    assert sent_to(conference, "alice") == ["audio", "video"]


async def test_an_offer_that_is_cancelled_after_it_was_answered_has_not_been_made(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    both = described(head, audio, video)
    await conference.offer("alice", both)
    (offer,) = (await conference.offer("bob", both))["offers"]
    await conference.answer(offer, answering(offer["sdp"], both))
    hold = both.replace("a=sendrecv", "a=recvonly")
    (held,) = (await conference.offer("bob", hold, fresh=False, modification="hold"))["offers"]
    await conference.answer(held, answering(held["sdp"], both))
    assert sent_to(conference, "alice") == []
    (back,) = (await conference.withdraw("bob", "hold"))["offers"]
    await conference.answer(back, answering(back["sdp"], both))
    assert sent_to(conference, "alice") == ["audio", "video"]
    # Withdrawing the earlier offer once more does not affect a later one.
    (held,) = (await conference.offer("bob", hold, fresh=False))["offers"]
    await conference.answer(held, answering(held["sdp"], both))
    assert "offers" not in await conference.withdraw("bob", "hold")
    assert sent_to(conference, "alice") == []


async def test_a_conference_uses_a_codec_again_if_the_offer_without_it_was_cancelled(
    conference: SignalledConference,
) -> None:
    both = SAMPLES["chromium-audio-video"]
    await conference.offer("alice", both)
    await conference.offer("bob", both)
    it = conference.node.conferences["room"]
    agreed = it.plan.agreed()
    poorer = re.sub(r"a=rtpmap:\d+ VP9/90000\r\n", "", both)
    await conference.offer("bob", poorer, fresh=False, modification="poorer")
    assert it.plan.agreed() != agreed
    await conference.withdraw("bob", "poorer")
    assert it.plan.agreed() == agreed


async def test_an_offer_replaced_by_a_cancelled_one_waits_for_its_answer_again(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    both = described(head, audio, video)
    await conference.offer("alice", both)
    (offer,) = (await conference.offer("bob", both))["offers"]
    # The focus reads alice's offer and its cancellation late. After the cancellation, alice may already have received
    # `offer`.
    await conference.offer("alice", both, fresh=False, modification="cancelled")
    assert (await conference.withdraw("alice", "cancelled"))["offers"] == [offer]
    assert await conference.answer(offer, answering(offer["sdp"], both)) == {}
    assert sent_to(conference, "alice") == ["audio", "video"]


async def test_an_answer_to_a_replaced_offer_is_refused(conference: SignalledConference, chromium: list[str]) -> None:
    head, audio, video = chromium
    both = described(head, audio, video)
    await conference.offer("alice", both)
    (overtaken,) = (await conference.offer("bob", both))["offers"]
    await conference.offer("alice", both, fresh=False)
    again, *_ = (await conference.offer("carol", both))["offers"]
    assert again["participant"] == overtaken["participant"]
    assert again["modId"] != overtaken["modId"]
    refused = await conference.answer(overtaken, answering(overtaken["sdp"], both))
    assert refused["refusal"]["code"] == "sdp-invalid"
    # The newer offer is still pending, so the focus returns it again.
    assert again in refused["offers"]


async def test_the_same_offer_is_not_repeated_for_ever_after_unusable_answers(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    both = described(head, audio, video)
    await conference.offer("alice", both)
    offers = (await conference.offer("bob", both))["offers"]
    told = 0
    while offers and told < 20:
        assert offers[0]["participant"] == "alice"
        told += 1
        result = await conference.answer(offers[0], described(head, audio))
        assert result["refusal"]["code"] == "sdp-invalid"
        offers = result.get("offers", [])
    assert told == signalling.MOST_UNUSABLE_ANSWERS
    # When alice's tracks change, the focus makes alice an offer again.
    (offer,) = [each for each in (await conference.offer("carol", both))["offers"] if each["participant"] == "alice"]
    assert "refusal" not in await conference.answer(offer, answering(offer["sdp"], both))
    assert sent_to(conference, "alice") == ["audio", "video"] * 2


async def test_answers_change_what_is_sent_no_more_often_than_offers_may(
    conference: SignalledConference, chromium: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participants, "CHANGE_SECONDS", 1e9)
    head, audio, video = chromium
    both = described(head, audio, video)
    await conference.offer("alice", both)
    refused = 0
    for number in range(participants.CHANGES_BURST + 6):
        offers = (await conference.offer(f"guest {number}", both))["offers"]
        (offer,) = [each for each in offers if each["participant"] == "alice"]
        own = parse(offer["sdp"]).media[1]
        off = {own.mid: "recvonly" if own.direction == "sendrecv" else "inactive"}
        result = await conference.answer(offer, answering(offer["sdp"], both, off if number % 2 == 0 else None))
        refused += "refusal" in result
    # Once the allowed changes are used up, every second answer is refused. The answers in between change nothing.
    assert refused == 3


async def test_an_offer_for_a_fresh_connection_waits_for_its_answer(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    last = described(head, audio, video)
    conference.participants = ["alice"]
    offers = (await conference.update(restarts=[{"participant": "alice", "modId": "m", "sdp": last}]))["offers"]
    assert [offer["modId"] for offer in offers] == ["m"]
    assert (await conference.update())["offers"] == offers


async def test_a_fresh_connection_that_nobody_has_answered_is_offered_again(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    last = described(head, audio, video)
    conference.participants = ["alice"]
    await conference.update(restarts=[{"participant": "alice", "modId": "m", "sdp": last}])
    (again,) = (await conference.withdraw("alice", "m"))["offers"]
    assert again["restart"] is True
    assert again["modId"] != "m"
    leg = conference.node.conferences["room"].participants["alice"].leg
    assert leg is not None
    assert leg.id == again["modId"]
    assert await conference.answer(again, answering(again["sdp"], last)) == {}
    assert leg.negotiation.settled


async def test_a_fresh_connection_that_was_rejected_is_not_offered_again(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    conference.participants = ["alice"]
    await conference.update(restarts=[{"participant": "alice", "modId": "m", "sdp": described(head, audio, video)}])
    assert await conference.withdraw("alice", "m", rejected=True) == {}


async def test_a_connection_whose_offer_is_cancelled_does_not_count(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    await conference.offer("alice", described(head, audio, video))
    await conference.offer("bob", described(head, audio), modification="call")
    await conference.withdraw("bob", "call")
    assert [each.leg is None for each in conference.node.conferences["room"].participants.values()] == [False, True]


async def test_a_node_that_takes_over_keeps_the_labels_of_sections(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    ours = nameless(video).replace("a=sendrecv", "a=recvonly")
    last = described(head, audio, video, ours, video.replace("a=ssrc", "a=x-ssrc"))
    last = last.replace("a=mid:2", "a=mid:f7").replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 f7 3")
    conference.participants = ["alice"]
    (offer,) = (await conference.update(restarts=[{"participant": "alice", "modId": "m", "sdp": last}]))["offers"]
    leg = conference.node.conferences["room"].participants["alice"].leg
    assert leg is not None
    assert [section.label for section in leg.negotiation.sections] == ["audio", "video", "", "screen"]
    wanted = {section.mid for section in parse(offer["sdp"]).media if section.receives}
    assert wanted == {"0", "1", "3"}


async def test_conference_without_legs_is_forgotten(conference: SignalledConference, chromium: list[str]) -> None:
    head, audio, video = chromium
    await conference.offer("alice", described(head, audio, video))
    it = conference.node.conferences["room"]
    now = asyncio.get_running_loop().time()
    assert not it.is_deserted(now + 1000)
    it.connections.drop(it.participants["alice"])
    assert not it.is_deserted(now + 1000)
    assert not it.is_deserted(now + 1000 + LOST_SECONDS)
    assert it.is_deserted(now + 1001 + LOST_SECONDS)


async def test_caller_that_gives_up_does_not_stop_a_task_half_way(
    conference: SignalledConference, chromium: list[str]
) -> None:
    head, audio, video = chromium
    text = described(head, audio, video)
    offering = asyncio.create_task(conference.offer("alice", text, modification="m"))
    while not conference.node.counts().conferences:
        await asyncio.sleep(0)
    offering.cancel()
    again = await conference.offer("alice", text, modification="m")
    assert "answer" in again
    assert conference.node.counts().legs == 1


async def test_tasks_of_a_conference_take_turns(conference: SignalledConference, chromium: list[str]) -> None:
    text = described(*chromium)
    answers = await asyncio.gather(*(conference.offer(f"p{number}", text) for number in range(5)))
    assert all("answer" in answer for answer in answers)
    participants, conference.participants = conference.participants, []
    await asyncio.gather(conference.update(), *(conference.update() for _ in participants))
    assert conference.node.counts().conferences == 0


async def test_leg_that_is_lost_while_its_answer_is_read_stays_lost(
    conference: SignalledConference, chromium: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = described(*chromium)
    await conference.offer("alice", text)
    result = await conference.offer("bob", text)
    offer = next(each for each in result["offers"] if each["participant"] == "alice")
    it = conference.node.conferences["room"]
    loop, read = asyncio.get_running_loop(), Negotiation.receive_answer

    def receive(negotiation: Negotiation, answer: str, *, may_change: bool) -> None:
        gone = asyncio.run_coroutine_threadsafe(drop(), loop)
        gone.result(5)
        read(negotiation, answer, may_change=may_change)

    async def drop() -> None:
        it.connections.drop(it.participants["alice"])

    monkeypatch.setattr(Negotiation, "receive_answer", receive)
    await conference.answer(offer, text)
    assert conference.node.counts().legs == 1


async def test_conferences_have_a_certificate_that_lasts(conference: SignalledConference, chromium: list[str]) -> None:
    head, audio, _ = chromium
    old = await conference.offer("alice", described(head, audio))
    conference.clock.added = node.CERTIFICATE_SECONDS
    assert node.CERTIFICATE_SECONDS < 30 * 86400
    again = await conference.offer("bob", described(head, audio))
    conference.participants = []
    await conference.update()
    new = await conference.offer("alice", described(head, audio))
    prints = [re.findall("a=fingerprint:(.*)\r", each["answer"])[0] for each in (old, again, new)]
    assert prints[0] == prints[1] != prints[2]


def test_a_broken_offer_affects_no_other_participant(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="media")

    async def meet(conference: SignalledConference, text: str) -> None:
        await conference.offer("alice", SAMPLES["chromium-audio-video"])
        said = await conference.offer("bob", text)
        assert ("answer" in said) != ("refusal" in said)
        assert "answer" in await conference.offer("carol", SAMPLES["chromium-audio"])
        await conference.offer("bob", text, fresh=False)
        assert {offer["participant"] for offer in (await conference.update())["offers"]} >= {"alice"}
        conference.participants = []
        await conference.update()

    with asyncio.Runner() as runner:
        node = Node(Settings(), Nobody())
        runner.run(node.start())

        @settings(
            max_examples=examples(100, deep=6_000),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(mutated(st.sampled_from(NAMES)))
        def meet_somebody(text: str) -> None:
            runner.run(meet(SignalledConference(node), text))

        meet_somebody()
        runner.run(node.stop())
    assert [record.getMessage() for record in caplog.records] == []
