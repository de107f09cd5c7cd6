"""Offers and invitations of a focus conference expire."""

from datetime import timedelta

import pytest
from django.utils import timezone

from conferences.models import Participant
from conferences.operations.deadlines import settle_due
from conferences.operations.focus import settle_task
from media.messages import Result
from tests.support.actions import CALL_HOLD, MOD
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.meeting import Meeting, last_task, put

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


class TestFocusDeadlines:
    def due(self) -> int:
        """Settle everything that is due when an offer expires; return the number of jobs."""
        return settle_due(now=timezone.now() + timedelta(seconds=31))

    def test_an_offer_of_the_focus_expires(self, trio: Meeting, bob: Device, carol: Device, node: ScriptedNode) -> None:
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
        assert trio.participant(carol).pk in task.payload["ready"]

    def test_an_offer_that_the_focus_never_answers_expires(
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
        # An answer of the focus after the expiry has no effect.
        settle_task(task_id=offered.pk, result=Result(answer=bob.offer()["sdp"]), now=timezone.now())
        assert bob.news() == []
        assert alice.get(trio.id) == before

    def test_the_offer_of_a_host_expires_while_its_invitations_wait(
        self, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        mod = alice.gather("bob", access="open")["x-mod-id"]
        # One job settles both deadlines of the conference: the offer expires, and the host, which has no leg, leaves.
        assert self.due() == 1
        expired = alice.news()[0]
        assert (expired["type"], expired["modId"]) == ("mod-expired", mod)

    def test_an_invitation_expires(self, alice: Device, bob: Device, carol: Device) -> None:
        conference = alice.gather("bob", "carol").json()["id"]
        bob.join(conference)
        bob.follow(conference), alice.follow(conference)
        alice.news(), bob.news()
        self.due()
        assert alice.news_types() == bob.news_types() == ["participant-left"]
        assert carol.news()[-1]["reason"] == "no-answer"
        assert alice.get(conference)["state"] == "session-open"
