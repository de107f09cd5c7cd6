"""Replaying a guest's log gives the same conference as a fresh GET."""

from collections.abc import Callable

import pytest

from tests.support.actions import HOLD
from tests.support.devices import Device
from tests.support.meeting import Meeting, put
from tests.support.replay import facts, replay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


def _holds(meeting: Meeting) -> None:
    put(meeting.devices[1], meeting.id, HOLD, "recvonly")


def _leaves(meeting: Meeting) -> None:
    meeting.devices[1].delete(meeting.id)


def _invites(meeting: Meeting) -> None:
    meeting.devices[0].request("POST", f"/mediaConferences/{meeting.id}/participants", {"to": "dave"})


def _ends(meeting: Meeting) -> None:
    meeting.devices[0].delete(meeting.id)


@pytest.mark.parametrize("change", [_holds, _leaves, _invites, _ends])
def test_replaying_the_log_of_a_guest_gives_what_a_fresh_get_shows(
    alice: Device, bob: Device, carol: Device, change: Callable[[Meeting], None]
) -> None:
    conference = alice.gather("bob", "carol").json()["id"]
    for device in (carol, bob):
        device.join(conference)
    meeting = Meeting(conference, alice, bob, carol)
    meeting.catch_up()
    change(meeting)
    assert replay(carol.log(), conference, answered_at=carol.id) == facts(carol.get(conference))
