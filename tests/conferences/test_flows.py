"""The design sheet's seven flows over REST in both topologies: requests, states and events."""

from typing import Any

import pytest

from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, hold, open_call
from tests.support.focus import ScriptedNode

pytestmark = [pytest.mark.any_engine, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.fixture(params=["peer", "focus"])
def topology(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(alice: Device, topology: str, to: str = "bob", **fields: str) -> tuple[str, str]:
    """Start a call by alice and read the events about her offer; return the confId and the offer's modId."""
    response = alice.gather(to, topology=topology, **fields)
    assert (response.status_code, response["x-state"]) == (201, "invitation-sent")
    assert [event["modId"] for event in alice.news()] == ([response["x-mod-id"]] if topology == "focus" else [])
    return response.json()["id"], response["x-mod-id"]


def test_host_sends_an_invitation(alice: Device, bob: Device, topology: str, node: ScriptedNode) -> None:
    node.works = False
    response = alice.gather("bob", topology=topology, name="Lunch")
    conference = response.json()
    assert response.status_code == 201
    assert response["x-state"] == "invitation-sent"
    assert response["location"] == f"/mediaConferences/{conference['id']}"
    assert conference["topology"] == topology
    host, guest = conference["participants"]
    assert (host["state"], guest["state"]) == ("accepted", "invited")
    assert guest.pop("reachable") == 1
    (call,) = conference["pendingModifications"]
    assert (call["modId"], call["kind"], call["from"]) == (response["x-mod-id"], "call", host["id"])
    if topology == "peer":
        invitation = _invitation(bob)
        assert invitation["conference"] == conference == bob.get(conference["id"])
        assert call["to"] == guest["id"]
        assert invitation["modId"] == response["x-mod-id"]
        assert invitation["description"]["type"] == "offer"
    else:
        assert call["to"] == "focus"
        # No device rings before the focus has accepted the caller's offer.
        assert bob.news() == []
        node.work()
        assert not {"modId", "description"} & set(_invitation(bob))
        (accepted,) = alice.news()
        assert (accepted["type"], accepted["modId"]) == ("mod-accepted", response["x-mod-id"])
        assert accepted["from"] == {"participant": "focus", "username": None}
        assert accepted["description"]["type"] == "answer"
        assert alice.get(conference["id"])["pendingModifications"] == []


def _invitation(device: Device) -> dict[str, Any]:
    """Return the only new event of a device, which must be the invitation by alice."""
    (invitation,) = device.news()
    assert (invitation["type"], invitation["seq"], invitation["reason"]) == ("invitation-received", 1, "call")
    assert invitation["from"]["username"] == "alice"
    return dict(invitation)


@pytest.mark.parametrize("address", ["bob", "tel:+15550101"])
def test_flow_1_answer_opens_the_session(alice: Device, bob: Device, topology: str, address: str) -> None:
    tablet = Device.register("bob", "tablet", vtn="+15550101")
    conference, call = start(alice, topology, address)
    tablet.news(), bob.news()
    response = bob.join(conference)
    assert (response.status_code, response["x-state"]) == (204, "accepted")
    assert response.content == b""
    opened, *offers = alice.news()
    assert opened["type"] == "session-open"
    assert opened["from"]["username"] == "bob"
    assert opened["conference"]["state"] == "session-open"
    assert [participant["username"] for participant in opened["conference"]["participants"]] == ["alice", "bob"]
    (cancelled,) = tablet.news()
    assert (cancelled["type"], cancelled["reason"]) == ("invitation-cancelled", "answered-elsewhere")
    accepted = bob.news()
    if topology == "peer":
        assert opened["conference"] == alice.get(conference)
        assert opened["modId"] == call
        assert opened["description"]["type"] == "answer"
        assert offers == accepted == []
        assert "x-mod-id" not in response
    else:
        assert opened["conference"]["participants"] == alice.get(conference)["participants"]
        assert [(event["type"], event["modId"]) for event in accepted] == [("mod-accepted", response["x-mod-id"])]
        (sync,) = offers
        assert (sync["type"], sync["kind"], sync["causedBy"]) == ("mod-received", "sync", response["x-mod-id"])
        assert sync["from"] == {"participant": "focus", "username": None}


def test_flow_2_modification_reaches_the_other_side(call: Call, node: ScriptedNode) -> None:
    node.works = False
    new = call.alice.offer(kinds=("audio", "video", "video"))
    response = call.alice.put(call.id, "initiate-conference-mod", new)
    assert (response.status_code, response["x-state"]) == (204, "mod-sent")
    assert call.bob.get(call.id)["pendingModifications"][0]["modId"] == response["x-mod-id"]
    node.work()
    (received,) = call.bob.news()
    assert (received["type"], received["restart"]) == ("mod-received", not call.has_focus)
    if call.has_focus:
        assert (received["kind"], received["causedBy"]) == ("sync", response["x-mod-id"])
        assert received["description"]["sdp"].count("m=video") == 2
    else:
        assert (received["kind"], received["modId"]) == ("mod", response["x-mod-id"])
        assert received["description"] == new


@pytest.mark.parametrize("direction", ["recvonly", "sendonly", "inactive"])
def test_flow_3_hold_takes_effect_when_accepted(call: Call, node: ScriptedNode, direction: str) -> None:
    node.works = False
    response = call.alice.put(call.id, "initiate-conference-hold", call.alice.offer(direction))
    assert (response.status_code, response["x-state"]) == (204, "mod-sent")
    assert call.alice.get(call.id)["participants"][0]["state"] == "accepted"
    if call.has_focus:
        node.work()
        assert call.bob.offers(call.id)[0]["causedBy"] == response["x-mod-id"]
    (received,) = call.bob.offers(call.id)
    assert (received["type"], received["kind"]) == ("mod-received", "hold")
    accepted = call.bob.accept(call.id, received["modId"], call.bob.mirror(received))
    assert (accepted.status_code, accepted["x-state"]) == (204, "mod-accepted")
    assert call.alice.get(call.id)["participants"][0]["state"] == "on-hold"
    assert call.alice.news_types() == ["mod-accepted", "participant-on-hold"]
    assert sorted(call.bob.news_types()) == ["mod-received", "participant-on-hold"]


def test_flow_4_resume_ends_the_hold(call: Call) -> None:
    hold(call)
    response = call.alice.put(call.id, "initiate-conference-resume", call.alice.offer())
    assert (response.status_code, response["x-state"]) == (204, "mod-sent")
    call.bob.follow(call.id)
    assert call.alice.get(call.id)["participants"][0]["state"] == "accepted"
    assert call.alice.news_types() == ["mod-accepted", "participant-resumed"]
    assert sorted(call.bob.news_types()) == ["mod-received", "participant-resumed"]


def test_flow_5_accepting_brings_the_answer_to_the_initiator(call: Call) -> None:
    mod = call.bob.put(call.id, "initiate-conference-mod", call.bob.offer(kinds=("audio",)))["x-mod-id"]
    (received,) = call.alice.offers(call.id)
    response = call.alice.accept(call.id, received["modId"], call.alice.mirror(received))
    assert (response.status_code, response["x-state"]) == (204, "mod-accepted")
    (accepted,) = call.bob.news()
    assert accepted["type"] == "mod-accepted"
    assert accepted["modId"] == mod
    assert accepted["description"]["type"] == "answer"
    assert call.bob.get(call.id)["pendingModifications"] == []


@pytest.mark.parametrize(("who", "state"), [("bob", "mod-rejected"), ("alice", "mod-cancelled")])
def test_flow_6_reject_and_cancel_change_nothing(call: Call, node: ScriptedNode, who: str, state: str) -> None:
    before = call.alice.get(call.id)
    # A focus settles an offer at once. So alice can cancel only an offer that the focus has not read yet.
    node.works = who == "bob"
    mod = call.alice.put(call.id, "initiate-conference-hold", call.alice.offer("recvonly"))["x-mod-id"]
    events = call.bob.news()
    call.alice.news()
    rejected = mod if who == "alice" else events[-1]["modId"]
    settler, other = (call.bob, call.alice) if who == "bob" else (call.alice, call.bob)
    response = settler.withdraw(call.id, rejected)
    assert (response.status_code, response["x-state"]) == (204, state)
    node.works = True
    node.work()
    if call.has_focus and who == "alice":
        # The focus announces the hold before it receives the cancellation.
        assert [event["kind"] for event in call.bob.follow(call.id)] == ["hold", "sync"]
        assert call.alice.news() == []
    else:
        (settled,) = other.news()
        assert (settled["type"], settled["modId"]) == (state, mod)
    if call.has_focus and who == "bob":
        # Only bob rejected the offer of the focus. Alice is still on hold.
        assert settled["participant"]["username"] == "bob"
        assert call.bob.offers(call.id) == []
    else:
        assert call.alice.get(call.id) == before


class TestFlow7Move:
    """Moving to another device."""

    @pytest.fixture
    def phone(self, call: Call) -> Device:
        return Device.register("alice", "phone")

    @pytest.mark.parametrize("answered", [True, False])
    def test_move_rings_the_other_devices(self, call: Call, phone: Device, node: ScriptedNode, answered: bool) -> None:
        if answered:
            hold(call, "initiate-call-hold")
        else:
            node.works = False
            mod = call.alice.put(call.id, "initiate-call-hold", call.alice.offer("recvonly"))["x-mod-id"]
            assert call.bob.news_types() == ([] if call.has_focus else ["mod-received"])
        response = call.alice.delete(call.id)
        assert response.status_code == 200
        assert response.json()["outcome"] == "moving"
        assert response.json()["participants"][0]["state"] == "moving"
        node.work()
        (ringing,) = phone.news()
        assert (ringing["type"], ringing["reason"]) == ("invitation-received", "move")
        assert ringing["from"]["username"] == "alice"
        assert "description" not in ringing
        news = call.bob.news()
        if not answered and not call.has_focus:
            cancelled = news.pop(0)
            assert (cancelled["type"], cancelled["modId"]) == ("mod-cancelled", mod)
        if not answered and call.has_focus:
            # The offer to hold was cancelled before the focus read it. The focus still announces the hold.
            assert news.pop()["causedBy"] == mod
        (moving,) = news
        assert moving["type"] == "participant-moving"
        assert moving["participant"]["state"] == "moving"

    def test_the_first_device_to_answer_takes_the_conference(self, call: Call, phone: Device) -> None:
        tablet = Device.register("alice", "tablet")
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        late = Device.register("alice", "late")
        for device in (phone, tablet, late):
            assert device.news_types() == ["invitation-received"]
        call.bob.news()
        fresh = tablet.offer()
        response = tablet.answer(call.id, fresh)
        assert (response.status_code, response["x-state"]) == (204, "accepted")
        moved, received = call.bob.news()
        assert (moved["type"], received["type"]) == ("participant-moved", "mod-received")
        assert moved["participant"]["sessionId"] == tablet.id
        assert received["kind"] == "move"
        if call.has_focus:
            assert (received["causedBy"], received["restart"]) == (response["x-mod-id"], False)
        else:
            assert (received["modId"], received["restart"]) == (response["x-mod-id"], True)
            assert received["description"] == fresh
        for loser in (phone, late):
            assert loser.news()[0]["reason"] == "answered-elsewhere"
        (handed_over,) = call.alice.news()
        assert handed_over["type"] == "participant-moved"
        assert handed_over["participant"]["device"] == "tablet"
        call.bob.follow(call.id)
        assert tablet.news_types() == ["mod-accepted"]
        assert phone.answer(call.id, phone.offer()).json()["code"] == "already-answered"
        refused = call.alice.put(call.id, "initiate-conference-mod", call.alice.offer())
        assert refused.json()["code"] == "forbidden"
        response = tablet.put(call.id, "initiate-conference-hold", tablet.offer("recvonly"))
        assert response.status_code == 204

    @pytest.mark.parametrize("settled", [True, False])
    def test_a_participant_on_hold_can_move_too(
        self, call: Call, phone: Device, node: ScriptedNode, topology: str, settled: bool
    ) -> None:
        hold(call)
        node.works = settled
        again = call.alice.offer("recvonly") if call.has_focus else offer("recvonly", version=4)
        response = call.alice.put(call.id, "initiate-call-hold", again)
        assert (response.status_code, response["x-state"]) == (204, "mod-sent")
        if settled and topology == "peer":
            assert call.bob.news()[0]["kind"] == "hold"
            accepted = call.bob.accept(call.id, response["x-mod-id"], answer("sendonly", version=4))
            assert accepted.status_code == 204
        if settled:
            # The participant was on hold before, so no second event reports the hold.
            assert call.alice.news_types() == ["mod-accepted"]
            assert call.bob.news() == []
            assert call.alice.get(call.id)["participants"][0]["state"] == "on-hold"
        assert call.alice.delete(call.id).json()["outcome"] == "moving"
        node.works = True
        node.work()
        assert phone.news_types() == ["invitation-received"]
        assert phone.join(call.id).status_code == 204
        assert phone.get(call.id)["participants"][0]["state"] == "accepted"

    @pytest.mark.parametrize("shared", [{"vtn": "+15550177"}, {"icmn": "+15550178"}])
    def test_a_device_that_shares_a_number_rings_too(self, bob: Device, topology: str, shared: dict[str, str]) -> None:
        laptop = Device.register("alice", **shared)
        desk = Device.register("alice-at-work", "desk", **shared)
        call = open_call(laptop, bob, topology)
        hold(call, "initiate-call-hold")
        laptop.delete(call.id)
        assert desk.news_types() == ["invitation-received"]
        assert desk.answer(call.id, desk.offer()).status_code == 204

    def test_without_another_device_a_move_ends_the_call(self, call: Call) -> None:
        hold(call, "initiate-call-hold")
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], body["moveRefused"], body["state"]) == (
            "terminated",
            "no-other-device",
            "session-terminated",
        )
        assert call.bob.news()[-1]["reason"] == "hung-up"

    def test_declining_a_move_ends_the_call_of_two(self, call: Call, phone: Device) -> None:
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        call.bob.news()
        assert phone.delete(call.id).json()["outcome"] == "declined"
        assert call.bob.news_types() == ["participant-left", "session-terminated"]
        assert call.alice.news_types() == ["participant-left"]

    def test_hanging_up_while_the_other_devices_ring_cancels_the_move(self, call: Call, phone: Device) -> None:
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        phone.news()
        assert call.alice.delete(call.id).json()["outcome"] == "terminated"
        assert phone.news()[0]["type"] == "invitation-cancelled"


class TestEnding:
    """`DELETE` in every situation."""

    def test_declining_notifies_the_host_and_the_other_devices(self, alice: Device, bob: Device, topology: str) -> None:
        tablet = Device.register("bob", "tablet")
        conference, _ = start(alice, topology)
        bob.news(), tablet.news()
        body = bob.delete(conference).json()
        assert (body["outcome"], body["state"]) == ("declined", "session-terminated")
        left, terminated = alice.news()
        assert (left["type"], left["reason"]) == ("participant-left", "declined")
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", "declined")
        assert terminated["conference"] == alice.get(conference)
        assert tablet.news()[0]["reason"] == "declined-elsewhere"
        assert bob.news() == []

    def test_the_host_can_cancel_while_it_rings(self, alice: Device, bob: Device, topology: str) -> None:
        conference, _ = start(alice, topology)
        bob.news()
        assert alice.delete(conference).json()["outcome"] == "terminated"
        assert bob.news()[0]["reason"] == "caller-cancelled"
        assert bob.answer(conference, answer()).json()["code"] == "not-ringing"

    @pytest.mark.parametrize("who", ["alice", "bob"])
    def test_either_of_two_participants_can_end_the_call(self, call: Call, who: str) -> None:
        ender, other = (call.alice, call.bob) if who == "alice" else (call.bob, call.alice)
        assert ender.delete(call.id).json()["state"] == "session-terminated"
        (terminated,) = other.news()
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", "hung-up")
        assert terminated["conference"] == other.get(call.id)

    def test_ending_twice_changes_nothing(self, call: Call) -> None:
        first = call.alice.delete(call.id)
        again = call.alice.delete(call.id)
        assert again.status_code == 200
        assert again["etag"] == first["etag"]
        assert again.json()["state"] == "session-terminated"

    def test_a_session_that_registers_while_it_rings_rings_too(self, alice: Device, topology: str) -> None:
        conference, _ = start(alice, topology, "carol")
        carol = Device.register("carol")
        (ringing,) = carol.news()
        assert ringing["confId"] == conference
        assert ("description" in ringing) == (topology == "peer")
        assert carol.join(conference).status_code == 204

    def test_ending_a_session_leaves_its_conferences(self, call: Call) -> None:
        assert call.bob.request("DELETE", f"/sessions/{call.bob.id}").status_code == 204
        assert call.alice.news()[-1]["type"] == "session-terminated"

    def test_the_host_can_remove_the_other_participant(self, call: Call) -> None:
        guest = call.alice.get(call.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants/{guest}"
        host = call.bob.get(call.id)["participants"][0]["id"]
        assert call.bob.request("DELETE", path.replace(guest, host)).json()["code"] == "forbidden"
        assert call.alice.request("DELETE", path).status_code == 204
        (left,) = call.bob.news()
        assert (left["type"], left["reason"]) == ("participant-left", "removed")
        assert call.alice.news_types() == ["participant-left", "session-terminated"]
