"""Requests without valid credentials, or without permission."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework_api_key.models import APIKey

from events.models import Session
from events.states import SessionState
from tests.support.actions import CALL_HOLD, HOLD, MOD, RESUME
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device
from tests.support.refusals import refused
from tests.support.requests import EVERY_ADDRESS, address, anyone

pytestmark = pytest.mark.django_db(transaction=True)


def end_rows(device: Device, state: SessionState) -> None:
    """End a session by changing only its row. No process is notified."""
    now = timezone.now()
    if state is SessionState.EXPIRED:
        Session.objects.filter(pk=device.id).update(expires_at=now - timedelta(milliseconds=1))
    else:
        Session.objects.filter(pk=device.id).update(state=state, ended_at=now)


@pytest.mark.any_engine
class TestUnauthenticated:
    @pytest.mark.parametrize(("method", "path"), EVERY_ADDRESS)
    def test_every_address_requires_authentication(self, call: Call, method: str, path: str) -> None:
        response = refused(401, "unauthenticated", anyone, method, address(path, call))
        assert response["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "header", ["", "Basic YTpi", "Bearer", "Bearer ", "Bearer nonsense", "nonsense", "Bearer \xff"]
    )
    def test_a_credential_of_another_kind_is_refused(self, call: Call, header: str) -> None:
        path = f"/mediaConferences/{call.id}"
        response = refused(401, "unauthenticated", anyone, "DELETE", path, authorization=header)
        assert response["www-authenticate"] == "Bearer"

    def test_a_token_with_the_scheme_of_api_keys_is_refused(self, call: Call) -> None:
        header = f"Api-Key {call.alice.token}"
        refused(401, "unauthenticated", anyone, "GET", "/sessions", authorization=header)

    def test_the_stored_hash_of_a_token_is_refused(self, call: Call) -> None:
        header = f"Bearer {call.alice.row.token_hash}"
        refused(401, "unauthenticated", anyone, "GET", "/mediaConferences", authorization=header)

    @pytest.mark.parametrize("state", [SessionState.EXPIRED, SessionState.ENDED])
    def test_an_ended_or_expired_session_cannot_authenticate(self, call: Call, state: SessionState) -> None:
        end_rows(call.alice, state)
        refused(401, "unauthenticated", call.alice.delete, call.id)

    @pytest.mark.parametrize("change", [{"revoked": True}, {"expiry_date": timezone.now() - timedelta(seconds=1)}])
    def test_a_revoked_or_expired_key_cannot_authenticate(self, key: str, change: dict[str, Any]) -> None:
        assert anyone("GET", "/sessions", authorization=f"Api-Key {key}").status_code == 200
        APIKey.objects.update(**change)
        response = refused(401, "unauthenticated", anyone, "GET", "/sessions", authorization=f"Api-Key {key}")
        assert response["www-authenticate"] == "Bearer"

    def test_an_altered_key_cannot_authenticate(self, key: str) -> None:
        refused(401, "unauthenticated", anyone, "GET", "/sessions", authorization=f"Api-Key {key}x")

    def test_a_gateway_must_name_the_session_that_it_acts_for(self, call: Call, key: str) -> None:
        path, header = f"/mediaConferences/{call.id}", f"Api-Key {key}"
        refused(401, "unauthenticated", anyone, "DELETE", path, authorization=header)
        refused(401, "unauthenticated", anyone, "DELETE", path, authorization=header, x_session_id="")
        refused(401, "unauthenticated", anyone, "DELETE", path, authorization=header, x_session_id="none")
        response = anyone("DELETE", path, authorization=header, x_session_id=call.alice.id)
        assert (response.status_code, response.json()["outcome"]) == (200, "terminated")

    @pytest.mark.parametrize("state", [SessionState.EXPIRED, SessionState.ENDED])
    def test_a_gateway_cannot_act_for_an_ended_session(self, call: Call, key: str, state: SessionState) -> None:
        end_rows(call.alice, state)
        request = {"authorization": f"Api-Key {key}", "x_session_id": call.alice.id}
        refused(401, "unauthenticated", anyone, "DELETE", f"/mediaConferences/{call.id}", **request)

    def test_a_session_cannot_act_for_another_one(self, call: Call) -> None:
        response = call.alice.request("GET", f"/sessions/{call.alice.id}", x_session_id=call.bob.id)
        assert response.json()["username"] == "alice"


@pytest.mark.any_engine
class TestForbidden:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_only_gateways_can_register_and_list_sessions(self, alice: Device, method: str) -> None:
        refused(403, "forbidden", alice.request, method, "/sessions", {"username": "eve"})

    @pytest.mark.parametrize("action", [MOD, HOLD, RESUME, CALL_HOLD])
    def test_another_device_of_the_user_cannot_negotiate(self, call: Call, action: str) -> None:
        tablet = Device.register("alice", "tablet")
        direction = "sendrecv" if action in {MOD, RESUME} else "recvonly"
        refused(403, "forbidden", tablet.put, call.id, action, offer(direction))

    def test_another_device_of_the_user_cannot_settle(self, call: Call) -> None:
        tablet = Device.register("bob", "tablet")
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        refused(403, "forbidden", tablet.accept, call.id, mod, answer(version=3))
        refused(403, "forbidden", tablet.withdraw, call.id, mod)

    def test_another_device_of_the_user_cannot_hang_up(self, call: Call) -> None:
        tablet = Device.register("alice", "tablet")
        refused(403, "forbidden", tablet.delete, call.id)

    def test_a_guest_cannot_act_as_host(self, call: Call) -> None:
        path = f"/mediaConferences/{call.id}/participants"
        host, guest = call.bob.get(call.id)["participants"]
        refused(403, "forbidden", call.bob.request, "POST", path, {"to": "carol"})
        refused(403, "forbidden", call.bob.request, "DELETE", f"{path}/{host['id']}")
        mute = {"audio": True}
        refused(403, "forbidden", call.bob.request, "PUT", f"{path}/{host['id']}/mute", mute)
        refused(409, "focus-only", call.bob.request, "PUT", f"{path}/{guest['id']}/mute", mute)

    def test_an_invited_participant_cannot_negotiate(self, ringing: Call) -> None:
        path = f"/mediaConferences/{ringing.id}/participants"
        refused(403, "forbidden", ringing.bob.request, "POST", path, {"to": "carol"})
