"""A media node without media. It carries out its tasks in order, with plausible SDP, and reports like a real node."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from conferences.operations.focus import settle_task
from events.models import new_id
from media import tasks
from media.messages import FocusOffer, OfferKind, Refusal, Result, TaskKind
from media.models import MediaNode, MediaTask
from media.sdp.description import parse
from tests.support.descriptions import describe, mirror

Tracks = dict[str, tuple[str, ...]]


@dataclass
class Leg:
    """What a participant's peer connection sends, receives, and has been offered."""

    mod_id: str = ""
    kinds: tuple[str, ...] = ()
    sends: tuple[str, ...] = ()
    before: "Leg | None" = None
    knows: Tracks = field(default_factory=dict)
    offered: Tracks | None = None
    offer_id: str = ""
    rejected: Tracks | None = None
    cause: dict[str, Any] | None = None
    version: int = 1


class ScriptedNode:
    """A node that carries out its tasks as soon as they are committed. With `works = False` it waits for `work()`."""

    def __init__(self, node_id: str = "scripted") -> None:
        """Start without conferences."""
        self.id, self.works = node_id, True
        self.refusal: Refusal | None = None
        self.without_leg: list[str] = []
        self.legs: defaultdict[str, dict[str, Leg]] = defaultdict(dict)
        self.answers: dict[str, str] = {}
        self.done: list[tuple[MediaTask, Result]] = []
        self._is_working = False

    def wake(self) -> None:
        """Call `work`, unless `works` is false or the node is working already."""
        if self.works and not self._is_working:
            self.work()

    def work(self) -> None:
        """Carry out all tasks, including those that result from them."""
        self._is_working = True
        try:
            while waiting := tasks.waiting(self.id, 10):
                for task in waiting:
                    result = self.execute(task)
                    self.done.append((task, result))
                    settle_task(task_id=task.pk, result=result, now=timezone.now())
        finally:
            self._is_working = False

    def execute(self, task: MediaTask) -> Result:
        """Carry out one task. Repeating a task has no effect."""
        payload, view = task.payload, task.payload["view"]
        legs = self.legs[task.conference]
        states = {participant["participant"]: participant["state"] for participant in view["seats"]}
        for gone in set(legs) - set(states):
            del legs[gone]
        result = Result()
        if task.kind == TaskKind.OFFER and payload["participant"] in states:
            result = self._answer(legs, states, payload)
        elif leg := legs.get(payload.get("participant")):
            if leg.offered is not None and payload["modId"] == leg.offer_id:
                if task.kind == TaskKind.ANSWER:
                    leg.knows = leg.offered
                elif payload["rejected"]:
                    leg.rejected = leg.offered
                leg.offered = None
            elif task.kind == TaskKind.WITHDRAW and leg.mod_id == payload["modId"] and leg.before:
                leg.kinds, leg.sends = leg.before.kinds, leg.before.sends
                leg.offered = None
        restarts = [self._restart(legs, **restart) for restart in payload.get("restarts", [])]
        if cause := view["cause"]:
            for participant, leg in legs.items():
                if participant != payload.get("participant"):
                    leg.cause = cause
        ready = [each for each in payload["ready"] if each in legs]
        offers = [offer for each in ready if (offer := self._offer(each, legs[each], self._tracks(each, legs, states)))]
        return replace(result, offers=(*restarts, *offers), without_leg=tuple(self.without_leg))

    def _restart(
        self,
        legs: dict[str, Leg],
        participant: str,
        modId: str,  # noqa: N803
        sdp: str,
        answer: str = "",
    ) -> FocusOffer:
        """Offer a fresh connection to a participant that another node has served."""
        kinds = _kinds(sdp)
        legs[participant] = Leg(modId, kinds, kinds)
        legs[participant].offered, legs[participant].offer_id = {}, modId
        text = describe(kinds=kinds, session=2000)
        return FocusOffer(participant, modId, text, OfferKind.SYNC, caused_by=None, restart=True)

    def _answer(self, legs: dict[str, Leg], states: dict[str, str], payload: dict[str, Any]) -> Result:
        """Answer a participant's offer, or refuse it if the test wants that."""
        if self.refusal:
            return Result(refusal=self.refusal)
        participant, offered = payload["participant"], parse(payload["sdp"])
        leg = Leg() if payload["fresh"] or participant not in legs else legs[participant]
        legs[participant] = leg
        leg.mod_id, leg.before = payload["modId"], replace(leg)
        leg.kinds = tuple(section.kind for section in offered.media)
        leg.sends = tuple(
            section.kind for section in offered.media if section.live and section.direction in {"sendrecv", "sendonly"}
        )
        leg.offered, tracks = None, self._tracks(participant, legs, states)
        if _fits(tracks, [section.kind for section in offered.media if section.direction in {"sendrecv", "recvonly"}]):
            leg.knows = tracks
        answer = self.answers.setdefault(payload["modId"], mirror(payload["sdp"], session=1000, setup="passive"))
        return Result(answer=answer)

    def _tracks(self, participant: str, legs: dict[str, Leg], states: dict[str, str]) -> Tracks:
        """Return the tracks that a participant should get: those of all other participants that are not on hold."""
        return {
            other: () if states[other] == "on-hold" else leg.sends
            for other, leg in legs.items()
            if other != participant
        }

    def _offer(self, participant: str, leg: Leg, tracks: Tracks) -> FocusOffer | None:
        """Offer a leg the tracks that it does not know, unless they were offered or rejected before."""
        if leg.offered is not None or tracks in (leg.knows, leg.rejected):
            return None
        leg.offered, leg.version = tracks, leg.version + 1
        wanted = [kind for kinds in tracks.values() for kind in kinds]
        new = tuple(kind for kind in sorted(set(wanted)) for _ in range(wanted.count(kind) - leg.kinds.count(kind)))
        directions = ("sendrecv",) * len(leg.kinds) + ("sendonly",) * len(new)
        text = describe(kinds=leg.kinds + new, directions=directions, session=1000, version=leg.version)
        cause, leg.cause = leg.cause or {"kind": "sync", "modId": None}, None
        leg.offer_id = new_id()
        return FocusOffer(participant, leg.offer_id, text, OfferKind(cause["kind"]), caused_by=cause["modId"])


def _kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of a description's media sections."""
    return tuple(section.kind for section in parse(text).media)


def _fits(tracks: Tracks, sections: list[str]) -> bool:
    """Tell whether an answer has sections for all these tracks."""
    wanted = [kind for kinds in tracks.values() for kind in kinds]
    return all(wanted.count(kind) <= sections.count(kind) for kind in wanted)


def beat(node_id: str, at: datetime, **news: Any) -> None:
    """Set a node's last heartbeat to this instant."""
    tasks.heartbeat(node_id, **news)
    MediaNode.objects.filter(pk=node_id).update(heartbeat_at=at)


@contextmanager
def scripted_node(node_id: str = "scripted") -> Iterator[ScriptedNode]:
    """Run a scripted node that counts as alive even if the test moves the clock."""
    node = ScriptedNode(node_id)
    beat(node_id, timezone.now() + timedelta(days=1000))
    end: Callable[[], None] = tasks.listen(node_id, node.wake)
    yield node
    end()
