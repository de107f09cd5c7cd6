"""Conferences through a focus: the rules of protocol section 4, "In `focus` topology", and what the focus is asked."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Conference, Modification, Participant
from conferences.operations.deadlines import settle_due
from conferences.operations.focus import announce_speaker, lose_media, rate_connection, settle_task
from events import wakeups
from events.models import Event, new_id
from media import tasks
from media.models import MediaNode, MediaTask
from media.reports import Assignment, Connection
from tests.conferences.conftest import BeginWith, register
from tests.support.descriptions import offer
from tests.support.devices import Device
from tests.support.focus import ScriptedNode, beat
from tests.support.refusals import all_rows, problem, refused
from tests.support.replay import facts, replay
from tests.support.scenes import Scene

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]

MOD, HOLD, RESUME = (f"initiate-conference-{what}" for what in ("mod", "hold", "resume"))
CALL_HOLD = "initiate-call-hold"

# By what right the scripted node serves a conference that was never moved.
SCRIPTED = Assignment("scripted", 1)
REFUSAL: tasks.Refusal = {"code": "sdp-invalid", "detail": "No codec in common."}


class Meeting:
    """A conference of several devices."""

    def __init__(self, conference: str, *devices: Device) -> None:
        """Take them as they are."""
        self.id, self.devices = conference, devices

    @classmethod
    def open(cls, *devices: Device) -> "Meeting":
        """Let the first one host an open conference, the others come in, and all follow the focus."""
        meeting = cls(started(devices[0]), *devices)
        for device in devices[1:]:
            assert device.join(meeting.id).status_code == 204
        meeting.catch_up()
        return meeting

    def catch_up(self) -> None:
        """Let everybody accept what the focus offers, and look at the news."""
        while any(device.follow(self.id) for device in self.devices):
            pass
        for device in self.devices:
            device.news()

    def seat(self, device: Device) -> Participant:
        """Return the newest seat of a device."""
        return Participant.objects.filter(conference=self.id, session=device.id).latest("position")


def started(host: Device, *to: str, **fields: str) -> str:
    """Start an open conference and return its ID."""
    response = host.gather(*to, **{"access": "open", **fields})
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def gather_three() -> tuple[str, tuple[Device, ...]]:
    """Let alice, bob and carol meet."""
    devices = register("alice", "bob", "carol")
    return Meeting.open(*devices).id, devices


@pytest.fixture
def scene(request: pytest.FixtureRequest, begin_with: BeginWith) -> Scene | None:
    """Most tests begin with three in a conference."""
    return begin_with("three meet", gather_three, focus=True) if "trio" in request.fixturenames else None


@pytest.fixture
def trio(scene: Scene) -> Meeting:
    return Meeting(scene.conference, *scene.devices.values())


def put(device: Device, conference: str, action: str, direction: str = "sendrecv", **variation: Any) -> str:
    """Make an offer that must be taken; return its modId."""
    response = device.put(conference, action, device.offer(direction, **variation))
    assert (response.status_code, response["x-state"]) == (204, "mod-sent"), response.content
    return str(response["x-mod-id"])


def last_task() -> MediaTask:
    """Return the newest task that nobody has done."""
    return MediaTask.objects.latest("pk")


def states(task: MediaTask) -> list[str]:
    """Return the states of the seats that a task shows."""
    return [seat["state"] for seat in task.payload["view"]["seats"]]


# --- Starting ---------------------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestStarting:
    def test_focus_is_what_a_request_without_topology_gets(self, alice: Device, bob: Device) -> None:
        body = alice.request("POST", "/mediaConferences", {"to": ["bob"], **alice.offer()}).json()
        assert body["topology"] == "focus"
        assert Conference.objects.get().media_node == "scripted"

    @pytest.mark.parametrize("silent_for", [None, 6])
    def test_without_a_live_node_there_is_none(self, alice: Device, silent_for: int | None) -> None:
        MediaNode.objects.all().delete()
        if silent_for:
            beat("silent", timezone.now() - timedelta(seconds=silent_for))
        response = refused(503, "media-unavailable", alice.gather, "bob")
        assert int(response["retry-after"]) > 0

    def test_it_lives_where_there_is_most_room(self, alice: Device) -> None:
        now = timezone.now()
        MediaNode.objects.update(legs=5)
        beat("idle", now, legs=1)
        beat("busy", now, legs=2)
        started(alice)
        assert Conference.objects.get().media_node == "idle"

    def test_the_focus_may_refuse_the_host(self, alice: Device, bob: Device, node: ScriptedNode) -> None:
        node.refusal = REFUSAL
        response = alice.gather("bob")
        (rejected,) = alice.news()
        assert (rejected["type"], rejected["modId"]) == ("mod-rejected", response["x-mod-id"])
        assert (rejected["reason"], rejected["detail"]) == ("sdp-invalid", "No codec in common.")
        assert rejected["from"] == {"participant": "focus", "username": None}
        node.refusal = None
        # The host tries again, with a leg that is as new as before.
        put(alice, response.json()["id"], MOD)
        bob.join(response.json()["id"])
        assert MediaTask.objects.count() == 0
        assert [task.payload["fresh"] for task, _ in node.done if task.kind == "offer"] == [True] * 3

    @pytest.mark.parametrize("to", [["alice"], ["bob", "alice"]])
    def test_nobody_calls_themselves(self, alice: Device, to: list[str]) -> None:
        refused(400, "malformed", alice.gather, *to)

    @pytest.mark.parametrize("fields", [{}, {"access": "invited"}])
    def test_who_is_not_open_calls_somebody(self, alice: Device, fields: dict[str, str]) -> None:
        refused(400, "malformed", alice.gather, **fields)

    def test_an_invitation_is_answered_with_an_offer(self, alice: Device, bob: Device) -> None:
        conference = alice.gather("bob").json()["id"]
        refused(422, "sdp-invalid", bob.answer, conference)


# --- Open conferences -------------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestOpen:
    def test_whoever_knows_its_id_comes_in(self, alice: Device, bob: Device, carol: Device) -> None:
        conference = started(alice)
        assert bob.request("GET", f"/mediaConferences/{conference}").status_code == 404
        response = bob.join(conference)
        assert (response.status_code, response["x-state"]) == (204, "accepted")
        assert bob.news_types() == ["mod-accepted"]
        _, opened, offered = alice.news()
        assert (opened["type"], opened["from"]["username"]) == ("session-open", "bob")
        assert offered["causedBy"] == response["x-mod-id"]
        assert carol.join(conference).status_code == 204
        (joined,) = alice.news()
        assert (joined["type"], joined["participant"]["username"]) == ("participant-joined", "carol")
        assert [seat["role"] for seat in carol.get(conference)["participants"]] == ["host", "guest", "guest"]

    def test_it_may_call_people_too(self, alice: Device, bob: Device, carol: Device) -> None:
        conference = started(alice, "bob")
        carol.join(conference)
        assert bob.join(conference).status_code == 204
        assert len(alice.get(conference)["participants"]) == 3

    def test_an_invited_one_is_for_the_invited(self, alice: Device, bob: Device, carol: Device) -> None:
        conference = alice.gather("bob").json()["id"]
        refused(404, "not-found", carol.join, conference)
        bob.join(conference)
        refused(409, "already-answered", bob.join, conference)
        bob.delete(conference)

    def test_who_sits_there_does_not_come_in_again(self, trio: Meeting, bob: Device) -> None:
        refused(409, "already-answered", bob.join, trio.id)

    def test_who_has_left_comes_in_again_on_the_same_seat(self, trio: Meeting, alice: Device, bob: Device) -> None:
        assert bob.delete(trio.id).json()["outcome"] == "left"
        alice.news()
        assert bob.join(trio.id).status_code == 204
        seats = [seat for seat in alice.get(trio.id)["participants"] if seat["username"] == "bob"]
        assert [seat["state"] for seat in seats] == ["accepted"]
        trio.catch_up()
        put(bob, trio.id, HOLD, "recvonly")
        assert bob.seat(trio.id)["state"] == "on-hold"
        assert bob.delete(trio.id).json()["outcome"] == "left"

    def test_another_device_of_the_user_has_a_seat_of_its_own(self, trio: Meeting) -> None:
        tablet = Device.register("bob", "tablet")
        assert tablet.join(trio.id).status_code == 204
        assert tablet.delete(trio.id).json()["outcome"] == "left"

    def test_it_waits_for_people_while_its_host_is_there(self, alice: Device, bob: Device) -> None:
        conference = started(alice)
        for _ in range(2):
            bob.join(conference)
            assert bob.delete(conference).json()["outcome"] == "left"
        assert alice.get(conference)["state"] == "session-open"
        assert [type_ for type_ in alice.news_types() if type_ == "session-open"] == ["session-open"]
        assert alice.delete(conference).json()["state"] == "session-terminated"

    def test_who_knows_the_id_of_one_that_has_ended_is_told_so(self, alice: Device, bob: Device) -> None:
        conference = started(alice)
        alice.delete(conference)
        refused(409, "conference-not-open", bob.join, conference)

    def test_a_stranger_may_only_answer(self, alice: Device, bob: Device) -> None:
        conference = started(alice)
        for action in (MOD, HOLD, "accept-conference-mod", "nonsense"):
            refused(404, "not-found", bob.put, conference, action, {"sdp": 7})
        refused(404, "not-found", bob.delete, conference)
        refused(400, "malformed", bob.put, conference, "conference-answer", {"sdp": 7})
        refused(422, "sdp-invalid", bob.put, conference, "conference-answer", {})

    def test_a_peer_conference_is_not_open(self, alice: Device) -> None:
        refused(400, "malformed", alice.gather, topology="peer", access="open")


class TestCapacity:
    @pytest.fixture(autouse=True)
    def _small(self, settings: Settings) -> None:
        settings.CONFERENCE_CAPACITY = 3

    def test_an_open_conference_takes_so_many(self, trio: Meeting, bob: Device) -> None:
        dave = Device.register("dave")
        refused(409, "conference-full", dave.join, trio.id)
        bob.delete(trio.id)
        assert dave.join(trio.id).status_code == 204

    def test_so_many_are_called(self, alice: Device) -> None:
        refused(409, "conference-full", alice.gather, "bob", "carol", "dave")
        conference = alice.gather("bob", "carol").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        refused(409, "conference-full", alice.request, "POST", path, {"to": "dave"})


# --- Changes ----------------------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestChanges:
    def test_the_others_learn_of_a_change_by_an_offer(self, trio: Meeting, bob: Device, carol: Device) -> None:
        mod = put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        assert bob.news_types() == ["mod-accepted"]
        for device in (trio.devices[0], carol):
            (event,) = device.news()
            assert (event["type"], event["kind"], event["causedBy"]) == ("mod-received", "sync", mod)
            assert event["restart"] is False
            pending = [each for each in device.get(trio.id)["pendingModifications"] if each["modId"] == event["modId"]]
            assert [(each["from"], each["to"]) for each in pending] == [("focus", trio.seat(device).pk)]

    def test_ten_joins_cost_one_further_offer(self, alice: Device, bob: Device) -> None:
        meeting = Meeting.open(alice, bob)
        guests = [Device.register(f"guest-{number}") for number in range(10)]
        for guest in guests:
            assert guest.join(meeting.id).status_code == 204
        # One for the first who joined, one for the nine that came while it waited.
        assert len(bob.follow(meeting.id)) == 2
        assert bob.follow(meeting.id) == []

    def test_a_hold_is_told_as_one(self, trio: Meeting, alice: Device, bob: Device) -> None:
        mod = put(alice, trio.id, HOLD, "recvonly")
        (held, offered) = bob.news()
        assert (held["type"], held["participant"]["state"]) == ("participant-on-hold", "on-hold")
        assert (offered["kind"], offered["causedBy"]) == ("hold", mod)
        trio.catch_up()
        mod = put(alice, trio.id, RESUME)
        (resumed, offered) = bob.news()
        assert resumed["type"] == "participant-resumed"
        assert (offered["kind"], offered["causedBy"]) == ("resume", mod)

    def test_whoever_is_on_hold_answers_so(self, trio: Meeting, alice: Device, bob: Device) -> None:
        put(alice, trio.id, HOLD, "recvonly")
        trio.catch_up()
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = alice.offers(trio.id)
        held = alice.mirror(waiting)
        sending = {**held, "sdp": held["sdp"].replace("a=recvonly", "a=sendrecv")}
        refused(422, "sdp-direction", alice.accept, trio.id, waiting["modId"], sending)
        assert alice.accept(trio.id, waiting["modId"], held).status_code == 204

    def test_a_participant_that_collides_with_the_focus_redoes_its_change(self, trio: Meeting, bob: Device) -> None:
        put(trio.devices[2], trio.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = bob.offers(trio.id)
        response = refused(409, "modification-pending", bob.put, trio.id, MOD, bob.offer())
        assert problem(response)["modId"] == waiting["modId"]
        bob.follow(trio.id)
        put(bob, trio.id, MOD)

    def test_a_focus_that_collides_with_a_participant_gives_way(
        self, trio: Meeting, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        put(carol, trio.id, MOD, kinds=("audio", "video", "video"))
        mod = put(bob, trio.id, MOD, kinds=("audio",))
        refused(409, "modification-pending", bob.put, trio.id, MOD, bob.offer())
        node.works = True
        node.work()
        # The offer that carol caused met bob's own one, and came again when that was settled.
        accepted, offered = [event for event in bob.news() if event["type"].startswith("mod-")]
        assert (accepted["type"], accepted["modId"]) == ("mod-accepted", mod)
        assert (offered["type"], offered["kind"]) == ("mod-received", "sync")
        trio.catch_up()
        assert Modification.objects.pending().count() == 0

    def test_who_rejects_stays_as_before_and_the_initiator_is_told(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        mod = put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        bob.news()
        (waiting,) = carol.offers(trio.id)
        response = carol.withdraw(trio.id, waiting["modId"])
        assert (response.status_code, response["x-state"]) == (204, "mod-rejected")
        (rejected,) = bob.news()
        assert (rejected["type"], rejected["modId"], rejected["kind"]) == ("mod-rejected", mod, "mod")
        assert rejected["participant"] == carol.seat(trio.id)
        assert rejected["from"]["username"] == "carol"
        # The very same is not offered again, but what changes later is.
        trio.catch_up()
        assert carol.offers(trio.id) == []
        put(bob, trio.id, MOD, kinds=("audio", "video", "video", "audio"))
        assert len(carol.offers(trio.id)) == 1
        assert carol.withdraw(trio.id, waiting["modId"]).status_code == 204
        refused(409, "modification-settled", carol.accept, trio.id, waiting["modId"], carol.mirror(waiting))

    def test_rejecting_what_nobody_there_has_caused_is_told_to_nobody(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        carol.delete(trio.id)
        (waiting,) = bob.offers(trio.id)
        assert waiting["causedBy"] is None
        alice.news()
        assert bob.withdraw(trio.id, waiting["modId"]).status_code == 204
        assert "mod-rejected" not in alice.news_types()

    def test_rejecting_what_somebody_who_left_has_caused_is_told_to_nobody(
        self, trio: Meeting, bob: Device, carol: Device
    ) -> None:
        put(carol, trio.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = bob.offers(trio.id)
        carol.delete(trio.id)
        carol.news()
        assert bob.withdraw(trio.id, waiting["modId"]).status_code == 204
        assert carol.news() == []

    @pytest.mark.parametrize(("action", "direction"), [(MOD, "sendrecv"), (HOLD, "recvonly"), (CALL_HOLD, "recvonly")])
    def test_what_the_focus_refuses_leaves_everything_as_it_was(
        self, trio: Meeting, alice: Device, bob: Device, node: ScriptedNode, action: str, direction: str
    ) -> None:
        before = alice.get(trio.id)
        node.refusal = REFUSAL
        mod = put(alice, trio.id, action, direction)
        (rejected,) = alice.news()
        assert (rejected["type"], rejected["modId"], rejected["reason"]) == ("mod-rejected", mod, "sdp-invalid")
        assert bob.news() == []
        assert alice.get(trio.id) == before
        assert (trio.seat(alice).move_until is not None) == (action == CALL_HOLD)
        refused(409, "modification-settled", alice.withdraw, trio.id, mod)

    def test_an_answer_that_the_focus_cannot_use_is_told(
        self, trio: Meeting, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        mod = put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        bob.news()
        node.works = False
        (waiting,) = carol.follow(trio.id)
        carol.news()
        settle_task(task_id=last_task().pk, result={"refusal": REFUSAL}, now=timezone.now())
        (mine,) = carol.news()
        assert (mine["type"], mine["modId"], mine["reason"]) == ("mod-rejected", waiting["modId"], "sdp-invalid")
        (told,) = bob.news()
        assert (told["type"], told["modId"], told["reason"]) == ("mod-rejected", mod, "sdp-invalid")
        assert told["participant"]["username"] == "carol"
        assert Modification.objects.get(pk=waiting["modId"]).state == "mod-accepted"

    def test_an_answer_of_somebody_who_left_is_nobodys_business(
        self, trio: Meeting, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        node.works = False
        carol.follow(trio.id)
        task = last_task()
        carol.delete(trio.id)
        bob.news(), carol.news()
        settle_task(task_id=task.pk, result={"refusal": REFUSAL}, now=timezone.now())
        assert bob.news() == carol.news() == []

    def test_only_the_two_parties_settle(self, trio: Meeting, alice: Device, bob: Device, carol: Device) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = carol.offers(trio.id)
        refused(409, "not-yours-to-settle", alice.accept, trio.id, waiting["modId"], carol.mirror(waiting))
        refused(409, "not-yours-to-settle", alice.withdraw, trio.id, waiting["modId"])

    def test_a_participant_may_withdraw_its_own_offer(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        mod = put(bob, trio.id, CALL_HOLD, "recvonly")
        response = bob.withdraw(trio.id, mod)
        assert (response.status_code, response["x-state"]) == (204, "mod-cancelled")
        assert trio.seat(bob).move_until is None
        node.works = True
        node.work()
        assert bob.news() == []
        assert bob.seat(trio.id)["state"] == "accepted"


# --- Time -------------------------------------------------------------------------------------------------


class TestExpiry:
    def due(self) -> int:
        """Settle what is due when an offer has waited for its time."""
        return settle_due(now=timezone.now() + timedelta(seconds=31))

    def test_an_offer_of_the_focus(self, trio: Meeting, bob: Device, carol: Device, node: ScriptedNode) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        trio.devices[0].follow(trio.id)
        (waiting,) = carol.offers(trio.id)
        bob.news(), carol.news()
        node.works = False
        assert self.due() == 1
        (expired,) = carol.news()
        assert (expired["type"], expired["modId"]) == ("mod-expired", waiting["modId"])
        assert bob.news() == []
        task = last_task()
        assert (task.kind, task.payload["modId"], task.payload["rejected"]) == ("withdraw", waiting["modId"], False)
        assert trio.seat(carol).pk in task.payload["ready"]

    def test_an_offer_that_the_focus_never_answers(
        self, trio: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        before = alice.get(trio.id)
        node.works = False
        mod = put(bob, trio.id, CALL_HOLD, "recvonly")
        offered = last_task()
        Participant.objects.update(move_until=None)
        assert self.due() == 1
        (expired,) = bob.news()
        assert (expired["type"], expired["modId"]) == ("mod-expired", mod)
        assert alice.get(trio.id) == before
        # A late answer changes nothing.
        settle_task(task_id=offered.pk, result={"answer": bob.offer()["sdp"]}, now=timezone.now())
        assert bob.news() == []
        assert alice.get(trio.id) == before

    def test_the_offer_of_a_host_for_whom_people_ring(self, alice: Device, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        mod = alice.gather("bob", access="open")["x-mod-id"]
        # The offer and the seat without a leg, in one conference.
        assert self.due() == 1
        expired = alice.news()[0]
        assert (expired["type"], expired["modId"]) == ("mod-expired", mod)

    def test_an_invitation(self, alice: Device, bob: Device, carol: Device) -> None:
        conference = alice.gather("bob", "carol").json()["id"]
        bob.join(conference)
        bob.follow(conference), alice.follow(conference)
        alice.news(), bob.news()
        self.due()
        assert alice.news_types() == bob.news_types() == ["participant-left"]
        assert carol.news()[-1]["reason"] == "no-answer"
        assert alice.get(conference)["state"] == "session-open"


# --- Moving -----------------------------------------------------------------------------------------------


@pytest.mark.any_engine
def test_a_move_gets_a_new_leg_and_the_others_learn_who_is_where(
    trio: Meeting, alice: Device, bob: Device, node: ScriptedNode
) -> None:
    phone = Device.register("bob", "phone")
    put(bob, trio.id, CALL_HOLD, "recvonly")
    trio.catch_up()
    node.works = False
    assert bob.delete(trio.id).json()["outcome"] == "moving"
    task = last_task()
    assert (task.kind, task.payload["view"]["cause"]) == ("update", None)
    assert states(task) == ["accepted", "moving", "accepted"]
    assert trio.seat(bob).pk not in task.payload["ready"]
    mod = phone.join(trio.id)["x-mod-id"]
    task = last_task()
    assert (task.kind, task.payload["modId"], task.payload["fresh"]) == ("offer", mod, True)
    assert task.payload["view"]["cause"] == {"modId": mod, "kind": "move"}
    assert states(task) == ["accepted"] * 3
    node.work()
    assert [event["type"] for event in alice.news()][:2] == ["participant-moving", "participant-moved"]
    assert [event["modId"] for event in phone.news() if event["type"] == "mod-accepted"] == [mod]


@pytest.mark.any_engine
def test_a_move_whose_hold_the_focus_refuses_begins_all_the_same(
    trio: Meeting, alice: Device, bob: Device, node: ScriptedNode
) -> None:
    phone = Device.register("bob", "phone")
    node.refusal = REFUSAL
    put(bob, trio.id, CALL_HOLD, "recvonly")
    assert bob.news_types() == ["mod-rejected"]
    node.refusal = None
    body = bob.delete(trio.id).json()
    assert (body["outcome"], "moveRefused" in body) == ("moving", False)
    assert phone.join(trio.id)["x-state"] == "accepted"
    assert alice.news_types()[:2] == ["participant-moving", "participant-moved"]
    assert "mod-accepted" in phone.news_types()


# --- Losing media -----------------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestLosingMedia:
    def leg(self, meeting: Meeting, device: Device) -> str:
        """Return the offer that made a device's leg."""
        return Modification.objects.get(offered_by=meeting.seat(device), restart=True).pk

    def lose(self, meeting: Meeting, device: Device, leg: str) -> None:
        """Report that a device's media did not come back."""
        seat = meeting.seat(device).pk
        lose_media(conference_id=meeting.id, participant_id=seat, leg=leg, by=SCRIPTED, now=timezone.now())

    def test_a_guest_leaves(self, trio: Meeting, alice: Device, bob: Device, carol: Device) -> None:
        self.lose(trio, bob, self.leg(trio, bob))
        for device in (alice, bob, carol):
            event = device.news()[0]
            assert (event["type"], event["reason"]) == ("participant-left", "media-lost")
        assert alice.get(trio.id)["participants"][1]["leftReason"] == "media-lost"
        before = all_rows()
        self.lose(trio, bob, self.leg(trio, bob))
        assert all_rows() == before

    def test_a_host_ends_it(self, trio: Meeting, alice: Device, bob: Device) -> None:
        self.lose(trio, alice, self.leg(trio, alice))
        assert alice.news_types() == ["participant-left"]
        assert bob.news_types() == ["participant-left", "session-terminated"]

    def test_a_leg_that_the_node_built_anew_by_itself_may_be_lost(
        self, trio: Meeting, bob: Device, node: ScriptedNode
    ) -> None:
        """An offer with another certificate, but the same session ID, looks like any other here."""
        old, node.works = self.leg(trio, bob), False
        mod = put(bob, trio.id, MOD)
        (task,) = tasks.waiting(node.id, 10)
        result: tasks.Result = {**node.execute(task), "restart": True}
        settle_task(task_id=task.pk, result=result, now=timezone.now())
        self.lose(trio, bob, old)
        assert bob.seat(trio.id)["state"] == "accepted"
        self.lose(trio, bob, mod)
        assert bob.get(trio.id)["participants"][1]["leftReason"] == "media-lost"

    def test_a_leg_that_is_not_used_any_more_is_no_loss(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        old = self.leg(trio, bob)
        node.works = False
        bob.peer_connection += 1000
        put(bob, trio.id, MOD)
        seats = Participant.objects.order_by("pk").values_list("state", flat=True)
        before = list(seats)
        self.lose(trio, bob, old)
        node.work()
        self.lose(trio, bob, old)
        self.lose(trio, bob, "nonsense")
        lose_media(conference_id="nonsense", participant_id="x", leg=old, by=SCRIPTED, now=timezone.now())
        lose_media(conference_id=trio.id, participant_id="x", leg=old, by=SCRIPTED, now=timezone.now())
        assert list(seats.all()) == before
        assert bob.seat(trio.id)["state"] == "accepted"


# --- Speaking ---------------------------------------------------------------------------------------------


@pytest.mark.any_engine
def test_everybody_who_sits_there_is_told_who_speaks_and_whose_connection_breaks(
    trio: Meeting, alice: Device, bob: Device, carol: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.setattr(wakeups, "tell_ephemeral", lambda ids, wire: told.append((list(ids), json.loads(wire))))
    carol.delete(trio.id)
    before = all_rows()
    speaker = trio.seat(bob).pk
    for by in (SCRIPTED, Assignment("scripted", 2), Assignment("other", 1)):
        announce_speaker(conference_id=trio.id, participant_id=speaker, by=by)
        rate_connection(conference_id=trio.id, participant_id=speaker, connection=Connection.DISCONNECTED, by=by)
    of_bob = {"confId": trio.id, "participant": speaker}
    assert [event for _, event in told] == [
        {"type": "active-speaker", **of_bob},
        {"type": "quality", **of_bob, "connection": "disconnected"},
    ]
    for sessions, _ in told:
        assert sorted(sessions) == sorted([alice.id, bob.id])
    assert all_rows() == before


# --- Muting -----------------------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestMuting:
    def mute(self, meeting: Meeting, who: Device, whom: Device, **what: bool) -> Any:
        """Mute, or unmute."""
        path = f"/mediaConferences/{meeting.id}/participants/{meeting.seat(whom).pk}/mute"
        return who.request("PUT", path, what)

    def test_the_host_mutes_anybody(
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
        assert [seat["muted"] for seat in task.payload["view"]["seats"]] == [[], ["audio"], []]

    def test_nobody_unmutes_anybody_else(self, trio: Meeting, alice: Device, bob: Device) -> None:
        self.mute(trio, alice, bob, audio=True, video=True)
        refused(403, "forbidden", self.mute, trio, alice, bob, audio=False)
        refused(403, "forbidden", self.mute, trio, alice, bob, audio=True, video=False)
        assert self.mute(trio, bob, bob, audio=False).status_code == 204
        assert bob.seat(trio.id)["muted"] == {"audio": False, "video": True}

    def test_guests_mute_nobody_else(self, trio: Meeting, alice: Device, bob: Device) -> None:
        refused(403, "forbidden", self.mute, trio, bob, alice, audio=True)
        refused(403, "forbidden", self.mute, trio, bob, alice)

    @pytest.mark.parametrize("what", [{}, {"audio": False}, {"audio": False, "video": False}])
    def test_what_is_so_already_changes_nothing(
        self, trio: Meeting, alice: Device, bob: Device, what: dict[str, bool]
    ) -> None:
        before = all_rows()
        assert self.mute(trio, alice, bob, **what).status_code == 204
        assert all_rows() == before

    def test_who_has_left_is_not_muted(self, trio: Meeting, alice: Device, bob: Device) -> None:
        bob.delete(trio.id)
        refused(404, "not-found", self.mute, trio, alice, bob, audio=True)
        alice.delete(trio.id)
        refused(409, "conference-not-open", self.mute, trio, alice, bob, audio=True)

    def test_it_needs_no_one_to_be_there_yet(self, alice: Device) -> None:
        meeting = Meeting.open(alice)
        assert self.mute(meeting, alice, alice, audio=True).status_code == 204


# --- What the focus is asked ------------------------------------------------------------------------------


class TestTasks:
    def test_an_offer(self, trio: Meeting, alice: Device, bob: Device, carol: Device, node: ScriptedNode) -> None:
        node.works = False
        new = bob.offer(kinds=("audio", "video", "video"))
        mod = bob.put(trio.id, MOD, new)["x-mod-id"]
        task = MediaTask.objects.get()
        assert (task.kind, task.node, task.conference) == ("offer", "scripted", trio.id)
        assert task.payload == {
            "participant": trio.seat(bob).pk,
            "modId": mod,
            "sdp": new["sdp"],
            "fresh": False,
            "view": {
                "seats": [
                    {"participant": trio.seat(device).pk, "state": "accepted", "muted": []} for device in trio.devices
                ],
                "cause": {"modId": mod, "kind": "sync"},
            },
            "ready": [trio.seat(alice).pk, trio.seat(carol).pk],
            "generation": 1,
        }

    def test_an_answer_and_a_withdrawal(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        node.works = False
        (waiting,) = carol.offers(trio.id)
        reply = carol.mirror(waiting)
        carol.accept(trio.id, waiting["modId"], reply)
        task = last_task()
        fields = {"participant": trio.seat(carol).pk, "modId": waiting["modId"]}
        assert task.kind == "answer"
        assert {name: task.payload[name] for name in ("participant", "modId", "sdp")} == {**fields, "sdp": reply["sdp"]}
        assert trio.seat(carol).pk in task.payload["ready"]
        assert trio.seat(alice).pk not in task.payload["ready"]
        (waiting,) = alice.offers(trio.id)
        alice.withdraw(trio.id, waiting["modId"])
        task = last_task()
        assert (task.kind, task.payload["rejected"]) == ("withdraw", True)
        assert trio.seat(alice).pk in task.payload["ready"]

    def test_whatever_changes_who_hears_whom_is_told_once(
        self, trio: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        mod = put(alice, trio.id, HOLD, "recvonly")
        task, _ = node.done[-1]
        assert (task.kind, task.payload["view"]["cause"]) == ("update", {"modId": mod, "kind": "hold"})
        trio.catch_up()
        node.works = False
        bob.delete(trio.id)
        (task,) = MediaTask.objects.all()
        assert (task.kind, task.payload["view"]["cause"]) == ("update", {"modId": None, "kind": "sync"})
        assert states(task) == ["on-hold", "accepted"]
        alice.delete(trio.id)
        assert states(last_task()) == []

    def test_who_rings_is_no_business_of_the_focus(self, trio: Meeting, alice: Device, node: ScriptedNode) -> None:
        node.works = False
        dave = Device.register("dave")
        alice.request("POST", f"/mediaConferences/{trio.id}/participants", {"to": "dave"})
        dave.delete(trio.id)
        assert MediaTask.objects.count() == 0

    def test_a_result_is_applied_once(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        put(bob, trio.id, HOLD, "recvonly")
        task = last_task()
        result = node.execute(task)
        settle_task(task_id=task.pk, result=result, now=timezone.now())
        before = all_rows()
        settle_task(task_id=task.pk, result=result, now=timezone.now())
        assert all_rows() == before

    def test_a_task_is_done_again_after_a_crash(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        put(bob, trio.id, HOLD, "recvonly")
        for _ in range(2):
            (task,) = tasks.waiting(node.id, 10)
            node.execute(task)
        node.works = True
        node.work()
        assert bob.news_types() == ["mod-accepted", "participant-on-hold"]

    def test_a_result_without_anything_is_a_refusal(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        put(bob, trio.id, HOLD, "recvonly")
        settle_task(task_id=last_task().pk, result={}, now=timezone.now())
        (rejected,) = bob.news()
        assert (rejected["type"], rejected["reason"]) == ("mod-rejected", "media-unavailable")

    def test_an_update_that_finds_nothing_to_do_changes_nothing(
        self, trio: Meeting, alice: Device, node: ScriptedNode
    ) -> None:
        etag = alice.request("GET", f"/mediaConferences/{trio.id}")["etag"]
        node.works = False
        tasks.enqueue(
            node_id=node.id, conference_id=trio.id, kind=tasks.TaskKind.UPDATE, payload={}, now=timezone.now()
        )
        settle_task(task_id=last_task().pk, result={}, now=timezone.now())
        assert alice.request("GET", f"/mediaConferences/{trio.id}")["etag"] == etag

    def test_offers_to_whom_they_do_not_fit_are_dropped(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        put(bob, trio.id, MOD)
        seats = [trio.seat(device).pk for device in (alice, bob, carol)]
        carol.delete(trio.id)
        node.works = True
        offers: list[tasks.FocusOffer] = [
            {"participant": seat, "modId": new_id(), "sdp": offer()["sdp"], "kind": "sync", "causedBy": "nonsense"}
            for seat in [*seats, "nonsense"]
        ]
        now = timezone.now()
        settle_task(task_id=last_task().pk, result={"offers": offers + offers}, now=now)
        assert [each.offered_to_id for each in Modification.objects.pending().filter(offered_by=None)] == seats[:1]
        assert alice.offers(trio.id)[0]["causedBy"] is None

    def test_an_offer_that_comes_with_two_results_is_told_once(
        self, trio: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        node.works = False
        (waiting,) = alice.offers(trio.id)
        before = alice.log()
        alice.accept(trio.id, waiting["modId"], alice.mirror(waiting))
        again: tasks.FocusOffer = {
            "participant": trio.seat(alice).pk,
            "modId": waiting["modId"],
            "sdp": waiting["description"]["sdp"],
            "kind": "sync",
            "causedBy": None,
        }
        settle_task(task_id=last_task().pk, result={"offers": [again]}, now=timezone.now())
        assert alice.log() == before
        assert alice.offers(trio.id) == []

    def test_a_conference_that_is_gone_leaves_no_task(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        put(bob, trio.id, MOD)
        Event.objects.all().delete()
        Conference.objects.all().delete()
        settle_task(task_id=last_task().pk, result={}, now=timezone.now())
        assert MediaTask.objects.count() == 0

    def test_somebody_else_may_apply_it_first(
        self, trio: Meeting, bob: Device, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node.works = False
        put(bob, trio.id, MOD)
        task = last_task()
        monkeypatch.setattr(tasks, "finish", lambda task_id: False)
        before = all_rows()
        settle_task(task_id=task.pk, result=node.execute(task), now=timezone.now())
        assert all_rows() == before


# --- Replaying --------------------------------------------------------------------------------------------


def _holds(meeting: Meeting) -> None:
    put(meeting.devices[1], meeting.id, HOLD, "recvonly")


def _leaves(meeting: Meeting) -> None:
    meeting.devices[1].delete(meeting.id)


def _invites(meeting: Meeting) -> None:
    meeting.devices[0].request("POST", f"/mediaConferences/{meeting.id}/participants", {"to": "dave"})


def _ends(meeting: Meeting) -> None:
    meeting.devices[0].delete(meeting.id)


@pytest.mark.parametrize("change", [_holds, _leaves, _invites, _ends])
def test_the_log_of_a_guest_leads_to_what_a_fresh_look_shows(
    alice: Device, bob: Device, carol: Device, change: Callable[[Meeting], None]
) -> None:
    conference = alice.gather("bob", "carol").json()["id"]
    for device in (carol, bob):
        device.join(conference)
    meeting = Meeting(conference, alice, bob, carol)
    meeting.catch_up()
    change(meeting)
    assert replay(carol.log(), conference, answered_at=carol.id) == facts(carol.get(conference))
