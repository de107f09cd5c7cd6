"""Starting a conference through the focus."""

from datetime import timedelta

import pytest
from django.utils import timezone

from conferences.models import Conference
from media.models import MediaNode, MediaTask
from tests.support.actions import MOD
from tests.support.devices import Device
from tests.support.focus import ScriptedNode, beat
from tests.support.meeting import REFUSAL, put, started
from tests.support.refusals import refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
class TestStartingFocus:
    def test_the_default_topology_is_focus(self, alice: Device, bob: Device) -> None:
        body = alice.request("POST", "/mediaConferences", {"to": ["bob"], **alice.offer()}).json()
        assert body["topology"] == "focus"
        assert Conference.objects.get().media_node == "scripted"

    @pytest.mark.parametrize("silent_for", [None, 6])
    def test_a_focus_conference_needs_a_live_node(self, alice: Device, silent_for: int | None) -> None:
        MediaNode.objects.all().delete()
        if silent_for:
            beat("silent", timezone.now() - timedelta(seconds=silent_for))
        response = refused(503, "media-unavailable", alice.gather, "bob")
        assert int(response["retry-after"]) > 0

    def test_it_is_placed_on_the_node_with_the_fewest_legs(self, alice: Device) -> None:
        now = timezone.now()
        MediaNode.objects.update(legs=5)
        beat("idle", now, legs=1)
        beat("busy", now, legs=2)
        started(alice)
        assert Conference.objects.get().media_node == "idle"

    def test_the_focus_can_refuse_the_offer_of_the_host(self, alice: Device, bob: Device, node: ScriptedNode) -> None:
        node.refusal = REFUSAL
        response = alice.gather("bob")
        (rejected,) = alice.news()
        assert (rejected["type"], rejected["modId"]) == ("mod-rejected", response["x-mod-id"])
        assert (rejected["reason"], rejected["detail"]) == ("sdp-invalid", "No codec in common.")
        assert rejected["from"] == {"participant": "focus", "username": None}
        node.refusal = None
        # The host offers again. This offer, too, asks for a new leg.
        put(alice, response.json()["id"], MOD)
        bob.join(response.json()["id"])
        assert MediaTask.objects.count() == 0
        assert [task.payload["fresh"] for task, _ in node.done if task.kind == "offer"] == [True] * 3

    @pytest.mark.parametrize("to", [["alice"], ["bob", "alice"]])
    def test_users_cannot_call_themselves(self, alice: Device, to: list[str]) -> None:
        refused(400, "malformed", alice.gather, *to)

    @pytest.mark.parametrize("fields", [{}, {"access": "invited"}])
    def test_a_conference_that_is_not_open_must_invite_someone(self, alice: Device, fields: dict[str, str]) -> None:
        refused(400, "malformed", alice.gather, **fields)

    def test_an_invitation_is_answered_with_an_offer(self, alice: Device, bob: Device) -> None:
        conference = alice.gather("bob").json()["id"]
        refused(422, "sdp-invalid", bob.answer, conference)
