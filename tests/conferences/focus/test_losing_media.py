"""A participant leaves when the node reports that its leg is lost."""

from dataclasses import replace

import pytest
from django.utils import timezone

from conferences.models import Modification, Participant
from conferences.operations.focus import leg_lost, settle_task
from media import tasks
from tests.support.actions import MOD
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.meeting import SCRIPTED, Meeting, put
from tests.support.refusals import all_rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
class TestLosingMedia:
    def leg(self, meeting: Meeting, device: Device) -> str:
        """Return the ID of the offer that made a device's leg."""
        return Modification.objects.get(offered_by=meeting.participant(device), restart=True).pk

    def lose(self, meeting: Meeting, device: Device, leg: str) -> None:
        """Report, as the node does, that a device's leg is lost."""
        participant = meeting.participant(device).pk
        leg_lost(conference_id=meeting.id, participant_id=participant, leg=leg, by=SCRIPTED, now=timezone.now())

    def test_a_guest_whose_leg_is_lost_leaves(self, trio: Meeting, alice: Device, bob: Device, carol: Device) -> None:
        self.lose(trio, bob, self.leg(trio, bob))
        for device in (alice, bob, carol):
            event = device.news()[0]
            assert (event["type"], event["reason"]) == ("participant-left", "media-lost")
        assert alice.get(trio.id)["participants"][1]["leftReason"] == "media-lost"
        before = all_rows()
        self.lose(trio, bob, self.leg(trio, bob))
        assert all_rows() == before

    def test_a_host_whose_leg_is_lost_ends_the_conference(self, trio: Meeting, alice: Device, bob: Device) -> None:
        self.lose(trio, alice, self.leg(trio, alice))
        assert alice.news_types() == ["participant-left"]
        assert bob.news_types() == ["participant-left", "session-terminated"]

    def test_a_leg_that_the_node_rebuilt_by_itself_can_be_lost(
        self, trio: Meeting, bob: Device, node: ScriptedNode
    ) -> None:
        """If an offer changes the certificate but not the ID in its o= line, only the node knows of the new leg."""
        old, node.works = self.leg(trio, bob), False
        mod = put(bob, trio.id, MOD)
        (task,) = tasks.waiting(node.id, 10)
        result = replace(node.execute(task), restart=True)
        settle_task(task_id=task.pk, result=result, now=timezone.now())
        self.lose(trio, bob, old)
        assert bob.participant(trio.id)["state"] == "accepted"
        self.lose(trio, bob, mod)
        assert bob.get(trio.id)["participants"][1]["leftReason"] == "media-lost"

    def test_losing_a_leg_that_has_been_replaced_changes_nothing(
        self, trio: Meeting, bob: Device, node: ScriptedNode
    ) -> None:
        old = self.leg(trio, bob)
        node.works = False
        bob.peer_connection += 1000
        put(bob, trio.id, MOD)
        participants = Participant.objects.order_by("pk").values_list("state", flat=True)
        before = list(participants)
        self.lose(trio, bob, old)
        node.work()
        self.lose(trio, bob, old)
        self.lose(trio, bob, "nonsense")
        leg_lost(conference_id="nonsense", participant_id="x", leg=old, by=SCRIPTED, now=timezone.now())
        leg_lost(conference_id=trio.id, participant_id="x", leg=old, by=SCRIPTED, now=timezone.now())
        assert list(participants.all()) == before
        assert bob.participant(trio.id)["state"] == "accepted"
