"""A request that is repeated with the same `Idempotency-Key` takes effect once, and gets the same answer again."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from conferences.models import Conference, KeptAnswer
from conferences.operations.retention import KEPT_ANSWERS_LIFETIME, prune
from conferences.sdp import ValidatedSdp, validate
from events.models import Event, Session
from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, Device, gateway_key, hold
from tests.support.refusals import all_rows, refused
from tests.support.requests import register

pytestmark = pytest.mark.django_db(transaction=True)

MOD, HOLD, WITHDRAW = "initiate-conference-mod", "initiate-conference-hold", "rejectCancel-conference-mod"


def assert_same(one: Any, other: Any) -> None:
    """Require that two responses are equal."""
    assert (one.status_code, one.content) == (other.status_code, other.content)
    for name in ("etag", "location", "x-mod-id", "x-state", "content-type"):
        assert one.get(name) == other.get(name)


class TestRegistering:
    def test_a_repetition_returns_the_same_token(self, key: str) -> None:
        first = register(key, "k1")
        before = all_rows()
        again = register(key, "k1")
        assert first.status_code == 201
        assert_same(first, again)
        assert all_rows() == before
        assert Session.objects.count() == 1
        device = Device(id=again.json()["id"], token=again.json()["token"], username="dave")
        assert device.request("GET", "/mediaConferences").status_code == 200

    def test_the_token_is_not_stored_in_clear_text(self, key: str) -> None:
        token = register(key, "k1").json()["token"]
        everything = repr(all_rows())
        assert token not in everything
        assert not KeptAnswer.objects.filter(key_hash="k1").exists()
        assert key not in everything

    def test_another_key_registers_another_session(self, key: str) -> None:
        assert register(key, "k1").json()["id"] != register(key, "k2").json()["id"]

    def test_the_keys_of_two_gateways_are_independent(self, key: str) -> None:
        assert register(key, "k1").json()["id"] != register(gateway_key(), "k1").json()["id"]

    @pytest.mark.parametrize("state", ["ended", "expired"])
    def test_the_token_of_an_ended_session_is_not_repeated(self, key: str, state: str) -> None:
        first = register(key, "k1").json()
        Session.objects.filter(pk=first["id"]).update(state=state, ended_at=timezone.now())
        problem = refused(409, "idempotency-expired", register, key, "k1").json()
        assert first["token"] not in str(problem)
        assert register(key, "k2").status_code == 201

    def test_the_token_of_an_expired_session_is_not_repeated(self, key: str) -> None:
        first = register(key, "k1").json()
        Session.objects.filter(pk=first["id"]).update(expires_at=timezone.now())
        refused(409, "idempotency-expired", register, key, "k1")

    def test_a_refresh_by_the_gateway_is_not_repeated_after_the_end(self, key: str, alice: Device) -> None:
        gateway = {"authorization": f"Api-Key {key}", "idempotency_key": "k1"}
        assert alice.request("PUT", f"/sessions/{alice.id}", **gateway).status_code == 200
        assert alice.request("DELETE", f"/sessions/{alice.id}").status_code == 204
        refused(409, "idempotency-expired", alice.request, "PUT", f"/sessions/{alice.id}", **gateway)


class TestStarting:
    def start(self, alice: Device, idempotency_key: str, **fields: Any) -> Any:
        body = {"to": ["bob"], "topology": "peer", **offer(), **fields}
        return alice.request("POST", "/mediaConferences", body, idempotency_key=idempotency_key)

    def test_a_repeated_call_rings_once(self, alice: Device, bob: Device) -> None:
        first = self.start(alice, "k1")
        before = all_rows()
        again = self.start(alice, "k1")
        assert first.status_code == 201
        assert_same(first, again)
        assert all_rows() == before
        assert bob.news_types() == ["invitation-received"]

    def test_another_body_with_the_same_key_is_a_mismatch(self, alice: Device, bob: Device) -> None:
        self.start(alice, "k1")
        refused(422, "idempotency-mismatch", self.start, alice, "k1", name="Lunch")

    def test_the_keys_of_two_sessions_are_independent(self, alice: Device, bob: Device) -> None:
        self.start(alice, "k1")
        tablet = Device.register("alice", "tablet")
        assert self.start(tablet, "k1").status_code == 201
        assert Conference.objects.count() == 2


class TestActing:
    def test_an_offer_is_made_once(self, call: Call) -> None:
        first = call.alice.put(call.id, MOD, offer(version=3), idempotency_key="k1")
        before = all_rows()
        again = call.alice.put(call.id, MOD, offer(version=3), idempotency_key="k1")
        assert first.status_code == 204
        assert_same(first, again)
        assert again["x-mod-id"]
        assert again["x-state"] == "mod-sent"
        assert all_rows() == before
        assert call.bob.news_types() == ["mod-received"]

    def test_a_settled_offer_is_not_made_again(self, call: Call) -> None:
        first = call.alice.put(call.id, MOD, offer(version=3), idempotency_key="k1")
        call.bob.withdraw(call.id, first["x-mod-id"])
        again = call.alice.put(call.id, MOD, offer(version=3), idempotency_key="k1")
        assert_same(first, again)
        assert call.bob.news_types() == ["mod-received"]

    def test_an_answer_is_given_once(self, ringing: Call) -> None:
        act = {"idempotency_key": "k1"}
        first = ringing.bob.put(ringing.id, "conference-answer", answer(), **act)
        again = ringing.bob.put(ringing.id, "conference-answer", answer(), **act)
        assert first.status_code == 204
        assert_same(first, again)
        assert ringing.alice.news_types() == ["session-open"]

    def test_a_repeated_bare_sdp_is_recognised(self, call: Call) -> None:
        bare = {"idempotency_key": "k1", "content_type": "application/sdp"}
        first = call.alice.put(call.id, MOD, describe(version=3), **bare)
        assert_same(first, call.alice.put(call.id, MOD, describe(version=3), **bare))
        refused(422, "idempotency-mismatch", call.alice.put, call.id, MOD, describe(version=4), **bare)

    def test_any_other_difference_with_the_same_key_is_a_mismatch(self, call: Call) -> None:
        new = offer("recvonly", version=3)
        assert call.alice.put(call.id, MOD, new, idempotency_key="k1").status_code == 204
        mismatch = (422, "idempotency-mismatch")
        refused(*mismatch, call.alice.put, call.id, HOLD, new, idempotency_key="k1")
        refused(*mismatch, call.alice.put, call.id, MOD, new, idempotency_key="k1", if_match="*")
        refused(*mismatch, call.alice.put, call.id, MOD, new, idempotency_key="k1", x_mod_id="x")
        refused(*mismatch, call.alice.put, call.id, MOD, {**new, "x": 1}, idempotency_key="k1")
        refused(404, "not-found", call.alice.put, "f" * 32, MOD, new, idempotency_key="k1")
        refused(*mismatch, call.alice.request, "PUT", f"/sessions/{call.alice.id}", idempotency_key="k1")

    def test_a_refused_first_attempt_is_not_kept(self, call: Call) -> None:
        mod = call.bob.put(call.id, MOD, offer(session=777, version=3))["x-mod-id"]
        act = {"idempotency_key": "k1"}
        refused(409, "modification-pending", call.alice.put, call.id, MOD, offer(version=3), **act)
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, {}, **act)
        call.bob.withdraw(call.id, mod)
        assert call.alice.put(call.id, MOD, offer(version=3), **act).status_code == 204

    def test_the_keys_of_two_sides_are_independent(self, call: Call) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3), idempotency_key="k1")["x-mod-id"]
        response = call.bob.put(call.id, WITHDRAW, {"modId": mod}, idempotency_key="k1")
        assert response["x-state"] == "mod-rejected"

    def test_a_gateway_that_acts_for_a_session_shares_its_keys(self, call: Call, key: str) -> None:
        first = call.alice.put(call.id, MOD, offer(version=3), idempotency_key="k1")
        by_gateway = call.alice.put(
            call.id,
            MOD,
            offer(version=3),
            idempotency_key="k1",
            authorization=f"Api-Key {key}",
            x_session_id=call.alice.id,
        )
        # The header x-session-id is part of the request, so the second request differs from the first.
        assert (first.status_code, by_gateway.status_code) == (204, 422)


def test_refreshing_again_with_the_same_key_does_not_extend_the_session(alice: Device) -> None:
    path = f"/sessions/{alice.id}"
    first = alice.request("PUT", path, idempotency_key="k1")
    before = alice.row.expires_at
    again = alice.request("PUT", path, idempotency_key="k1")
    assert_same(first, again)
    assert alice.row.expires_at == before
    assert alice.request("PUT", path).json()["expiresAt"] >= first.json()["expiresAt"]


def test_without_a_key_no_answer_is_stored(call: Call) -> None:
    hold(call)
    assert not KeptAnswer.objects.exists()


def test_an_answer_is_kept_for_a_day(call: Call) -> None:
    call.alice.put(call.id, MOD, offer(version=3), idempotency_key="k1")
    now = timezone.now()
    prune(now=now + KEPT_ANSWERS_LIFETIME - timedelta(minutes=1))
    assert KeptAnswer.objects.exists()
    prune(now=now + KEPT_ANSWERS_LIFETIME)
    assert not KeptAnswer.objects.exists()


def test_an_internal_error_is_not_mistaken_for_a_repetition(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise IntegrityError

    monkeypatch.setattr("conferences.operations.locked_conference.LockedConference.save", fail)
    before = all_rows()
    call.alice.client.raise_request_exception = False
    response = call.alice.put(call.id, MOD, offer(version=3), idempotency_key="k1")
    assert (response.status_code, response.json()["code"]) == (500, "internal-error")
    assert all_rows() == before
    assert not Event.objects.filter(type="mod-received").exists()


class TestReading:
    """Reading a long body takes time. In a transaction of SQLite, this would block all other writers."""

    @pytest.fixture
    def read(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """One entry for each SDP that was read: whether a transaction was open at that moment."""
        noted: list[bool] = []

        def note(type_: str, text: str) -> ValidatedSdp:
            noted.append(connection.in_atomic_block)
            return validate(type_, text)

        monkeypatch.setattr("conferences.views.base.validate", note)
        return noted

    def test_an_sdp_is_read_before_the_transaction(self, alice: Device, bob: Device, read: list[bool]) -> None:
        body = {"to": ["bob"], "topology": "peer", **offer()}
        call = alice.request("POST", "/mediaConferences", body, idempotency_key="k1").json()["id"]
        assert bob.put(call, "conference-answer", answer(), idempotency_key="k1").status_code == 204
        assert read == [False, False]

    def test_a_repetition_is_answered_without_reading_it(self, call: Call, read: list[bool]) -> None:
        for _ in range(2):
            assert call.alice.put(call.id, MOD, offer(version=2), idempotency_key="k1").status_code == 204
        assert read == [False]
