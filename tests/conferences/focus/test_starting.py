"""A conference through the focus begins."""

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
class TestStarting:
    def test_focus_is_what_a_request_without_topology_gets(self, alice: Device, bob: Device) -> None:
        body = alice.request("POST", "/mediaConferences", {"to": ["bob"], **alice.offer()}).json()
        assert body["topology"] == "focus"
        assert Conference.objects.get().media_node == "scripted"

    @pytest.mark.parametrize("silent_for", [None, 6])
    def test_without_a_live_node_there_is_no_focus(self, alice: Device, silent_for: int | None) -> None:
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
    def test_a_conference_that_is_not_open_must_call_somebody(self, alice: Device, fields: dict[str, str]) -> None:
        refused(400, "malformed", alice.gather, **fields)

    def test_an_invitation_is_answered_with_an_offer(self, alice: Device, bob: Device) -> None:
        conference = alice.gather("bob").json()["id"]
        refused(422, "sdp-invalid", bob.answer, conference)
