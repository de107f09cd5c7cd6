"""Sessions: registering, refreshing, expiring, ending and listing; permissions and stored data."""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework_api_key.models import APIKey

from conferences.operations import sessions
from conferences.operations.deadlines import settle_due
from conferences.operations.locked_conference import LockedConference
from conferences.operations.locking import lock
from conferences.operations.sessions import refresh_session
from events.models import Session, hash_token
from events.states import SessionState
from tests.support.descriptions import offer
from tests.support.devices import Call, Device, hold
from tests.support.refusals import all_rows, refused

pytestmark = pytest.mark.django_db(transaction=True)


def gateway(key: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Send a request as a gateway."""
    headers = {"authorization": f"Api-Key {key}", **headers}
    return getattr(Client(), method.lower())(path, body, content_type="application/json", headers=headers)


class TestRegistering:
    def test_the_response_has_all_that_a_device_needs(self, key: str, settings: Settings) -> None:
        identity = {"username": "Ann é", "vtn": "+15550100", "icmn": "+15550199", "device": "laptop"}
        begun = timezone.now()
        response = gateway(key, "POST", "/sessions", identity)
        body = response.json()
        assert response.status_code == 201
        assert response["location"] == f"/sessions/{body['id']}"
        assert {name: body[name] for name in identity} == identity
        assert body["state"] == "active"
        lifetime = datetime.fromisoformat(body["expiresAt"]) - begun
        assert abs(lifetime - settings.SESSION_LIFETIME) < timedelta(seconds=30)
        assert body["events"] == {
            "webSocket": f"ws://testserver/sessions/{body['id']}/events",
            "http": f"http://testserver/sessions/{body['id']}/events",
        }
        assert body["iceServers"] == []
        assert len(body["token"]) >= 43

    def test_missing_fields_are_null(self, key: str) -> None:
        for left_out in ({}, {"vtn": None, "icmn": None, "device": None}, {"device": ""}):
            body = gateway(key, "POST", "/sessions", {"username": "ann", **left_out}).json()
            assert (body["vtn"], body["icmn"], body["device"]) == (None, None, "")

    def test_ids_and_tokens_are_new_each_time(self, key: str) -> None:
        bodies = [gateway(key, "POST", "/sessions", {"username": "ann"}).json() for _ in range(3)]
        assert len({body["id"] for body in bodies} | {body["token"] for body in bodies}) == 6

    def test_event_channels_are_secure_if_the_request_was(self, key: str) -> None:
        headers = {"authorization": f"Api-Key {key}", "host": "localhost"}
        body = (
            Client()
            .post("/sessions", {"username": "ann"}, content_type="application/json", headers=headers, secure=True)
            .json()
        )
        assert body["events"]["webSocket"] == f"wss://localhost/sessions/{body['id']}/events"
        assert body["events"]["http"] == f"https://localhost/sessions/{body['id']}/events"

    def test_a_call_that_stops_ringing_during_registration_does_not_ring(
        self, ringing: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lock_too_late(conference_id: str, *, now: datetime) -> LockedConference:
            settle_due(now=now + timedelta(minutes=1))
            return lock(conference_id, now=now)

        monkeypatch.setattr(sessions, "lock", lock_too_late)
        assert Device.register("bob", "tablet").log() == []


class TestSecrets:
    def test_a_token_is_stored_hashed(self, alice: Device) -> None:
        assert alice.row.token_hash == hash_token(alice.token)
        assert alice.token not in repr(all_rows())

    def test_a_token_is_shown_once(self, alice: Device, key: str) -> None:
        path = f"/sessions/{alice.id}"
        answers = [
            alice.request("GET", path),
            alice.request("PUT", path),
            gateway(key, "GET", path),
            gateway(key, "PUT", path),
            gateway(key, "GET", "/sessions"),
        ]
        for response in answers:
            assert response.status_code == 200
            assert alice.token not in response.content.decode()
            assert "token" not in response.content.decode()

    def test_a_key_is_stored_hashed(self, key: str) -> None:
        prefix, _, secret = key.partition(".")
        row = APIKey.objects.get(prefix=prefix)
        assert secret not in repr(row.__dict__)
        assert row.is_valid(key)


class TestIceServers:
    @pytest.fixture(autouse=True)
    def _servers(self, settings: Settings) -> None:
        settings.STUN_URLS = ["stun:stun.example.org"]
        settings.TURN_URLS = ["turn:turn.example.org?transport=udp", "turns:turn.example.org"]
        settings.TURN_SECRET = "shared with the TURN server"

    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_turn_credentials_follow_the_rest_scheme_and_expire_with_the_session(
        self, alice: Device, method: str
    ) -> None:
        body = alice.request(method, f"/sessions/{alice.id}").json()
        stun, turn = body["iceServers"]
        assert stun == {"urls": ["stun:stun.example.org"]}
        assert turn["urls"] == ["turn:turn.example.org?transport=udp", "turns:turn.example.org"]
        expiry, _, name = turn["username"].partition(":")
        assert name == "alice"
        assert int(expiry) == int(alice.row.expires_at.timestamp())
        mac = hmac.digest(b"shared with the TURN server", turn["username"].encode(), hashlib.sha1)
        assert base64.b64decode(turn["credential"], validate=True) == mac

    def test_the_response_to_registering_has_ice_servers(self, key: str) -> None:
        body = gateway(key, "POST", "/sessions", {"username": "ann"}).json()
        assert [sorted(server) for server in body["iceServers"]] == [["urls"], ["credential", "urls", "username"]]

    def test_others_cannot_see_the_ice_servers(self, alice: Device, key: str) -> None:
        assert "credential" not in gateway(key, "GET", "/sessions").content.decode()


class TestListing:
    @pytest.fixture
    def five(self, key: str) -> list[str]:
        """The IDs of five sessions of ann, in the order of the list."""
        return sorted(gateway(key, "POST", "/sessions", {"username": "ann"}).json()["id"] for _ in range(5))

    def test_the_list_is_paginated(self, key: str, five: list[str]) -> None:
        seen: list[str] = []
        query = "?limit=2"
        for length in (2, 2, 1):
            body = gateway(key, "GET", f"/sessions{query}").json()
            assert len(body["sessions"]) == length
            seen += [session["id"] for session in body["sessions"]]
            query = f"?limit=2&after={body['next']}"
        assert body["next"] is None
        assert seen == five

    def test_a_full_last_page_has_no_successor(self, key: str, five: list[str]) -> None:
        body = gateway(key, "GET", "/sessions?limit=5").json()
        assert (len(body["sessions"]), body["next"]) == (5, None)
        assert gateway(key, "GET", f"/sessions?after={five[-1]}").json() == {"sessions": [], "next": None}

    def test_the_list_can_be_of_one_user(self, key: str, five: list[str], alice: Device) -> None:
        names = {
            name: gateway(key, "GET", f"/sessions?username={name}").json()["sessions"] for name in ("alice", "ann", "A")
        }
        assert {name: len(sessions) for name, sessions in names.items()} == {"alice": 1, "ann": 5, "A": 0}
        assert names["alice"][0]["id"] == alice.id

    @pytest.mark.parametrize("change", [{"state": SessionState.ENDED}, {"expires_at": timezone.now()}])
    def test_the_list_has_only_live_sessions(self, key: str, alice: Device, change: dict[str, Any]) -> None:
        Session.objects.update(**change)
        assert gateway(key, "GET", "/sessions").json()["sessions"] == []


class TestVisibility:
    def test_a_session_can_read_itself(self, alice: Device) -> None:
        body = alice.request("GET", f"/sessions/{alice.id}").json()
        assert (body["id"], body["username"]) == (alice.id, "alice")

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_a_session_cannot_read_another_session_of_its_user(self, alice: Device, method: str) -> None:
        tablet = Device.register("alice", "tablet")
        refused(404, "not-found", alice.request, method, f"/sessions/{tablet.id}")

    def test_a_gateway_can_read_and_end_any_session(self, alice: Device, key: str) -> None:
        path = f"/sessions/{alice.id}"
        assert gateway(key, "GET", path).json()["id"] == alice.id
        assert gateway(key, "DELETE", path).status_code == 204
        assert gateway(key, "GET", path).json()["state"] == "ended"
        assert gateway(key, "DELETE", path).status_code == 204
        refused(404, "not-found", gateway, key, "PUT", path)


class TestRefreshing:
    def test_refreshing_extends_the_session(self, alice: Device, settings: Settings) -> None:
        Session.objects.update(expires_at=timezone.now() + timedelta(seconds=20))
        body = alice.request("PUT", f"/sessions/{alice.id}").json()
        row = alice.row
        assert abs(row.expires_at - timezone.now() - settings.SESSION_LIFETIME) < timedelta(seconds=20)
        assert datetime.fromisoformat(body["expiresAt"]) - row.expires_at < timedelta(milliseconds=1)

    def test_refreshing_does_not_revive_a_session(self, alice: Device, key: str) -> None:
        Session.objects.update(expires_at=timezone.now())
        refused(401, "unauthenticated", alice.request, "PUT", f"/sessions/{alice.id}")
        refused(404, "not-found", gateway, key, "PUT", f"/sessions/{alice.id}")

    def test_refreshing_sends_no_event(self, call: Call) -> None:
        call.alice.request("PUT", f"/sessions/{call.alice.id}")
        assert call.alice.news() == call.bob.news() == []

    def test_refreshing_is_possible_until_the_last_instant(self, alice: Device, settings: Settings) -> None:
        now = alice.row.expires_at - timedelta(microseconds=1)
        assert refresh_session(session_id=alice.id, now=now).expires_at == now + settings.SESSION_LIFETIME


class TestEnding:
    def test_the_token_of_an_ended_session_is_refused(self, alice: Device) -> None:
        assert alice.request("DELETE", f"/sessions/{alice.id}").status_code == 204
        assert (alice.row.state, alice.row.ended_at is not None) == ("ended", True)
        refused(401, "unauthenticated", alice.request, "GET", f"/sessions/{alice.id}")

    def test_an_ended_session_leaves_all_its_conferences(self, call: Call, carol: Device) -> None:
        other = call.alice.call("carol").json()["id"]
        call.alice.request("DELETE", f"/sessions/{call.alice.id}")
        assert call.bob.get(call.id)["state"] == carol.get(other)["state"] == "session-terminated"
        assert carol.news_types() == ["invitation-received", "invitation-cancelled"]
        (ended,) = call.bob.news()
        assert (ended["type"], ended["reason"]) == ("session-terminated", "hung-up")

    def test_a_call_goes_on_ringing_at_the_other_devices(self, ringing: Call) -> None:
        tablet = Device.register("bob", "tablet")
        ringing.bob.request("DELETE", f"/sessions/{ringing.bob.id}")
        assert ringing.alice.news() == []
        assert tablet.answer(ringing.id).status_code == 204

    def test_ending_the_old_session_of_a_move_does_not_end_the_move(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        call.alice.request("DELETE", f"/sessions/{call.alice.id}")
        assert phone.answer(call.id, offer(session=5)).status_code == 204

    def test_an_ended_session_gets_no_more_events(self, call: Call) -> None:
        call.alice.request("DELETE", f"/sessions/{call.alice.id}")
        assert call.alice.news() == []

    def test_an_expired_session_is_refused_before_the_timekeeper_has_settled_it(
        self, alice: Device, bob: Device
    ) -> None:
        Session.objects.filter(pk=bob.id).update(expires_at=timezone.now())
        alice.call("bob")
        assert bob.news() == []
        settle_due(now=timezone.now())
        assert bob.row.state == "expired"
