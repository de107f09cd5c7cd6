"""Requests that the state of the conference or of a participant does not allow."""

import pytest

from tests.support.actions import ACCEPT, CALL_HOLD, HOLD, MOD, RESUME, WITHDRAW
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, hold
from tests.support.refusals import problem, refused

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.any_engine
class TestConferenceNotOpen:
    @pytest.mark.parametrize("action", [MOD, HOLD, RESUME, CALL_HOLD, ACCEPT, WITHDRAW])
    @pytest.mark.parametrize("state", ["invitation-sent", "session-terminated"])
    def test_participants_cannot_negotiate_before_or_after_the_conference(
        self, ringing: Call, action: str, state: str
    ) -> None:
        if state == "session-terminated":
            ringing.alice.delete(ringing.id)
        direction = "recvonly" if action in {HOLD, CALL_HOLD} else "sendrecv"
        make = answer if action == ACCEPT else offer
        body = {"modId": "x", **make(direction, version=3)}
        for device in (ringing.alice, ringing.bob):
            response = refused(409, "conference-not-open", device.put, ringing.id, action, body)
            assert problem(response)["state"] == state

    def test_users_cannot_be_invited_to_an_ended_conference(self, call: Call) -> None:
        call.bob.delete(call.id)
        path = f"/mediaConferences/{call.id}/participants"
        response = refused(409, "conference-not-open", call.alice.request, "POST", path, {"to": "carol"})
        assert problem(response)["state"] == "session-terminated"


@pytest.mark.any_engine
class TestAnswering:
    def test_callers_cannot_answer_their_own_call(self, ringing: Call) -> None:
        tablet = Device.register("alice", "tablet")
        refused(409, "already-answered", ringing.alice.answer, ringing.id)
        refused(409, "already-answered", tablet.answer, ringing.id)

    def test_an_ended_call_cannot_be_answered(self, ringing: Call) -> None:
        ringing.bob.delete(ringing.id)
        refused(409, "not-ringing", ringing.bob.answer, ringing.id)

    def test_a_move_cannot_be_answered_by_the_old_device(self, call: Call) -> None:
        Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        refused(409, "not-ringing", call.alice.answer, call.id, offer())

    def test_a_call_cannot_be_answered_twice_here_or_elsewhere(self, ringing: Call) -> None:
        tablet = Device.register("bob", "tablet")
        assert ringing.bob.answer(ringing.id).status_code == 204
        refused(409, "already-answered", ringing.bob.answer, ringing.id)
        refused(409, "already-answered", tablet.answer, ringing.id)


@pytest.mark.any_engine
class TestHolding:
    @pytest.mark.parametrize("action", [HOLD, CALL_HOLD])
    def test_a_participant_on_hold_cannot_hold_again(self, call: Call, action: str) -> None:
        hold(call, action)
        refused(409, "already-on-hold", call.alice.put, call.id, HOLD, offer("recvonly", version=4))

    def test_a_participant_that_is_not_on_hold_cannot_resume(self, call: Call) -> None:
        refused(409, "not-on-hold", call.alice.put, call.id, RESUME, offer(version=3))

    def test_a_participant_cannot_resume_the_hold_of_the_other(self, call: Call) -> None:
        hold(call)
        refused(409, "not-on-hold", call.bob.put, call.id, RESUME, offer(session=777, version=4))
        assert call.bob.put(call.id, HOLD, offer("inactive", session=777, version=4)).status_code == 204

    def test_a_hold_that_nobody_has_accepted_cannot_be_resumed(self, call: Call) -> None:
        mod = call.alice.put(call.id, HOLD, offer("recvonly", version=3))["x-mod-id"]
        call.bob.withdraw(call.id, mod)
        refused(409, "not-on-hold", call.alice.put, call.id, RESUME, offer(version=4))


@pytest.mark.any_engine
class TestParticipantMoving:
    @pytest.fixture
    def moving(self, call: Call) -> Call:
        Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        assert call.alice.delete(call.id).json()["outcome"] == "moving"
        return call

    @pytest.mark.parametrize("action", [MOD, HOLD, CALL_HOLD])
    def test_the_other_side_cannot_negotiate_with_a_moving_participant(self, moving: Call, action: str) -> None:
        direction = "sendrecv" if action == MOD else "recvonly"
        new = offer(direction, session=777, version=4)
        response = refused(409, "participant-moving", moving.bob.put, moving.id, action, new)
        assert 0 <= problem(response)["retryAfterMs"] <= 4000

    @pytest.mark.parametrize("action", [MOD, HOLD, RESUME, CALL_HOLD])
    def test_the_old_device_of_a_move_cannot_negotiate(self, moving: Call, action: str) -> None:
        direction = "recvonly" if action in {HOLD, CALL_HOLD} else "sendrecv"
        new = offer(direction, version=4)
        refused(409, "participant-moving", moving.alice.put, moving.id, action, new)

    def test_both_participants_cannot_move_at_once(self, call: Call) -> None:
        Device.register("alice", "phone"), Device.register("bob", "tablet")
        hold(call, CALL_HOLD)
        mod = call.bob.put(call.id, CALL_HOLD, offer("inactive", session=777, version=4))["x-mod-id"]
        mine = answer("inactive", session=4611731400430051336, version=4)
        assert call.alice.accept(call.id, mod, mine).status_code == 204
        assert call.alice.delete(call.id).json()["outcome"] == "moving"
        response = refused(409, "participant-moving", call.bob.delete, call.id)
        assert 0 <= problem(response)["retryAfterMs"] <= 4000
