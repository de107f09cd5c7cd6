"""The sheet's seven flows, over REST, as far as requests, states and events go."""

import pytest

from tests.descriptions import answer, offer
from tests.devices import Call, Device, hold, open_call

pytestmark = pytest.mark.django_db(transaction=True)


def test_host_sends_an_invitation(alice: Device, bob: Device) -> None:
    response = alice.call("bob", name="Lunch")
    conference = response.json()
    assert response.status_code == 201
    assert response["x-state"] == "invitation-sent"
    assert response["location"] == f"/mediaConferences/{conference['id']}"
    (invitation,) = bob.news()
    assert invitation["type"] == "invitation-received"
    assert invitation["seq"] == 1
    assert invitation["reason"] == "call"
    assert invitation["modId"] == response["x-mod-id"]
    assert invitation["description"] == offer()
    assert invitation["from"]["username"] == "alice"
    assert invitation["conference"] == conference == bob.get(conference["id"])
    assert [seat["state"] for seat in conference["participants"]] == ["accepted", "invited"]
    assert conference["pendingModifications"][0]["kind"] == "call"


@pytest.mark.parametrize("address", ["bob", "tel:+15550101"])
def test_flow_1_answer_opens_the_session(alice: Device, bob: Device, address: str) -> None:
    tablet = Device.register("bob", "tablet", vtn="+15550101")
    started = alice.call(address)
    conference = started.json()["id"]
    tablet.news(), bob.news()
    response = bob.answer(conference)
    assert (response.status_code, response["x-state"]) == (204, "accepted")
    assert response.content == b""
    (opened,) = alice.news()
    assert opened["type"] == "session-open"
    assert opened["modId"] == started["x-mod-id"]
    assert opened["description"] == answer()
    assert opened["conference"] == alice.get(conference)
    assert opened["conference"]["state"] == "session-open"
    assert [seat["username"] for seat in opened["conference"]["participants"]] == ["alice", "bob"]
    (cancelled,) = tablet.news()
    assert (cancelled["type"], cancelled["reason"]) == ("invitation-cancelled", "answered-elsewhere")
    assert bob.news() == []


def test_flow_2_modification_is_sent_to_the_peer(call: Call) -> None:
    new = offer(kinds=("audio", "video", "video"), version=3)
    response = call.alice.put(call.id, "initiate-conference-mod", new)
    assert (response.status_code, response["x-state"]) == (204, "mod-sent")
    (received,) = call.bob.news()
    assert received["type"] == "mod-received"
    assert received["kind"] == "mod"
    assert received["modId"] == response["x-mod-id"]
    assert received["description"] == new
    assert received["restart"] is False
    assert call.bob.get(call.id)["pendingModifications"][0]["modId"] == response["x-mod-id"]


@pytest.mark.parametrize("direction", ["recvonly", "sendonly", "inactive"])
def test_flow_3_hold_takes_effect_when_accepted(call: Call, direction: str) -> None:
    response = call.alice.put(call.id, "initiate-conference-hold", offer(direction, version=3))
    assert (response.status_code, response["x-state"]) == (204, "mod-sent")
    (received,) = call.bob.news()
    assert (received["type"], received["kind"]) == ("mod-received", "hold")
    assert call.alice.get(call.id)["participants"][0]["state"] == "accepted"
    response = call.bob.accept(call.id, received["modId"], answer("inactive", version=3))
    assert (response.status_code, response["x-state"]) == (204, "mod-accepted")
    assert call.alice.get(call.id)["participants"][0]["state"] == "on-hold"
    assert call.alice.news_types() == ["mod-accepted", "participant-on-hold"]
    assert call.bob.news_types() == ["participant-on-hold"]


def test_flow_4_resume_ends_the_hold(call: Call) -> None:
    hold(call)
    response = call.alice.put(call.id, "initiate-conference-resume", offer(version=4))
    assert (response.status_code, response["x-state"]) == (204, "mod-sent")
    call.bob.accept(call.id, response["x-mod-id"], answer(version=4))
    assert call.alice.get(call.id)["participants"][0]["state"] == "accepted"
    assert call.alice.news_types() == ["mod-accepted", "participant-resumed"]
    assert call.bob.news_types() == ["mod-received", "participant-resumed"]


def test_flow_5_accepting_brings_the_answer_to_the_initiator(call: Call) -> None:
    mod = call.bob.put(call.id, "initiate-conference-mod", {**offer(session=777, version=3)})["x-mod-id"]
    response = call.alice.accept(call.id, mod, answer(session=4611731400430051336, version=3))
    assert (response.status_code, response["x-state"]) == (204, "mod-accepted")
    (accepted,) = call.bob.news()
    assert accepted["type"] == "mod-accepted"
    assert accepted["modId"] == mod
    assert accepted["description"]["type"] == "answer"
    assert call.bob.get(call.id)["pendingModifications"] == []


@pytest.mark.parametrize(("who", "state"), [("bob", "mod-rejected"), ("alice", "mod-cancelled")])
def test_flow_6_reject_and_cancel_leave_everything_as_it_was(call: Call, who: str, state: str) -> None:
    before = call.alice.get(call.id)
    mod = call.alice.put(call.id, "initiate-conference-hold", offer("recvonly", version=3))["x-mod-id"]
    call.bob.news()
    settler, other = (call.bob, call.alice) if who == "bob" else (call.alice, call.bob)
    response = settler.withdraw(call.id, mod)
    assert (response.status_code, response["x-state"]) == (204, state)
    (told,) = other.news()
    assert (told["type"], told["modId"]) == (state, mod)
    assert call.alice.get(call.id) == before


class TestFlow7Move:
    """Moving to another device."""

    @pytest.fixture
    def phone(self, call: Call) -> Device:
        return Device.register("alice", "phone")

    @pytest.mark.parametrize("answered", [True, False])
    def test_move_rings_the_other_devices(self, call: Call, phone: Device, answered: bool) -> None:
        if answered:
            hold(call, "initiate-call-hold")
        else:
            mod = call.alice.put(call.id, "initiate-call-hold", offer("recvonly", version=3))["x-mod-id"]
            assert call.bob.news_types() == ["mod-received"]
        response = call.alice.delete(call.id)
        assert response.status_code == 200
        assert response.json()["outcome"] == "moving"
        assert response.json()["participants"][0]["state"] == "moving"
        (ringing,) = phone.news()
        assert (ringing["type"], ringing["reason"]) == ("invitation-received", "move")
        assert ringing["ringsUntil"] == response.json()["ringsUntil"]
        assert ringing["from"]["username"] == "alice"
        assert "description" not in ringing
        news = call.bob.news()
        if not answered:
            cancelled = news.pop(0)
            assert (cancelled["type"], cancelled["modId"]) == ("mod-cancelled", mod)
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
        fresh = offer(session=99)
        response = tablet.answer(call.id, fresh)
        assert (response.status_code, response["x-state"]) == (204, "accepted")
        moved, received = call.bob.news()
        assert (moved["type"], received["type"]) == ("participant-moved", "mod-received")
        assert moved["participant"]["sessionId"] == tablet.id
        assert (received["kind"], received["restart"], received["description"]) == ("move", True, fresh)
        assert received["modId"] == response["x-mod-id"]
        for loser in (phone, late):
            assert loser.news()[0]["reason"] == "answered-elsewhere"
        (handed_over,) = call.alice.news()
        assert handed_over["type"] == "participant-moved"
        assert handed_over["participant"]["device"] == "tablet"
        response = call.bob.accept(call.id, received["modId"], answer(session=778))
        assert response.status_code == 204
        assert tablet.news_types() == ["mod-accepted"]
        assert phone.answer(call.id, fresh).json()["code"] == "already-answered"
        assert call.alice.put(call.id, "initiate-conference-mod", offer(version=9)).json()["code"] == "forbidden"
        response = tablet.put(call.id, "initiate-conference-hold", offer("recvonly", session=99, version=3))
        assert response.status_code == 204

    @pytest.mark.parametrize("shared", [{"vtn": "+15550177"}, {"icmn": "+15550178"}])
    def test_a_device_that_shares_a_number_rings_too(self, bob: Device, shared: dict[str, str]) -> None:
        laptop = Device.register("alice", **shared)
        desk = Device.register("alice-at-work", "desk", **shared)
        call = open_call(laptop, bob)
        hold(call, "initiate-call-hold")
        laptop.delete(call.id)
        assert desk.news_types() == ["invitation-received"]
        assert desk.answer(call.id, offer(session=5)).status_code == 204

    def test_without_another_device_it_is_an_ordinary_end(self, call: Call) -> None:
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

    def test_hanging_up_while_it_rings_gives_up_the_move(self, call: Call, phone: Device) -> None:
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        phone.news()
        assert call.alice.delete(call.id).json()["outcome"] == "terminated"
        assert phone.news()[0]["type"] == "invitation-cancelled"


class TestEnding:
    """`DELETE` in every situation."""

    def test_declining_tells_the_host_and_the_other_devices(self, alice: Device, bob: Device) -> None:
        tablet = Device.register("bob", "tablet")
        conference = alice.call("bob").json()["id"]
        bob.news(), tablet.news()
        body = bob.delete(conference).json()
        assert (body["outcome"], body["state"]) == ("declined", "session-terminated")
        left, terminated = alice.news()
        assert (left["type"], left["reason"]) == ("participant-left", "declined")
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", "declined")
        assert terminated["conference"] == alice.get(conference)
        assert tablet.news()[0]["reason"] == "declined-elsewhere"
        assert bob.news() == []

    def test_host_cancels_while_it_rings(self, alice: Device, bob: Device) -> None:
        conference = alice.call("bob").json()["id"]
        bob.news()
        assert alice.delete(conference).json()["outcome"] == "terminated"
        assert bob.news()[0]["reason"] == "caller-cancelled"
        assert bob.answer(conference).json()["code"] == "not-ringing"

    @pytest.mark.parametrize("who", ["alice", "bob"])
    def test_either_of_two_ends_it(self, call: Call, who: str) -> None:
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

    def test_a_session_that_registers_while_it_rings_rings_too(self, alice: Device) -> None:
        conference = alice.call("carol").json()["id"]
        carol = Device.register("carol")
        (ringing,) = carol.news()
        assert ringing["confId"] == conference
        assert ringing["description"] == offer()
        assert carol.answer(conference).status_code == 204

    def test_ending_a_session_leaves_its_conferences(self, call: Call) -> None:
        assert call.bob.request("DELETE", f"/sessions/{call.bob.id}").status_code == 204
        assert call.alice.news()[-1]["type"] == "session-terminated"

    def test_the_host_removes_the_other(self, call: Call) -> None:
        guest = call.alice.get(call.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants/{guest}"
        assert (
            call.bob.request("DELETE", path.replace(guest, call.bob.get(call.id)["participants"][0]["id"])).json()[
                "code"
            ]
            == "forbidden"
        )
        assert call.alice.request("DELETE", path).status_code == 204
        (left,) = call.bob.news()
        assert (left["type"], left["reason"]) == ("participant-left", "removed")
        assert call.alice.news_types() == ["participant-left", "session-terminated"]
