"""A participant for which the focus never had a leg is given up after as long as one whose media is lost."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from conferences.models import Participant
from conferences.operations.deadlines import next_deadline, settle_due
from media.messages import Refusal, RefusalCode
from media.reports import LOST_SECONDS
from tests.support.devices import Device, hold, open_call
from tests.support.focus import ScriptedNode

pytestmark = pytest.mark.django_db(transaction=True)

REFUSAL = Refusal(RefusalCode.SDP_INVALID, "Nothing that the focus knows.")
MOD, CALL_HOLD = "initiate-conference-mod", "initiate-call-hold"
LOST, INSTANT = timedelta(seconds=LOST_SECONDS), timedelta(microseconds=1)


def due(device: Device) -> datetime:
    """Return when the participant of a device is given up."""
    until = Participant.objects.joined().get(session=device.id).connect_until
    assert until is not None
    return until


def refuse(node: ScriptedNode) -> None:
    """Let the focus refuse every offer from now on."""
    node.refusal = REFUSAL


def test_a_guest_whose_offer_was_refused_leaves(alice: Device, bob: Device, node: ScriptedNode) -> None:
    conference = alice.gather("bob", access="open").json()["id"]
    refuse(node)
    before = timezone.now()
    assert bob.join(conference).status_code == 204
    until = due(bob)
    assert before + LOST <= until <= timezone.now() + LOST
    assert next_deadline() == until
    alice.news()
    assert settle_due(now=until - INSTANT) == 0
    assert settle_due(now=until) == 1
    (left,) = alice.news()
    assert (left["type"], left["reason"]) == ("participant-left", "media-lost")
    assert bob.log()[-1]["type"] == "participant-left"
    assert bob.get(conference)["participants"][1]["leftReason"] == "media-lost"
    assert settle_due(now=until) == 0


def test_an_open_conference_ends_whose_host_was_refused(alice: Device, node: ScriptedNode) -> None:
    refuse(node)
    conference = alice.gather(access="open").json()["id"]
    assert settle_due(now=due(alice)) == 1
    assert alice.get(conference)["state"] == "session-terminated"


def test_an_offer_that_is_not_answered_counts_as_refused(alice: Device, node: ScriptedNode) -> None:
    node.works = False
    conference = alice.gather(access="open").json()["id"]
    assert settle_due(now=due(alice)) > 0
    assert alice.get(conference)["state"] == "session-terminated"


def test_a_participant_whose_offer_was_refused_may_offer_again(alice: Device, bob: Device, node: ScriptedNode) -> None:
    conference = alice.gather("bob", access="open").json()["id"]
    refuse(node)
    bob.join(conference)
    first = due(bob)
    assert bob.put(conference, MOD, bob.offer()).status_code == 204
    assert due(bob) > first
    node.refusal = None
    assert bob.put(conference, MOD, bob.offer()).status_code == 204
    assert not Participant.objects.filter(connect_until__isnull=False).exists()
    settle_due(now=first + LOST)
    assert bob.participant(conference)["state"] == "accepted"


def test_a_later_refusal_costs_no_participant(alice: Device, bob: Device, node: ScriptedNode) -> None:
    call = open_call(alice, bob, "focus")
    refuse(node)
    assert bob.put(call.id, MOD, bob.offer()).status_code == 204
    assert not Participant.objects.filter(connect_until__isnull=False).exists()


def test_a_device_that_a_participant_moved_to_in_vain_gives_up_its_participant(
    alice: Device, bob: Device, node: ScriptedNode
) -> None:
    call, phone = open_call(alice, bob, "focus"), Device.register("alice", "phone")
    hold(call, CALL_HOLD)
    assert alice.delete(call.id).json()["outcome"] == "moving"
    refuse(node)
    assert phone.join(call.id).status_code == 204
    settle_due(now=due(phone))
    assert phone.get(call.id)["state"] == "session-terminated"
    assert not Participant.objects.filter(connect_until__isnull=False).exists()


def test_a_participant_that_loses_its_leg_within_a_negotiation_has_as_long_to_come_back(
    alice: Device, bob: Device, node: ScriptedNode
) -> None:
    call = open_call(alice, bob, "focus")
    participants = [participant["id"] for participant in alice.get(call.id)["participants"]]
    node.without_leg = participants[1:]
    assert alice.put(call.id, MOD, alice.offer()).status_code == 204
    until = due(bob)
    assert timedelta() < until - timezone.now() <= LOST
    assert not Participant.objects.filter(session=alice.id, connect_until__isnull=False).exists()
    # The node says so again, and gives no more time by that.
    assert alice.put(call.id, MOD, alice.offer()).status_code == 204
    assert due(bob) == until
    node.without_leg = []
    assert bob.put(call.id, MOD, bob.offer()).status_code == 204
    assert not Participant.objects.filter(connect_until__isnull=False).exists()

    node.without_leg = participants[1:]
    assert alice.put(call.id, MOD, alice.offer()).status_code == 204
    settle_due(now=due(bob))
    assert bob.get(call.id)["participants"][1]["leftReason"] == "media-lost"
    # It stands at that participant no more: what the node says late changes nothing.
    assert not Participant.objects.filter(connect_until__isnull=False).exists()


def test_between_browsers_nobody_waits_for_a_focus(alice: Device, bob: Device) -> None:
    open_call(alice, bob)
    assert not Participant.objects.filter(connect_until__isnull=False).exists()
