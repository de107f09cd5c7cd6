"""Quotas of simultaneous invitations: per callee, per caller, and per pair."""

from functools import partial

import pytest
from pytest_django import Settings

from conferences.models import Participant
from sbe_enabler import settings as service
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.quotas import at_once
from tests.support.refusals import refused
from tests.support.requests import register

pytestmark = pytest.mark.django_db(transaction=True)


class TestInvitationsPerCallee:
    def test_the_next_call_is_refused_until_an_invitation_ends(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_CALLEE = 2
        first = alice.call("bob").json()["id"]
        carol = Device.register("carol")
        assert carol.call("bob").status_code == 201
        problem = refused(409, "callee-busy", Device.register("dave").call, "bob").json()
        assert (problem["to"], problem["limit"]) == ("bob", 2)
        alice.delete(first)
        assert Device.register("erin").call("bob").status_code == 201

    def test_an_answered_call_does_not_count(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        bob.answer(alice.call("bob").json()["id"])
        assert Device.register("carol").call("bob").status_code == 201

    def test_an_invitation_by_number_counts_too(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        assert alice.call("tel:+15550101").status_code == 201
        problem = refused(409, "callee-busy", Device.register("carol").call, "tel:+15550101").json()
        assert problem["to"] == "tel:+15550101"

    def test_all_addresses_of_a_user_count_together(self, alice: Device, key: str, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        register(key, "k1", username="dave", vtn="+15550177", icmn="+15550178")
        assert alice.call("dave").status_code == 201
        carol = Device.register("carol")
        for address in ("dave", "tel:+15550177", "tel:+15550178"):
            assert refused(409, "callee-busy", carol.call, address).json()["to"] == address

    @pytest.mark.parametrize("quota", ["callee", "pair"])
    def test_all_addresses_of_a_user_count_in_one_conference(
        self, quota: str, alice: Device, key: str, node: ScriptedNode, settings: Settings
    ) -> None:
        setattr(settings, f"INVITATIONS_PER_{quota.upper()}", 2)
        status, code = (409, "callee-busy") if quota == "callee" else (429, "too-many-invitations")
        register(key, "k1", username="dave", vtn="+15550177", icmn="+15550178")
        refused(status, code, alice.gather, "dave", "tel:+15550177", "tel:+15550178")
        assert alice.gather("dave", "tel:+15550177", "erin").status_code == 201
        refused(status, code, alice.gather, "tel:+15550178")

    def test_other_callees_can_still_be_called(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        alice.call("bob")
        assert alice.call("carol").status_code == 201

    def test_an_invitation_to_a_conference_counts_like_a_call(
        self, alice: Device, bob: Device, node: ScriptedNode, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        Device.register("carol").call("bob")
        conference = alice.gather("dave").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        refused(409, "callee-busy", alice.request, "POST", path, {"to": "bob"})

    def test_simultaneous_calls_do_not_exceed_the_quota(self, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 3
        callers = [Device.register(f"caller-{number}") for number in range(8)]
        statuses = at_once([partial(caller.call, "bob") for caller in callers])
        assert sorted(statuses) == [201] * 3 + [409] * 5
        assert Participant.objects.filter(username="bob", state="invited").count() == 3

    def test_simultaneous_calls_to_several_addresses_do_not_exceed_the_quota(
        self, key: str, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_CALLEE = 3
        register(key, "k1", username="dave", vtn="+15550177", icmn="+15550178")
        addresses = ["dave", "tel:+15550177", "tel:+15550178"]
        calls = [partial(Device.register(f"caller-{n}").call, addresses[n % 3]) for n in range(9)]
        assert sorted(at_once(calls)) == [201] * 3 + [409] * 6


class TestInvitationsPerCaller:
    def test_the_next_call_is_refused_until_an_invitation_ends(self, alice: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 2
        first = alice.call("bob").json()["id"]
        # Calls from all devices of a user count towards the same quota.
        assert Device.register("alice", "tablet").call("carol").status_code == 201
        response = refused(429, "too-many-invitations", alice.call, "dave")
        assert int(response["retry-after"]) == 30
        alice.delete(first)
        assert alice.call("dave").status_code == 201

    def test_all_guests_of_a_conference_count(self, alice: Device, node: ScriptedNode, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 2
        refused(429, "too-many-invitations", alice.gather, "bob", "carol", "dave")
        conference = alice.gather("bob", "carol").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        refused(429, "too-many-invitations", alice.request, "POST", path, {"to": "dave"})

    def test_invitations_of_others_do_not_count(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 1
        bob.call("alice")
        assert alice.call("carol").status_code == 201

    def test_simultaneous_calls_do_not_exceed_the_quota(self, alice: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 3
        statuses = at_once([partial(alice.call, f"callee-{number}") for number in range(8)])
        assert sorted(statuses) == [201] * 3 + [429] * 5


class TestInvitationsPerPair:
    def test_one_caller_does_not_use_up_the_quota_of_others(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_PAIR = service.INVITATIONS_PER_PAIR
        # Calls from any device of the caller to any address of the callee count towards the same quota.
        tablet = Device.register("alice", "tablet")
        devices, addresses = 10 * [alice, tablet], 10 * ["bob", "tel:+15550101"]
        statuses = [device.call(address).status_code for device, address in zip(devices, addresses, strict=True)]
        assert statuses == [201] * 4 + [429] * 16
        response = refused(429, "too-many-invitations", alice.call, "bob")
        assert (response["retry-after"], response.json()["limit"]) == ("30", 4)
        assert Device.register("carol").call("bob").status_code == 201

    def test_the_next_call_is_refused_until_an_invitation_ends(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_PAIR = 1
        first = alice.call("bob").json()["id"]
        refused(429, "too-many-invitations", alice.call, "bob")
        assert alice.call("carol").status_code == 201
        bob.answer(first)
        assert alice.call("bob").status_code == 201

    def test_simultaneous_calls_do_not_exceed_the_quota(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_PAIR = 3
        statuses = at_once(8 * [partial(alice.call, "bob")])
        assert sorted(statuses) == [201] * 3 + [429] * 5
