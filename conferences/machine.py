"""The state machines of a conference, its participants, their moves and its modifications.

The rules, in prose (protocol sections 4, 6 and 7):

A *conference* begins with an invitation that was sent. The first answer opens it. While it is open, offers are
made and settled, and further answers (of more invited people, or of a device that a participant moves to) leave it
open. Until it ends, its host manages it: invites people, and mutes them. Before the
first answer a host whose offer the focus has refused may call again. Ending it, before or after the first answer,
terminates it for good.

A *participant* is one user's participant. It is invited, and answering accepts it. An accepted participant may modify its
media, put the conference on hold and resume it; a participant on hold may change what it sends but stays on hold
until it resumes. A participant that moves leaves its device but keeps the participant; the first answer from another of its
devices accepts it again there, off hold. A participant that has left an open conference may return to its participant.

A *move* to another device is armed by an offer to hold. From a participant that is on hold already, that offer is an
ordinary modification: it leaves the participant on hold. An armed move begins when its participant ends its part within
the move window; after the window it has expired. A further offer of this kind arms it again. Taking the hold back,
resuming and leaving disarm it. That it has expired is remembered as long as the participant is on hold.

A *modification* is one offer and its settlement. Once sent it is settled exactly once: the receiver accepts or rejects
it, the initiator cancels it, or time does. Nothing follows a settlement (RFC 3264 section 4). The focus is a side
like any other, but no participant: its offers tell what others have changed, and change nothing when accepted.

`TABLE` lists every state with the actions that are legal in it and the state that each leads to; dead ends are written
`{}`. A transition that is not in the table does not exist: `decide` raises the refusal that fits the state, and since
it touches nothing, nothing has changed. The diagrams in docs/states.md are generated from this very table.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from conferences import exceptions as refusals
from events.exceptions import ForbiddenError, RefusalError


class ConferenceState(StrEnum):
    """States of a conference."""

    INVITATION_SENT = "invitation-sent"
    SESSION_OPEN = "session-open"
    SESSION_TERMINATED = "session-terminated"


class ParticipantState(StrEnum):
    """States of a participant."""

    INVITED = "invited"
    ACCEPTED = "accepted"
    ON_HOLD = "on-hold"
    MOVING = "moving"
    LEFT = "left"


class ModificationState(StrEnum):
    """States of a modification."""

    SENT = "mod-sent"
    ACCEPTED = "mod-accepted"
    REJECTED = "mod-rejected"
    CANCELLED = "mod-cancelled"
    EXPIRED = "mod-expired"


class MoveState(StrEnum):
    """States of a participant's move to another device."""

    IDLE = "idle"
    ARMED = "armed"
    EXPIRED = "expired"


class Action(StrEnum):
    """What can happen to a conference, a participant, a move or a modification."""

    ANSWER = "answer"
    CALL_AGAIN = "call-again"
    NEGOTIATE = "negotiate"
    MANAGE = "manage"
    END = "end"
    MODIFY = "modify"
    HOLD = "hold"
    RESUME = "resume"
    MOVE = "move"
    LEAVE = "leave"
    RETURN = "return"
    ACCEPT = "accept"
    REJECT = "reject"
    CANCEL = "cancel"
    EXPIRE = "expire"
    ARM = "arm"
    DISARM = "disarm"


class ModificationKind(StrEnum):
    """What an offer is made for."""

    CALL = "call"
    MOD = "mod"
    HOLD = "hold"
    RESUME = "resume"
    MOVE = "move"
    SYNC = "sync"


State = ConferenceState | ParticipantState | MoveState | ModificationState
S = TypeVar("S", ConferenceState, ParticipantState, MoveState, ModificationState)

TABLE: Mapping[State, Mapping[Action, State]] = {
    ConferenceState.INVITATION_SENT: {
        Action.ANSWER: ConferenceState.SESSION_OPEN,
        Action.CALL_AGAIN: ConferenceState.INVITATION_SENT,
        Action.MANAGE: ConferenceState.INVITATION_SENT,
        Action.END: ConferenceState.SESSION_TERMINATED,
    },
    ConferenceState.SESSION_OPEN: {
        Action.ANSWER: ConferenceState.SESSION_OPEN,
        Action.NEGOTIATE: ConferenceState.SESSION_OPEN,
        Action.MANAGE: ConferenceState.SESSION_OPEN,
        Action.END: ConferenceState.SESSION_TERMINATED,
    },
    ConferenceState.SESSION_TERMINATED: {},
    ParticipantState.INVITED: {
        Action.ANSWER: ParticipantState.ACCEPTED,
        Action.LEAVE: ParticipantState.LEFT,
    },
    ParticipantState.ACCEPTED: {
        Action.MODIFY: ParticipantState.ACCEPTED,
        Action.HOLD: ParticipantState.ON_HOLD,
        # The hold that prepares a move may still be unanswered when the move begins.
        Action.MOVE: ParticipantState.MOVING,
        Action.LEAVE: ParticipantState.LEFT,
    },
    ParticipantState.ON_HOLD: {
        Action.MODIFY: ParticipantState.ON_HOLD,
        Action.RESUME: ParticipantState.ACCEPTED,
        Action.MOVE: ParticipantState.MOVING,
        Action.LEAVE: ParticipantState.LEFT,
    },
    ParticipantState.MOVING: {
        Action.ANSWER: ParticipantState.ACCEPTED,
        Action.LEAVE: ParticipantState.LEFT,
    },
    ParticipantState.LEFT: {
        Action.RETURN: ParticipantState.ACCEPTED,
    },
    MoveState.IDLE: {
        Action.ARM: MoveState.ARMED,
        Action.DISARM: MoveState.IDLE,
    },
    MoveState.ARMED: {
        Action.ARM: MoveState.ARMED,
        Action.DISARM: MoveState.IDLE,
        Action.MOVE: MoveState.IDLE,
        Action.EXPIRE: MoveState.EXPIRED,
    },
    MoveState.EXPIRED: {
        Action.ARM: MoveState.ARMED,
        Action.DISARM: MoveState.IDLE,
    },
    ModificationState.SENT: {
        Action.ACCEPT: ModificationState.ACCEPTED,
        Action.REJECT: ModificationState.REJECTED,
        Action.CANCEL: ModificationState.CANCELLED,
        Action.EXPIRE: ModificationState.EXPIRED,
    },
    ModificationState.ACCEPTED: {},
    ModificationState.REJECTED: {},
    ModificationState.CANCELLED: {},
    ModificationState.EXPIRED: {},
}

# What an accepted modification does to the participant who offered it. Only the focus offers to synchronise.
EFFECTS: Mapping[ModificationKind, Action] = {
    ModificationKind.CALL: Action.MODIFY,
    ModificationKind.MOD: Action.MODIFY,
    ModificationKind.HOLD: Action.HOLD,
    ModificationKind.RESUME: Action.RESUME,
    ModificationKind.MOVE: Action.MODIFY,
}


def effect_of(kind: ModificationKind, state: ParticipantState) -> Action:
    """Return what an accepted offer of this kind does to a participant in this state."""
    if kind is ModificationKind.HOLD and state is ParticipantState.ON_HOLD:
        return Action.MODIFY
    return EFFECTS[kind]


def move_after(move: MoveState, action: Action, becomes: ParticipantState) -> MoveState:
    """Return what is left of a move when `action` takes its participant to the state `becomes`.

    An armed move stays armed while the participant only changes its media.
    """
    stays = action in {Action.HOLD, Action.MODIFY} if move is MoveState.ARMED else becomes is ParticipantState.ON_HOLD
    return move if stays else decide(move, Action.DISARM)


RINGING = frozenset({ParticipantState.INVITED, ParticipantState.MOVING})
JOINED = frozenset({ParticipantState.ACCEPTED, ParticipantState.ON_HOLD})


def decide(state: S, action: Action) -> S:
    """Return the state that `action` leads to from `state`.

    :raises RefusalError: the one that fits, when the table has no such transition.
    """
    try:
        # The table maps each machine onto itself; test_machine proves it.
        return TABLE[state][action]  # type: ignore[return-value]
    except KeyError:
        raise _refusal(state, action) from None


def _refusal(state: State, action: Action) -> RefusalError:
    """Return the refusal for an action that is illegal in the state."""
    match state:
        case ConferenceState():
            return refusals.ConferenceNotOpenError(state=state.value)
        case MoveState():
            return ForbiddenError("No move is armed.")
        case ModificationState.SENT:
            return refusals.NotYoursToSettleError()
        case ModificationState():
            return refusals.ModificationSettledError(state=state.value)
        case ParticipantState.ACCEPTED if action is Action.RESUME:
            return refusals.NotOnHoldError()
        case ParticipantState.ON_HOLD if action is Action.HOLD:
            return refusals.AlreadyOnHoldError()
        case ParticipantState.ACCEPTED | ParticipantState.ON_HOLD:
            return refusals.AlreadyAnsweredError()
        case ParticipantState.MOVING:
            return refusals.ParticipantMovingError()
        case ParticipantState.INVITED:
            return refusals.ConferenceNotOpenError(state=state.value)
        case _:  # ParticipantState.LEFT
            return refusals.NotRingingError()
