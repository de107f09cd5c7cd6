"""The events that participants receive (protocol section 5).

Each docstring states when an event is sent and which participants receive it.
`make reference` generates the reference in docs/protocol.md and `templates/static/sbe/event-types.js` from these
classes. The tests check every received event against these classes.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from conferences.machine import ModificationKind
from conferences.models import LeftReason
from conferences.shapes import (
    AnswerShape,
    ConferenceShape,
    KnockShape,
    MediaShape,
    OfferShape,
    OriginShape,
    ParticipantShape,
    VideoShape,
)
from events.messages import ABSENT, Absent, EphemeralEvent, StoredEvent
from media.reports import Connection, Verdict


class EventType(StrEnum):
    """The types of events, as clients see them."""

    INVITATION_RECEIVED = "invitation-received"
    INVITATION_CANCELLED = "invitation-cancelled"
    SESSION_OPEN = "session-open"
    MOD_RECEIVED = "mod-received"
    MOD_ACCEPTED = "mod-accepted"
    MOD_REJECTED = "mod-rejected"
    MOD_CANCELLED = "mod-cancelled"
    MOD_EXPIRED = "mod-expired"
    PARTICIPANT_INVITED = "participant-invited"
    PARTICIPANT_JOINED = "participant-joined"
    PARTICIPANT_ON_HOLD = "participant-on-hold"
    PARTICIPANT_RESUMED = "participant-resumed"
    PARTICIPANT_MOVING = "participant-moving"
    PARTICIPANT_MOVED = "participant-moved"
    PARTICIPANT_MUTED = "participant-muted"
    PARTICIPANT_HAND = "participant-hand"
    PARTICIPANT_AWAY = "participant-away"
    PARTICIPANT_LEFT = "participant-left"
    HOST_CHANGED = "host-changed"
    MOVE_EXPIRED = "move-expired"
    LOCK_CHANGED = "lock-changed"
    KNOCK = "knock"
    KNOCK_WITHDRAWN = "knock-withdrawn"
    KNOCK_ANSWERED = "knock-answered"
    SESSION_TERMINATED = "session-terminated"
    CONNECTION_CHANGED = "connection-changed"
    ACTIVE_SPEAKER = "active-speaker"
    QUALITY = "quality"
    LAYERS = "layers"
    PAUSED_VIDEOS = "paused-videos"


class InvitationReason(StrEnum):
    """Why a device rings."""

    CALL = "call"
    MOVE = "move"


class CancelReason(StrEnum):
    """Why a device stops ringing."""

    ANSWERED_ELSEWHERE = "answered-elsewhere"
    DECLINED_ELSEWHERE = "declined-elsewhere"
    CALLER_CANCELLED = "caller-cancelled"
    NO_ANSWER = "no-answer"


class KnockEnd(StrEnum):
    """Why a knock no longer waits for the host, other than by the host's answer."""

    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    ENTERED = "entered"


class KnockRefusal(StrEnum):
    """Why a session that has knocked was not admitted."""

    DENIED = "denied"
    EXPIRED = "expired"
    CONFERENCE_ENDED = "conference-ended"


class PauseReason(StrEnum):
    """Why the focus does not send a video to a participant."""

    SLOW_CONNECTION = "slow-connection"


@dataclass(frozen=True, kw_only=True)
class InvitationReceived(StoredEvent):
    """The device rings, for a call or for a move from another device of the user.

    Every live session of the user gets this event, except sessions that are in the conference, and the session that
    a move leaves.
    """

    type = EventType.INVITATION_RECEIVED
    reason: Annotated[InvitationReason, "`call`, or `move` if the user moves from another device."]
    from_: Annotated[OriginShape, "The host who calls. For a move: the user's own participant."]
    media: Annotated[
        MediaShape, "Which media the host sends. For a move: which media the user sent on the device that they leave."
    ]
    mod_id: Annotated[str | Absent, "Only for a call in `peer`: the caller's modification."] = ABSENT
    description: Annotated[OfferShape | Absent, "Only for a call in `peer`: the caller's offer."] = ABSENT
    participant: Annotated[ParticipantShape, "The participant that rings."]
    conference: Annotated[ConferenceShape, "The conference when the event was written."]
    rings_until: Annotated[datetime, "When the ringing ends, if no device answers."]


@dataclass(frozen=True, kw_only=True)
class InvitationCancelled(StoredEvent):
    """The device stops ringing. Every ringing device gets this event, except the one that answered or declined."""

    type = EventType.INVITATION_CANCELLED
    reason: Annotated[CancelReason, "Why the ringing ended."]


@dataclass(frozen=True, kw_only=True)
class SessionOpen(StoredEvent):
    """The first answer has opened the conference. Only the host gets this event."""

    type = EventType.SESSION_OPEN
    from_: Annotated[OriginShape, "The participant that answered."]
    mod_id: Annotated[str | Absent, "Only in `peer`: the modification that the answer has settled."] = ABSENT
    description: Annotated[AnswerShape | Absent, "Only in `peer`: the answer to the caller's offer."] = ABSENT
    conference: Annotated[ConferenceShape, "The conference when the event was written."]


@dataclass(frozen=True, kw_only=True)
class ModificationEvent(StoredEvent):
    """An event about one modification."""

    mod_id: Annotated[str, "The modification."]
    kind: Annotated[ModificationKind, "The purpose of the offer."]


@dataclass(frozen=True, kw_only=True)
class ModReceived(ModificationEvent):
    """Another participant, or the focus, has made an offer.

    Only the receiver of the offer gets this event. The receiver then accepts or rejects the offer.
    """

    type = EventType.MOD_RECEIVED
    from_: Annotated[OriginShape, "The participant that made the offer, or the focus."]
    description: Annotated[OfferShape, "The offer."]
    restart: Annotated[bool, "Whether the offer needs a new peer connection."]
    expires_at: Annotated[datetime, "When the modification expires, if it is not settled."]
    caused_by: Annotated[
        str | Absent | None,
        "Only in offers of the focus: another participant's modification that caused the offer, or null.",
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class ModAccepted(ModificationEvent):
    """The receiver has accepted the offer. Only the initiator gets this event."""

    type = EventType.MOD_ACCEPTED
    from_: Annotated[OriginShape, "The participant that accepted the offer, or the focus."]
    description: Annotated[AnswerShape, "The answer."]


@dataclass(frozen=True, kw_only=True)
class ModRejected(ModificationEvent):
    """The offer was rejected, and the media does not change. Only the initiator gets this event.

    In `focus` there are two more cases:

    - The focus cannot use a participant's answer to an offer of the focus. The participant gets this event.
    - The focus has accepted a modification and offered the change to others. The initiator gets this event for each
      participant that rejects that offer, or whose answer the focus cannot use.
    """

    type = EventType.MOD_REJECTED
    from_: Annotated[OriginShape, "The participant that rejected the offer, or the focus."]
    participant: Annotated[
        ParticipantShape | Absent, "Only in `focus`: the participant that did not accept the change."
    ] = ABSENT
    reason: Annotated[str | Absent, "Only if the focus refused: the code of the refusal (section 8)."] = ABSENT
    detail: Annotated[str | Absent, "Only if the focus refused: an explanation for people."] = ABSENT


@dataclass(frozen=True, kw_only=True)
class ModCancelled(ModificationEvent):
    """The initiator cancelled the offer, one side left or moved, or a media node failed.

    Only the side that did not cause this gets the event.
    """

    type = EventType.MOD_CANCELLED
    from_: Annotated[OriginShape, "The participant that cancelled the offer, left or moved; or the focus."]


@dataclass(frozen=True, kw_only=True)
class ModExpired(ModificationEvent):
    """The offer was not settled in time. The initiator and the receiver get this event."""

    type = EventType.MOD_EXPIRED


@dataclass(frozen=True, kw_only=True)
class ParticipantEvent(StoredEvent):
    """An event about one participant."""

    participant: Annotated[ParticipantShape, "The participant when the event was written."]


@dataclass(frozen=True, kw_only=True)
class ParticipantInvited(ParticipantEvent):
    """The host has invited another user. Everyone in the conference gets this event, except the host."""

    type = EventType.PARTICIPANT_INVITED


@dataclass(frozen=True, kw_only=True)
class ParticipantJoined(ParticipantEvent):
    """A participant has joined the conference or returned to it.

    Everyone else in the conference gets this event. For the first answer, the host gets `session-open` instead.
    """

    type = EventType.PARTICIPANT_JOINED


@dataclass(frozen=True, kw_only=True)
class ParticipantOnHold(ParticipantEvent):
    """A hold has taken effect. Everyone in the conference gets this event, including the participant on hold."""

    type = EventType.PARTICIPANT_ON_HOLD


@dataclass(frozen=True, kw_only=True)
class ParticipantResumed(ParticipantEvent):
    """A resume has taken effect. Everyone in the conference gets this event, including the participant that resumed."""

    type = EventType.PARTICIPANT_RESUMED


@dataclass(frozen=True, kw_only=True)
class ParticipantMoving(ParticipantEvent):
    """A move has begun, and the user's other devices ring. Everyone else in the conference gets this event."""

    type = EventType.PARTICIPANT_MOVING


@dataclass(frozen=True, kw_only=True)
class ParticipantMoved(ParticipantEvent):
    """A participant has answered on its new device.

    The participant's old device and everyone else in the conference get this event.
    """

    type = EventType.PARTICIPANT_MOVED


@dataclass(frozen=True, kw_only=True)
class ParticipantAway(ParticipantEvent):
    """A participant's page closes or reloads (`away` is true), or has come back and made an offer (`away` is false).

    Everyone else in the conference gets this event.
    """

    type = EventType.PARTICIPANT_AWAY


@dataclass(frozen=True, kw_only=True)
class ParticipantMuted(ParticipantEvent):
    """A participant was muted or unmuted. Everyone in the conference gets this event, except the requester."""

    type = EventType.PARTICIPANT_MUTED


@dataclass(frozen=True, kw_only=True)
class ParticipantHand(ParticipantEvent):
    """A participant has raised its hand (`handRaisedAt` is an instant), or its hand was lowered (null).

    Everyone in the conference gets this event, except the requester.
    """

    type = EventType.PARTICIPANT_HAND


@dataclass(frozen=True, kw_only=True)
class ParticipantLeft(ParticipantEvent):
    """A participant has left.

    Everyone else in the conference gets this event. The participant gets it too, unless the participant hung up.
    """

    type = EventType.PARTICIPANT_LEFT
    reason: Annotated[LeftReason, "Why the participant left."]


@dataclass(frozen=True, kw_only=True)
class HostChanged(ParticipantEvent):
    """Another participant has become the host. Everyone in the conference gets this event, except the earlier host."""

    type = EventType.HOST_CHANGED
    from_: Annotated[OriginShape, "The earlier host."]


@dataclass(frozen=True, kw_only=True)
class MoveExpired(ParticipantEvent):
    """The participant armed a move but did not begin it in time. Only that participant gets this event."""

    type = EventType.MOVE_EXPIRED


@dataclass(frozen=True, kw_only=True)
class LockChanged(StoredEvent):
    """The host has locked or unlocked the open conference. Everyone in it gets this event, except the host."""

    type = EventType.LOCK_CHANGED
    locked: Annotated[bool, "Whether it is locked now."]


@dataclass(frozen=True, kw_only=True)
class KnockReceived(StoredEvent):
    """A session asks to be admitted to the locked conference.

    Only the host gets this event. A device or participant that becomes the host gets it again for each knock that
    waits.
    """

    type = EventType.KNOCK
    knock: Annotated[KnockShape, "The session that knocks."]
    expires_at: Annotated[datetime, "When the knock expires, if the host does not answer."]


@dataclass(frozen=True, kw_only=True)
class KnockWithdrawn(StoredEvent):
    """A knock no longer waits for an answer. Only the host gets this event."""

    type = EventType.KNOCK_WITHDRAWN
    knock_id: Annotated[str, "The knock."]
    reason: Annotated[KnockEnd, "`entered` if the session has joined without an answer, because it was invited."]


@dataclass(frozen=True, kw_only=True)
class KnockAnswered(StoredEvent):
    """The knock was answered, or ended without an answer. Only the session that knocked gets this event."""

    type = EventType.KNOCK_ANSWERED
    knock_id: Annotated[str, "The knock."]
    admitted: Annotated[bool, "Whether the session may join."]
    expires_at: Annotated[datetime | Absent, "Only if admitted: until when the session may join."] = ABSENT
    reason: Annotated[KnockRefusal | Absent, "Only if not admitted: why."] = ABSENT


@dataclass(frozen=True, kw_only=True)
class SessionTerminated(StoredEvent):
    """The conference has ended. Everyone in it gets this event, except the participant that ended the conference."""

    type = EventType.SESSION_TERMINATED
    reason: Annotated[LeftReason, "Why the conference ended."]
    conference: Annotated[ConferenceShape, "The conference after its end."]


@dataclass(frozen=True, kw_only=True)
class ConnectionChanged(StoredEvent):
    """The quality of the participant's own connection to the focus has changed for some time.

    Only the participant itself gets this event. It is the record of when the call was disturbed. For the others, and
    for what the page shows at the moment, there is `quality`.

    - `poor`: For 3 s, at least 8 % of the packets in one direction were lost.
    - `interrupted`: The participant has answered no connectivity check for 6 s.
    - `fine`: Neither has been the case for 10 s.

    A participant gets at most 10 of these events at once, and then one per minute. The last state is always recorded.
    """

    type = EventType.CONNECTION_CHANGED
    participant: Annotated[str, "The participant's ID."]
    connection: Annotated[Verdict, "The quality of the connection."]
    since: Annotated[datetime, "When the connection changed. The event comes later."]


@dataclass(frozen=True, kw_only=True)
class ActiveSpeaker(EphemeralEvent):
    """The active speaker has changed. Everyone in the conference with an open WebSocket gets this event."""

    type = EventType.ACTIVE_SPEAKER
    participant: Annotated[str, "The participant's ID."]


@dataclass(frozen=True, kw_only=True)
class Quality(EphemeralEvent):
    """The quality of a participant's connection has changed.

    Everyone in the conference with an open WebSocket gets this event.

    - `poor`: For 3 s, at least 8 % of the packets in one direction were lost. The event is repeated every 10 s while
      the connection stays poor.
    - `disconnected`: The participant has answered no connectivity check for 15 s. After 30 s without an answer, the
      participant is removed (`media-lost`).
    """

    type = EventType.QUALITY
    participant: Annotated[str, "The participant's ID."]
    connection: Annotated[Connection, "The state of the connection."]


@dataclass(frozen=True, kw_only=True)
class Layers(EphemeralEvent):
    """The focus needs only these layers of the participant's video.

    Only the sender of the video gets this event, on its open WebSockets.

    - The sender may switch off the other layers (`RTCRtpSender.setParameters`): nobody has received them for 5 s.
    - It should switch on a layer again as soon as an event names it. A receiver waits for that layer.
    - Each event replaces the previous one about the same media section. A new connection begins with all layers.
    - If the sender does not follow, the event is repeated: after 3 s, then at growing intervals of up to a minute.
    """

    type = EventType.LAYERS
    mid: Annotated[str, "The media section of the video."]
    rids: Annotated[list[str], "The layers (`a=rid`) that are needed."]


@dataclass(frozen=True, kw_only=True)
class PausedVideos(EphemeralEvent):
    """The focus has paused videos for this participant, because its connection is too slow for them.

    Only this participant gets this event, on its open WebSockets. It names all paused videos, so each event replaces
    the previous one. It is repeated every 10 s while a video is paused.
    """

    type = EventType.PAUSED_VIDEOS
    videos: Annotated[list[VideoShape], "The videos that are not sent. Empty when all are sent again."]
    reason: Annotated[PauseReason, "Why they are not sent."]


# All event classes, in the order of the reference in docs/protocol.md.
EVENTS: tuple[type[StoredEvent] | type[EphemeralEvent], ...] = (
    InvitationReceived,
    InvitationCancelled,
    SessionOpen,
    ModReceived,
    ModAccepted,
    ModRejected,
    ModCancelled,
    ModExpired,
    ParticipantInvited,
    ParticipantJoined,
    ParticipantOnHold,
    ParticipantResumed,
    ParticipantMoving,
    ParticipantMoved,
    ParticipantMuted,
    ParticipantHand,
    ParticipantAway,
    ParticipantLeft,
    HostChanged,
    MoveExpired,
    LockChanged,
    KnockReceived,
    KnockWithdrawn,
    KnockAnswered,
    SessionTerminated,
    ConnectionChanged,
    ActiveSpeaker,
    Quality,
    Layers,
    PausedVideos,
)
