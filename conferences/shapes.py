"""The JSON objects that HTTP responses and events share (protocol section 3).

In an `Annotated` type, the second part describes the field. The reference of events and the OpenAPI description are
generated from these classes.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

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
    away: Annotated[bool, "It had a connection to the event channel, and lost it."]
    followed: Annotated[bool, "It has, or had, a connection to the event channel."]
    expiresAt: Instant


class Muted(TypedDict):
    """Which media of a participant are muted: the focus does not forward them."""

    audio: bool
    video: bool


class MediaShape(TypedDict):
    """Which media a participant sends."""

    audio: bool
    video: bool
    screen: bool


class VideoShape(TypedDict):
    """A video, by its sender and its label in `a=msid`."""

    participant: str
    label: str


class ParticipantShape(TypedDict):
    """One user in one conference."""

    id: str
    username: str
    role: Role
    state: ParticipantState
    sessionId: Annotated[str | None, "The session that it uses, or used last; null before it has answered."]
    device: str | None
    muted: Muted
    handRaisedAt: Annotated[Instant | None, "When the participant raised its hand; null while the hand is down."]
    away: Annotated[bool, "Its page closes or reloads, and it has made no offer since."]
    leftReason: LeftReason | None
    reachable: NotRequired[
        Annotated[int, "Only in the answer to the request that invites it: how many of the user's devices ring."]
    ]


class OriginShape(TypedDict):
    participant: str
    username: str | None


OriginShape.__doc__ = "The author of an event: a participant's ID and username, or `focus` and null."

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
    locked: Annotated[bool, "Whether the host has locked an open conference."]
    name: str
    state: ConferenceState
    createdAt: Instant
    openedAt: Annotated[Instant | None, "When the conference was answered for the first time."]
    endedAt: Instant | None
    participants: list[ParticipantShape]
    leftEarlier: Annotated[int, "The number of participants that have left and are not listed."]
    pendingModifications: list[ModificationShape]


class KnockShape(TypedDict):
    """A session that asks to be admitted to a locked conference."""

    id: str
    username: str
    device: str


class OfferShape(TypedDict):
    """The session description of an offer."""

    type: Literal["offer"]
    sdp: str


class AnswerShape(TypedDict):
    """The session description of an answer."""

    type: Literal["answer"]
    sdp: str
