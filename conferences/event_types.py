"""The events that participants receive (protocol section 5). Each docstring says when an event is sent and who gets it.

The event section of docs/protocol.md, `templates/static/sbe/event-types.js` and the tests' check of every received
event are made from these classes.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from conferences.machine import ModificationKind
from conferences.models import LeftReason
from conferences.shapes import AnswerShape, ConferenceShape, OfferShape, OriginShape, ParticipantShape
from events.messages import ABSENT, Absent, EphemeralEvent, StoredEvent
from media.reports import Connection


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
    PARTICIPANT_LEFT = "participant-left"
    MOVE_EXPIRED = "move-expired"
    SESSION_TERMINATED = "session-terminated"
    ACTIVE_SPEAKER = "active-speaker"
    QUALITY = "quality"


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


@dataclass(frozen=True, kw_only=True)
class InvitationReceived(StoredEvent):
    """The device rings: the user is called, or moves to another of their devices. Every device of the user gets it."""

    type = EventType.INVITATION_RECEIVED
    reason: Annotated[InvitationReason, "A call, or a move of this very user from another device."]
    from_: Annotated[OriginShape, "The host who calls; for a move the user's own participant."]
    mod_id: Annotated[str | Absent, "Only for a call in `peer`: the modification that the answer settles."] = ABSENT
    description: Annotated[OfferShape | Absent, "Only for a call in `peer`: the caller's offer."] = ABSENT
    participant: Annotated[ParticipantShape, "The participant that rings."]
    conference: Annotated[ConferenceShape, "The conference as it is now."]
    rings_until: Annotated[datetime, "When it stops ringing unless somebody answers."]


@dataclass(frozen=True, kw_only=True)
class InvitationCancelled(StoredEvent):
    """The device stops ringing."""

    type = EventType.INVITATION_CANCELLED
    reason: Annotated[CancelReason, "What ended the ringing."]


@dataclass(frozen=True, kw_only=True)
class SessionOpen(StoredEvent):
    """Somebody has answered, and the conference is open. Only the host gets it."""

    type = EventType.SESSION_OPEN
    from_: Annotated[OriginShape, "The participant who answered first."]
    mod_id: Annotated[str | Absent, "Only in `peer`: the modification that the answer has settled."] = ABSENT
    description: Annotated[AnswerShape | Absent, "Only in `peer`: the answer to the caller's offer."] = ABSENT
    conference: Annotated[ConferenceShape, "The conference as it is now."]


@dataclass(frozen=True, kw_only=True)
class ModificationEvent(StoredEvent):
    """Something about one modification."""

    mod_id: Annotated[str, "The modification."]
    kind: Annotated[ModificationKind, "What it was offered for."]


@dataclass(frozen=True, kw_only=True)
class ModReceived(ModificationEvent):
    """Another participant, or the focus, has made an offer: accept or reject it. Only its receiver gets it."""

    type = EventType.MOD_RECEIVED
    from_: Annotated[OriginShape, "The participant, or the focus, that made the offer."]
    description: Annotated[OfferShape, "The offer."]
    restart: Annotated[bool, "The offer needs a new peer connection."]
    expires_at: Annotated[datetime, "When the modification expires unless it is settled."]
    caused_by: Annotated[
        str | Absent | None,
        "Only from the focus: the modification of another participant that led to this offer, where there is one.",
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class ModAccepted(ModificationEvent):
    """The receiver has accepted the offer. Only its initiator gets it."""

    type = EventType.MOD_ACCEPTED
    from_: Annotated[OriginShape, "The participant, or the focus, that accepted."]
    description: Annotated[AnswerShape, "The answer."]


@dataclass(frozen=True, kw_only=True)
class ModRejected(ModificationEvent):
    """The offer is rejected, and the media stays as it was. Only its initiator gets it.

    In `focus` it also names a participant that did not follow a modification which the focus had accepted. A
    participant whose answer to the focus cannot be used gets it for the focus's own modification.
    """

    type = EventType.MOD_REJECTED
    from_: Annotated[OriginShape, "The participant, or the focus, that rejected."]
    participant: Annotated[ParticipantShape | Absent, "Only in `focus`: the participant that did not follow."] = ABSENT
    reason: Annotated[str | Absent, "Only from the focus: the code of the refusal (section 8)."] = ABSENT
    detail: Annotated[str | Absent, "Only from the focus: the refusal in words for people."] = ABSENT


@dataclass(frozen=True, kw_only=True)
class ModCancelled(ModificationEvent):
    """The initiator has taken the offer back, or cannot make it any more. Only its receiver gets it."""

    type = EventType.MOD_CANCELLED
    from_: Annotated[OriginShape, "The participant, or the focus, that had made the offer."]


@dataclass(frozen=True, kw_only=True)
class ModExpired(ModificationEvent):
    """Nobody has settled the offer in time. Both its initiator and its receiver get it."""

    type = EventType.MOD_EXPIRED


@dataclass(frozen=True, kw_only=True)
class ParticipantEvent(StoredEvent):
    """Something about one participant."""

    participant: Annotated[ParticipantShape, "The participant as it is now."]


@dataclass(frozen=True, kw_only=True)
class ParticipantInvited(ParticipantEvent):
    """The host has invited another user. Everybody else in the conference gets it."""

    type = EventType.PARTICIPANT_INVITED


@dataclass(frozen=True, kw_only=True)
class ParticipantJoined(ParticipantEvent):
    """A user has answered, or has come back. Everybody else in the conference gets it."""

    type = EventType.PARTICIPANT_JOINED


@dataclass(frozen=True, kw_only=True)
class ParticipantOnHold(ParticipantEvent):
    """A hold has taken effect. Everybody in the conference gets it."""

    type = EventType.PARTICIPANT_ON_HOLD


@dataclass(frozen=True, kw_only=True)
class ParticipantResumed(ParticipantEvent):
    """A resume has taken effect. Everybody in the conference gets it."""

    type = EventType.PARTICIPANT_RESUMED


@dataclass(frozen=True, kw_only=True)
class ParticipantMoving(ParticipantEvent):
    """A participant leaves its device, and the user's other devices ring. Everybody else in the conference gets it."""

    type = EventType.PARTICIPANT_MOVING


@dataclass(frozen=True, kw_only=True)
class ParticipantMoved(ParticipantEvent):
    """A participant has answered at another device. The device that it left and everybody else get it."""

    type = EventType.PARTICIPANT_MOVED


@dataclass(frozen=True, kw_only=True)
class ParticipantMuted(ParticipantEvent):
    """The host has muted or unmuted a participant. Everybody but the one who asked for it gets it."""

    type = EventType.PARTICIPANT_MUTED


@dataclass(frozen=True, kw_only=True)
class ParticipantLeft(ParticipantEvent):
    """A participant has left. Everybody else gets it; so does the participant, unless it hung up."""

    type = EventType.PARTICIPANT_LEFT
    reason: Annotated[LeftReason, "Why it left."]


@dataclass(frozen=True, kw_only=True)
class MoveExpired(ParticipantEvent):
    """The participant has prepared a move but not begun it in time. Only that participant gets it."""

    type = EventType.MOVE_EXPIRED


@dataclass(frozen=True, kw_only=True)
class SessionTerminated(StoredEvent):
    """The conference has ended. Everybody gets it, except the participant who ended it."""

    type = EventType.SESSION_TERMINATED
    reason: Annotated[LeftReason, "Why it ended."]
    conference: Annotated[ConferenceShape, "The conference as its end leaves it."]


@dataclass(frozen=True, kw_only=True)
class ActiveSpeaker(EphemeralEvent):
    """Another participant speaks now. Everybody in the conference who listens gets it."""

    type = EventType.ACTIVE_SPEAKER
    participant: Annotated[str, "The participant's ID."]


@dataclass(frozen=True, kw_only=True)
class Quality(EphemeralEvent):
    """The connection between a participant and the focus has changed. Everybody in the conference who listens gets it.

    It is `poor` when at least a twelfth of the packets were lost for 3 s in either direction; it is then repeated
    every 10 s. It is `disconnected` after 15 s of silence. After 30 s the participant leaves (`media-lost`).
    """

    type = EventType.QUALITY
    participant: Annotated[str, "The participant's ID."]
    connection: Annotated[Connection, "How the focus receives the participant."]


# In the order of the documentation.
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
    ParticipantLeft,
    MoveExpired,
    SessionTerminated,
    ActiveSpeaker,
    Quality,
)
