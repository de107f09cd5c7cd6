"""A page that closes or reloads says so. The other participants learn of it at once."""

from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.operations.deadlines import settle_due
from tests.support.actions import CALL_HOLD, MOD
from tests.support.devices import Call, Device, hold
from tests.support.refusals import refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_engine]


@pytest.fixture(params=["peer", "focus"])
def topology(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def say_goodbye(device: Device) -> Any:
    return device.request("POST", f"/sessions/{device.id}/away")


def absences(device: Device) -> list[tuple[str, bool]]:
    """Return who was announced as away or back, since the last call."""
    news = [event["participant"] for event in device.news() if event["type"] == "participant-away"]
    return [(participant["username"], participant["away"]) for participant in news]


def offer_again(call: Call) -> None:
    """Make an offer of bob from another peer connection, as a reloaded page does."""
    call.bob.peer_connection += 1000
    response = call.bob.put(call.id, MOD, call.bob.offer())
    assert response.status_code == 204, response.content
    if not call.has_focus:
        call.alice.withdraw(call.id, response["x-mod-id"])


class TestGoodbye:
    def test_the_others_learn_of_it_once(self, call: Call) -> None:
        for _ in range(2):
            assert say_goodbye(call.bob).status_code == 204
        assert absences(call.alice) == [("bob", True)]
        assert absences(call.bob) == []
        assert call.alice.get(call.id)["participants"][1]["away"] is True
        body = call.bob.request("GET", f"/sessions/{call.bob.id}").json()
        assert (body["state"], body["away"]) == ("active", True)

    def test_a_new_offer_ends_it(self, call: Call) -> None:
        say_goodbye(call.bob)
        call.alice.news()
        offer_again(call)
        assert absences(call.alice) == [("bob", False)]
        offer_again(call)
        assert absences(call.alice) == []

    def test_a_participant_that_leaves_is_not_away(self, call: Call) -> None:
        say_goodbye(call.bob)
        call.bob.delete(call.id)
        assert call.alice.get(call.id)["participants"][1]["away"] is False

    def test_a_moving_participant_is_not_away(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        say_goodbye(call.alice)
        assert absences(call.bob) == []
        phone.join(call.id)
        assert absences(call.bob) == []

    def test_a_page_that_does_not_return_leaves_the_call(self, call: Call, settings: Settings) -> None:
        say_goodbye(call.bob)
        now = timezone.now() + settings.AWAY_LIFETIME
        settle_due(now=now)
        settle_due(now=now)
        assert call.bob.row.state == "expired"
        assert call.alice.get(call.id)["state"] == "session-terminated"
        assert call.alice.news()[-1]["reason"] == "session-expired"


def test_a_session_without_a_call_is_away(alice: Device) -> None:
    assert say_goodbye(alice).status_code == 204
    until = alice.row.away_until
    say_goodbye(alice)
    assert alice.row.away_until == until is not None


def test_nobody_else_may_say_it(alice: Device, bob: Device) -> None:
    refused(404, "not-found", bob.request, "POST", f"/sessions/{alice.id}/away")
    refused(405, "method-not-allowed", alice.request, "GET", f"/sessions/{alice.id}/away")
    assert alice.row.away_until is None


def test_it_counts_as_a_change_for_everybody(call: Call, settings: Settings) -> None:
    settings.CHANGES_AT_ONCE = 1
    say_goodbye(call.bob)
    offer_again(call)
    refused(429, "rate-limited", say_goodbye, call.bob)
    assert absences(call.alice) == [("bob", True), ("bob", False)]
