"""A modification is settled once, by one of its two participants. Until then, no other modification can begin."""

from typing import Any

import pytest

from conferences.models import Participant
from tests.support.actions import CALL_HOLD, HOLD, MOD
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, hold
from tests.support.refusals import all_rows, problem, refused

pytestmark = pytest.mark.django_db(transaction=True)


class TestModificationPending:
    @pytest.mark.parametrize("who", ["alice", "bob"])
    @pytest.mark.parametrize("action", [MOD, HOLD, CALL_HOLD])
    def test_only_one_modification_is_pending_in_either_direction(self, call: Call, who: str, action: str) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        device, session = (call.alice, 4611731400430051336) if who == "alice" else (call.bob, 777)
        new = offer("sendrecv" if action == MOD else "recvonly", session=session, version=4)
        response = refused(409, "modification-pending", device.put, call.id, action, new)
        body = problem(response)
        assert body["modId"] == mod
        # RFC 3261 section 14.1 defines these two ranges.
        low, high = (2100, 4000) if who == "alice" else (0, 2000)
        assert low <= body["retryAfterMs"] <= high
        assert body["retryAfterMs"] % 10 == 0

    def test_the_offer_of_a_move_is_a_pending_modification_too(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        mod = phone.answer(call.id, offer(session=5))["x-mod-id"]
        for device, session in ((call.bob, 777), (phone, 5)):
            new = offer(session=session, version=9)
            response = refused(409, "modification-pending", device.put, call.id, MOD, new)
            assert problem(response)["modId"] == mod


SETTLEMENTS = {"mod-accepted": "bob", "mod-rejected": "bob", "mod-cancelled": "alice"}


@pytest.mark.any_engine
class TestModificationSettled:
    @pytest.fixture(params=SETTLEMENTS)
    def state(self, request: pytest.FixtureRequest) -> str:
        """The final state of the modification."""
        return str(request.param)

    @pytest.fixture
    def mod(self, call: Call, state: str) -> str:
        """A modification by alice in its final state."""
        mod: str = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        assert self._settle(call, mod, state).status_code == 204
        return mod

    def _settle(self, call: Call, mod: str, state: str) -> Any:
        if state == "mod-accepted":
            return call.bob.accept(call.id, mod, answer(version=3))
        return (call.bob if SETTLEMENTS[state] == "bob" else call.alice).withdraw(call.id, mod)

    def test_any_other_settlement_is_refused(self, call: Call, mod: str, state: str) -> None:
        for other in set(SETTLEMENTS) - {state}:
            response = refused(409, "modification-settled", self._settle, call, mod, other)
            assert problem(response)["state"] == state

    def test_a_repetition_of_the_settling_request_is_answered_again(self, call: Call, mod: str, state: str) -> None:
        before = all_rows()
        response = self._settle(call, mod, state)
        assert (response.status_code, response["x-state"]) == (204, state)
        assert all_rows() == before

    def test_accepting_again_with_another_answer_is_refused(self, call: Call) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        call.bob.accept(call.id, mod, answer(version=3))
        response = refused(409, "modification-settled", call.bob.accept, call.id, mod, answer(version=4))
        assert problem(response)["state"] == "mod-accepted"

    def test_the_offer_of_the_call_is_settled_by_its_answer(self, alice: Device, bob: Device) -> None:
        response = alice.call("bob")
        conference, mod = response.json()["id"], response["x-mod-id"]
        bob.answer(conference)
        refused(409, "modification-settled", bob.withdraw, conference, mod)
        refused(409, "modification-settled", alice.withdraw, conference, mod)


@pytest.mark.any_engine
class TestNotYoursToSettle:
    def test_the_initiator_cannot_accept(self, call: Call) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        mine = answer(session=4611731400430051336, version=3)
        refused(409, "not-yours-to-settle", call.alice.accept, call.id, mod, mine)
        assert call.bob.accept(call.id, mod, answer(version=3)).status_code == 204
        refused(409, "not-yours-to-settle", call.alice.accept, call.id, mod, mine)

    def test_another_participant_cannot_settle(self, call: Call, carol: Device) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        # A peer conference never has a third participant, but the check must not rely on that.
        Participant.objects.create(
            conference_id=call.id, role="guest", state="accepted", username="carol", session_id=carol.id, position=3
        )
        refused(409, "not-yours-to-settle", carol.accept, call.id, mod, answer(version=3))
        refused(409, "not-yours-to-settle", carol.withdraw, call.id, mod)
