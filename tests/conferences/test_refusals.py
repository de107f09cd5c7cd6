"""Every refusal of protocol section 8: its status, its code, and that nothing has changed; conditional requests."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import cycle, islice, product
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework_api_key.models import APIKey

from conferences.models import Conference, Participant
from events.models import Session
from events.states import SessionState
from tests.support.depth import DEEP
from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, Device, hold, open_call
from tests.support.refusals import all_rows, problem, refused

SDP_LIMIT = 512 * 1024  # bytes

pytestmark = pytest.mark.django_db(transaction=True)

MOD, HOLD, RESUME = (f"initiate-conference-{what}" for what in ("mod", "hold", "resume"))
CALL_HOLD, ACCEPT, WITHDRAW = "initiate-call-hold", "accept-conference-mod", "rejectCancel-conference-mod"
ACTIONS = ("conference-answer", MOD, HOLD, RESUME, CALL_HOLD, ACCEPT, WITHDRAW)
NO_MEDIA_TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "x")
# What is refused before a row is read is refused alike on every database.
before_the_database = pytest.mark.once


def _sample(some: Sequence[Any], others: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return pairs in which each value comes at least once; in depth all pairs."""
    if DEEP:
        return list(product(some, others))
    pairs = zip(cycle(some), cycle(others), strict=False)
    return list(islice(pairs, max(len(some), len(others))))


def anyone(method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Make a request with nothing but these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = "" if body is None else json.dumps(body)
    return Client().generic(method, path, data, content_type="application/json", headers=named)


def end_rows(device: Device, state: SessionState) -> None:
    """Let a session be over, and nobody yet know."""
    now = timezone.now()
    if state is SessionState.EXPIRED:
        Session.objects.filter(pk=device.id).update(expires_at=now - timedelta(milliseconds=1))
    else:
        Session.objects.filter(pk=device.id).update(state=state, ended_at=now)


# --- Who speaks -------------------------------------------------------------------------------------------


EVERY_ADDRESS = [
    ("GET", "/sessions"),
    ("POST", "/sessions"),
    ("GET", "/sessions/{session}"),
    ("PUT", "/sessions/{session}"),
    ("DELETE", "/sessions/{session}"),
    ("POST", "/mediaConferences"),
    ("GET", "/mediaConferences"),
    ("GET", "/mediaConferences/{conference}"),
    ("PUT", "/mediaConferences/{conference}"),
    ("DELETE", "/mediaConferences/{conference}"),
    ("POST", "/mediaConferences/{conference}/participants"),
    ("DELETE", "/mediaConferences/{conference}/participants/{participant}"),
    ("PUT", "/mediaConferences/{conference}/participants/{participant}/mute"),
]


def address(path: str, call: Call) -> str:
    """Fill in what exists."""
    guest = Participant.objects.get(conference=call.id, role="guest")
    return path.format(session=call.bob.id, conference=call.id, participant=guest.pk)


@pytest.mark.any_engine
class TestUnauthenticated:
    @pytest.mark.parametrize(("method", "path"), EVERY_ADDRESS)
    def test_every_address_asks_who_speaks(self, call: Call, method: str, path: str) -> None:
        response = refused(401, "unauthenticated", anyone, method, address(path, call))
        assert response["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "header", ["", "Basic YTpi", "Bearer", "Bearer ", "Bearer nonsense", "nonsense", "Bearer \xff"]
    )
    def test_a_credential_of_another_kind_is_none(self, call: Call, header: str) -> None:
        path = f"/mediaConferences/{call.id}"
        response = refused(401, "unauthenticated", anyone, "DELETE", path, authorization=header)
        assert response["www-authenticate"] == "Bearer"

    def test_a_token_under_the_scheme_of_keys_is_none(self, call: Call) -> None:
        header = f"Api-Key {call.alice.token}"
        refused(401, "unauthenticated", anyone, "GET", "/sessions", authorization=header)

    def test_the_stored_hash_of_a_token_is_no_token(self, call: Call) -> None:
        header = f"Bearer {call.alice.row.token_hash}"
        refused(401, "unauthenticated", anyone, "GET", "/mediaConferences", authorization=header)

    @pytest.mark.parametrize("state", [SessionState.EXPIRED, SessionState.ENDED])
    def test_a_session_that_is_over_does_not_speak(self, call: Call, state: SessionState) -> None:
        end_rows(call.alice, state)
        refused(401, "unauthenticated", call.alice.delete, call.id)

    @pytest.mark.parametrize("change", [{"revoked": True}, {"expiry_date": timezone.now() - timedelta(seconds=1)}])
    def test_a_key_that_is_over_does_not_speak(self, key: str, change: dict[str, Any]) -> None:
        assert anyone("GET", "/sessions", authorization=f"Api-Key {key}").status_code == 200
        APIKey.objects.update(**change)
        response = refused(401, "unauthenticated", anyone, "GET", "/sessions", authorization=f"Api-Key {key}")
        assert response["www-authenticate"] == "Bearer"

    def test_an_altered_key_does_not_speak(self, key: str) -> None:
        refused(401, "unauthenticated", anyone, "GET", "/sessions", authorization=f"Api-Key {key}x")

    def test_a_gateway_must_name_the_session_that_it_speaks_for(self, call: Call, key: str) -> None:
        path, header = f"/mediaConferences/{call.id}", f"Api-Key {key}"
        refused(401, "unauthenticated", anyone, "DELETE", path, authorization=header)
        refused(401, "unauthenticated", anyone, "DELETE", path, authorization=header, x_session_id="")
        refused(401, "unauthenticated", anyone, "DELETE", path, authorization=header, x_session_id="none")
        response = anyone("DELETE", path, authorization=header, x_session_id=call.alice.id)
        assert (response.status_code, response.json()["outcome"]) == (200, "terminated")

    @pytest.mark.parametrize("state", [SessionState.EXPIRED, SessionState.ENDED])
    def test_a_gateway_does_not_speak_for_a_session_that_is_over(
        self, call: Call, key: str, state: SessionState
    ) -> None:
        end_rows(call.alice, state)
        request = {"authorization": f"Api-Key {key}", "x_session_id": call.alice.id}
        refused(401, "unauthenticated", anyone, "DELETE", f"/mediaConferences/{call.id}", **request)

    def test_a_session_cannot_name_another_one(self, call: Call) -> None:
        response = call.alice.request("GET", f"/sessions/{call.alice.id}", x_session_id=call.bob.id)
        assert response.json()["username"] == "alice"


@pytest.mark.any_engine
class TestForbidden:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_sessions_are_registered_and_listed_by_gateways(self, alice: Device, method: str) -> None:
        refused(403, "forbidden", alice.request, method, "/sessions", {"username": "eve"})

    @pytest.mark.parametrize("action", [MOD, HOLD, RESUME, CALL_HOLD])
    def test_another_device_of_the_user_does_not_negotiate(self, call: Call, action: str) -> None:
        tablet = Device.register("alice", "tablet")
        direction = "sendrecv" if action in {MOD, RESUME} else "recvonly"
        refused(403, "forbidden", tablet.put, call.id, action, offer(direction))

    def test_another_device_of_the_user_does_not_settle(self, call: Call) -> None:
        tablet = Device.register("bob", "tablet")
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        refused(403, "forbidden", tablet.accept, call.id, mod, answer(version=3))
        refused(403, "forbidden", tablet.withdraw, call.id, mod)

    def test_another_device_of_the_user_does_not_hang_up(self, call: Call) -> None:
        tablet = Device.register("alice", "tablet")
        refused(403, "forbidden", tablet.delete, call.id)

    def test_a_guest_does_not_host(self, call: Call) -> None:
        path = f"/mediaConferences/{call.id}/participants"
        host, guest = call.bob.get(call.id)["participants"]
        refused(403, "forbidden", call.bob.request, "POST", path, {"to": "carol"})
        refused(403, "forbidden", call.bob.request, "DELETE", f"{path}/{host['id']}")
        mute = {"audio": True}
        refused(403, "forbidden", call.bob.request, "PUT", f"{path}/{host['id']}/mute", mute)
        refused(409, "focus-only", call.bob.request, "PUT", f"{path}/{guest['id']}/mute", mute)

    def test_whom_it_rings_for_does_not_negotiate(self, ringing: Call) -> None:
        path = f"/mediaConferences/{ringing.id}/participants"
        refused(403, "forbidden", ringing.bob.request, "POST", path, {"to": "carol"})


# --- Whether it exists ------------------------------------------------------------------------------------


class TestNotFound:
    @pytest.mark.parametrize("conference", ["none", "0" * 32, "%00", "%F0%9F%98%80", "a%2Fb", "x" * 500])
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_no_such_conference(self, alice: Device, conference: str, method: str) -> None:
        path = f"/mediaConferences/{conference}"
        refused(404, "not-found", alice.request, method, path, offer(), x_conference_action=MOD)

    @pytest.mark.parametrize("session", ["none", "%00", "x" * 500])
    def test_no_such_session(self, alice: Device, key: str, session: str) -> None:
        path, header = f"/sessions/{session}", f"Api-Key {key}"
        for method in ("GET", "PUT", "DELETE"):
            refused(404, "not-found", alice.request, method, path)
            refused(404, "not-found", anyone, method, path, authorization=header)

    @pytest.mark.parametrize(("method", "path"), [each for each in EVERY_ADDRESS if "{conference}" in each[1]])
    def test_a_conference_that_i_take_no_part_in_does_not_exist(
        self, call: Call, carol: Device, method: str, path: str
    ) -> None:
        place = address(path, call)
        here = refused(404, "not-found", carol.request, method, place, {"to": "x"}, x_conference_action=MOD)
        nowhere = place.replace(call.id, "f" * 32)
        there = refused(404, "not-found", carol.request, method, nowhere, {"to": "x"}, x_conference_action=MOD)
        # Nothing in the answer tells the one from the other.
        assert {**problem(here), "xCorrelator": ""} == {**problem(there), "xCorrelator": ""}

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_the_session_of_another_does_not_exist(self, call: Call, method: str) -> None:
        refused(404, "not-found", call.alice.request, method, f"/sessions/{call.bob.id}")

    @pytest.mark.parametrize("mod", ["none", "0" * 32, "ü", "é" * 64])
    def test_no_such_modification(self, call: Call, mod: str) -> None:
        refused(404, "not-found", call.bob.accept, call.id, mod, answer(version=3))
        refused(404, "not-found", call.bob.withdraw, call.id, mod)

    def test_a_modification_of_another_conference(self, call: Call, carol: Device) -> None:
        other = open_call(Device.register("dave"), carol)
        mod = other.alice.put(other.id, MOD, offer(version=3))["x-mod-id"]
        refused(404, "not-found", call.bob.accept, call.id, mod, answer(version=3))
        refused(404, "not-found", call.bob.withdraw, call.id, mod)

    def test_a_modification_of_another_conference_of_my_own(self, call: Call, carol: Device) -> None:
        other = open_call(call.bob, carol)
        mod = other.alice.put(other.id, MOD, offer(version=3))["x-mod-id"]
        refused(404, "not-found", call.bob.withdraw, call.id, mod)

    def test_a_participant_of_another_conference(self, call: Call, carol: Device) -> None:
        other = open_call(call.bob, carol)
        stranger = other.alice.get(other.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants/{stranger}"
        refused(404, "not-found", call.alice.request, "DELETE", path)
        refused(404, "not-found", call.alice.request, "PUT", f"{path}/mute", {"audio": True})

    @pytest.mark.parametrize(
        "path", ["/mediaconferences", "/mediaConferences/", "/sessions/", "/v1", "/../etc/passwd", "/%00"]
    )
    def test_no_such_address(self, alice: Device, path: str) -> None:
        refused(404, "not-found", alice.request, "GET", path)


@pytest.mark.any_engine
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/mediaConferences/{conference}"),
        ("POST", "/mediaConferences/{conference}"),
        ("PUT", "/mediaConferences"),
        ("DELETE", "/mediaConferences"),
        ("DELETE", "/sessions"),
        ("POST", "/sessions/{session}"),
        ("GET", "/mediaConferences/{conference}/participants"),
        ("PUT", "/mediaConferences/{conference}/participants/{participant}"),
        ("DELETE", "/mediaConferences/{conference}/participants/{participant}/mute"),
        ("TRACE", "/mediaConferences"),
        ("BREW", "/mediaConferences"),
    ],
)
def test_method_not_allowed(call: Call, key: str, method: str, path: str) -> None:
    headers = {"authorization": f"Api-Key {key}", "x_session_id": call.bob.id}
    response = refused(405, "method-not-allowed", anyone, method, address(path, call), **headers)
    assert method not in response["allow"]
    assert "OPTIONS" in response["allow"]


# --- Headers ----------------------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestHeaders:
    def test_action_missing(self, call: Call) -> None:
        path = f"/mediaConferences/{call.id}"
        refused(400, "action-missing", call.alice.request, "PUT", path, offer(version=3))

    @pytest.mark.parametrize(
        "action", ["", "mod", "Conference-Answer", f"{MOD} {HOLD}", f"{MOD},{HOLD}", "x" * 5000, "é"]
    )
    def test_action_unknown(self, call: Call, action: str) -> None:
        response = refused(400, "action-unknown", call.alice.put, call.id, action, offer(version=3))
        assert len(response.content) < 1000

    @pytest.mark.parametrize(("action", "kind"), _sample(ACTIONS, NO_MEDIA_TYPES))
    def test_unsupported_media_type(self, call: Call, action: str, kind: str) -> None:
        body = {"modId": "x", **offer(version=3)}
        refused(415, "unsupported-media-type", call.alice.put, call.id, action, body, content_type=kind)

    def test_a_conference_does_not_start_with_a_bare_sdp(self, alice: Device) -> None:
        request = {"content_type": "application/sdp"}
        refused(415, "unsupported-media-type", alice.request, "POST", "/mediaConferences", describe(), **request)

    @pytest.mark.parametrize("tag", ['"0"', '"99"', "nonsense", 'W/"{version}"', '"9", "8"', ""])
    def test_precondition_failed(self, call: Call, tag: str) -> None:
        tag = tag.format(version=Conference.objects.get(pk=call.id).version)
        new = offer(version=3)
        response = refused(412, "precondition-failed", call.alice.put, call.id, MOD, new, if_match=tag)
        assert problem(response)["etag"] == call.alice.request("GET", f"/mediaConferences/{call.id}")["etag"]
        refused(412, "precondition-failed", call.alice.delete, call.id, if_match=tag)
        guest = call.alice.get(call.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants/{guest}"
        refused(412, "precondition-failed", call.alice.request, "DELETE", path, if_match=tag)
        mute = {"audio": True}
        refused(412, "precondition-failed", call.alice.request, "PUT", f"{path}/mute", mute, if_match=tag)

    @pytest.mark.parametrize("tag", ["*", '"{version}"', '"0", "{version}"', '"{version}","1"'])
    def test_precondition_met(self, call: Call, tag: str) -> None:
        tag = tag.format(version=Conference.objects.get(pk=call.id).version)
        assert call.alice.put(call.id, MOD, offer(version=3), if_match=tag).status_code == 204
        refused(412, "precondition-failed", call.alice.delete, call.id, if_match='"1"')

    @pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "tab\there"])
    def test_an_idempotency_key_that_is_none(self, call: Call, key: str) -> None:
        new = offer(version=3)
        refused(400, "malformed", call.alice.put, call.id, MOD, new, idempotency_key=key)

    def test_not_acceptable(self, alice: Device) -> None:
        refused(406, "not-acceptable", alice.request, "GET", "/mediaConferences", accept="image/png")


@pytest.mark.any_engine
@before_the_database
class TestCorrelator:
    def test_it_is_echoed(self, alice: Device) -> None:
        response = alice.request("GET", "/mediaConferences", x_correlator="trace-42")
        assert response["x-correlator"] == "trace-42"

    def test_it_is_made_anew_each_time(self, alice: Device) -> None:
        made = {alice.request("GET", "/mediaConferences")["x-correlator"] for _ in range(3)}
        assert len(made) == 3
        assert "" not in made

    @pytest.mark.parametrize("hostile", ["", "x" * 129, "a b", "<é>", "a\tb", "\x7f"])
    def test_a_hostile_one_is_replaced(self, alice: Device, hostile: str) -> None:
        response = refused(405, "method-not-allowed", alice.request, "PATCH", "/mediaConferences", x_correlator=hostile)
        assert response["x-correlator"] not in {hostile, ""}

    def test_problems_name_it(self, alice: Device) -> None:
        response = alice.request("GET", "/nowhere", x_correlator="trace-42")
        assert problem(response)["xCorrelator"] == "trace-42"
        response = anyone("GET", "/sessions", x_correlator="trace-43")
        assert problem(response)["xCorrelator"] == "trace-43"


# --- Body -------------------------------------------------------------------------------------------------


NO_OBJECTS = [
    b"{",
    b"{]",
    b"nonsense",
    b"[]",
    b"[1]",
    b"7",
    b'"text"',
    b"null",
    b"true",
    b"[" * 100_000,
    b'{"a":' * 40_000,
    b'{"sdp": NaN}',
    b'{"sdp": Infinity}',
    b'{"sdp": -Infinity}',
    b'{"n": ' + b"9" * 5000 + b"}",
    b"\xff\xfe{}",
    b'{"a": "\xff"}',
    b"\xef\xbb\xbf{}",
    b"{}{}",
    b"{'a': 1}",
    b'{"a": "\x00"}',
]


_NO_ADDRESSES = ("", " ", "a\0b", "a\nb", "\ud800", "tel:", "tel:15550101", "tel:+0", "tel:+1\u0661\u0662", "x" * 129)
WRONG_IN_A_CONFERENCE: dict[str, list[Any]] = {
    "to": [None, "bob", {}, {"0": "bob"}, 7, [], [7], [None], [["bob"]], [True], ["bob"] * 101]
    + [[address] for address in _NO_ADDRESSES],
    "topology": [None, "", "mesh", 7, [], {}, True, "PEER", "\ud800"],
    "access": [None, "", "closed", 7, [], {}, False],
    "name": [None, 7, [], {}, True, "a\0b", "\ud800", "x" * 129, "a\x1bb"],
    "type": [None, "", "pranswer", "rollback", 7, [], {}, True, "\udfff"],
    "sdp": [7, [], {}, True, [describe()]],
}
WRONG_IN_A_SESSION: dict[str, list[Any]] = {
    "username": [None, "", " ", 7, [], {}, True, "a\0", "\ud83d", "x" * 129, "tel:+1"],
    "vtn": ["", "15550100", "+0123", 15550100, [], {}, "+1" * 20],
    "icmn": ["+", "+1a", "tel:+15550100", True, "+1\u0661\u0662\u0663"],
    "device": [7, [], {}, False, "a\0b", "\x7f", "x" * 129, "\udc00"],
}


def _pairs(fields: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(field, value) for field, values in fields.items() for value in values]


@before_the_database
class TestMalformed:
    @pytest.mark.parametrize("body", NO_OBJECTS, ids=lambda body: repr(body[:12]))
    def test_a_body_that_is_no_json_object(self, call: Call, key: str, body: bytes) -> None:
        refused(400, "malformed", call.alice.request, "POST", "/mediaConferences", body)
        refused(400, "malformed", call.alice.put, call.id, MOD, body)
        header = {"authorization": f"Api-Key {key}"}
        post = Client().post
        refused(400, "malformed", post, "/sessions", body, content_type="application/json", headers=header)
        path = f"/mediaConferences/{call.id}/participants"
        refused(400, "malformed", call.alice.request, "POST", path, body)

    @pytest.mark.parametrize(("field", "value"), _pairs(WRONG_IN_A_CONFERENCE))
    def test_a_field_of_a_conference_that_is_wrong(self, alice: Device, bob: Device, field: str, value: Any) -> None:
        body = {"to": ["bob"], "topology": "peer", **offer(), field: value}
        response = refused(400, "malformed", alice.request, "POST", "/mediaConferences", body)
        assert field in problem(response)["errors"]

    @pytest.mark.parametrize(("field", "value"), _pairs(WRONG_IN_A_SESSION))
    def test_a_field_of_a_session_that_is_wrong(self, key: str, field: str, value: Any) -> None:
        body = {"username": "eve", field: value}
        response = refused(400, "malformed", anyone, "POST", "/sessions", body, authorization=f"Api-Key {key}")
        assert field in problem(response)["errors"]

    def test_a_session_needs_a_name_and_a_conference_somebody_to_call(self, alice: Device, key: str) -> None:
        response = refused(400, "malformed", anyone, "POST", "/sessions", {}, authorization=f"Api-Key {key}")
        assert set(problem(response)["errors"]) == {"username"}
        response = refused(400, "malformed", alice.request, "POST", "/mediaConferences", offer())
        assert set(problem(response)["errors"]) == {"to"}

    @pytest.mark.parametrize("to", [["bob", "carol"], ["alice"]])
    def test_whom_a_peer_conference_does_not_call(self, alice: Device, to: list[str]) -> None:
        body = {"to": to, "topology": "peer", **offer()}
        refused(400, "malformed", alice.request, "POST", "/mediaConferences", body)

    def test_one_does_not_call_oneself_by_number(self, bob: Device) -> None:
        refused(400, "malformed", bob.call, "tel:+15550101")

    def test_a_peer_conference_is_not_open_to_anybody(self, alice: Device) -> None:
        refused(400, "malformed", alice.call, "bob", access="open")

    @pytest.mark.parametrize("value", [7, [], {}, True, "", " ", "a\0b", "\ud800", "x" * 65])
    @pytest.mark.parametrize("action", [ACCEPT, WITHDRAW])
    def test_a_mod_id_that_is_none(self, call: Call, action: str, value: Any) -> None:
        call.alice.put(call.id, MOD, offer(version=3))
        body = {"modId": value, **answer(version=3)}
        refused(400, "malformed", call.bob.put, call.id, action, body)

    @pytest.mark.parametrize("action", [ACCEPT, WITHDRAW])
    def test_a_missing_mod_id(self, call: Call, action: str) -> None:
        call.alice.put(call.id, MOD, offer(version=3))
        refused(400, "malformed", call.bob.put, call.id, action, answer(version=3))
        bare = {"content_type": "application/sdp"}
        refused(400, "malformed", call.bob.put, call.id, action, answer(version=3)["sdp"], **bare)
        refused(400, "malformed", call.bob.put, call.id, action)

    @pytest.mark.parametrize("body", [{"audio": "true"}, {"audio": 1}, {"video": None}, {"video": []}])
    def test_a_mute_that_is_no_boolean(self, call: Call, body: dict[str, Any]) -> None:
        guest = call.alice.get(call.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants/{guest}/mute"
        refused(400, "malformed", call.alice.request, "PUT", path, body)

    @pytest.mark.parametrize("body", [{}, {"to": None}, {"to": ["carol"]}, {"to": "tel:1"}, {"to": "a\0"}, {"to": 7}])
    def test_an_invitation_of_nobody(self, call: Call, body: dict[str, Any]) -> None:
        path = f"/mediaConferences/{call.id}/participants"
        refused(400, "malformed", call.alice.request, "POST", path, body)


class TestQueries:
    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=", "limit=1e1", "limit=%00"]
    )
    def test_a_limit_that_is_none(self, alice: Device, key: str, query: str) -> None:
        refused(400, "malformed", alice.request, "GET", f"/mediaConferences?{query}")
        refused(400, "malformed", anyone, "GET", f"/sessions?{query}", authorization=f"Api-Key {key}")

    def test_a_nul_in_a_query(self, alice: Device, key: str) -> None:
        header = {"authorization": f"Api-Key {key}"}
        refused(400, "malformed", anyone, "GET", "/sessions?username=a%00", **header)
        refused(400, "malformed", anyone, "GET", "/sessions?after=%00", **header)
        refused(400, "malformed", alice.request, "GET", "/mediaConferences?after=%00")
        refused(400, "malformed", alice.request, "GET", "/mediaConferences?state=%00")

    def test_odd_but_legal_queries_find_nothing(self, alice: Device, key: str) -> None:
        header = {"authorization": f"Api-Key {key}"}
        for query in (
            "username=%F0%9F%98%80",
            "username=%FF",
            "after=%C3%BF",
            "after=~",
            "unknown=1",
            "username=%27--",
        ):
            body = anyone("GET", f"/sessions?{query}", **header).json()
            assert [each["username"] for each in body["sessions"]] in ([], ["alice"])
        assert alice.request("GET", "/mediaConferences?state=nonsense").json()["conferences"] == []

    def test_unknown_fields_are_ignored_and_not_stored(self, alice: Device, bob: Device, key: str) -> None:
        extra = {"state": "session-open", "id": "mine", "token": "mine", "token_hash": "x", "secret-of-mine": "7Q"}
        header = {"authorization": f"Api-Key {key}"}
        session = anyone("POST", "/sessions", {"username": "dave", **extra}, **header).json()
        assert session["id"] != "mine"
        assert session["token"] != "mine"
        conference = alice.call("bob", **extra, role="guest", participants=[]).json()
        assert (conference["state"], len(conference["participants"])) == ("invitation-sent", 2)
        assert bob.answer(conference["id"], {**answer(), **extra, "modId": "x"}).status_code == 204
        assert alice.put(conference["id"], MOD, {**offer(version=3), **extra}).status_code == 204
        assert "7Q" not in repr(all_rows())


@pytest.mark.any_engine
@before_the_database
class TestSdpInvalid:
    @pytest.mark.parametrize("body", [{}, {"type": "offer"}, {"type": "offer", "sdp": None}])
    def test_a_missing_sdp(self, call: Call, carol: Device, body: dict[str, Any]) -> None:
        start = {"to": ["carol"], "topology": "peer", **body}
        refused(422, "sdp-invalid", call.alice.request, "POST", "/mediaConferences", start)
        for action in (MOD, HOLD, RESUME, CALL_HOLD):
            refused(422, "sdp-invalid", call.alice.put, call.id, action, body)

    def test_a_missing_answer(self, ringing: Call) -> None:
        refused(422, "sdp-invalid", ringing.bob.put, ringing.id, "conference-answer")
        refused(422, "sdp-invalid", ringing.bob.put, ringing.id, "conference-answer", {"type": "answer"})
        ringing.bob.answer(ringing.id)
        mod = ringing.alice.put(ringing.id, MOD, offer(version=3))["x-mod-id"]
        refused(422, "sdp-invalid", ringing.bob.put, ringing.id, ACCEPT, {"modId": mod})

    def test_an_empty_bare_sdp(self, call: Call) -> None:
        bare = {"content_type": "application/sdp"}
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, "", **bare)
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, "\r\n", **bare)

    def test_an_answer_where_an_offer_belongs_and_the_other_way_round(self, ringing: Call) -> None:
        refused(422, "sdp-invalid", ringing.alice.call, "carol", **answer())
        refused(422, "sdp-invalid", ringing.bob.answer, ringing.id, offer())
        ringing.bob.answer(ringing.id)
        refused(422, "sdp-invalid", ringing.alice.put, ringing.id, MOD, answer(version=3))
        mod = ringing.alice.put(ringing.id, MOD, offer(version=3))["x-mod-id"]
        refused(422, "sdp-invalid", ringing.bob.accept, ringing.id, mod, offer(version=3))


@pytest.mark.any_engine
class TestSdpDirection:
    @pytest.mark.parametrize("action", [HOLD, CALL_HOLD])
    @pytest.mark.parametrize("directions", [("sendrecv",) * 2, ("recvonly", "sendrecv"), ("sendrecv", "inactive")])
    def test_a_hold_with_a_line_that_goes_both_ways(self, call: Call, action: str, directions: tuple[str, str]) -> None:
        new = offer(directions=directions, version=3)
        refused(422, "sdp-direction", call.alice.put, call.id, action, new)

    @pytest.mark.parametrize("directions", [("recvonly",) * 2, ("sendonly", "inactive")])
    def test_a_resume_without_a_line_that_goes_both_ways(self, call: Call, directions: tuple[str, str]) -> None:
        hold(call)
        new = offer(directions=directions, version=4)
        refused(422, "sdp-direction", call.alice.put, call.id, RESUME, new)

    def test_a_modification_by_the_holder_that_would_end_the_hold(self, call: Call) -> None:
        hold(call)
        refused(422, "sdp-direction", call.alice.put, call.id, MOD, offer(version=4))
        assert call.alice.put(call.id, MOD, offer("inactive", version=4)).status_code == 204

    def test_an_answer_by_the_holder_that_would_end_the_hold(self, call: Call) -> None:
        hold(call)
        mod = call.bob.put(call.id, MOD, offer(session=777, version=4))["x-mod-id"]
        mine = {"session": 4611731400430051336, "version": 4}
        refused(422, "sdp-direction", call.alice.accept, call.id, mod, answer("sendrecv", **mine))
        assert call.alice.accept(call.id, mod, answer("recvonly", **mine)).status_code == 204


@pytest.mark.any_engine
@before_the_database
class TestTooLarge:
    LIMIT = 1024 * 1024

    @pytest.mark.parametrize("size", [LIMIT + 1, 5 * 1024 * 1024])
    @pytest.mark.parametrize("kind", ["application/json", "application/sdp"])
    @pytest.mark.parametrize("headers", [{}, {"idempotency_key": "k"}])
    def test_a_body(self, call: Call, size: int, kind: str, headers: dict[str, str]) -> None:
        body = b"v" * size
        response = refused(413, "too-large", call.alice.put, call.id, MOD, body, content_type=kind, **headers)
        assert problem(response)["limit"] == self.LIMIT

    def test_a_body_for_a_session_or_a_conference(self, call: Call, key: str) -> None:
        body = {"username": "x" * self.LIMIT}
        refused(413, "too-large", anyone, "POST", "/sessions", body, authorization=f"Api-Key {key}")
        refused(413, "too-large", call.alice.request, "POST", "/mediaConferences", body)

    def test_a_body_that_does_not_say_its_length(self, call: Call) -> None:
        def put(size: int) -> Any:
            body = json.dumps({**offer(version=3), "x": "x" * size}).encode()
            return asyncio.run(send_in_chunks(call, body))

        response = refused(413, "too-large", put, self.LIMIT)
        assert problem(response)["limit"] == self.LIMIT
        refused(413, "too-large", put, 5 * 1024 * 1024)
        assert put(1000).status_code == 204

    @pytest.mark.parametrize("bare", [False, True])
    def test_an_sdp(self, call: Call, bare: bool) -> None:
        long = describe(version=3) + "a=x:" + "y" * SDP_LIMIT + "\r\n"
        kind = {"content_type": "application/sdp"} if bare else {}
        body = long if bare else {"type": "offer", "sdp": long}
        response = refused(413, "too-large", call.alice.put, call.id, MOD, body, **kind)
        assert problem(response)["limit"] == SDP_LIMIT

    def test_an_sdp_counts_in_bytes_and_may_just_fit(self, call: Call) -> None:
        bare = {"content_type": "application/sdp"}
        room = SDP_LIMIT - len(describe(version=3)) - len("a=x:\r\n")
        wide = describe(version=3) + "a=x:" + "é" * (room // 2 + 1) + "\r\n"
        refused(413, "too-large", call.alice.put, call.id, MOD, wide, **bare)
        fitting = describe(version=3) + "a=x:" + "é" * (room // 2) + "\r\n"
        assert call.alice.put(call.id, MOD, fitting, **bare).status_code == 204


class _Answer:
    """An answer that came over ASGI, with the face of Django's."""

    def __init__(self, status_code: int, headers: dict[str, str], content: bytes) -> None:
        self.status_code, self.headers, self.content = status_code, headers, content

    def __getitem__(self, name: str) -> str:
        return self.headers[name]

    def json(self) -> Any:
        return json.loads(self.content)


async def send_in_chunks(call: Call, body: bytes) -> _Answer:
    """Let alice modify with a body whose length no header tells (`Transfer-Encoding: chunked`)."""
    chunks = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    requests = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    requests.append({"type": "http.request", "body": b"", "more_body": False})
    answers: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if requests:
            return requests.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Mapping[str, Any]) -> None:
        answers.append(message)

    headers = {
        "host": "localhost",
        "authorization": f"Bearer {call.alice.token}",
        "content-type": "application/json",
        "transfer-encoding": "chunked",
        "x-conference-action": MOD,
    }
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "PUT",
        "path": f"/mediaConferences/{call.id}",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await get_asgi_application()(scope, receive, send)
    start, *parts = answers
    named = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return _Answer(start["status"], named, b"".join(part.get("body", b"") for part in parts))


# --- State ------------------------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestConferenceNotOpen:
    @pytest.mark.parametrize("action", [MOD, HOLD, RESUME, CALL_HOLD, ACCEPT, WITHDRAW])
    @pytest.mark.parametrize("state", ["invitation-sent", "session-terminated"])
    def test_nobody_negotiates_before_or_after(self, ringing: Call, action: str, state: str) -> None:
        if state == "session-terminated":
            ringing.alice.delete(ringing.id)
        direction = "recvonly" if action in {HOLD, CALL_HOLD} else "sendrecv"
        make = answer if action == ACCEPT else offer
        body = {"modId": "x", **make(direction, version=3)}
        for device in (ringing.alice, ringing.bob):
            response = refused(409, "conference-not-open", device.put, ringing.id, action, body)
            assert problem(response)["state"] == state

    def test_nobody_is_invited_into_one_that_has_ended(self, call: Call) -> None:
        call.bob.delete(call.id)
        path = f"/mediaConferences/{call.id}/participants"
        response = refused(409, "conference-not-open", call.alice.request, "POST", path, {"to": "carol"})
        assert problem(response)["state"] == "session-terminated"


@pytest.mark.any_engine
class TestAnswering:
    def test_not_ringing_for_who_calls(self, ringing: Call) -> None:
        tablet = Device.register("alice", "tablet")
        refused(409, "already-answered", ringing.alice.answer, ringing.id)
        refused(409, "already-answered", tablet.answer, ringing.id)

    def test_not_ringing_once_it_has_ended(self, ringing: Call) -> None:
        ringing.bob.delete(ringing.id)
        refused(409, "not-ringing", ringing.bob.answer, ringing.id)

    def test_not_ringing_at_the_device_that_one_moves_from(self, call: Call) -> None:
        Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        refused(409, "not-ringing", call.alice.answer, call.id, offer())

    def test_already_answered_here_and_elsewhere(self, ringing: Call) -> None:
        tablet = Device.register("bob", "tablet")
        assert ringing.bob.answer(ringing.id).status_code == 204
        refused(409, "already-answered", ringing.bob.answer, ringing.id)
        refused(409, "already-answered", tablet.answer, ringing.id)


@pytest.mark.any_engine
class TestHolding:
    @pytest.mark.parametrize("action", [HOLD, CALL_HOLD])
    def test_already_on_hold(self, call: Call, action: str) -> None:
        hold(call, action)
        refused(409, "already-on-hold", call.alice.put, call.id, HOLD, offer("recvonly", version=4))

    def test_not_on_hold(self, call: Call) -> None:
        refused(409, "not-on-hold", call.alice.put, call.id, RESUME, offer(version=3))

    def test_the_hold_of_one_is_not_the_hold_of_the_other(self, call: Call) -> None:
        hold(call)
        refused(409, "not-on-hold", call.bob.put, call.id, RESUME, offer(session=777, version=4))
        assert call.bob.put(call.id, HOLD, offer("inactive", session=777, version=4)).status_code == 204

    def test_a_hold_that_nobody_has_accepted_is_none(self, call: Call) -> None:
        mod = call.alice.put(call.id, HOLD, offer("recvonly", version=3))["x-mod-id"]
        call.bob.withdraw(call.id, mod)
        refused(409, "not-on-hold", call.alice.put, call.id, RESUME, offer(version=4))


@pytest.mark.any_engine
class TestParticipantMoving:
    @pytest.fixture
    def moving(self, call: Call) -> Call:
        Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        assert call.alice.delete(call.id).json()["outcome"] == "moving"
        return call

    @pytest.mark.parametrize("action", [MOD, HOLD, CALL_HOLD])
    def test_nobody_negotiates_with_one_who_moves(self, moving: Call, action: str) -> None:
        direction = "sendrecv" if action == MOD else "recvonly"
        new = offer(direction, session=777, version=4)
        response = refused(409, "participant-moving", moving.bob.put, moving.id, action, new)
        assert 0 <= problem(response)["retryAfterMs"] <= 4000

    @pytest.mark.parametrize("action", [MOD, HOLD, RESUME, CALL_HOLD])
    def test_the_device_that_one_moves_from_does_not_negotiate(self, moving: Call, action: str) -> None:
        direction = "recvonly" if action in {HOLD, CALL_HOLD} else "sendrecv"
        new = offer(direction, version=4)
        refused(409, "participant-moving", moving.alice.put, moving.id, action, new)

    def test_two_do_not_move_at_once(self, call: Call) -> None:
        Device.register("alice", "phone"), Device.register("bob", "tablet")
        hold(call, CALL_HOLD)
        mod = call.bob.put(call.id, CALL_HOLD, offer("inactive", session=777, version=4))["x-mod-id"]
        mine = answer("inactive", session=4611731400430051336, version=4)
        assert call.alice.accept(call.id, mod, mine).status_code == 204
        assert call.alice.delete(call.id).json()["outcome"] == "moving"
        refused(409, "participant-moving", call.bob.delete, call.id)


class TestModificationPending:
    @pytest.mark.parametrize("who", ["alice", "bob"])
    @pytest.mark.parametrize("action", [MOD, HOLD, CALL_HOLD])
    def test_one_at_a_time_in_either_direction(self, call: Call, who: str, action: str) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        device, session = (call.alice, 4611731400430051336) if who == "alice" else (call.bob, 777)
        new = offer("sendrecv" if action == MOD else "recvonly", session=session, version=4)
        response = refused(409, "modification-pending", device.put, call.id, action, new)
        body = problem(response)
        assert body["modId"] == mod
        # RFC 3261 section 14.1.
        low, high = (2100, 4000) if who == "alice" else (0, 2000)
        assert low <= body["retryAfterMs"] <= high
        assert body["retryAfterMs"] % 10 == 0

    def test_the_offer_of_a_move_is_one_too(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        mod = phone.answer(call.id, offer(session=5))["x-mod-id"]
        for device, session in ((call.bob, 777), (phone, 5)):
            new = offer(session=session, version=9)
            response = refused(409, "modification-pending", device.put, call.id, MOD, new)
            assert problem(response)["modId"] == mod


SETTLEMENTS = {"mod-accepted": "bob", "mod-rejected": "bob", "mod-cancelled": "alice"}


@pytest.mark.any_engine
class TestModificationSettled:
    @pytest.fixture(params=SETTLEMENTS)
    def state(self, request: pytest.FixtureRequest) -> str:
        """The final state."""
        return str(request.param)

    @pytest.fixture
    def mod(self, call: Call, state: str) -> str:
        """A modification by alice that has got its final state."""
        mod: str = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        assert self._settle(call, mod, state).status_code == 204
        return mod

    def _settle(self, call: Call, mod: str, state: str) -> Any:
        if state == "mod-accepted":
            return call.bob.accept(call.id, mod, answer(version=3))
        return (call.bob if SETTLEMENTS[state] == "bob" else call.alice).withdraw(call.id, mod)

    def test_any_other_settlement_is_refused(self, call: Call, mod: str, state: str) -> None:
        for other in set(SETTLEMENTS) - {state}:
            response = refused(409, "modification-settled", self._settle, call, mod, other)
            assert problem(response)["state"] == state

    def test_the_very_request_that_settled_it_is_answered_again(self, call: Call, mod: str, state: str) -> None:
        before = all_rows()
        response = self._settle(call, mod, state)
        assert (response.status_code, response["x-state"]) == (204, state)
        assert all_rows() == before

    def test_accepting_again_with_another_answer_is_another_settlement(self, call: Call) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        call.bob.accept(call.id, mod, answer(version=3))
        response = refused(409, "modification-settled", call.bob.accept, call.id, mod, answer(version=4))
        assert problem(response)["state"] == "mod-accepted"

    def test_the_offer_of_the_call_is_settled_by_its_answer(self, alice: Device, bob: Device) -> None:
        response = alice.call("bob")
        conference, mod = response.json()["id"], response["x-mod-id"]
        bob.answer(conference)
        refused(409, "modification-settled", bob.withdraw, conference, mod)
        refused(409, "modification-settled", alice.withdraw, conference, mod)


@pytest.mark.any_engine
class TestNotYoursToSettle:
    def test_the_initiator_does_not_accept(self, call: Call) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        mine = answer(session=4611731400430051336, version=3)
        refused(409, "not-yours-to-settle", call.alice.accept, call.id, mod, mine)
        assert call.bob.accept(call.id, mod, answer(version=3)).status_code == 204
        refused(409, "not-yours-to-settle", call.alice.accept, call.id, mod, mine)

    def test_somebody_else_in_the_conference_does_not_either(self, call: Call, carol: Device) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        # No conference of topology `peer` gets a third seat, but who settles does not hang on that.
        Participant.objects.create(
            conference_id=call.id, role="guest", state="accepted", username="carol", session_id=carol.id, position=3
        )
        refused(409, "not-yours-to-settle", carol.accept, call.id, mod, answer(version=3))
        refused(409, "not-yours-to-settle", carol.withdraw, call.id, mod)


@pytest.mark.any_engine
class TestTopology:
    @pytest.mark.parametrize("access", ["invited", "open"])
    def test_without_a_media_node_there_is_no_focus(self, alice: Device, bob: Device, access: str) -> None:
        response = refused(503, "media-unavailable", alice.call, "bob", topology="focus", access=access)
        assert int(response["retry-after"]) > 0

    @pytest.mark.parametrize("who", ["ringing", "open"])
    def test_a_peer_conference_is_full(self, ringing: Call, who: str) -> None:
        if who == "open":
            ringing.bob.answer(ringing.id)
        path = f"/mediaConferences/{ringing.id}/participants"
        refused(409, "conference-full", ringing.alice.request, "POST", path, {"to": "carol"})

    @pytest.mark.parametrize("body", [{"audio": True}, {"video": True}, {"audio": False, "video": False}, {}])
    def test_only_a_focus_mutes(self, call: Call, body: dict[str, bool]) -> None:
        for seat in call.alice.get(call.id)["participants"]:
            path = f"/mediaConferences/{call.id}/participants/{seat['id']}/mute"
            refused(409, "focus-only", call.alice.request, "PUT", path, body)


class TestRateLimited:
    def test_a_session(self, call: Call, settings: Settings) -> None:
        settings.REQUESTS_PER_MINUTE = 3
        path = f"/mediaConferences/{call.id}"
        answers = [call.alice.request("GET", path).status_code for _ in range(10)]
        assert answers.count(200) <= 3
        response = refused(429, "rate-limited", call.alice.delete, call.id)
        assert 1 <= int(response["retry-after"]) <= 61
        # Everybody is counted alone.
        assert call.bob.request("PUT", f"/sessions/{call.bob.id}").status_code == 200

    def test_a_gateway(self, key: str, settings: Settings) -> None:
        settings.GATEWAY_REQUESTS_PER_MINUTE = 2
        register = partial(anyone, "POST", "/sessions", {"username": "x"}, authorization=f"Api-Key {key}")
        assert [register().status_code for _ in range(2)] == [201, 201]
        response = refused(429, "rate-limited", register)
        assert int(response["retry-after"]) >= 1


# --- The order of judgement -------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestOrderOfJudgement:
    """Requests that are wrong in several ways: who speaks, exists, headers, body, state."""

    HUGE = b"x" * (300 * 1024)

    BODIES = (HUGE, b"{", b"{}", b"", b'{"sdp": "x"}', b'{"to": 7, "audio": 7}')
    REQUESTS = _sample(BODIES, ("nonsense", MOD, ACCEPT))
    HEADERS: tuple[dict[str, str], ...] = (
        {},
        {"content_type": "text/plain"},
        {"idempotency_key": "a b"},
        {"if_match": '"0"'},
    )

    @pytest.mark.parametrize("headers", HEADERS)
    def test_who_speaks_comes_first(self, call: Call, headers: dict[str, str]) -> None:
        nobody = Device(id="", token="none", username="")
        for body, action in self.REQUESTS:
            refused(401, "unauthenticated", nobody.put, call.id, action, body, **headers)

    @pytest.mark.parametrize("headers", HEADERS)
    def test_then_whether_it_exists(self, call: Call, carol: Device, headers: dict[str, str]) -> None:
        for body, action in self.REQUESTS:
            refused(404, "not-found", carol.put, call.id, action, body, **headers)
            refused(404, "not-found", carol.put, "f" * 32, action, body, **headers)

    @pytest.mark.parametrize("headers", HEADERS)
    def test_also_of_participants(self, call: Call, carol: Device, headers: dict[str, str]) -> None:
        guest = call.alice.get(call.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants"
        for body in self.BODIES:
            refused(404, "not-found", carol.request, "POST", path, body, **headers)
            refused(404, "not-found", carol.request, "PUT", f"{path}/{guest}/mute", body, **headers)

    def test_then_the_headers(self, ringing: Call) -> None:
        path = f"/mediaConferences/{ringing.id}"
        refused(400, "action-missing", ringing.alice.request, "PUT", path, b"{")
        refused(400, "action-unknown", ringing.alice.put, ringing.id, "nonsense", b"{")
        text = {"content_type": "text/plain"}
        refused(415, "unsupported-media-type", ringing.alice.put, ringing.id, MOD, b"{", **text)
        refused(400, "malformed", ringing.alice.put, ringing.id, MOD, b"{", idempotency_key="a b")

    def test_then_the_body(self, ringing: Call) -> None:
        refused(400, "malformed", ringing.alice.put, ringing.id, MOD, b"{")
        refused(422, "sdp-invalid", ringing.alice.put, ringing.id, MOD, {})
        refused(422, "sdp-direction", ringing.alice.put, ringing.id, HOLD, offer())
        refused(422, "sdp-direction", ringing.alice.put, ringing.id, RESUME, offer("inactive"))
        refused(400, "malformed", ringing.alice.put, ringing.id, ACCEPT, answer())

    def test_then_the_state(self, ringing: Call) -> None:
        refused(409, "conference-not-open", ringing.alice.put, ringing.id, MOD, offer(version=1))
        refused(409, "conference-not-open", ringing.bob.accept, ringing.id, "none")

    def test_a_stale_precondition_comes_before_the_state(self, ringing: Call) -> None:
        new = offer(version=3)
        refused(412, "precondition-failed", ringing.alice.put, ringing.id, MOD, new, if_match='"0"')


def test_a_conference_that_has_not_changed_is_not_sent_again(call: Call) -> None:
    path = f"/mediaConferences/{call.id}"
    etag = call.alice.request("GET", path)["etag"]
    response = call.alice.request("GET", path, if_none_match=etag)
    assert (response.status_code, response.content, response["etag"]) == (304, b"", etag)
    call.alice.put(call.id, MOD, offer(version=3))
    assert call.alice.request("GET", path, if_none_match=etag).status_code == 200
