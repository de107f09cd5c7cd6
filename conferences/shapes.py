"""The shapes of protocol section 2 that answers and events share, as clients see them.

The second part of an `Annotated` type says what the field means. The documentation of events and the OpenAPI
description are made from these classes.
"""

from typing import Annotated, Literal, TypedDict

from conferences.machine import ConferenceState, ModificationKind, ModificationState, ParticipantState
from conferences.models import Access, LeftReason, Role, Topology
from events.clock import Instant
from events.states import SessionState


class SessionShape(TypedDict):
    """A session as others see it."""

    id: str
    username: str
    vtn: str | None
    icmn: str | None
    device: str
    state: SessionState
    expiresAt: Instant


class Muted(TypedDict):
    """What the host has muted of a participant."""

    audio: bool
    video: bool


class ParticipantShape(TypedDict):
    """One user in a conference."""

    id: str
    username: str
    role: Role
    state: ParticipantState
    sessionId: Annotated[str | None, "The session of its device, where it has one."]
    device: str | None
    muted: Muted
    leftReason: LeftReason | None


class OriginShape(TypedDict):
    participant: str
    username: str | None


OriginShape.__doc__ = "A participant by its ID and username, or the focus: `focus` and null."

ModificationShape = TypedDict(
    "ModificationShape",
    {
        "modId": str,
        "kind": ModificationKind,
        "from": str,
        "to": str,
        "state": ModificationState,
        "expiresAt": Instant,
    },
)
ModificationShape.__doc__ = "A pending modification."


class ConferenceShape(TypedDict):
    """A conference with its listed participants and its pending modifications."""

    id: str
    topology: Topology
    access: Access
    name: str
    state: ConferenceState
    createdAt: Instant
    endedAt: Instant | None
    participants: list[ParticipantShape]
    leftEarlier: Annotated[int, "How many participants that left are not listed."]
    pendingModifications: list[ModificationShape]


class OfferShape(TypedDict):
    """The session description of an offer."""

    type: Literal["offer"]
    sdp: str


class AnswerShape(TypedDict):
    """The session description of an answer."""

    type: Literal["answer"]
    sdp: str
