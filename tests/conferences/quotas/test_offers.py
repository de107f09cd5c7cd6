"""Quota of the offers that a user can make per minute."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.test import Client
from pytest_django import Settings

from sbe_enabler import settings as service
from tests.support.clock import Clock
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, open_call
from tests.support.focus import ScriptedNode
from tests.support.quotas import at_once
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


class TestOffersPerMinute:
    @pytest.fixture
    def scene(self) -> None:
        """No saved scene, because the requests that make the call must count."""

    @pytest.fixture
    def call(self, alice: Device, bob: Device) -> Call:
        return open_call(alice, bob)

    def limit(self, settings: Settings, number: int) -> None:
        """Allow this many offers from now on."""
        settings.OFFERS_PER_MINUTE = number

    def test_the_next_call_is_refused_and_changes_nothing(self, alice: Device, settings: Settings) -> None:
        self.limit(settings, 2)
        assert [alice.call(name).status_code for name in ("bob", "carol")] == [201, 201]
        response = refused(429, "too-many-offers", alice.call, "dave")
        assert (response.json()["limit"], response["retry-after"]) == (2, "30")
        assert "too many offers" in response.json()["detail"]

    @pytest.mark.parametrize(
        ("action", "direction"),
        [
            ("initiate-conference-mod", "sendrecv"),
            ("initiate-conference-hold", "recvonly"),
            ("initiate-call-hold", "recvonly"),
        ],
    )
    def test_the_next_put_is_refused_and_changes_nothing(
        self, call: Call, action: str, direction: str, settings: Settings
    ) -> None:
        mod = call.alice.put(call.id, action, offer(direction, version=3))["x-mod-id"]
        assert call.alice.withdraw(call.id, mod).status_code == 204
        # The call and this offer have been counted.
        self.limit(settings, 2)
        response = refused(429, "too-many-offers", call.alice.put, call.id, action, offer(direction, version=4))
        assert response["retry-after"] == "30"

    def test_a_resume_counts(self, call: Call, settings: Settings) -> None:
        mod = call.alice.put(call.id, "initiate-conference-hold", offer("recvonly", version=3))["x-mod-id"]
        call.bob.accept(call.id, mod, answer("sendonly", version=3))
        self.limit(settings, 2)
        refused(429, "too-many-offers", call.alice.put, call.id, "initiate-conference-resume", offer(version=4))
        assert call.alice.participant(call.id)["state"] == "on-hold"

    def test_all_devices_and_conferences_of_a_user_count_together(self, alice: Device, settings: Settings) -> None:
        self.limit(settings, 2)
        tablet, phone = Device.register("alice", "tablet"), Device.register("alice", "phone")
        assert [alice.call("bob").status_code, tablet.call("carol").status_code] == [201, 201]
        refused(429, "too-many-offers", phone.call, "dave")
        assert Device.register("another alice").call("dave").status_code == 201

    def test_offers_through_a_gateway_count_for_their_session(
        self, alice: Device, key: str, settings: Settings
    ) -> None:
        self.limit(settings, 1)
        assert alice.call("bob").status_code == 201
        body = json.dumps({"to": ["carol"], "topology": "peer", **offer()})
        headers = {"authorization": f"Api-Key {key}", "x-session-id": alice.id}
        post = partial(Client().post, "/mediaConferences", body, content_type="application/json", headers=headers)
        refused(429, "too-many-offers", post)

    def test_answers_do_not_count(self, call: Call, settings: Settings) -> None:
        self.limit(settings, 1)
        Device.register("carol").call("bob")
        # Bob has made no offer yet. Answers do not count, so he may still make one offer after them.
        for version in range(3, 6):
            self.limit(settings, 10)
            mod = call.alice.put(call.id, "initiate-conference-mod", offer(version=version))["x-mod-id"]
            self.limit(settings, 1)
            assert call.bob.accept(call.id, mod, answer(version=version)).status_code == 204
        assert call.bob.put(call.id, "initiate-conference-mod", offer(version=6)).status_code == 204
        refused(429, "too-many-offers", call.bob.call, "dave")

    def test_an_offer_that_is_refused_for_another_reason_does_not_count(self, call: Call, settings: Settings) -> None:
        self.limit(settings, 2)
        waiting = call.bob.put(call.id, "initiate-conference-mod", offer(version=3))["x-mod-id"]
        for _ in range(5):
            put = partial(call.alice.put, call.id, "initiate-conference-mod")
            refused(409, "modification-pending", put, offer(version=4))
            refused(422, "sdp-direction", call.alice.put, call.id, "initiate-conference-hold", offer(version=4))
        call.alice.withdraw(call.id, waiting)
        assert put(offer(version=4)).status_code == 204

    def test_a_repeated_request_counts_once(self, alice: Device, settings: Settings) -> None:
        self.limit(settings, 2)
        body = {"to": ["bob"], "topology": "peer", **offer()}
        post = partial(alice.request, "POST", "/mediaConferences", body, idempotency_key="k1")
        assert [post().status_code for _ in range(5)] == [201] * 5
        assert alice.call("carol").status_code == 201

    def test_offers_are_allowed_again_after_a_minute(
        self, alice: Device, settings: Settings, still_clock: Clock
    ) -> None:
        self.limit(settings, 1)
        alice.call("bob")
        refused(429, "too-many-offers", alice.call, "carol")
        still_clock.at += timedelta(minutes=2)
        assert alice.call("carol").status_code == 201

    def test_simultaneous_calls_do_not_exceed_the_quota(self, alice: Device, settings: Settings) -> None:
        self.limit(settings, 3)
        statuses = at_once([partial(alice.call, f"callee-{number}") for number in range(8)])
        assert sorted(statuses) == [201] * 3 + [429] * 5

    def test_a_user_who_toggles_hold_by_hand_stays_below_the_default(self, call: Call, settings: Settings) -> None:
        self.limit(settings, service.OFFERS_PER_MINUTE)
        for version in range(3, 31, 2):
            for action, direction, at in (("hold", "recvonly", version), ("resume", "sendrecv", version + 1)):
                put = call.alice.put(call.id, f"initiate-conference-{action}", offer(direction, version=at))
                assert put.status_code == 204
                answered = "sendonly" if action == "hold" else "sendrecv"
                call.bob.accept(call.id, put["x-mod-id"], answer(answered, version=at))

    @pytest.mark.parametrize("way", ["toggling", "cancelling", "leaving and joining"])
    def test_a_member_cannot_make_the_others_renegotiate_without_limit(
        self, alice: Device, bob: Device, carol: Device, node: ScriptedNode, way: str, settings: Settings
    ) -> None:
        conference = alice.gather(access="open").json()["id"]
        assert [device.join(conference).status_code for device in (bob, carol)] == [204, 204]
        for device in (alice, bob):
            device.follow(conference)
        self.limit(settings, 6)
        ways: dict[str, Callable[[], int]] = {
            "toggling": lambda: toggle(bob, conference),
            "cancelling": lambda: cancel(bob, conference, node),
            "leaving and joining": lambda: rejoin(bob, conference),
        }
        statuses, offers = [], 0
        for _ in range(12):
            statuses.append(ways[way]())
            offers += len(carol.follow(conference))
            alice.follow(conference), bob.follow(conference)
        # Bob's join was the first of his six offers.
        assert statuses == [204] * 5 + [429] * 7
        # Leaving and joining again are two changes, so each round may bring carol two offers.
        assert offers <= 12
        assert carol.put(conference, "initiate-conference-mod", carol.offer()).status_code == 204


def toggle(device: Device, conference: str) -> int:
    """Offer alternately three tracks and two; return the status."""
    kinds = ("audio", "video", "video") if device.version % 2 else ("audio", "video")
    return int(device.put(conference, "initiate-conference-mod", device.offer(kinds=kinds)).status_code)


def cancel(device: Device, conference: str, node: ScriptedNode) -> int:
    """Make an offer, and cancel it before the focus has answered it; return the status of the offer."""
    node.works = False
    response = device.put(conference, "initiate-conference-mod", device.offer())
    if response.status_code == 204:
        assert device.withdraw(conference, response["x-mod-id"]).status_code == 204
    node.works = True
    node.work()
    return int(response.status_code)


def rejoin(device: Device, conference: str) -> int:
    """Leave and join again; return the status of joining."""
    device.delete(conference)
    return int(device.join(conference).status_code)
