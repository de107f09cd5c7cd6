"""Bodies and queries that are malformed."""

from typing import Any

import pytest
from django.test import Client

from tests.support.actions import ACCEPT, MOD, WITHDRAW
from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, Device
from tests.support.refusals import all_rows, problem, refused
from tests.support.requests import anyone, before_the_database

pytestmark = pytest.mark.django_db(transaction=True)

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
    def test_a_body_that_is_not_a_json_object_is_refused(self, call: Call, key: str, body: bytes) -> None:
        refused(400, "malformed", call.alice.request, "POST", "/mediaConferences", body)
        refused(400, "malformed", call.alice.put, call.id, MOD, body)
        header = {"authorization": f"Api-Key {key}"}
        post = Client().post
        refused(400, "malformed", post, "/sessions", body, content_type="application/json", headers=header)
        path = f"/mediaConferences/{call.id}/participants"
        refused(400, "malformed", call.alice.request, "POST", path, body)

    @pytest.mark.parametrize(("field", "value"), _pairs(WRONG_IN_A_CONFERENCE))
    def test_a_wrong_field_of_a_conference_is_refused(self, alice: Device, bob: Device, field: str, value: Any) -> None:
        body = {"to": ["bob"], "topology": "peer", **offer(), field: value}
        response = refused(400, "malformed", alice.request, "POST", "/mediaConferences", body)
        assert field in problem(response)["errors"]

    @pytest.mark.parametrize(("field", "value"), _pairs(WRONG_IN_A_SESSION))
    def test_a_wrong_field_of_a_session_is_refused(self, key: str, field: str, value: Any) -> None:
        body = {"username": "eve", field: value}
        response = refused(400, "malformed", anyone, "POST", "/sessions", body, authorization=f"Api-Key {key}")
        assert field in problem(response)["errors"]

    def test_a_session_needs_a_name_and_a_conference_needs_a_callee(self, alice: Device, key: str) -> None:
        response = refused(400, "malformed", anyone, "POST", "/sessions", {}, authorization=f"Api-Key {key}")
        assert set(problem(response)["errors"]) == {"username"}
        response = refused(400, "malformed", alice.request, "POST", "/mediaConferences", offer())
        assert set(problem(response)["errors"]) == {"to"}

    @pytest.mark.parametrize("to", [["bob", "carol"], ["alice"]])
    def test_a_peer_conference_must_call_exactly_one_other_user(self, alice: Device, to: list[str]) -> None:
        body = {"to": to, "topology": "peer", **offer()}
        refused(400, "malformed", alice.request, "POST", "/mediaConferences", body)

    def test_users_cannot_call_themselves_by_number(self, bob: Device) -> None:
        refused(400, "malformed", bob.call, "tel:+15550101")

    def test_a_peer_conference_cannot_be_open(self, alice: Device) -> None:
        refused(400, "malformed", alice.call, "bob", access="open")

    @pytest.mark.parametrize("value", [7, [], {}, True, "", " ", "a\0b", "\ud800", "x" * 65])
    @pytest.mark.parametrize("action", [ACCEPT, WITHDRAW])
    def test_a_malformed_mod_id_is_refused(self, call: Call, action: str, value: Any) -> None:
        call.alice.put(call.id, MOD, offer(version=3))
        body = {"modId": value, **answer(version=3)}
        refused(400, "malformed", call.bob.put, call.id, action, body)

    @pytest.mark.parametrize("action", [ACCEPT, WITHDRAW])
    def test_a_missing_mod_id_is_refused(self, call: Call, action: str) -> None:
        call.alice.put(call.id, MOD, offer(version=3))
        refused(400, "malformed", call.bob.put, call.id, action, answer(version=3))
        bare = {"content_type": "application/sdp"}
        refused(400, "malformed", call.bob.put, call.id, action, answer(version=3)["sdp"], **bare)
        refused(400, "malformed", call.bob.put, call.id, action)

    @pytest.mark.parametrize("body", [{"audio": "true"}, {"audio": 1}, {"video": None}, {"video": []}])
    def test_a_mute_that_is_not_a_boolean_is_refused(self, call: Call, body: dict[str, Any]) -> None:
        guest = call.alice.get(call.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants/{guest}/mute"
        refused(400, "malformed", call.alice.request, "PUT", path, body)

    @pytest.mark.parametrize("body", [{}, {"raised": "true"}, {"raised": 1}, {"raised": None}])
    def test_a_hand_that_is_not_a_boolean_is_refused(self, call: Call, body: dict[str, Any]) -> None:
        own = call.alice.get(call.id)["participants"][0]["id"]
        path = f"/mediaConferences/{call.id}/participants/{own}/hand"
        refused(400, "malformed", call.alice.request, "PUT", path, body)

    @pytest.mark.parametrize("body", [{}, {"to": None}, {"to": ["carol"]}, {"to": "tel:1"}, {"to": "a\0"}, {"to": 7}])
    def test_an_invitation_without_an_address_is_refused(self, call: Call, body: dict[str, Any]) -> None:
        path = f"/mediaConferences/{call.id}/participants"
        refused(400, "malformed", call.alice.request, "POST", path, body)


class TestQueries:
    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=", "limit=1e1", "limit=%00"]
    )
    def test_a_malformed_limit_is_refused(self, alice: Device, key: str, query: str) -> None:
        refused(400, "malformed", alice.request, "GET", f"/mediaConferences?{query}")
        refused(400, "malformed", anyone, "GET", f"/sessions?{query}", authorization=f"Api-Key {key}")

    def test_a_nul_in_a_query_is_refused(self, alice: Device, key: str) -> None:
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
