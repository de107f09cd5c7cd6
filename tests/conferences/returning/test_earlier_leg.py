"""Late reports and results about the leg of an earlier stay have no effect."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from conferences.models import Modification, Participant
from conferences.operations.focus import leg_lost, settle_task
from conferences.operations.nodes import adopt_conference
from media.messages import FocusOffer, OfferKind, Result
from media.models import MediaNode
from tests.support.actions import MOD
from tests.support.devices import Device
from tests.support.focus import ScriptedNode, beat
from tests.support.meeting import REFUSAL, SCRIPTED, Meeting, last_task, put

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
class TestEarlierLeg:
    def come_back(self, meeting: Meeting, bob: Device) -> None:
        assert bob.delete(meeting.id).status_code == 200
        assert bob.join(meeting.id).status_code == 204

    def test_the_focus_builds_a_new_leg_for_a_new_stay(self, meeting: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        bob.delete(meeting.id)
        assert bob.answer(meeting.id, bob.offer()).status_code == 204, "from the same peer connection"
        assert (last_task().kind, last_task().payload["fresh"]) == ("offer", True)
        assert Participant.objects.get(session=bob.id).connect_until is not None

    @pytest.mark.parametrize("accepted", [True, False])
    def test_losing_the_earlier_leg_does_not_end_the_new_stay(
        self, meeting: Meeting, bob: Device, node: ScriptedNode, accepted: bool
    ) -> None:
        participant = meeting.participant(bob)
        old = Modification.objects.get(offered_by=participant, restart=True).pk
        node.refusal = None if accepted else REFUSAL
        self.come_back(meeting, bob)
        lose = partial(
            leg_lost, conference_id=meeting.id, participant_id=participant.pk, by=SCRIPTED, now=timezone.now()
        )
        lose(leg=old)
        assert bob.participant(meeting.id)["state"] == "accepted"
        if accepted:
            newest = Modification.objects.filter(offered_by=participant, restart=True).latest("created_at").pk
            lose(leg=newest)
            assert bob.participant(meeting.id)["leftReason"] == "media-lost"

    def test_a_late_result_for_an_earlier_answer_sends_no_event(
        self, meeting: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        put(alice, meeting.id, MOD, kinds=("audio", "video", "video"))
        node.works = False
        bob.follow(meeting.id)
        late = last_task()
        self.come_back(meeting, bob)
        alice.news(), bob.news()
        settle_task(task_id=late.pk, result=Result(refusal=REFUSAL), now=timezone.now())
        assert alice.news() == bob.news() == []

    def test_late_offers_and_answers_for_the_earlier_leg_are_dropped(
        self, meeting: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        mod = put(bob, meeting.id, MOD)
        late = last_task()
        self.come_back(meeting, bob)
        bob.news()
        participant = meeting.participant(bob).pk
        offered = FocusOffer(participant, "old", "v=0", OfferKind.SYNC, caused_by=None)
        settle_task(task_id=late.pk, result=Result(answer="v=0", offers=(offered,)), now=timezone.now())
        assert bob.news() == []
        assert Modification.objects.get(pk=mod).state == "mod-cancelled"
        assert not Modification.objects.filter(pk="old").exists()

    def test_the_rejection_of_an_earlier_offer_is_not_reported_in_the_new_stay(
        self, meeting: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        carol.join(meeting.id)
        Meeting(meeting.id, alice, bob, carol).catch_up()
        put(bob, meeting.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = carol.offers(meeting.id)
        self.come_back(meeting, bob)
        bob.news()
        assert carol.withdraw(meeting.id, waiting["modId"]).status_code == 204
        assert "mod-rejected" not in bob.news_types()

    def test_another_node_does_not_restore_the_earlier_leg(
        self, meeting: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        node.refusal = REFUSAL
        self.come_back(meeting, bob)
        node.works = False
        beat("other", timezone.now() + timedelta(days=1))
        MediaNode.objects.filter(pk=node.id).delete()
        adopt_conference(conference_id=meeting.id, now=timezone.now(), watched=timedelta(minutes=1))
        restarts = last_task().payload["restarts"]
        assert [each["participant"] for each in restarts] == [meeting.participant(alice).pk]
