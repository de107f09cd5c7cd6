"""The state machines of a conference, a participant, a move, a modification and a knock (protocol section 7).

`TABLE` lists every state with its legal actions and the state that each action leads to. A final state has no
actions. An action that a state does not list is illegal: `decide` raises the refusal that fits the state, and nothing
changes. The diagrams in docs/states.md are generated from the table.

A *conference* starts in `invitation-sent`, when its host has made the first offer.

- `answer`: The first answer opens the conference, and later answers leave it open. Later answers come from other
  invited users and from a new device of a moving participant. If access is "open", later answers also come from
  sessions that join or return.
- `negotiate`: While the conference is open, participants offer modifications, and accept, reject or cancel them.
- `call-again`: The host repeats the call with a new offer. This is legal before the first answer, and only if the focus
  has not accepted an offer of the host.
- `manage`: Until the conference ends, the host invites and mutes participants, locks and unlocks the conference, and
  answers knocks. A participant may mute or unmute itself.
- `hand-over`: While the conference is open, the host makes another participant the host.
- `end`: The conference is terminated permanently, before or after the first answer.

A *participant* is the record of one user in one conference. The host starts in `accepted`, every other participant in
`invited`.

- `answer`: An invited participant is accepted. A moving participant is accepted on its new device, and is off hold.
- `modify`, `hold`, `resume`: The participant's offer has been accepted and takes effect. An accepted participant may
  modify its media or go on hold. A participant on hold may modify its media, but stays on hold until it resumes.
- `move`: An accepted participant, or one on hold, leaves its device. Its user's other devices ring.
- `leave`: The participant leaves. This is legal in every state except `left`.
- `hand-over`: The participant becomes the host, or stops being the host. It needs a device for this.
- `return`: A participant that left a conference with access "open" is accepted again.

A *move* takes a participant to another device of the same user. It starts in `idle`.

- `arm`: `initiate-call-hold` arms the move until the move window ends. Another `initiate-call-hold` restarts the
  window. If the participant is on hold already, the offer of `initiate-call-hold` is an ordinary modification. The
  participant then stays on hold.
- `move`: A `DELETE` within the move window begins the move.
- `expire`: The move window has ended.
- `disarm`: The move returns to `idle`. This happens when the participant cancels its offer of a hold, and on most
  transitions of the participant (`move_after`). An armed move survives only `hold` and `modify`. An expired move
  survives only transitions to `on-hold`.

A *modification* is one offer and its settlement. It starts in `mod-sent` and is settled exactly once (RFC 3264
section 4).

- `accept`, `reject`: The receiver settles the modification. The receiver is a participant or the focus.
- `cancel`: The initiator settles the modification. A pending modification is also cancelled when a side leaves or
  moves, or when the conference ends.
- `expire`: The modification was not settled in time.

A *knock* asks the host of a locked conference for admission. It starts in `knock-waiting`.

- `admit`, `deny`: The host answers. Unlocking the conference admits all that wait.
- `answer`: The session that knocked has joined the conference. If it was not admitted, it was invited meanwhile.
- `withdraw`: The session that knocked takes the knock back, or ends.
- `expire`: The host did not answer in time, the admitted session did not join in time, or the conference has ended.

The focus is a side of a modification, but not a participant. Its offers announce the changes of other participants.
When a participant accepts such an offer, no participant's state changes.
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


class KnockState(StrEnum):
    """States of a knock."""

    WAITING = "knock-waiting"
    ADMITTED = "knock-admitted"
    ENTERED = "knock-entered"
    DENIED = "knock-denied"
    WITHDRAWN = "knock-withdrawn"
    EXPIRED = "knock-expired"


class Action(StrEnum):
    """The actions of all five machines. The module docstring explains each."""

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
    HAND_OVER = "hand-over"
    ACCEPT = "accept"
    REJECT = "reject"
    CANCEL = "cancel"
    EXPIRE = "expire"
    ARM = "arm"
    DISARM = "disarm"
    ADMIT = "admit"
    DENY = "deny"
    WITHDRAW = "withdraw"


class ModificationKind(StrEnum):
    """The purpose of an offer. Only the focus offers `sync`, which announces changes by other participants."""

    CALL = "call"
    MOD = "mod"
    HOLD = "hold"
    RESUME = "resume"
    MOVE = "move"
    SYNC = "sync"


State = ConferenceState | ParticipantState | MoveState | ModificationState | KnockState
S = TypeVar("S", ConferenceState, ParticipantState, MoveState, ModificationState, KnockState)

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
        Action.HAND_OVER: ConferenceState.SESSION_OPEN,
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
        Action.HAND_OVER: ParticipantState.ACCEPTED,
        # The hold that prepares a move may still be unanswered when the move begins.
        Action.MOVE: ParticipantState.MOVING,
        Action.LEAVE: ParticipantState.LEFT,
    },
    ParticipantState.ON_HOLD: {
        Action.MODIFY: ParticipantState.ON_HOLD,
        Action.RESUME: ParticipantState.ACCEPTED,
        Action.HAND_OVER: ParticipantState.ON_HOLD,
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
    KnockState.WAITING: {
        Action.ADMIT: KnockState.ADMITTED,
        Action.DENY: KnockState.DENIED,
        Action.ANSWER: KnockState.ENTERED,
        Action.WITHDRAW: KnockState.WITHDRAWN,
        Action.EXPIRE: KnockState.EXPIRED,
    },
    KnockState.ADMITTED: {
        Action.ANSWER: KnockState.ENTERED,
        Action.WITHDRAW: KnockState.WITHDRAWN,
        Action.EXPIRE: KnockState.EXPIRED,
    },
    KnockState.ENTERED: {},
    KnockState.DENIED: {},
    KnockState.WITHDRAWN: {},
    KnockState.EXPIRED: {},
}

# The action that an accepted offer of each kind performs on the participant that made it. `SYNC` has no entry, because
# only the focus offers it.
EFFECTS: Mapping[ModificationKind, Action] = {
    ModificationKind.CALL: Action.MODIFY,
    ModificationKind.MOD: Action.MODIFY,
    ModificationKind.HOLD: Action.HOLD,
    ModificationKind.RESUME: Action.RESUME,
    ModificationKind.MOVE: Action.MODIFY,
}


def effect_of(kind: ModificationKind, state: ParticipantState) -> Action:
    """Return the action that an accepted offer performs on its initiator, a participant that is now in `state`.

    A participant on hold that offers another hold (`initiate-call-hold`) only modifies its media.
    """
    if kind is ModificationKind.HOLD and state is ParticipantState.ON_HOLD:
        return Action.MODIFY
    return EFFECTS[kind]


def move_after(move: MoveState, action: Action, reached: ParticipantState) -> MoveState:
    """Return the state of a move after `action` has taken the participant to the state `reached`.

    `hold` and `modify` keep an armed move armed. An expired move stays expired while the participant is on hold. Any
    other transition disarms the move.
    """
    stays = action in {Action.HOLD, Action.MODIFY} if move is MoveState.ARMED else reached is ParticipantState.ON_HOLD
    return move if stays else decide(move, Action.DISARM)


# The states of a participant in which devices of its user ring.
RINGING = frozenset({ParticipantState.INVITED, ParticipantState.MOVING})
# The states in which a participant is in the conference with a device.
JOINED = frozenset({ParticipantState.ACCEPTED, ParticipantState.ON_HOLD})


def decide(state: S, action: Action) -> S:
    """Return the state that `action` leads to from `state`.

    :raises RefusalError: when the table has no such transition. The class of the error depends on the state.
    """
    try:
        # Every transition stays within its machine: test_machine checks this.
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
        case KnockState():
            return refusals.KnockSettledError(state=state.value)
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
