"""A focus call rings only after the focus has accepted the caller's offer. A refused caller can call again."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Participant
from conferences.operations.deadlines import settle_due
from media.messages import Refusal, RefusalCode
from media.reports import LOST_SECONDS
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)

REFUSAL = Refusal(RefusalCode.SDP_INVALID, "Nothing that the focus knows.")
MOD, HOLD = "initiate-conference-mod", "initiate-conference-hold"


def refused_call(caller: Device, node: ScriptedNode, *to: str, **fields: str) -> str:
    """Start a call whose offer the focus refuses; return the conference's ID."""
    node.refusal = REFUSAL
    response = caller.gather(*to, **fields)
    assert response.status_code == 201, response.content
    node.refusal = None
    return str(response.json()["id"])


def test_a_refused_call_does_not_ring_and_its_caller_is_notified(
    alice: Device, bob: Device, node: ScriptedNode
) -> None:
    conference = refused_call(alice, node, "bob")
    (rejected,) = alice.news()
    assert (rejected["type"], rejected["kind"], rejected["reason"]) == ("mod-rejected", "call", "sdp-invalid")
    assert bob.news() == []
    late = Device.register("bob", "phone")
    assert late.news() == []
    refused(409, "not-ringing", bob.answer, conference, bob.offer())
    assert alice.delete(conference).json()["state"] == "session-terminated"
    assert bob.news() == late.news() == []


def test_a_repeated_call_rings_for_the_full_time(
    alice: Device, bob: Device, node: ScriptedNode, settings: Settings
) -> None:
    conference = refused_call(alice, node, "bob")
    late = Device.register("bob", "phone")
    before = timezone.now()
    response = alice.put(conference, MOD, alice.offer())
    assert (response.status_code, response["x-state"]) == (204, "mod-sent")
    assert alice.news_types() == ["mod-rejected", "mod-accepted"]
    for device in (bob, late):
        (invitation,) = device.news()
        assert invitation["type"] == "invitation-received"
    (until,) = Participant.objects.ringing().values_list("rings_until", flat=True)
    assert until is not None
    assert before + settings.RING_DURATION <= until <= timezone.now() + settings.RING_DURATION
    assert bob.join(conference).status_code == 204
    assert alice.get(conference)["state"] == "session-open"
    assert [event["reason"] for event in late.news()] == ["answered-elsewhere"]


def test_a_call_can_be_refused_several_times(alice: Device, bob: Device, node: ScriptedNode) -> None:
    conference = refused_call(alice, node, "bob")
    (before,) = Participant.objects.ringing().values_list("rings_until", flat=True)
    node.refusal = REFUSAL
    for _ in range(2):
        assert alice.put(conference, MOD, alice.offer()).status_code == 204
    (after,) = Participant.objects.ringing().values_list("rings_until", flat=True)
    assert before is not None
    assert after is not None
    assert after > before
    node.refusal = None
    assert alice.put(conference, MOD, alice.offer()).status_code == 204
    assert bob.news_types() == ["invitation-received"]


def test_only_a_refused_host_can_call_again_with_one_offer_at_a_time(
    alice: Device, bob: Device, node: ScriptedNode
) -> None:
    conference = refused_call(alice, node, "bob")
    refused(409, "conference-not-open", alice.put, conference, HOLD, alice.offer("recvonly"))
    refused(409, "conference-not-open", bob.put, conference, MOD, bob.offer())
    node.works = False
    assert alice.put(conference, MOD, alice.offer()).status_code == 204
    assert bob.news() == []
    refused(409, "modification-pending", alice.put, conference, MOD, alice.offer())
    node.works = True
    node.wake()
    assert bob.news_types() == ["invitation-received"]
    refused(409, "conference-not-open", alice.put, conference, MOD, alice.offer())


def test_a_refused_call_ends_if_the_caller_does_not_call_again(alice: Device, bob: Device, node: ScriptedNode) -> None:
    conference = refused_call(alice, node, "bob")
    settle_due(now=timezone.now() + timedelta(seconds=LOST_SECONDS))
    body = alice.get(conference)
    assert body["state"] == "session-terminated"
    assert [participant["leftReason"] for participant in body["participants"]] == ["media-lost", "conference-ended"]
    assert bob.news() == []


def test_a_user_invited_in_the_meantime_rings_with_the_others(
    alice: Device, bob: Device, carol: Device, node: ScriptedNode
) -> None:
    conference = refused_call(alice, node, "bob")
    invited = alice.request("POST", f"/mediaConferences/{conference}/participants", {"to": "carol"})
    assert invited.status_code == 201
    assert carol.news() == []
    alice.put(conference, MOD, alice.offer())
    assert bob.news_types() == carol.news_types() == ["invitation-received"]


def test_invited_users_can_join_an_open_conference_before_it_rings(
    alice: Device, bob: Device, carol: Device, node: ScriptedNode
) -> None:
    conference = refused_call(alice, node, "bob", "carol", access="open")
    assert bob.join(conference).status_code == 204
    assert [participant["state"] for participant in alice.get(conference)["participants"]] == [
        "accepted",
        "accepted",
        "invited",
    ]
    # Carol's devices ring now, because bob is in the conference.
    assert carol.news_types() == ["invitation-received"]
    bob.follow(conference)
    assert alice.put(conference, MOD, alice.offer()).status_code == 204
    assert carol.news() == []


def test_a_peer_call_rings_at_once(alice: Device, bob: Device) -> None:
    conference = alice.call("bob").json()["id"]
    assert bob.news_types() == ["invitation-received"]
    refused(409, "conference-not-open", alice.put, conference, MOD, alice.offer())
