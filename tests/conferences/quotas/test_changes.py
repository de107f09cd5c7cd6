"""Quota of a user's changes per minute, for changes that contain no SDP."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from tests.support.clock import Clock
from tests.support.devices import Device
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("node")
class TestChangesPerMinute:
    def test_mutes_invitations_and_removals_of_a_user_count_together(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.CHANGES_PER_MINUTE = 3
        conference = alice.gather("bob").json()["id"]
        participants = f"/mediaConferences/{conference}/participants"
        assert alice.request("POST", participants, {"to": "carol"}).status_code == 201
        carol = alice.get(conference)["participants"][-1]["id"]
        assert alice.request("DELETE", f"{participants}/{carol}").status_code == 204
        mute = f"{participants}/{alice.participant(conference)['id']}/mute"
        assert alice.request("PUT", mute, {"audio": True}).status_code == 204
        # A request that changes nothing does not count.
        assert alice.request("PUT", mute, {"audio": True}).status_code == 204
        response = refused(429, "rate-limited", alice.request, "PUT", mute, {"audio": False})
        assert int(response["retry-after"]) > 0
        refused(429, "rate-limited", alice.request, "POST", participants, {"to": "dave"})

    def test_a_burst_of_changes_is_limited(self, alice: Device, settings: Settings, still_clock: Clock) -> None:
        settings.CHANGES_AT_ONCE = 2
        conference = alice.gather(access="open").json()["id"]
        mute = f"/mediaConferences/{conference}/participants/{alice.participant(conference)['id']}/mute"
        for audio in (True, False):
            assert alice.request("PUT", mute, {"audio": audio}).status_code == 204
        response = refused(429, "rate-limited", alice.request, "PUT", mute, {"audio": True})
        assert 0 < int(response["retry-after"]) <= 10
        still_clock.at += timedelta(seconds=10)
        assert alice.request("PUT", mute, {"audio": True}).status_code == 204

    def test_the_devices_of_a_user_share_the_quota_and_other_users_have_their_own(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.CHANGES_PER_MINUTE = 1
        for device, status in ((alice, 204), (Device.register("alice", "phone"), 429), (bob, 204)):
            conference = device.gather(access="open").json()["id"]
            mute = f"/mediaConferences/{conference}/participants/{device.participant(conference)['id']}/mute"
            assert device.request("PUT", mute, {"audio": True}).status_code == status


def test_a_long_list_of_users_counts_as_several_requests(alice: Device, settings: Settings) -> None:
    for _ in range(5):
        alice.delete(alice.call("bob").json()["id"])
    # The requests above count as ten. Each request for the list counts as two.
    settings.REQUESTS_PER_MINUTE = 13
    path = "/mediaConferences?state=session-terminated"
    assert [alice.request("GET", path).status_code for _ in range(2)] == [200, 429]
