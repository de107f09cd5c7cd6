"""A resume restores the directions from before the hold, also for listeners, publishers and data-only participants."""

import pytest

from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)
HOLD, RESUME = "initiate-conference-hold", "initiate-conference-resume"


@pytest.mark.parametrize(
    ("kinds", "before", "held", "theirs"),
    [
        (("audio",), "recvonly", "recvonly", "sendonly"),
        (("audio", "video"), "recvonly", "inactive", "inactive"),
        (("video",), "sendonly", "inactive", "inactive"),
        (("application",), "sendrecv", "inactive", "inactive"),
    ],
)
def test_a_resume_restores_the_directions(
    alice: Device, bob: Device, kinds: tuple[str, ...], before: str, held: str, theirs: str
) -> None:
    mirrored = {"recvonly": "sendonly", "sendonly": "recvonly", "sendrecv": "sendrecv"}[before]
    conference = alice.call("bob", **offer(before, kinds=kinds)).json()["id"]
    assert bob.answer(conference, answer(mirrored, kinds=kinds)).status_code == 204
    mod = alice.put(conference, HOLD, offer(held, kinds=kinds, version=3))["x-mod-id"]
    assert bob.accept(conference, mod, answer(theirs, kinds=kinds, version=3)).status_code == 204
    response = alice.put(conference, RESUME, offer(before, kinds=kinds, version=4))
    assert response.status_code == 204, response.content
    accepted = bob.accept(conference, response["x-mod-id"], answer(mirrored, kinds=kinds, version=4))
    assert accepted.status_code == 204
    assert alice.get(conference)["participants"][0]["state"] == "accepted"


@pytest.mark.parametrize(("before", "theirs"), [("recvonly", "sendonly"), ("sendonly", "recvonly")])
def test_the_callee_can_resume_too(alice: Device, bob: Device, before: str, theirs: str) -> None:
    conference = alice.call("bob", **offer(theirs)).json()["id"]
    assert bob.answer(conference, answer(before)).status_code == 204
    bobs, alices = 777, 4611731400430051336
    mod = bob.put(conference, HOLD, offer("inactive", session=bobs, version=3))["x-mod-id"]
    assert alice.accept(conference, mod, answer("inactive", session=alices, version=3)).status_code == 204
    refused(422, "sdp-direction", bob.put, conference, RESUME, offer("inactive", session=bobs, version=4))
    response = bob.put(conference, RESUME, offer(before, session=bobs, version=4))
    assert response.status_code == 204, response.content


@pytest.mark.parametrize("before", ["recvonly", "sendonly"])
def test_a_listener_and_a_publisher_resume_with_a_focus(alice: Device, node: ScriptedNode, before: str) -> None:
    conference = alice.gather(access="open").json()["id"]
    guest = Device.register("guest")
    assert guest.answer(conference, guest.offer(before, kinds=("audio",))).status_code == 204
    guest.follow(conference)
    assert guest.put(conference, HOLD, guest.offer("inactive", kinds=("audio",))).status_code == 204
    guest.follow(conference)
    response = guest.put(conference, RESUME, guest.offer(before, kinds=("audio",)))
    assert response.status_code == 204, response.content
    assert guest.participant(conference)["state"] == "accepted"


def test_a_publisher_can_resume_when_there_is_nothing_left_to_receive(alice: Device, node: ScriptedNode) -> None:
    conference = alice.gather(access="open").json()["id"]
    guest = Device.register("guest")
    guest.answer(conference, describe_offer(guest, "sendonly", "recvonly"))
    guest.follow(conference)
    assert guest.put(conference, HOLD, describe_offer(guest, "inactive", "recvonly")).status_code == 204
    guest.follow(conference)
    refused(422, "sdp-direction", guest.put, conference, RESUME, describe_offer(guest, "inactive", "recvonly"))
    response = guest.put(conference, RESUME, describe_offer(guest, "sendonly", "inactive"))
    assert response.status_code == 204, response.content


def describe_offer(device: Device, *directions: str) -> dict[str, str]:
    """Return the device's next offer, with one audio section for each of these directions."""
    device.version += 1
    kinds = ("audio",) * len(directions)
    text = describe(kinds=kinds, directions=directions, session=device.peer_connection, version=device.version)
    return {"type": "offer", "sdp": text}


def test_a_publisher_cannot_resume_as_a_listener(alice: Device, bob: Device) -> None:
    conference = alice.call("bob", **offer("sendonly")).json()["id"]
    bob.answer(conference, answer("recvonly"))
    mod = alice.put(conference, HOLD, offer("inactive", version=3))["x-mod-id"]
    bob.accept(conference, mod, answer("inactive", version=3))
    refused(422, "sdp-direction", alice.put, conference, RESUME, offer("recvonly", version=4))
