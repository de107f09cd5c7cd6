"""Two users call each other and both accept. Exactly one call survives, whichever request comes first."""

import pytest

from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.refusals import refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.fixture(params=["peer", "focus"])
def topology(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(caller: Device, *to: str, topology: str, **fields: str) -> str:
    """Start a call; return the conference's ID."""
    response = caller.call(*to) if topology == "peer" else caller.gather(*to, **fields)
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def test_answering_a_call_ends_the_own_call_to_the_caller(alice: Device, bob: Device, topology: str) -> None:
    bobs, alices = Device.register("bob", "phone"), start(alice, "bob", topology=topology)
    crossing = start(bob, "alice", topology=topology)
    for device in (alice, bob, bobs):
        device.news()
    assert alice.join(crossing).status_code == 204
    assert alice.get(crossing)["state"] == "session-open"
    ended = alice.get(alices)
    assert ended["state"] == "session-terminated"
    assert [participant["leftReason"] for participant in ended["participants"]] == ["hung-up", "conference-ended"]
    for device in (bob, bobs):
        cancelled = [event for event in device.news() if event["type"] == "invitation-cancelled"]
        assert [(event["confId"], event["reason"]) for event in cancelled] == [(alices, "caller-cancelled")]
    terminated = [event for event in alice.news() if event["type"] == "session-terminated"]
    assert [(event["confId"], event["reason"]) for event in terminated] == [(alices, "hung-up")]
    refused(409, "not-ringing", bob.put, alices, "conference-answer", alice.offer())
    assert bob.get(crossing)["state"] == "session-open"


def test_answering_a_call_ends_the_crossing_call_of_another_device(alice: Device, bob: Device, topology: str) -> None:
    phone = Device.register("alice", "phone")
    alices, crossing = start(alice, "bob", topology=topology), start(bob, "alice", topology=topology)
    assert phone.join(crossing).status_code == 204
    assert alice.get(alices)["state"] == "session-terminated"
    assert "session-terminated" in alice.news_types()


def test_a_crossing_conference_that_rings_others_continues(
    alice: Device, bob: Device, carol: Device, node: ScriptedNode
) -> None:
    for to, access in ((("bob", "carol"), "invited"), (("carol",), "invited"), (("bob",), "open")):
        own = start(alice, *to, topology="focus", access=access)
        crossing = start(bob, "alice", topology="focus")
        assert alice.join(crossing).status_code == 204
        assert alice.get(own)["state"] == "invitation-sent"
        alice.delete(own), alice.delete(crossing)


def test_a_crossing_call_that_was_answered_continues(alice: Device, bob: Device, topology: str) -> None:
    own = start(alice, "bob", topology=topology)
    assert Device.register("bob", "phone").join(own).status_code == 204
    crossing = start(bob, "alice", topology=topology)
    assert alice.join(crossing).status_code == 204
    assert alice.get(own)["state"] == "session-open"


def test_joining_an_open_conference_ends_no_call(alice: Device, bob: Device, node: ScriptedNode) -> None:
    own, open_one = start(alice, "bob", topology="focus"), start(bob, topology="focus", access="open")
    assert alice.join(open_one).status_code == 204
    assert alice.get(own)["state"] == "invitation-sent"
