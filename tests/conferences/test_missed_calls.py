"""Calling a user without a device says so at once, and leaves a missed call."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from conferences.models import Participant
from conferences.operations.deadlines import settle_due
from events.models import Session
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.meeting import REFUSAL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_engine, pytest.mark.usefixtures("node")]


@pytest.fixture(params=["peer", "focus"])
def topology(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reachable(response: Any) -> list[tuple[str, int | None]]:
    """Return how many devices of each participant ring, as the answer to a call tells."""
    return [(each["username"], each.get("reachable")) for each in response.json()["participants"]]


def missed(device: Device) -> list[str]:
    """Return the callers of the missed calls of a user, newest first."""
    response = device.request("GET", "/mediaConferences?missed=true")
    assert (response.status_code, response.json()["next"]) == (200, None)
    return [conference["participants"][0]["username"] for conference in response.json()["conferences"]]


class TestReachable:
    def test_the_answer_counts_the_devices_that_ring(self, alice: Device, topology: str) -> None:
        assert reachable(alice.gather("bob", topology=topology)) == [("alice", None), ("bob", 0)]
        Device.register("bob"), Device.register("bob", "phone")
        assert reachable(alice.gather("bob", topology=topology)) == [("alice", None), ("bob", 2)]

    def test_devices_that_are_away_do_not_count(self, alice: Device, bob: Device, topology: str) -> None:
        Session.objects.filter(pk=bob.id).update(away_until=timezone.now() + timedelta(seconds=60))
        assert reachable(alice.gather("bob", topology=topology)) == [("alice", None), ("bob", 0)]
        # They ring nevertheless, because they may come back.
        assert "invitation-received" in bob.news_types()

    def test_a_later_invitation_counts_them_too(self, alice: Device, bob: Device) -> None:
        conference = alice.gather("bob").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        assert alice.request("POST", path, {"to": "carol"}).json()["reachable"] == 0
        # Whoever rings already is not invited again.
        assert "reachable" not in alice.request("POST", path, {"to": "carol"}).json()
        assert all("reachable" not in each for each in alice.get(conference)["participants"])


class TestMissedCalls:
    def test_a_call_to_nobody_is_found_later(self, alice: Device, topology: str) -> None:
        alice.gather("dora", topology=topology)
        settle_due(now=timezone.now() + timedelta(seconds=60))
        assert missed(Device.register("dora")) == ["alice"]

    def test_a_cancelled_call_is_missed(self, alice: Device, bob: Device, topology: str) -> None:
        conference = alice.gather("bob", topology=topology).json()["id"]
        assert missed(bob) == []
        alice.delete(conference)
        assert missed(bob) == ["alice"]
        assert missed(alice) == []

    @pytest.mark.usefixtures("node")
    def test_a_call_that_never_rang_is_not_missed(self, alice: Device, bob: Device, node: ScriptedNode) -> None:
        # The focus refuses the offer, so nothing rings. Otherwise a caller could fill the list in silence.
        node.refusal = REFUSAL
        alice.delete(alice.gather("bob").json()["id"])
        settle_due(now=timezone.now() + timedelta(seconds=60))
        assert (bob.news_types(), missed(bob)) == ([], [])

    def test_a_number_counts_as_well(self, alice: Device, topology: str) -> None:
        alice.delete(alice.gather("tel:+15550133", topology=topology).json()["id"])
        assert missed(Device.register("dora", icmn="+15550133")) == ["alice"]

    def test_answered_and_declined_calls_are_not_missed(self, alice: Device, bob: Device, topology: str) -> None:
        bob.delete(alice.gather("bob", topology=topology).json()["id"])
        answered = alice.gather("bob", topology=topology).json()["id"]
        assert bob.join(answered).status_code == 204
        alice.delete(answered)
        assert missed(bob) == []

    def test_the_newest_come_first_and_old_ones_are_omitted(self, alice: Device, carol: Device, bob: Device) -> None:
        now = timezone.now()
        for number, caller in enumerate((alice, carol, alice)):
            caller.delete(caller.call("bob").json()["id"])
            newest = Participant.objects.filter(username="bob").order_by("-left_at")[:1]
            Participant.objects.filter(pk__in=[each.pk for each in newest]).update(
                left_at=now - timedelta(days=[8, 1, 2][number])
            )
        assert missed(bob) == ["carol", "alice"]
