"""Headers that are missing or wrong, and preconditions that do not hold."""

import pytest

from conferences.models import Conference
from tests.support.actions import ACCEPT, CALL_HOLD, HOLD, MOD, RESUME, WITHDRAW
from tests.support.depth import pairs
from tests.support.descriptions import describe, offer
from tests.support.devices import Call, Device
from tests.support.refusals import problem, refused
from tests.support.requests import anyone, before_the_database

pytestmark = pytest.mark.django_db(transaction=True)

ACTIONS = ("conference-answer", MOD, HOLD, RESUME, CALL_HOLD, ACCEPT, WITHDRAW)
NO_MEDIA_TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "x")


@pytest.mark.any_engine
class TestHeaders:
    def test_a_missing_action_is_refused(self, call: Call) -> None:
        path = f"/mediaConferences/{call.id}"
        refused(400, "action-missing", call.alice.request, "PUT", path, offer(version=3))

    @pytest.mark.parametrize(
        "action", ["", "mod", "Conference-Answer", f"{MOD} {HOLD}", f"{MOD},{HOLD}", "x" * 5000, "é"]
    )
    def test_an_unknown_action_is_refused(self, call: Call, action: str) -> None:
        response = refused(400, "action-unknown", call.alice.put, call.id, action, offer(version=3))
        assert len(response.content) < 1000

    @pytest.mark.parametrize(("action", "kind"), pairs(ACTIONS, NO_MEDIA_TYPES))
    def test_an_unsupported_media_type_is_refused(self, call: Call, action: str, kind: str) -> None:
        body = {"modId": "x", **offer(version=3)}
        refused(415, "unsupported-media-type", call.alice.put, call.id, action, body, content_type=kind)

    def test_a_conference_cannot_be_started_with_a_bare_sdp(self, alice: Device) -> None:
        request = {"content_type": "application/sdp"}
        refused(415, "unsupported-media-type", alice.request, "POST", "/mediaConferences", describe(), **request)

    @pytest.mark.parametrize("tag", ['"0"', '"99"', "nonsense", 'W/"{version}"', '"9", "8"', ""])
    def test_a_precondition_that_does_not_hold_is_refused(self, call: Call, tag: str) -> None:
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
        hand = {"raised": False}
        refused(412, "precondition-failed", call.alice.request, "PUT", f"{path}/hand", hand, if_match=tag)

    @pytest.mark.parametrize("tag", ["*", '"{version}"', '"0", "{version}"', '"{version}","1"'])
    def test_a_precondition_that_holds_is_accepted(self, call: Call, tag: str) -> None:
        tag = tag.format(version=Conference.objects.get(pk=call.id).version)
        assert call.alice.put(call.id, MOD, offer(version=3), if_match=tag).status_code == 204
        refused(412, "precondition-failed", call.alice.delete, call.id, if_match='"1"')

    @pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "tab\there"])
    def test_a_malformed_idempotency_key_is_refused(self, call: Call, key: str) -> None:
        new = offer(version=3)
        refused(400, "malformed", call.alice.put, call.id, MOD, new, idempotency_key=key)

    def test_an_unsupported_accept_header_is_refused(self, alice: Device) -> None:
        refused(406, "not-acceptable", alice.request, "GET", "/mediaConferences", accept="image/png")


@pytest.mark.any_engine
@before_the_database
class TestCorrelator:
    def test_a_correlator_is_echoed(self, alice: Device) -> None:
        response = alice.request("GET", "/mediaConferences", x_correlator="trace-42")
        assert response["x-correlator"] == "trace-42"

    def test_each_request_without_a_correlator_gets_a_new_one(self, alice: Device) -> None:
        made = {alice.request("GET", "/mediaConferences")["x-correlator"] for _ in range(3)}
        assert len(made) == 3
        assert "" not in made

    @pytest.mark.parametrize("hostile", ["", "x" * 129, "a b", "<é>", "a\tb", "\x7f"])
    def test_a_hostile_correlator_is_replaced(self, alice: Device, hostile: str) -> None:
        response = refused(405, "method-not-allowed", alice.request, "PATCH", "/mediaConferences", x_correlator=hostile)
        assert response["x-correlator"] not in {hostile, ""}

    def test_problem_documents_contain_the_correlator(self, alice: Device) -> None:
        response = alice.request("GET", "/nowhere", x_correlator="trace-42")
        assert problem(response)["xCorrelator"] == "trace-42"
        response = anyone("GET", "/sessions", x_correlator="trace-43")
        assert problem(response)["xCorrelator"] == "trace-43"


def test_an_unchanged_conference_is_not_sent_again(call: Call) -> None:
    path = f"/mediaConferences/{call.id}"
    etag = call.alice.request("GET", path)["etag"]
    response = call.alice.request("GET", path, if_none_match=etag)
    assert (response.status_code, response.content, response["etag"]) == (304, b"", etag)
    call.alice.put(call.id, MOD, offer(version=3))
    assert call.alice.request("GET", path, if_none_match=etag).status_code == 200
