"""Every combination of a state and an action of the machines."""

from itertools import product

import pytest

from conferences.machine import (
    EFFECTS,
    JOINED,
    RINGING,
    TABLE,
    Action,
    ConferenceState,
    KnockState,
    ModificationKind,
    ModificationState,
    MoveState,
    ParticipantState,
    State,
    decide,
    move_after,
)
from events.exceptions import RefusalError

pytestmark = pytest.mark.once

MACHINES = (ConferenceState, ParticipantState, MoveState, ModificationState, KnockState)
STATES: list[State] = [state for machine in MACHINES for state in machine]
DEAD_ENDS = {
    ConferenceState.SESSION_TERMINATED,
    ModificationState.ACCEPTED,
    ModificationState.REJECTED,
    ModificationState.CANCELLED,
    ModificationState.EXPIRED,
    KnockState.ENTERED,
    KnockState.DENIED,
    KnockState.WITHDRAWN,
    KnockState.EXPIRED,
}
# `LEFT` and `IDLE` are not final: a participant that has left can return, and a move can be armed again.
ENDS = DEAD_ENDS | {ParticipantState.LEFT, MoveState.IDLE}

# Every transition of protocol section 7, written here independently of `TABLE`.
LEGAL = {
    ("invitation-sent", "answer"): "session-open",
    ("invitation-sent", "call-again"): "invitation-sent",
    ("invitation-sent", "manage"): "invitation-sent",
    ("invitation-sent", "end"): "session-terminated",
    ("session-open", "answer"): "session-open",
    ("session-open", "negotiate"): "session-open",
    ("session-open", "manage"): "session-open",
    ("session-open", "hand-over"): "session-open",
    ("session-open", "end"): "session-terminated",
    ("invited", "answer"): "accepted",
    ("invited", "leave"): "left",
    ("accepted", "modify"): "accepted",
    ("accepted", "hold"): "on-hold",
    ("accepted", "move"): "moving",
    ("accepted", "leave"): "left",
    ("accepted", "hand-over"): "accepted",
    ("on-hold", "modify"): "on-hold",
    ("on-hold", "resume"): "accepted",
    ("on-hold", "move"): "moving",
    ("on-hold", "leave"): "left",
    ("on-hold", "hand-over"): "on-hold",
    ("moving", "answer"): "accepted",
    ("moving", "leave"): "left",
    ("left", "return"): "accepted",
    ("idle", "arm"): "armed",
    ("idle", "disarm"): "idle",
    ("armed", "arm"): "armed",
    ("armed", "disarm"): "idle",
    ("armed", "move"): "idle",
    ("armed", "expire"): "expired",
    ("expired", "arm"): "armed",
    ("expired", "disarm"): "idle",
    ("mod-sent", "accept"): "mod-accepted",
    ("mod-sent", "reject"): "mod-rejected",
    ("mod-sent", "cancel"): "mod-cancelled",
    ("mod-sent", "expire"): "mod-expired",
    ("knock-waiting", "admit"): "knock-admitted",
    ("knock-waiting", "deny"): "knock-denied",
    ("knock-waiting", "answer"): "knock-entered",
    ("knock-waiting", "withdraw"): "knock-withdrawn",
    ("knock-waiting", "expire"): "knock-expired",
    ("knock-admitted", "answer"): "knock-entered",
    ("knock-admitted", "withdraw"): "knock-withdrawn",
    ("knock-admitted", "expire"): "knock-expired",
}


def _expected_refusal(state: State, action: Action) -> str:
    """Return the code with which an illegal action is refused."""
    if isinstance(state, ConferenceState) or state is ParticipantState.INVITED:
        return "conference-not-open"
    if isinstance(state, MoveState):
        return "forbidden"
    if isinstance(state, ModificationState):
        return "not-yours-to-settle" if state is ModificationState.SENT else "modification-settled"
    if isinstance(state, KnockState):
        return "knock-settled"
    if (state, action) == (ParticipantState.ACCEPTED, Action.RESUME):
        return "not-on-hold"
    if (state, action) == (ParticipantState.ON_HOLD, Action.HOLD):
        return "already-on-hold"
    if state is ParticipantState.MOVING:
        return "participant-moving"
    return "not-ringing" if state is ParticipantState.LEFT else "already-answered"


def _transitions() -> dict[tuple[str, str], str]:
    """Return every transition of the table in the form of `LEGAL`."""
    return {(str(state), str(action)): str(reached) for state in TABLE for action, reached in TABLE[state].items()}


@pytest.mark.parametrize(("state", "action"), list(product(STATES, Action)))
def test_an_action_follows_the_protocol_or_is_refused(state: State, action: Action) -> None:
    if (str(state), str(action)) in LEGAL:
        assert decide(state, action) == LEGAL[str(state), str(action)]  # type: ignore[type-var]
    else:
        with pytest.raises(RefusalError) as refusal:
            decide(state, action)  # type: ignore[type-var]
        assert refusal.value.code == _expected_refusal(state, action)
        assert refusal.value.status == (403 if isinstance(state, MoveState) else 409)
    assert _transitions() == LEGAL


@pytest.mark.parametrize("state", sorted(DEAD_ENDS & set(ModificationState)))
def test_a_settled_modification_names_its_final_state(state: ModificationState) -> None:
    with pytest.raises(RefusalError) as refusal:
        decide(state, Action.ACCEPT)
    assert refusal.value.fields == {"state": state.value}


def test_the_table_lists_every_state() -> None:
    assert set(TABLE) == set(STATES)


def test_the_table_maps_each_machine_onto_itself() -> None:
    for state, transitions in TABLE.items():
        assert {type(reached) for reached in transitions.values()} <= {type(state)}


def test_only_final_states_have_no_actions() -> None:
    assert {state for state, transitions in TABLE.items() if not transitions} == DEAD_ENDS


def test_every_state_can_be_reached_and_every_action_does_something() -> None:
    reached = {after for transitions in TABLE.values() for after in transitions.values()}
    beginnings = {ConferenceState.INVITATION_SENT, ParticipantState.INVITED, ModificationState.SENT, KnockState.WAITING}
    assert reached | beginnings == set(STATES)
    assert {action for transitions in TABLE.values() for action in transitions} == set(Action)


def test_a_final_state_can_be_reached_from_every_state() -> None:
    for state in STATES:
        seen: set[State] = set()
        ahead: list[State] = [state]
        while ahead:
            current = ahead.pop()
            if current not in seen:
                seen.add(current)
                ahead.extend(TABLE[current].values())
        assert seen & ENDS


@pytest.mark.parametrize("action", [Action.HOLD, Action.MODIFY])
@pytest.mark.parametrize("reached", sorted(JOINED))
def test_move_stays_armed_while_only_the_media_changes(action: Action, reached: ParticipantState) -> None:
    assert move_after(MoveState.ARMED, action, reached) is MoveState.ARMED


@pytest.mark.parametrize("state", MoveState)
@pytest.mark.parametrize(
    ("action", "reached"),
    [
        (Action.RESUME, ParticipantState.ACCEPTED),
        (Action.LEAVE, ParticipantState.LEFT),
        (Action.ANSWER, ParticipantState.ACCEPTED),
        (Action.RETURN, ParticipantState.ACCEPTED),
    ],
)
def test_no_move_remains_after_this_action(state: MoveState, action: Action, reached: ParticipantState) -> None:
    assert move_after(state, action, reached) is MoveState.IDLE


def test_expired_move_is_remembered_as_long_as_the_participant_is_on_hold() -> None:
    for action in (Action.HOLD, Action.MODIFY):
        assert move_after(MoveState.EXPIRED, action, ParticipantState.ON_HOLD) is MoveState.EXPIRED
        assert move_after(MoveState.EXPIRED, action, ParticipantState.ACCEPTED) is MoveState.IDLE


def test_every_kind_of_offer_by_a_participant_has_an_effect_on_joined_participants() -> None:
    assert set(EFFECTS) == set(ModificationKind) - {ModificationKind.SYNC}
    for effect in EFFECTS.values():
        assert any(effect in TABLE[state] for state in JOINED)


def test_every_state_except_left_is_either_ringing_or_joined() -> None:
    assert RINGING.isdisjoint(JOINED)
    assert {ParticipantState.LEFT, *RINGING, *JOINED} == set(ParticipantState)
    assert ParticipantState.LEFT not in RINGING | JOINED
