"""The host mutes participants, and each participant mutes and unmutes itself."""

from typing import Any

import pytest

from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.meeting import Meeting, last_task
from tests.support.refusals import all_rows, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
class TestMuting:
    def mute(self, meeting: Meeting, by: Device, target: Device, **muted: bool) -> Any:
        """Mute or unmute a participant's audio or video, as this device."""
        path = f"/mediaConferences/{meeting.id}/participants/{meeting.participant(target).pk}/mute"
        return by.request("PUT", path, muted)

    def test_the_host_can_mute_any_participant(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        assert self.mute(trio, alice, bob, audio=True).status_code == 204
        assert alice.news() == []
        for device in (bob, carol):
            (muted,) = device.news()
            assert (muted["type"], muted["participant"]["username"]) == ("participant-muted", "bob")
            assert muted["participant"]["muted"] == {"audio": True, "video": False}
        assert alice.get(trio.id)["participants"][1]["muted"] == {"audio": True, "video": False}
        task = last_task()
        assert (task.kind, task.payload["view"]["cause"]) == ("update", None)
        assert [participant["muted"] for participant in task.payload["view"]["seats"]] == [[], ["audio"], []]

    def test_only_the_participant_can_unmute_themselves(self, trio: Meeting, alice: Device, bob: Device) -> None:
        self.mute(trio, alice, bob, audio=True, video=True)
        refused(403, "forbidden", self.mute, trio, alice, bob, audio=False)
        refused(403, "forbidden", self.mute, trio, alice, bob, audio=True, video=False)
        assert self.mute(trio, bob, bob, audio=False).status_code == 204
        assert bob.participant(trio.id)["muted"] == {"audio": False, "video": True}

    def test_a_guest_cannot_mute_others(self, trio: Meeting, alice: Device, bob: Device) -> None:
        refused(403, "forbidden", self.mute, trio, bob, alice, audio=True)
        refused(403, "forbidden", self.mute, trio, bob, alice)

    @pytest.mark.parametrize("muted", [{}, {"audio": False}, {"audio": False, "video": False}])
    def test_muting_a_muted_participant_changes_nothing(
        self, trio: Meeting, alice: Device, bob: Device, muted: dict[str, bool]
    ) -> None:
        before = all_rows()
        assert self.mute(trio, alice, bob, **muted).status_code == 204
        assert all_rows() == before

    def test_a_participant_that_has_left_cannot_be_muted(self, trio: Meeting, alice: Device, bob: Device) -> None:
        bob.delete(trio.id)
        refused(404, "not-found", self.mute, trio, alice, bob, audio=True)
        alice.delete(trio.id)
        refused(409, "conference-not-open", self.mute, trio, alice, bob, audio=True)

    def test_the_host_can_mute_before_anyone_has_joined(self, alice: Device) -> None:
        meeting = Meeting.open(alice)
        assert self.mute(meeting, alice, alice, audio=True).status_code == 204
