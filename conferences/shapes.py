"""The JSON objects that HTTP responses and events share (protocol section 3).

In an `Annotated` type, the second part describes the field. The reference of events and the OpenAPI description are
generated from these classes.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

from conferences.machine import ConferenceState, ModificationKind, ModificationState, ParticipantState
from conferences.models import Access, LeftReason, Role, Topology
from events.clock import Instant
from events.states import SessionState
from media.reports import DeviceKind, Direction, Source


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


class LayerShape(TypedDict):
    """How many videos are sent in one layer (simulcast)."""

    rid: str
    videos: int


class QualityShape(TypedDict):
    """The quality of a participant's connection in one direction, over the few seconds before `at`.

    Values that are unknown are absent.
    """

    participant: Annotated[str, "The participant's ID."]
    at: Instant
    source: Annotated[Source, "Who has measured: the focus, or the client itself."]
    direction: Annotated[Direction, "`up` is what the participant sends, `down` what it gets."]
    score: Annotated[float, "From 1 (bad) to 5 (excellent)."]
    bitrate: Annotated[int, "Media, in bits per second."]
    loss: NotRequired[Annotated[float, "The share of packets that were lost, from 0 to 1."]]
    jitterMs: NotRequired[int]
    roundTripMs: NotRequired[int]
    retransmissions: NotRequired[Annotated[int, "Packets that were requested again (`up`) or sent again (`down`)."]]
    estimate: NotRequired[Annotated[int, "The estimated bandwidth to the participant, in bits per second."]]
    queueMs: NotRequired[Annotated[int, "How long packets wait on the way to the participant."]]
    silenceMs: NotRequired[Annotated[int, "For how long the participant has not answered a connectivity check."]]
    videos: NotRequired[Annotated[int, "The number of videos, paused ones included."]]
    paused: NotRequired[Annotated[int, "The number of videos that do not fit the connection."]]
    layers: NotRequired[Annotated[list[LayerShape], "The layers of videos that are sent in several."]]
    framesPerSecond: NotRequired[Annotated[int, "Of the largest picture."]]
    width: NotRequired[Annotated[int, "Of the largest picture, in pixels."]]
    height: NotRequired[Annotated[int, "Of the largest picture, in pixels."]]
    freezes: NotRequired[Annotated[int, "How often the picture froze that froze longest."]]
    frozenMs: NotRequired[Annotated[int, "For how long that picture was frozen."]]
    concealed: NotRequired[Annotated[float, "The share of sound that the decoder has invented, from 0 to 1."]]
    device: NotRequired[Annotated[DeviceKind, "The kind of the client's device."]]


class OfferShape(TypedDict):
    """The session description of an offer."""

    type: Literal["offer"]
    sdp: str


class AnswerShape(TypedDict):
    """The session description of an answer."""

    type: Literal["answer"]
    sdp: str
