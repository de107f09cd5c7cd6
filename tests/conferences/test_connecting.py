"""A participant without a leg leaves after the same time as one whose media is lost."""

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
    """Return the deadline at which a device's participant leaves if it has no leg."""
    until = Participant.objects.joined().get(session=device.id).connect_until
    assert until is not None
    return until


def refuse(node: ScriptedNode) -> None:
    """Make the focus refuse every offer from now on."""
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


def test_an_open_conference_whose_host_was_refused_ends(alice: Device, node: ScriptedNode) -> None:
    refuse(node)
    conference = alice.gather(access="open").json()["id"]
    assert settle_due(now=due(alice)) == 1
    assert alice.get(conference)["state"] == "session-terminated"


def test_an_offer_that_is_not_answered_counts_as_refused(alice: Device, node: ScriptedNode) -> None:
    node.works = False
    conference = alice.gather(access="open").json()["id"]
    assert settle_due(now=due(alice)) > 0
    assert alice.get(conference)["state"] == "session-terminated"


def test_a_participant_whose_offer_was_refused_can_offer_again(alice: Device, bob: Device, node: ScriptedNode) -> None:
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


def test_a_refusal_of_a_later_offer_sets_no_deadline(alice: Device, bob: Device, node: ScriptedNode) -> None:
    call = open_call(alice, bob, "focus")
    refuse(node)
    assert bob.put(call.id, MOD, bob.offer()).status_code == 204
    assert not Participant.objects.filter(connect_until__isnull=False).exists()


def test_a_participant_whose_new_device_is_refused_after_a_move_leaves(
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


def test_a_participant_without_a_leg_after_a_negotiation_has_the_same_deadline(
    alice: Device, bob: Device, node: ScriptedNode
) -> None:
    call = open_call(alice, bob, "focus")
    participants = [participant["id"] for participant in alice.get(call.id)["participants"]]
    node.without_leg = participants[1:]
    assert alice.put(call.id, MOD, alice.offer()).status_code == 204
    until = due(bob)
    assert timedelta() < until - timezone.now() <= LOST
    assert not Participant.objects.filter(session=alice.id, connect_until__isnull=False).exists()
    # The node reports again that bob has no leg. This does not extend the deadline.
    assert alice.put(call.id, MOD, alice.offer()).status_code == 204
    assert due(bob) == until
    node.without_leg = []
    assert bob.put(call.id, MOD, bob.offer()).status_code == 204
    assert not Participant.objects.filter(connect_until__isnull=False).exists()

    node.without_leg = participants[1:]
    assert alice.put(call.id, MOD, alice.offer()).status_code == 204
    settle_due(now=due(bob))
    assert bob.get(call.id)["participants"][1]["leftReason"] == "media-lost"
    # The deadline is removed when the participant leaves. The node still reports the participant, without effect.
    assert not Participant.objects.filter(connect_until__isnull=False).exists()


def test_a_peer_call_sets_no_deadline(alice: Device, bob: Device) -> None:
    open_call(alice, bob)
    assert not Participant.objects.filter(connect_until__isnull=False).exists()
