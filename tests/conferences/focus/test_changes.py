"""A change by one participant reaches the others as an offer of the focus."""

import pytest
from django.utils import timezone

from conferences.models import Modification
from conferences.operations.focus import settle_task
from media.messages import Result
from tests.support.actions import CALL_HOLD, HOLD, MOD, RESUME
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.meeting import REFUSAL, Meeting, last_task, put
from tests.support.refusals import problem, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
class TestPropagation:
    def test_a_change_reaches_the_others_as_an_offer(self, trio: Meeting, bob: Device, carol: Device) -> None:
        mod = put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        assert bob.news_types() == ["mod-accepted"]
        for device in (trio.devices[0], carol):
            (event,) = device.news()
            assert (event["type"], event["kind"], event["causedBy"]) == ("mod-received", "sync", mod)
            assert event["restart"] is False
            pending = [each for each in device.get(trio.id)["pendingModifications"] if each["modId"] == event["modId"]]
            assert [(each["from"], each["to"]) for each in pending] == [("focus", trio.participant(device).pk)]

    def test_ten_joins_during_an_offer_cause_one_further_offer(self, alice: Device, bob: Device) -> None:
        meeting = Meeting.open(alice, bob)
        guests = [Device.register(f"guest-{number}") for number in range(10)]
        for guest in guests:
            assert guest.join(meeting.id).status_code == 204
        # One offer is for the first join, the other for the nine joins while the first offer was pending.
        assert len(bob.follow(meeting.id)) == 2
        assert bob.follow(meeting.id) == []

    def test_a_hold_reaches_the_others_with_kind_hold(self, trio: Meeting, alice: Device, bob: Device) -> None:
        mod = put(alice, trio.id, HOLD, "recvonly")
        (held, offered) = bob.news()
        assert (held["type"], held["participant"]["state"]) == ("participant-on-hold", "on-hold")
        assert (offered["kind"], offered["causedBy"]) == ("hold", mod)
        trio.catch_up()
        mod = put(alice, trio.id, RESUME)
        (resumed, offered) = bob.news()
        assert resumed["type"] == "participant-resumed"
        assert (offered["kind"], offered["causedBy"]) == ("resume", mod)

    def test_a_participant_on_hold_answers_with_hold_directions(
        self, trio: Meeting, alice: Device, bob: Device
    ) -> None:
        put(alice, trio.id, HOLD, "recvonly")
        trio.catch_up()
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = alice.offers(trio.id)
        held = alice.mirror(waiting)
        sending = {**held, "sdp": held["sdp"].replace("a=recvonly", "a=sendrecv")}
        refused(422, "sdp-direction", alice.accept, trio.id, waiting["modId"], sending)
        assert alice.accept(trio.id, waiting["modId"], held).status_code == 204

    def test_a_participant_whose_offer_collides_with_the_focus_offers_again(self, trio: Meeting, bob: Device) -> None:
        put(trio.devices[2], trio.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = bob.offers(trio.id)
        response = refused(409, "modification-pending", bob.put, trio.id, MOD, bob.offer())
        assert problem(response)["modId"] == waiting["modId"]
        bob.follow(trio.id)
        put(bob, trio.id, MOD)

    def test_the_focus_gives_way_when_its_offer_collides(
        self, trio: Meeting, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        put(carol, trio.id, MOD, kinds=("audio", "video", "video"))
        mod = put(bob, trio.id, MOD, kinds=("audio",))
        refused(409, "modification-pending", bob.put, trio.id, MOD, bob.offer())
        node.works = True
        node.work()
        # The focus's offer about carol's change collided with bob's own offer. The focus repeated its offer after bob's
        # offer was settled.
        accepted, offered = [event for event in bob.news() if event["type"].startswith("mod-")]
        assert (accepted["type"], accepted["modId"]) == ("mod-accepted", mod)
        assert (offered["type"], offered["kind"]) == ("mod-received", "sync")
        trio.catch_up()
        assert Modification.objects.pending().count() == 0

    def test_a_rejection_changes_nothing_and_is_reported_to_the_initiator(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        mod = put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        bob.news()
        (waiting,) = carol.offers(trio.id)
        response = carol.withdraw(trio.id, waiting["modId"])
        assert (response.status_code, response["x-state"]) == (204, "mod-rejected")
        (rejected,) = bob.news()
        assert (rejected["type"], rejected["modId"], rejected["kind"]) == ("mod-rejected", mod, "mod")
        assert rejected["participant"] == carol.participant(trio.id)
        assert rejected["from"]["username"] == "carol"
        # The rejected change is not offered again, but a later change is.
        trio.catch_up()
        assert carol.offers(trio.id) == []
        put(bob, trio.id, MOD, kinds=("audio", "video", "video", "audio"))
        assert len(carol.offers(trio.id)) == 1
        assert carol.withdraw(trio.id, waiting["modId"]).status_code == 204
        refused(409, "modification-settled", carol.accept, trio.id, waiting["modId"], carol.mirror(waiting))

    def test_a_rejected_offer_that_no_participant_caused_is_not_reported(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        carol.delete(trio.id)
        (waiting,) = bob.offers(trio.id)
        assert waiting["causedBy"] is None
        alice.news()
        assert bob.withdraw(trio.id, waiting["modId"]).status_code == 204
        assert "mod-rejected" not in alice.news_types()

    def test_a_rejected_offer_whose_initiator_has_left_is_not_reported(
        self, trio: Meeting, bob: Device, carol: Device
    ) -> None:
        put(carol, trio.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = bob.offers(trio.id)
        carol.delete(trio.id)
        carol.news()
        assert bob.withdraw(trio.id, waiting["modId"]).status_code == 204
        assert carol.news() == []

    @pytest.mark.parametrize(("action", "direction"), [(MOD, "sendrecv"), (HOLD, "recvonly"), (CALL_HOLD, "recvonly")])
    def test_an_offer_that_the_focus_refuses_changes_nothing(
        self, trio: Meeting, alice: Device, bob: Device, node: ScriptedNode, action: str, direction: str
    ) -> None:
        before = alice.get(trio.id)
        node.refusal = REFUSAL
        mod = put(alice, trio.id, action, direction)
        (rejected,) = alice.news()
        assert (rejected["type"], rejected["modId"], rejected["reason"]) == ("mod-rejected", mod, "sdp-invalid")
        assert bob.news() == []
        assert alice.get(trio.id) == before
        assert (trio.participant(alice).move_until is not None) == (action == CALL_HOLD)
        refused(409, "modification-settled", alice.withdraw, trio.id, mod)

    def test_an_answer_that_the_focus_refuses_is_reported(
        self, trio: Meeting, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        mod = put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        bob.news()
        node.works = False
        (waiting,) = carol.follow(trio.id)
        carol.news()
        settle_task(task_id=last_task().pk, result=Result(refusal=REFUSAL), now=timezone.now())
        (mine,) = carol.news()
        assert (mine["type"], mine["modId"], mine["reason"]) == ("mod-rejected", waiting["modId"], "sdp-invalid")
        (rejected,) = bob.news()
        assert (rejected["type"], rejected["modId"], rejected["reason"]) == ("mod-rejected", mod, "sdp-invalid")
        assert rejected["participant"]["username"] == "carol"
        assert Modification.objects.get(pk=waiting["modId"]).state == "mod-accepted"

    def test_an_answer_for_a_participant_that_has_left_is_not_sent(
        self, trio: Meeting, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        node.works = False
        carol.follow(trio.id)
        task = last_task()
        carol.delete(trio.id)
        bob.news(), carol.news()
        settle_task(task_id=task.pk, result=Result(refusal=REFUSAL), now=timezone.now())
        assert bob.news() == carol.news() == []

    def test_only_the_two_sides_settle_an_offer(self, trio: Meeting, alice: Device, bob: Device, carol: Device) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = carol.offers(trio.id)
        refused(409, "not-yours-to-settle", alice.accept, trio.id, waiting["modId"], carol.mirror(waiting))
        refused(409, "not-yours-to-settle", alice.withdraw, trio.id, waiting["modId"])

    def test_a_participant_can_withdraw_its_own_offer(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        mod = put(bob, trio.id, CALL_HOLD, "recvonly")
        response = bob.withdraw(trio.id, mod)
        assert (response.status_code, response["x-state"]) == (204, "mod-cancelled")
        assert trio.participant(bob).move_until is None
        node.works = True
        node.work()
        assert bob.news() == []
        assert bob.participant(trio.id)["state"] == "accepted"
