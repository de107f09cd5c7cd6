"""Tasks for the focus, and how their results are applied."""

import pytest
from django.utils import timezone

from conferences.models import Conference, Modification
from conferences.operations.focus import settle_task
from events.models import Event, new_id
from media import tasks
from media.messages import ConferenceView, FocusOffer, OfferKind, Result, UpdateTask
from media.models import MediaTask
from tests.support.actions import HOLD, MOD
from tests.support.descriptions import offer
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.meeting import Meeting, last_task, put, states
from tests.support.refusals import all_rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


class TestTasks:
    def test_an_offer_makes_a_task(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        new = bob.offer(kinds=("audio", "video", "video"))
        mod = bob.put(trio.id, MOD, new)["x-mod-id"]
        task = MediaTask.objects.get()
        assert (task.kind, task.node, task.conference) == ("offer", "scripted", trio.id)
        assert task.payload == {
            "participant": trio.participant(bob).pk,
            "modId": mod,
            "sdp": new["sdp"],
            "fresh": False,
            "view": {
                "seats": [
                    {"participant": trio.participant(device).pk, "state": "accepted", "muted": []}
                    for device in trio.devices
                ],
                "cause": {"modId": mod, "kind": "sync"},
            },
            "ready": [trio.participant(alice).pk, trio.participant(carol).pk],
            "generation": 1,
        }

    def test_an_answer_and_a_withdrawal_make_tasks(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        node.works = False
        (waiting,) = carol.offers(trio.id)
        reply = carol.mirror(waiting)
        carol.accept(trio.id, waiting["modId"], reply)
        task = last_task()
        fields = {"participant": trio.participant(carol).pk, "modId": waiting["modId"]}
        assert task.kind == "answer"
        assert {name: task.payload[name] for name in ("participant", "modId", "sdp")} == {**fields, "sdp": reply["sdp"]}
        assert trio.participant(carol).pk in task.payload["ready"]
        assert trio.participant(alice).pk not in task.payload["ready"]
        (waiting,) = alice.offers(trio.id)
        alice.withdraw(trio.id, waiting["modId"])
        task = last_task()
        assert (task.kind, task.payload["rejected"]) == ("withdraw", True)
        assert trio.participant(alice).pk in task.payload["ready"]

    def test_every_change_of_the_media_routes_makes_one_task(
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

    def test_ringing_makes_no_task(self, trio: Meeting, alice: Device, node: ScriptedNode) -> None:
        node.works = False
        dave = Device.register("dave")
        alice.request("POST", f"/mediaConferences/{trio.id}/participants", {"to": "dave"})
        dave.delete(trio.id)
        assert MediaTask.objects.count() == 0

    def test_a_result_is_applied_only_once(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        put(bob, trio.id, HOLD, "recvonly")
        task = last_task()
        result = node.execute(task)
        settle_task(task_id=task.pk, result=result, now=timezone.now())
        before = all_rows()
        settle_task(task_id=task.pk, result=result, now=timezone.now())
        assert all_rows() == before

    def test_a_task_is_carried_out_again_after_a_crash(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        put(bob, trio.id, HOLD, "recvonly")
        for _ in range(2):
            (task,) = tasks.waiting(node.id, 10)
            node.execute(task)
        node.works = True
        node.work()
        assert bob.news_types() == ["mod-accepted", "participant-on-hold"]

    def test_an_empty_result_is_a_refusal(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        put(bob, trio.id, HOLD, "recvonly")
        settle_task(task_id=last_task().pk, result=Result(), now=timezone.now())
        (rejected,) = bob.news()
        assert (rejected["type"], rejected["reason"]) == ("mod-rejected", "media-unavailable")

    def test_an_update_without_effect_changes_nothing(self, trio: Meeting, alice: Device, node: ScriptedNode) -> None:
        etag = alice.request("GET", f"/mediaConferences/{trio.id}")["etag"]
        node.works = False
        view = ConferenceView(participants=(), ready=())
        tasks.enqueue(node_id=node.id, conference_id=trio.id, task=UpdateTask(), view=view, now=timezone.now())
        settle_task(task_id=last_task().pk, result=Result(), now=timezone.now())
        assert alice.request("GET", f"/mediaConferences/{trio.id}")["etag"] == etag

    def test_offers_to_participants_that_cannot_take_them_are_dropped(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        put(bob, trio.id, MOD)
        participants = [trio.participant(device).pk for device in (alice, bob, carol)]
        carol.delete(trio.id)
        node.works = True
        offers = [
            FocusOffer(participant, new_id(), offer()["sdp"], OfferKind.SYNC, caused_by="nonsense")
            for participant in [*participants, "nonsense"]
        ]
        now = timezone.now()
        settle_task(task_id=last_task().pk, result=Result(offers=(*offers, *offers)), now=now)
        assert [each.offered_to_id for each in Modification.objects.pending().filter(offered_by=None)] == participants[
            :1
        ]
        assert alice.offers(trio.id)[0]["causedBy"] is None

    def test_an_offer_in_two_results_is_sent_once(
        self, trio: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        put(bob, trio.id, MOD, kinds=("audio", "video", "video"))
        node.works = False
        (waiting,) = alice.offers(trio.id)
        before = alice.log()
        alice.accept(trio.id, waiting["modId"], alice.mirror(waiting))
        text = waiting["description"]["sdp"]
        again = FocusOffer(trio.participant(alice).pk, waiting["modId"], text, OfferKind.SYNC, caused_by=None)
        settle_task(task_id=last_task().pk, result=Result(offers=(again,)), now=timezone.now())
        assert alice.log() == before
        assert alice.offers(trio.id) == []

    def test_a_deleted_conference_leaves_no_task(self, trio: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        put(bob, trio.id, MOD)
        Event.objects.all().delete()
        Conference.objects.all().delete()
        settle_task(task_id=last_task().pk, result=Result(), now=timezone.now())
        assert MediaTask.objects.count() == 0

    def test_another_process_can_apply_a_result_first(
        self, trio: Meeting, bob: Device, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node.works = False
        put(bob, trio.id, MOD)
        task = last_task()
        monkeypatch.setattr(tasks, "finish", lambda task_id: False)
        before = all_rows()
        settle_task(task_id=task.pk, result=node.execute(task), now=timezone.now())
        assert all_rows() == before
