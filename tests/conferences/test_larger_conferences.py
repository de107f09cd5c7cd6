"""Inviting, joining, leaving and removing in conferences of more than two."""

from collections.abc import Callable

import pytest

from conferences.models import Participant
from tests.support.devices import Call, Device, register
from tests.support.focus import ScriptedNode
from tests.support.refusals import all_rows, refused
from tests.support.scenes import BeginWith, Scene

pytestmark = [pytest.mark.any_engine, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


def call_three() -> tuple[str, tuple[Device, ...]]:
    """Start a call by alice. Bob and carol answer; dave does not."""
    devices = alice, *called = register("alice", "bob", "carol", "dave")
    response = alice.gather(*(device.username for device in called))
    assert response.status_code == 201, response.content
    conference = response.json()["id"]
    for device in called[:2]:
        assert device.join(conference).status_code == 204
    catch_up(conference, *devices[:3])
    devices[3].news()
    return conference, devices


@pytest.fixture
def scene(request: pytest.FixtureRequest, begin_with: BeginWith) -> Scene | None:
    return begin_with("three meet while it rings", call_three, focus=True) if "four" in request.fixturenames else None


@pytest.fixture
def dave(device: Callable[[str], Device]) -> Device:
    return device("dave")


@pytest.fixture
def four(scene: Scene, alice: Device, bob: Device) -> Call:
    """A conference of alice, bob and carol that rings for dave. All three have answered the focus's offers."""
    return Call(scene.conference, alice, bob, "focus")


def catch_up(conference: str, *devices: Device) -> None:
    """With all these devices, accept the offers of the focus and read the events."""
    while any(device.follow(conference) for device in devices):
        pass
    for device in devices:
        device.news()


def news_without_offers(device: Device) -> list[str]:
    """Return the types of a device's new events, without the offers of the focus."""
    return [type_ for type_ in device.news_types() if type_ != "mod-received"]


def state_of(call: Call, username: str) -> tuple[str, str | None]:
    """Return a participant's newest state and `leftReason`."""
    participants = {participant["username"]: participant for participant in call.alice.get(call.id)["participants"]}
    return participants[username]["state"], participants[username]["leftReason"]


def path_of(call: Call, username: str) -> str:
    """Return the address of a participant."""
    participant = Participant.objects.get(conference=call.id, username=username)
    return f"/mediaConferences/{call.id}/participants/{participant.pk}"


# --- Joining ----------------------------------------------------------------------------------------------


def test_all_invited_users_ring_and_the_first_answer_opens_it(
    alice: Device, bob: Device, carol: Device, dave: Device
) -> None:
    response = alice.gather("bob", "carol", "dave", "bob")
    body = response.json()
    assert [participant["username"] for participant in body["participants"]] == ["alice", "bob", "carol", "dave"]
    for device in (bob, carol, dave):
        (rings,) = device.news()
        assert (rings["type"], rings["from"]["username"]) == ("invitation-received", "alice")
    alice.news()
    carol.join(body["id"])
    assert news_without_offers(alice) == ["session-open"]
    assert bob.news() == dave.news() == []
    bob.join(body["id"])
    assert news_without_offers(alice) == news_without_offers(carol)[-1:] == ["participant-joined"]


def test_the_others_are_notified_of_a_join(four: Call, carol: Device, dave: Device) -> None:
    assert dave.join(four.id).status_code == 204
    for device in (four.alice, four.bob, carol):
        joined, offer = device.news()
        assert (joined["type"], joined["participant"]["username"]) == ("participant-joined", "dave")
        assert (offer["type"], offer["kind"]) == ("mod-received", "sync")


def test_a_device_that_rings_for_two_participants_gets_one_event(alice: Device, bob: Device) -> None:
    conference = alice.gather("bob", "tel:+15550101").json()["id"]
    tablet = Device.register("bob", "tablet", vtn="+15550101")
    assert bob.news_types() == tablet.news_types() == ["invitation-received"]
    assert len(alice.get(conference)["participants"]) == 3
    assert bob.delete(conference).json()["state"] == "session-terminated"


def test_a_device_in_the_conference_can_leave_while_its_user_rings_again(alice: Device, bob: Device) -> None:
    conference = alice.gather("bob", "tel:+15550101", "carol").json()["id"]
    bob.join(conference)
    assert bob.delete(conference).json()["outcome"] == "left"


# --- Leaving ----------------------------------------------------------------------------------------------


def test_declining_does_not_end_the_conference_for_the_others(four: Call, carol: Device, dave: Device) -> None:
    assert dave.delete(four.id).json()["outcome"] == "declined"
    for device in (four.alice, four.bob, carol):
        (left,) = device.news()
        assert (left["type"], left["reason"]) == ("participant-left", "declined")
    assert four.alice.get(four.id)["state"] == "session-open"


def test_the_conference_continues_after_a_guest_leaves(four: Call, carol: Device, dave: Device) -> None:
    body = four.bob.delete(four.id).json()
    assert (body["outcome"], body["state"]) == ("left", "session-open")
    assert state_of(four, "bob") == ("left", "hung-up")
    for device in (four.alice, carol):
        left, offer = device.news()
        assert (left["type"], left["reason"], left["participant"]["username"]) == ("participant-left", "hung-up", "bob")
        assert (offer["type"], offer["kind"], offer["causedBy"]) == ("mod-received", "sync", None)
    assert four.bob.news() == []
    assert dave.join(four.id).status_code == 204


def test_leaving_twice_changes_nothing(four: Call) -> None:
    four.bob.delete(four.id)
    before = all_rows()
    assert four.bob.delete(four.id).json()["outcome"] == "left"
    assert all_rows() == before


def test_declining_twice_changes_nothing(four: Call, dave: Device) -> None:
    tablet = Device.register("dave", "tablet")
    dave.delete(four.id)
    before = all_rows()
    for device in (dave, tablet):
        assert device.delete(four.id).json()["outcome"] == "declined"
    assert all_rows() == before
    refused(404, "not-found", Device.register("stranger").delete, four.id)


def test_declining_after_the_host_has_withdrawn_the_invitation_changes_nothing(four: Call, dave: Device) -> None:
    (invited,) = (each["id"] for each in four.alice.get(four.id)["participants"] if each["username"] == "dave")
    path = f"/mediaConferences/{four.id}/participants/{invited}"
    assert four.alice.request("DELETE", path).status_code == 204
    assert dave.delete(four.id).json()["outcome"] == "left"


def test_it_ends_when_only_one_participant_remains(four: Call, carol: Device, dave: Device) -> None:
    four.bob.delete(four.id), carol.delete(four.id)
    # Dave's device still rings.
    assert four.alice.get(four.id)["state"] == "session-open"
    body = dave.delete(four.id).json()
    assert (body["outcome"], body["state"]) == ("declined", "session-terminated")
    assert four.alice.news_types()[-1] == "session-terminated"


def test_the_host_ends_the_conference_for_all(four: Call, carol: Device, dave: Device, node: ScriptedNode) -> None:
    assert four.alice.delete(four.id).json()["outcome"] == "terminated"
    assert four.bob.news_types() == carol.news_types() == ["session-terminated"]
    assert dave.news_types() == ["invitation-cancelled"]
    assert node.legs[four.id] == {}


def test_it_ends_with_the_session_of_the_host(four: Call, carol: Device) -> None:
    four.alice.request("DELETE", f"/sessions/{four.alice.id}")
    assert four.bob.news_types() == carol.news_types() == ["session-terminated"]


def test_it_continues_after_the_session_of_a_guest_ends(four: Call, carol: Device) -> None:
    four.bob.request("DELETE", f"/sessions/{four.bob.id}")
    assert news_without_offers(four.alice) == news_without_offers(carol) == ["participant-left"]
    assert four.alice.get(four.id)["state"] == "session-open"


# --- Moving -----------------------------------------------------------------------------------------------


def test_two_participants_can_move_at_the_same_time(four: Call, carol: Device) -> None:
    phones = [Device.register(device.username, "phone") for device in (four.bob, carol)]
    for device in (four.bob, carol):
        assert device.put(four.id, "initiate-call-hold", device.offer("recvonly")).status_code == 204
        assert device.delete(four.id).json()["outcome"] == "moving"
        catch_up(four.id, four.alice, *({four.bob.id: [carol]}.get(device.id, [])))
    # The two pending moves do not block alice's modification.
    assert four.alice.put(four.id, "initiate-conference-mod", four.alice.offer()).status_code == 204
    for phone in phones:
        assert phone.join(four.id).status_code == 204
        assert phone.participant(four.id)["state"] == "accepted"


def test_a_failed_move_does_not_end_the_conference_for_the_others(four: Call, carol: Device) -> None:
    phone = Device.register("bob", "phone")
    four.bob.put(four.id, "initiate-call-hold", four.bob.offer("recvonly"))
    four.bob.delete(four.id)
    catch_up(four.id, four.alice, carol)
    assert phone.delete(four.id).json()["outcome"] == "declined"
    assert news_without_offers(four.alice) == news_without_offers(carol) == ["participant-left"]
    assert state_of(four, "bob") == ("left", "declined")
    assert phone.delete(four.id).json()["outcome"] == "declined"
    assert four.bob.delete(four.id).json()["outcome"] == "left"


def test_a_failed_move_of_the_host_ends_it(four: Call, carol: Device) -> None:
    phone = Device.register("alice", "phone")
    four.alice.put(four.id, "initiate-call-hold", four.alice.offer("recvonly"))
    four.alice.delete(four.id)
    catch_up(four.id, four.bob, carol)
    assert phone.delete(four.id).json()["outcome"] == "declined"
    assert carol.news_types() == ["participant-left", "session-terminated"]


# --- Actions of the host ----------------------------------------------------------------------------------


def test_the_host_can_remove_a_guest(four: Call, carol: Device) -> None:
    path = path_of(four, "bob")
    assert four.alice.request("DELETE", path).status_code == 204
    assert state_of(four, "bob") == ("left", "removed")
    for device in (four.alice, four.bob, carol):
        assert news_without_offers(device) == ["participant-left"]
    before = all_rows()
    assert four.alice.request("DELETE", path).status_code == 204
    assert all_rows() == before


def test_a_participant_that_removes_itself_leaves(four: Call, carol: Device) -> None:
    assert carol.request("DELETE", path_of(four, "carol")).status_code == 204
    assert state_of(four, "carol") == ("left", "hung-up")
    assert carol.news() == []


@pytest.mark.parametrize("address", ["erin", "tel:+15550155"])
def test_the_host_can_invite_another_user(four: Call, carol: Device, address: str) -> None:
    erin = Device.register("erin", vtn="+15550155")
    etag = four.alice.request("GET", f"/mediaConferences/{four.id}")["etag"]
    response = four.alice.request("POST", f"/mediaConferences/{four.id}/participants", {"to": address})
    participant = response.json()
    assert (response.status_code, participant["state"]) == (201, "invited")
    assert participant.pop("reachable") == 1
    assert response["location"].endswith(f"/{four.id}/participants/{participant['id']}")
    assert response["etag"] != etag
    assert four.alice.get(four.id)["participants"][-1] == participant
    assert four.alice.news() == []
    for device in (four.bob, carol):
        (invited,) = device.news()
        assert (invited["type"], invited["participant"]) == ("participant-invited", participant)
    (rings,) = erin.news()
    assert (rings["type"], rings["reason"], rings["from"]["username"]) == ("invitation-received", "call", "alice")
    assert erin.join(four.id).status_code == 204
    assert state_of(four, "erin") == ("accepted", None)


@pytest.mark.parametrize("address", ["bob", "dave", "tel:+15550101"])
def test_a_user_who_has_joined_or_rings_cannot_be_invited_again(four: Call, address: str) -> None:
    before = all_rows()
    response = four.alice.request("POST", f"/mediaConferences/{four.id}/participants", {"to": address})
    assert response.status_code == 201
    assert response.json()["username"] == {"tel:+15550101": "bob"}.get(address, address)
    assert all_rows() == before


def test_the_host_cannot_invite_itself(four: Call) -> None:
    path = f"/mediaConferences/{four.id}/participants"
    refused(400, "malformed", four.alice.request, "POST", path, {"to": "alice"})


def test_a_user_who_has_left_can_be_invited_again(four: Call) -> None:
    four.bob.delete(four.id)
    response = four.alice.request("POST", f"/mediaConferences/{four.id}/participants", {"to": "bob"})
    assert response.status_code == 201
    assert four.bob.join(four.id).status_code == 204
    assert [
        participant["state"]
        for participant in four.alice.get(four.id)["participants"]
        if participant["username"] == "bob"
    ] == [
        "left",
        "accepted",
    ]


def test_only_the_host_can_invite_and_only_before_the_end(four: Call) -> None:
    path = f"/mediaConferences/{four.id}/participants"
    refused(403, "forbidden", four.bob.request, "POST", path, {"to": "erin"})
    four.alice.delete(four.id)
    refused(409, "conference-not-open", four.alice.request, "POST", path, {"to": "erin"})
