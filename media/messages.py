"""The tasks that operations give to a media node, and the node's results.

A task is stored as a row of `media.models.MediaTask` until its result has been applied. `write_task` and `read_task`
define the JSON form of the row. If a field changes, `read_task` must still read the rows of the previous version,
because a running system may be upgraded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class TaskKind(StrEnum):
    """The kind of a task, as its row stores it in the column `kind`."""

    OFFER = "offer"
    ANSWER = "answer"
    WITHDRAW = "withdraw"
    UPDATE = "update"


class OfferKind(StrEnum):
    """The purpose of an offer of the focus. The modification that stores the offer has this kind."""

    SYNC = "sync"
    HOLD = "hold"
    RESUME = "resume"
    MOVE = "move"


class RefusalCode(StrEnum):
    """The machine-readable reason why a node refuses a task."""

    SDP_INVALID = "sdp-invalid"
    MEDIA_UNAVAILABLE = "media-unavailable"


# --- The conference, as a task describes it ----------------------------------------------------------------


@dataclass(frozen=True)
class ParticipantView:
    """The data about a participant that its conference's node needs."""

    id: str
    # The participant's state in the state machine. A node treats only `moving` (between two devices) and `on-hold`
    # differently from the other states.
    state: str
    # The kinds of the participant's media that are muted, so they are not forwarded: "audio", "video".
    muted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cause:
    """A modification that the focus announces in its next offer to each participant."""

    # None if no modification of a client is the cause.
    mod_id: str | None
    kind: OfferKind


@dataclass(frozen=True)
class ConferenceView:
    """The data about a whole conference that its node needs.

    Every task contains all of this data, so a repeated task does no harm.
    """

    # The participants that are in the conference or are moving between devices.
    participants: tuple[ParticipantView, ...]
    # The IDs of the participants that the focus may make an offer to.
    ready: tuple[str, ...]
    # How many times the conference has been assigned to a node. When a task has a higher generation, the node closes
    # the legs of the earlier generation.
    generation: int = 1
    cause: Cause | None = None


# --- Tasks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OfferTask:
    """Answer a participant's offer."""

    participant: str
    mod_id: str
    sdp: str
    # Whether the offer begins a new peer connection, so that the node builds a new leg.
    fresh: bool


@dataclass(frozen=True)
class AnswerTask:
    """Settle the focus's offer `mod_id` with the participant's answer."""

    participant: str
    mod_id: str
    sdp: str


@dataclass(frozen=True)
class WithdrawTask:
    """Forget an offer of the participant or of the focus that was rejected or cancelled, or has expired."""

    participant: str
    mod_id: str
    # Whether the participant has rejected the focus's offer. If so, the focus does not repeat the offer unchanged.
    rejected: bool


@dataclass(frozen=True)
class Restart:
    """A leg to rebuild from the last settled descriptions, for a participant whose node is gone."""

    participant: str
    # The ID of the offer that the focus makes to the participant.
    mod_id: str
    # The participant's last offer, or the participant's last answer if the focus had made the offer.
    sdp: str
    # The answer to the participant's offer; empty if `sdp` is an answer.
    answer: str = ""


@dataclass(frozen=True)
class UpdateTask:
    """Apply the conference's view, and rebuild these legs."""

    restarts: tuple[Restart, ...] = ()


Task = OfferTask | AnswerTask | WithdrawTask | UpdateTask

_KINDS: Mapping[type[Task], TaskKind] = {
    OfferTask: TaskKind.OFFER,
    AnswerTask: TaskKind.ANSWER,
    WithdrawTask: TaskKind.WITHDRAW,
    UpdateTask: TaskKind.UPDATE,
}


# --- Results -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """Why a node refuses a task: a code for programs, and a detail for people."""

    code: RefusalCode
    detail: str


@dataclass(frozen=True)
class FocusOffer:
    """An offer that the focus makes to a participant."""

    participant: str
    # The ID of the modification that stores the offer. If two results contain the same offer, it is stored only once.
    mod_id: str
    sdp: str
    kind: OfferKind
    # The ID of the modification that the offer announces, if there is one.
    caused_by: str | None
    # Whether the offer begins a new peer connection.
    restart: bool = False


@dataclass(frozen=True)
class Result:
    """The result of a task. Without a refusal, the task was carried out."""

    # The answer to the participant's offer.
    answer: str | None = None
    # Whether the node built a new leg for the participant's offer.
    restart: bool = False
    refusal: Refusal | None = None
    # The offers that the focus now makes to participants.
    offers: tuple[FocusOffer, ...] = ()
    # The IDs of participants that are present but have no leg now.
    without_leg: tuple[str, ...] = ()


# --- The JSON form of a task -------------------------------------------------------------------------------


def write_task(task: Task, view: ConferenceView) -> tuple[TaskKind, dict[str, Any]]:
    """Return the kind and the payload of a task's row."""
    return _KINDS[type(task)], {**_fields(task), **_write_view(view)}


def _fields(task: Task) -> dict[str, Any]:
    match task:
        case OfferTask():
            return {"participant": task.participant, "modId": task.mod_id, "sdp": task.sdp, "fresh": task.fresh}
        case AnswerTask():
            return {"participant": task.participant, "modId": task.mod_id, "sdp": task.sdp}
        case WithdrawTask():
            return {"participant": task.participant, "modId": task.mod_id, "rejected": task.rejected}
        case UpdateTask(restarts=()):
            return {}
        case UpdateTask():
            return {"restarts": [_write_restart(restart) for restart in task.restarts]}


def _write_restart(restart: Restart) -> dict[str, str]:
    answer = {"answer": restart.answer} if restart.answer else {}
    return {"participant": restart.participant, "modId": restart.mod_id, "sdp": restart.sdp, **answer}


def _write_view(view: ConferenceView) -> dict[str, Any]:
    participants = [
        {"participant": each.id, "state": each.state, "muted": list(each.muted)} for each in view.participants
    ]
    cause = view.cause and {"modId": view.cause.mod_id, "kind": view.cause.kind}
    return {"view": {"seats": participants, "cause": cause}, "ready": list(view.ready), "generation": view.generation}


def read_task(kind: str, payload: Mapping[str, Any]) -> tuple[Task, ConferenceView]:
    """Return the task of a row, and the conference's data that the row contains.

    :raises KeyError: when the payload lacks a field.
    :raises ValueError: when the kind is unknown.
    """
    return read_request(kind, payload), _read_view(payload)


def read_request(kind: str, payload: Mapping[str, Any]) -> Task:
    """Return the task of a row, without the conference's data, which only a node needs.

    :raises KeyError: when the payload lacks a field.
    :raises ValueError: when the kind is unknown.
    """
    match TaskKind(kind):
        case TaskKind.OFFER:
            return OfferTask(payload["participant"], payload["modId"], payload["sdp"], payload["fresh"])
        case TaskKind.ANSWER:
            return AnswerTask(payload["participant"], payload["modId"], payload["sdp"])
        case TaskKind.WITHDRAW:
            return WithdrawTask(payload["participant"], payload["modId"], payload["rejected"])
        case TaskKind.UPDATE:
            return UpdateTask(tuple(_read_restart(restart) for restart in payload.get("restarts", ())))


def _read_restart(restart: Mapping[str, str]) -> Restart:
    return Restart(restart["participant"], restart["modId"], restart["sdp"], restart.get("answer", ""))


def _read_view(payload: Mapping[str, Any]) -> ConferenceView:
    view = payload["view"]
    return ConferenceView(
        participants=tuple(
            ParticipantView(each["participant"], each["state"], tuple(each["muted"])) for each in view["seats"]
        ),
        ready=tuple(payload["ready"]),
        generation=payload.get("generation", 1),
        cause=_read_cause(view.get("cause")),
    )


def _read_cause(cause: Mapping[str, Any] | None) -> Cause | None:
    return Cause(cause["modId"], OfferKind(cause["kind"])) if cause else None
