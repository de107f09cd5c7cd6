"""The directions of a hold, and the directions of an answer to an offer."""

from itertools import product
from typing import Any

import pytest

from tests.support.actions import HOLD, MOD
from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, hold
from tests.support.modifications import ALICE, BARE, BOB, mod_by_alice, same_everywhere
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
# RFC 3264 section 6.1.
FITTING = {
    *product(["sendrecv"], DIRECTIONS),
    *product(["sendonly"], ["recvonly", "inactive"]),
    *product(["recvonly"], ["sendonly", "inactive"]),
    ("inactive", "inactive"),
}


@same_everywhere
class TestHoldDirections:
    """Only the directions of live audio and video sections count."""

    def test_a_section_for_data_channels_has_no_direction(self, call: Call) -> None:
        new = offer(kinds=("audio", "application"), directions=("inactive", "sendrecv"), version=3)
        assert call.alice.put(call.id, HOLD, new).status_code == 204

    def test_a_rejected_section_has_no_direction(self, call: Call) -> None:
        new = offer(directions=("recvonly", "sendrecv"), ports=(9, 0), version=3)
        assert call.alice.put(call.id, HOLD, new).status_code == 204

    def test_a_bundle_only_section_is_live(self, call: Call) -> None:
        text = describe(directions=("recvonly", "sendrecv"), ports=(9, 0), version=3)
        text = text.replace("a=mid:1", "a=bundle-only\r\na=mid:1")
        refused(422, "sdp-direction", call.alice.put, call.id, HOLD, text, **BARE)

    def test_the_session_can_state_the_direction(self, call: Call) -> None:
        text = describe(version=3).replace("a=sendrecv\r\n", "")
        refused(422, "sdp-direction", call.alice.put, call.id, HOLD, text, **BARE)
        text = text.replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n")
        assert call.alice.put(call.id, HOLD, text, **BARE).status_code == 204

    def test_a_session_name_does_not_state_a_direction(self, call: Call) -> None:
        text = describe(version=3).replace("a=sendrecv\r\n", "").replace("s=-", "s=inactive")
        refused(422, "sdp-direction", call.alice.put, call.id, HOLD, text, **BARE)

    def test_the_last_of_two_directions_counts_as_in_browsers(self, call: Call) -> None:
        text = describe(version=3).replace("a=sendrecv\r\n", "a=recvonly\r\na=sendrecv\r\n")
        refused(422, "sdp-direction", call.alice.put, call.id, HOLD, text, **BARE)
        text = describe(version=3).replace("a=sendrecv\r\n", "a=sendrecv\r\na=recvonly\r\n")
        assert call.alice.put(call.id, HOLD, text, **BARE).status_code == 204


@same_everywhere
class TestAnswerDirections:
    """The sections of an answer must fit those of its offer (RFC 3264 section 6)."""

    def test_only_fitting_pairs_of_directions_are_accepted(self, call: Call) -> None:
        for version, (offered, answered) in enumerate(product(DIRECTIONS, repeat=2), start=3):
            mod = mod_by_alice(call, direction=offered, version=version)
            reply = answer(answered, version=version)
            if (offered, answered) in FITTING:
                assert call.bob.accept(call.id, mod, reply).status_code == 204, (offered, answered)
            else:
                refused(422, "sdp-direction", call.bob.accept, call.id, mod, reply)
                assert call.bob.withdraw(call.id, mod).status_code == 204

    @pytest.mark.parametrize(
        "variation",
        [
            {"kinds": ("audio",)},
            {"kinds": ("audio", "video", "video")},
            {"kinds": ("video", "audio")},
            {"kinds": ("audio", "application")},
        ],
    )
    def test_an_answer_must_have_the_sections_of_the_offer(self, call: Call, variation: dict[str, Any]) -> None:
        mod = mod_by_alice(call)
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, answer(version=3, **variation))
        assert call.bob.accept(call.id, mod, answer(version=3)).status_code == 204

    def test_an_answer_must_use_the_mids_of_the_offer(self, call: Call) -> None:
        mod = mod_by_alice(call)
        swapped = describe(session=BOB, version=3, setup="active").replace("a=mid:0", "a=mid:x")
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, {"type": "answer", "sdp": swapped})
        # Some stacks write no mids at all.
        unnamed = swapped.replace("a=mid:x\r\n", "").replace("BUNDLE 0 1", "BUNDLE 1")
        assert call.bob.accept(call.id, mod, {"type": "answer", "sdp": unnamed}).status_code == 204

    @pytest.mark.parametrize("kind", ["video", "application"])
    def test_an_answer_cannot_accept_a_section_that_the_offer_rejects(self, call: Call, kind: str) -> None:
        kinds = ("audio", kind)
        mod = mod_by_alice(call, kinds=kinds, ports=(9, 0))
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, answer(kinds=kinds, version=3))
        reply = answer(kinds=kinds, ports=(9, 0), version=3)
        assert call.bob.accept(call.id, mod, reply).status_code == 204

    def test_an_answer_can_reject_sections(self, call: Call) -> None:
        mod = mod_by_alice(call)
        assert call.bob.accept(call.id, mod, answer(ports=(9, 0), version=3)).status_code == 204

    def test_the_answer_to_a_call_must_fit_too(self, ringing: Call) -> None:
        refused(422, "sdp-invalid", ringing.bob.answer, ringing.id, answer(kinds=("audio",)))
        assert ringing.bob.answer(ringing.id, answer("recvonly")).status_code == 204

    def test_an_answer_of_the_holder_must_keep_the_hold(self, call: Call) -> None:
        hold(call)
        for version, direction in enumerate(DIRECTIONS, start=4):
            response = call.bob.put(call.id, MOD, offer(session=BOB, version=version))
            reply = answer(direction, session=ALICE, version=version)
            if direction == "sendrecv":
                refused(422, "sdp-direction", call.alice.accept, call.id, response["x-mod-id"], reply)
                call.alice.withdraw(call.id, response["x-mod-id"])
            else:
                assert call.alice.accept(call.id, response["x-mod-id"], reply).status_code == 204
        assert call.alice.get(call.id)["participants"][0]["state"] == "on-hold"
