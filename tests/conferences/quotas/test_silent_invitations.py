"""Invitations that do not ring yet do not make their callee busy. They count towards the quota once they ring."""

from functools import partial

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Participant
from media.messages import Refusal, RefusalCode
from sbe_enabler import settings as service
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.quotas import at_once
from tests.support.refusals import refused
from tests.support.requests import register

pytestmark = pytest.mark.django_db(transaction=True)

REFUSAL = Refusal(RefusalCode.SDP_INVALID, "Nothing that the focus knows.")
MOD = "initiate-conference-mod"


def silent_call(caller: Device, node: ScriptedNode, *to: str, **fields: str) -> str:
    """Start a conference whose host's offer the focus refuses; return the conference's ID."""
    node.refusal = REFUSAL
    response = caller.gather(*to, **fields)
    node.refusal = None
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def test_four_strangers_cannot_make_a_user_busy_in_silence(
    alice: Device, bob: Device, node: ScriptedNode, settings: Settings
) -> None:
    settings.INVITATIONS_PER_PAIR = service.INVITATIONS_PER_PAIR
    strangers = [Device.register(f"stranger-{number}") for number in range(4)]
    calls = [(stranger, silent_call(stranger, node, "bob")) for stranger in strangers for _ in range(4)]
    node.refusal = REFUSAL
    for stranger, conference in calls:
        assert stranger.put(conference, MOD, stranger.offer()).status_code == 204
    node.refusal = None
    assert bob.news() == []
    assert alice.call("bob").status_code == 201
    assert alice.gather("bob").status_code == 201
    assert bob.news_types() == ["invitation-received", "invitation-received"]


def listed(device: Device) -> list[str]:
    """Return the IDs in a device's list of live conferences."""
    return [each["id"] for each in device.request("GET", "/mediaConferences").json()["conferences"]]


def test_strangers_cannot_fill_the_list_of_a_user_in_silence(alice: Device, bob: Device, node: ScriptedNode) -> None:
    by_invitation, by_link = (silent_call(alice, node, "bob", access=access) for access in ("invited", "open"))
    assert listed(bob) == []
    assert sorted(listed(alice)) == sorted([by_invitation, by_link])
    assert bob.get(by_invitation)["id"] == by_invitation
    assert alice.put(by_invitation, MOD, alice.offer()).status_code == 204
    assert listed(bob) == [by_invitation]


def test_strangers_cannot_fill_the_list_of_a_user_with_conferences_that_have_ceased_to_ring(
    alice: Device, bob: Device, node: ScriptedNode
) -> None:
    conference = alice.gather("bob", access="open").json()["id"]
    assert listed(bob) == [conference]
    bob.delete(conference)
    assert listed(bob) == []
    assert bob.join(conference).status_code == 204
    assert listed(bob) == [conference]


def test_silent_invitations_still_count_for_their_caller(
    alice: Device, bob: Device, node: ScriptedNode, settings: Settings
) -> None:
    settings.INVITATIONS_PER_PAIR = 1
    silent_call(alice, node, "bob")
    refused(429, "too-many-invitations", alice.gather, "bob")
    settings.INVITATIONS_PER_PAIR, settings.INVITATIONS_PER_CALLER = 2, 1
    refused(429, "too-many-invitations", alice.gather, "carol")


def test_a_call_to_a_user_who_is_busy_when_it_would_ring_ends_at_once(
    alice: Device, bob: Device, node: ScriptedNode, settings: Settings
) -> None:
    settings.INVITATIONS_PER_CALLEE = 1
    conference = silent_call(alice, node, "bob")
    Device.register("carol").call("bob")
    assert bob.news_types() == ["invitation-received"]
    alice.news()
    assert alice.put(conference, MOD, alice.offer()).status_code == 204
    assert alice.news_types() == ["mod-accepted", "participant-left", "session-terminated"]
    body = alice.get(conference)
    assert body["state"] == "session-terminated"
    assert [participant["leftReason"] for participant in body["participants"]] == ["conference-ended", "no-answer"]
    # The invitation never rang, so bob's device gets no event about it.
    assert bob.news() == []
    assert node.legs[conference] == {}


def test_all_addresses_of_a_busy_user_count(alice: Device, key: str, node: ScriptedNode, settings: Settings) -> None:
    settings.INVITATIONS_PER_CALLEE = 1
    register(key, "k1", username="dave", vtn="+15550177", icmn="+15550178")
    conference = silent_call(alice, node, "tel:+15550178")
    Device.register("carol").call("dave")
    assert alice.put(conference, MOD, alice.offer()).status_code == 204
    assert alice.get(conference)["state"] == "session-terminated"


def test_each_address_of_a_user_that_would_ring_counts_for_the_next(
    alice: Device, key: str, node: ScriptedNode, settings: Settings
) -> None:
    register(key, "k1", username="dave", vtn="+15550177", icmn="+15550178")
    conference = silent_call(alice, node, "dave", "tel:+15550177", "tel:+15550178")
    settings.INVITATIONS_PER_CALLEE = 2
    assert alice.put(conference, MOD, alice.offer()).status_code == 204
    assert [each["state"] for each in alice.get(conference)["participants"]] == [
        "accepted",
        "invited",
        "invited",
        "left",
    ]


def test_the_other_guests_ring(
    alice: Device, bob: Device, carol: Device, node: ScriptedNode, settings: Settings
) -> None:
    settings.INVITATIONS_PER_CALLEE = 1
    conference = silent_call(alice, node, "bob", "carol")
    Device.register("dave").call("bob")
    bob.news()
    assert alice.put(conference, MOD, alice.offer()).status_code == 204
    (invitation,) = carol.news()
    assert [participant["state"] for participant in invitation["conference"]["participants"]] == [
        "accepted",
        "left",
        "invited",
    ]
    assert bob.news() == []
    assert carol.join(conference).status_code == 204


def test_an_open_conference_continues_without_busy_guests(
    alice: Device, bob: Device, carol: Device, node: ScriptedNode, settings: Settings
) -> None:
    settings.INVITATIONS_PER_CALLEE = 1
    conference = silent_call(alice, node, "bob", access="open")
    Device.register("dave").call("bob")
    assert bob.news_types() == ["invitation-received"]
    # The first participant that joins makes the conference ring.
    assert carol.join(conference).status_code == 204
    body = alice.get(conference)
    assert body["state"] == "session-open"
    assert [participant["state"] for participant in body["participants"]] == ["accepted", "left", "accepted"]
    assert bob.news() == []


def test_calls_that_begin_to_ring_at_the_same_time_do_not_exceed_the_quota(
    bob: Device, node: ScriptedNode, settings: Settings
) -> None:
    settings.INVITATIONS_PER_CALLEE = 3
    callers = [Device.register(f"caller-{number}") for number in range(8)]
    calls = [(caller, silent_call(caller, node, "bob", access="open")) for caller in callers]
    guests = [Device.register(f"guest-{number}") for number in range(8)]
    statuses = at_once([partial(guest.join, conference) for guest, (_, conference) in zip(guests, calls, strict=True)])
    assert statuses == [204] * 8
    assert Participant.objects.unanswered(timezone.now()).filter(username="bob").count() == 3
    assert bob.news_types() == ["invitation-received"] * 3


def test_an_invited_user_can_decline_before_it_rings(alice: Device, bob: Device, node: ScriptedNode) -> None:
    phone = Device.register("bob", "phone")
    conference = silent_call(alice, node, "bob")
    alice.news()
    assert bob.get(conference)["state"] == "invitation-sent"
    response = bob.delete(conference)
    assert (response.status_code, response.json()["outcome"]) == (200, "declined")
    assert [event["reason"] for event in alice.news()] == ["declined", "declined"]
    assert bob.news() == phone.news() == []
    assert bob.delete(conference).json()["outcome"] == "terminated"


def test_declining_before_it_rings_cancels_the_offer_that_the_focus_has_not_answered(
    alice: Device, bob: Device, node: ScriptedNode
) -> None:
    node.works = False
    conference = alice.gather("bob").json()["id"]
    assert bob.delete(conference).json()["state"] == "session-terminated"
    node.works = True
    node.wake()
    assert alice.news_types() == ["participant-left", "session-terminated"]
    assert bob.news() == []
    assert node.legs[conference] == {}


def test_only_the_user_that_declined_stays_away(alice: Device, bob: Device, carol: Device, node: ScriptedNode) -> None:
    conference = silent_call(alice, node, "bob", "carol")
    assert bob.delete(conference).json()["outcome"] == "declined"
    assert alice.put(conference, MOD, alice.offer()).status_code == 204
    assert carol.news_types() == ["invitation-received"]
    assert bob.news() == []


def test_an_answer_in_silence_cancels_nothing_on_devices_that_did_not_ring(
    alice: Device, bob: Device, node: ScriptedNode
) -> None:
    phone = Device.register("bob", "phone")
    conference = silent_call(alice, node, "bob", access="open")
    assert bob.join(conference).status_code == 204
    assert phone.news() == []
