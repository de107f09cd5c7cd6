"""Quota of the characters of SDP that a user can send per minute."""

from functools import partial

import pytest
from pytest_django import Settings

from conferences.views import base
from tests.support.descriptions import answer, offer
from tests.support.devices import Device, open_call
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


class TestSdpPerMinute:
    def test_a_refused_sdp_counts_too(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.SDP_CHARACTERS_PER_MINUTE = 2500
        statuses = [alice.call("bob", sdp=1000 * "v").status_code for _ in range(5)]
        assert statuses == [422, 422, 422, 429, 429]
        response = refused(429, "rate-limited", alice.call, "bob")
        assert int(response["retry-after"]) > 0
        assert bob.call("alice").status_code == 201

    def test_a_bare_sdp_counts_too(self, alice: Device, bob: Device, settings: Settings) -> None:
        call = open_call(alice, bob)
        # Bob's answer to the call has been counted already.
        settings.SDP_CHARACTERS_PER_MINUTE = 10_000
        bare = {"content_type": "application/sdp"}
        action = partial(bob.put, call.id, "initiate-conference-mod", 10_000 * "v", **bare)
        refused(422, "sdp-invalid", action)
        refused(429, "rate-limited", action)

    def test_an_offer_counts_for_the_user_who_answers_it_wrongly(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        body = offer()
        body["sdp"] += 20 * ("a=x:" + 1000 * "y" + "\r\n")
        call = alice.call("bob", **body).json()["id"]
        # All of bob's answers are wrong. Each of them, except the first, also counts the characters of the long offer.
        settings.SDP_CHARACTERS_PER_MINUTE = 2 * len(body["sdp"])
        wrong = answer(kinds=("audio",))
        statuses = [bob.answer(call, wrong).status_code for _ in range(5)]
        assert statuses == [422, 422, 422, 429, 429]

    def test_long_offers_of_others_do_not_use_up_the_quota(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        call = open_call(alice, bob)
        long = {"sdp": offer()["sdp"] + 20 * ("a=x:" + 1000 * "y" + "\r\n")}
        settings.SDP_CHARACTERS_PER_MINUTE = 5 * len(long["sdp"])
        for _ in range(4):
            mod = alice.put(call.id, "initiate-conference-mod", offer(version=3) | long)["x-mod-id"]
            assert bob.accept(call.id, mod, answer(version=3)).status_code == 204
        assert bob.call("carol").status_code == 201

    def test_all_devices_of_a_user_count_together(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.SDP_CHARACTERS_PER_MINUTE = 2500
        statuses = [Device.register("alice", f"tab {n}").call("bob", sdp=1000 * "v").status_code for n in range(4)]
        assert statuses == [422, 422, 422, 429]
        assert bob.call("alice").status_code == 201

    def test_a_long_sdp_is_not_read_if_the_conference_does_not_exist(
        self, alice: Device, bob: Device, carol: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call = open_call(alice, bob)
        monkeypatch.setattr(base, "validate", lambda *args: pytest.fail("it was read"))
        long = {"type": "offer", "sdp": 40_000 * "v"}
        for action in ("initiate-conference-mod", "conference-answer", "accept-conference-mod"):
            refused(404, "not-found", carol.put, call.id, action, long)

    def test_large_bodies_are_bounded_before_they_are_parsed(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.SDP_CHARACTERS_PER_MINUTE = 100_000
        body = {"to": ["bob"], "topology": "peer", "x": 100_000 * "y"}
        path = "/mediaConferences"
        statuses = [alice.request("POST", path, body).status_code for _ in range(4)]
        assert statuses == [422, 422, 429, 429]
        assert alice.call("bob").status_code == bob.call("alice").status_code == 201
