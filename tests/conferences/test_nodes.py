"""When a media node is gone, another one takes its conferences and offers everybody a fresh connection."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from conferences.models import Conference
from conferences.operations.deadlines import settle_due
from conferences.operations.focus import lose_media
from conferences.operations.nodes import adopt_conference
from media import tasks
from media.models import MediaNode
from tests.conferences.refusals import all_rows
from tests.devices import Call, Device
from tests.focus import ScriptedNode, scripted_node

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def topology() -> str:
    return "focus"


@pytest.fixture
def other() -> Iterator[ScriptedNode]:
    """Another node, which lives from the beginning but has the more to do."""
    with scripted_node("other") as other:
        MediaNode.objects.filter(pk="other").update(legs=100)
        yield other


def gone(node: ScriptedNode) -> None:
    """Let a node crash: it is not heard of any more."""
    long_ago = timezone.now() - timedelta(days=1)
    MediaNode.objects.filter(pk=node.id).update(heartbeat_at=long_ago)


def test_everybody_is_offered_a_fresh_connection(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    gone(node)
    settle_due(now=timezone.now())
    assert Conference.objects.get(pk=call.id).media_node == "other"
    for device in (call.alice, call.bob):
        (event,) = device.news()
        assert (event["type"], event["restart"], event["from"]["participant"]) == ("mod-received", True, "focus")
        assert event["description"]["type"] == "offer"
        assert device.accept(call.id, event["modId"], device.mirror(event)).status_code == 204
    settle_due(now=timezone.now())
    assert call.alice.get(call.id)["state"] == "session-open"
    assert set(other.legs[call.id]) == {seat["id"] for seat in call.alice.get(call.id)["participants"]}


def test_who_does_not_answer_in_time_can_be_lost(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    gone(node)
    settle_due(now=timezone.now())
    later = timezone.now() + timedelta(minutes=1)
    (event,) = call.bob.news()
    other.works = False
    settle_due(now=later)
    assert call.bob.news_types() == ["mod-expired"]
    seat = call.bob.seat(call.id)["id"]
    lose_media(conference_id=call.id, participant_id=seat, leg=event["modId"], now=later)
    assert call.alice.get(call.id)["participants"][1]["leftReason"] == "media-lost"


def test_it_is_offered_once(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    gone(node)
    for _ in range(3):
        settle_due(now=timezone.now())
    assert call.alice.news_types() == ["mod-received"]


def test_what_a_slow_node_was_asked_is_taken_from_it(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    node.works = False
    call.alice.put(call.id, "initiate-conference-mod", call.alice.offer())
    gone(node)
    settle_due(now=timezone.now())
    before = all_rows()
    node.works = True
    node.work()
    assert all_rows() == before


def test_without_another_node_the_conference_waits(node: ScriptedNode, call: Call) -> None:
    gone(node)
    settle_due(now=timezone.now())
    assert call.alice.news() == []
    with scripted_node("late"):
        settle_due(now=timezone.now())
        assert call.alice.news_types() == ["mod-received"]


def test_offer_that_the_node_took_along_is_rejected_and_may_be_made_again(
    node: ScriptedNode, other: ScriptedNode, call: Call
) -> None:
    node.works = False
    response = call.alice.put(call.id, "initiate-conference-mod", call.alice.offer())
    gone(node)
    settle_due(now=timezone.now())
    rejected, restart = call.alice.news()
    assert (rejected["type"], rejected["modId"], rejected["reason"]) == (
        "mod-rejected",
        response["x-mod-id"],
        "media-unavailable",
    )
    assert restart["restart"] is True


def test_answer_to_a_call_that_the_node_took_along_is_asked_of_the_other(
    node: ScriptedNode, other: ScriptedNode, alice: Device, bob: Device
) -> None:
    conference = alice.gather("bob").json()["id"]
    node.works = False
    response = bob.join(conference)
    bob.news()
    gone(node)
    settle_due(now=timezone.now())
    (accepted,) = (event for event in bob.news() if event["type"] == "mod-accepted")
    assert accepted["modId"] == response["x-mod-id"]
    assert bob.seat(conference)["state"] == "accepted"


def test_offer_of_the_node_that_is_gone_is_cancelled(
    node: ScriptedNode, other: ScriptedNode, alice: Device, bob: Device
) -> None:
    conference = alice.gather("bob").json()["id"]
    bob.join(conference)
    (pending,) = alice.offers(conference)
    alice.news()
    gone(node)
    settle_due(now=timezone.now())
    cancelled, restart = alice.news()
    assert (cancelled["type"], cancelled["modId"]) == ("mod-cancelled", pending["modId"])
    assert restart["restart"] is True


def test_conference_that_has_ended_is_let_be(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    call.alice.delete(call.id)
    gone(node)
    settle_due(now=timezone.now())
    assert Conference.objects.get(pk=call.id).media_node == node.id
    assert not tasks.waiting("other", 1)


def test_conference_that_was_adopted_in_the_same_moment_is_let_be(
    node: ScriptedNode, other: ScriptedNode, call: Call
) -> None:
    before = all_rows()
    adopt_conference(conference_id=call.id, now=timezone.now())
    assert all_rows() == before


def test_who_never_had_a_leg_is_not_offered_another(
    node: ScriptedNode, other: ScriptedNode, alice: Device, bob: Device
) -> None:
    node.refusal = {"code": "sdp-invalid", "detail": "No codec in common."}
    conference = alice.gather("bob").json()["id"]
    alice.news()
    gone(node)
    settle_due(now=timezone.now())
    assert Conference.objects.get(pk=conference).media_node == "other"
    assert alice.news() == []
