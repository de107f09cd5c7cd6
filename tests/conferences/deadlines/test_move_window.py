"""A move stays armed for a limited time."""

from datetime import datetime, timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Modification, Participant
from conferences.operations.deadlines import settle_due
from tests.support.actions import CALL_HOLD
from tests.support.deadlines import INSTANT, assert_all_is_settled
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, hold

pytestmark = pytest.mark.django_db(transaction=True)


def let_pass(call: Call, duration: timedelta) -> None:
    """Shift the end of an armed move's window into the past by this duration."""
    Participant.objects.filter(conference=call.id).update(move_until=F("move_until") - duration)


class TestMoveWindow:
    @pytest.fixture
    def phone(self, call: Call) -> Device:
        return Device.register("alice", "phone")

    @pytest.mark.parametrize("accepted", [True, False])
    def test_a_delete_before_it_closes_begins_the_move(
        self, call: Call, phone: Device, accepted: bool, settings: Settings
    ) -> None:
        if accepted:
            hold(call, CALL_HOLD)
        else:
            call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))
        participant = Participant.objects.get(conference=call.id, role="host")
        assert participant.move_until is not None
        assert timedelta() < participant.move_until - timezone.now() <= settings.MOVE_WINDOW
        assert_all_is_settled(participant.move_until - INSTANT)
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], "moveRefused" in body) == ("moving", False)
        assert phone.news_types() == ["invitation-received"]

    def close(self, call: Call) -> datetime:
        """Make the timekeeper close the move window; return the time at which it did so."""
        let_pass(call, timedelta(seconds=10))
        now = timezone.now()
        assert settle_due(now=now) == 1
        return now

    @pytest.mark.parametrize("looked", [True, False])
    def test_a_delete_after_it_has_closed_ends_the_call(self, call: Call, phone: Device, looked: bool) -> None:
        hold(call, CALL_HOLD)
        if looked:
            now = self.close(call)
            (expired,) = call.alice.news()
            assert (expired["type"], expired["participant"]["state"]) == ("move-expired", "on-hold")
            assert call.bob.news() == phone.news() == []
            assert_all_is_settled(now)
        else:
            let_pass(call, timedelta(seconds=10))
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], body["moveRefused"], body["state"]) == (
            "terminated",
            "window-over",
            "session-terminated",
        )
        assert phone.news() == []
        assert call.bob.news()[-1]["reason"] == "hung-up"

    def test_the_participant_is_only_on_hold_after_it_has_closed(self, call: Call, phone: Device) -> None:
        hold(call, CALL_HOLD)
        self.close(call)
        mod = call.alice.put(call.id, "initiate-conference-resume", offer(version=4))["x-mod-id"]
        assert call.bob.accept(call.id, mod, answer(version=4)).status_code == 204
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], "moveRefused" in body) == ("terminated", False)

    def test_arming_the_move_again_opens_it_again(self, call: Call, phone: Device) -> None:
        mod = call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))["x-mod-id"]
        self.close(call)
        call.bob.withdraw(call.id, mod)
        call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))
        assert call.alice.delete(call.id).json()["outcome"] == "moving"

    @pytest.mark.parametrize("settled", ["rejected", "expired"])
    @pytest.mark.parametrize("closed", [True, False])
    def test_the_other_side_cannot_prevent_a_move(self, call: Call, phone: Device, settled: str, closed: bool) -> None:
        mod = call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))["x-mod-id"]
        if closed:
            self.close(call)
        if settled == "expired":
            Modification.objects.filter(pk=mod).update(expires_at=timezone.now())
            assert settle_due(now=timezone.now()) == 1
        else:
            assert call.bob.withdraw(call.id, mod).status_code == 204
        body = call.alice.delete(call.id).json()
        assert body["outcome"] == ("terminated" if closed else "moving")
        assert body.get("moveRefused") == ("window-over" if closed else None)
        assert phone.news_types() == ([] if closed else ["invitation-received"])

    def test_a_participant_that_was_on_hold_already_is_notified_that_it_has_closed(
        self, call: Call, phone: Device
    ) -> None:
        hold(call)
        mod = call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=4))["x-mod-id"]
        self.close(call)
        assert call.bob.accept(call.id, mod, answer("sendonly", version=4)).status_code == 204
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], body.get("moveRefused")) == ("terminated", "window-over")
        assert phone.news() == []

    @pytest.mark.parametrize("closed", [True, False])
    def test_a_cancelled_hold_does_not_arm_a_move(self, call: Call, phone: Device, closed: bool) -> None:
        mod = call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))["x-mod-id"]
        if closed:
            self.close(call)
        assert call.alice.withdraw(call.id, mod).status_code == 204
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], "moveRefused" in body) == ("terminated", False)
        assert phone.news() == []

    def test_a_resume_disarms_the_move(self, call: Call, phone: Device) -> None:
        hold(call, CALL_HOLD)
        mod = call.alice.put(call.id, "initiate-conference-resume", offer(version=4))["x-mod-id"]
        assert call.bob.accept(call.id, mod, answer(version=4)).status_code == 204
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], "moveRefused" in body) == ("terminated", False)

    def test_a_move_that_ended_first_sends_no_event(self, call: Call) -> None:
        hold(call, CALL_HOLD)
        call.bob.delete(call.id)
        call.alice.news()
        assert_all_is_settled(timezone.now() + timedelta(seconds=10))
