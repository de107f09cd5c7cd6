"""Descriptions that are missing, of the wrong type, or of the wrong direction."""

from typing import Any

import pytest

from tests.support.actions import ACCEPT, CALL_HOLD, HOLD, MOD, RESUME
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, hold
from tests.support.refusals import refused
from tests.support.requests import before_the_database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.any_engine
@before_the_database
class TestSdpInvalid:
    @pytest.mark.parametrize("body", [{}, {"type": "offer"}, {"type": "offer", "sdp": None}])
    def test_a_missing_sdp_is_refused(self, call: Call, carol: Device, body: dict[str, Any]) -> None:
        start = {"to": ["carol"], "topology": "peer", **body}
        refused(422, "sdp-invalid", call.alice.request, "POST", "/mediaConferences", start)
        for action in (MOD, HOLD, RESUME, CALL_HOLD):
            refused(422, "sdp-invalid", call.alice.put, call.id, action, body)

    def test_a_missing_answer_is_refused(self, ringing: Call) -> None:
        refused(422, "sdp-invalid", ringing.bob.put, ringing.id, "conference-answer")
        refused(422, "sdp-invalid", ringing.bob.put, ringing.id, "conference-answer", {"type": "answer"})
        ringing.bob.answer(ringing.id)
        mod = ringing.alice.put(ringing.id, MOD, offer(version=3))["x-mod-id"]
        refused(422, "sdp-invalid", ringing.bob.put, ringing.id, ACCEPT, {"modId": mod})

    def test_an_empty_bare_sdp_is_refused(self, call: Call) -> None:
        bare = {"content_type": "application/sdp"}
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, "", **bare)
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, "\r\n", **bare)

    def test_an_answer_instead_of_an_offer_is_refused_and_vice_versa(self, ringing: Call) -> None:
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
    def test_a_hold_with_a_sendrecv_section_is_refused(
        self, call: Call, action: str, directions: tuple[str, str]
    ) -> None:
        new = offer(directions=directions, version=3)
        refused(422, "sdp-direction", call.alice.put, call.id, action, new)

    @pytest.mark.parametrize("directions", [("recvonly",) * 2, ("sendonly", "inactive")])
    def test_a_resume_without_a_sendrecv_section_is_refused(self, call: Call, directions: tuple[str, str]) -> None:
        hold(call)
        new = offer(directions=directions, version=4)
        refused(422, "sdp-direction", call.alice.put, call.id, RESUME, new)

    def test_a_modification_by_the_holder_that_would_end_the_hold_is_refused(self, call: Call) -> None:
        hold(call)
        refused(422, "sdp-direction", call.alice.put, call.id, MOD, offer(version=4))
        assert call.alice.put(call.id, MOD, offer("inactive", version=4)).status_code == 204

    def test_an_answer_by_the_holder_that_would_end_the_hold_is_refused(self, call: Call) -> None:
        hold(call)
        mod = call.bob.put(call.id, MOD, offer(session=777, version=4))["x-mod-id"]
        mine = {"session": 4611731400430051336, "version": 4}
        refused(422, "sdp-direction", call.alice.accept, call.id, mod, answer("sendrecv", **mine))
        assert call.alice.accept(call.id, mod, answer("recvonly", **mine)).status_code == 204
