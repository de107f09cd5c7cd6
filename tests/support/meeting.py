"""A conference of several devices, whose focus is a scripted node."""

from typing import Any

from conferences.models import Participant
from media.messages import Refusal, RefusalCode
from media.models import MediaTask
from media.reports import Assignment
from tests.support.devices import Device, register

# The assignment of the scripted node to a conference that had no other node.
SCRIPTED = Assignment("scripted", 1)
REFUSAL = Refusal(RefusalCode.SDP_INVALID, "No codec in common.")


class Meeting:
    """A conference of several devices."""

    def __init__(self, conference: str, *devices: Device) -> None:
        """Wrap an existing conference."""
        self.id, self.devices = conference, devices

    @classmethod
    def open(cls, *devices: Device) -> "Meeting":
        """Start an open conference hosted by the first device. The others join, and all accept the focus's offers."""
        meeting = cls(started(devices[0]), *devices)
        for device in devices[1:]:
            assert device.join(meeting.id).status_code == 204
        meeting.catch_up()
        return meeting

    def catch_up(self) -> None:
        """Have all devices accept the offers of the focus and read their events."""
        while any(device.follow(self.id) for device in self.devices):
            pass
        for device in self.devices:
            device.news()

    def participant(self, device: Device) -> Participant:
        """Return the newest participant of a device."""
        return Participant.objects.filter(conference=self.id, session=device.id).latest("position")


def started(host: Device, *to: str, **fields: str) -> str:
    """Start an open conference and return its ID."""
    response = host.gather(*to, **{"access": "open", **fields})
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def gather_three() -> tuple[str, tuple[Device, ...]]:
    """Start an open conference of alice, bob and carol."""
    devices = register("alice", "bob", "carol")
    return Meeting.open(*devices).id, devices


def put(device: Device, conference: str, action: str, direction: str = "sendrecv", **variation: Any) -> str:
    """Make an offer that must be accepted for processing (204); return its modId."""
    response = device.put(conference, action, device.offer(direction, **variation))
    assert (response.status_code, response["x-state"]) == (204, "mod-sent"), response.content
    return str(response["x-mod-id"])


def last_task() -> MediaTask:
    """Return the newest task that is not carried out yet."""
    return MediaTask.objects.latest("pk")


def states(task: MediaTask) -> list[str]:
    """Return the participants' states in a task."""
    return [participant["state"] for participant in task.payload["view"]["seats"]]
