"""The version of a description must not decrease."""

from typing import Any

import pytest

from tests.support.actions import MOD
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, hold
from tests.support.modifications import ALICE, BOB, mod_by_alice, same_everywhere
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


@same_everywhere
class TestOrigin:
    """The version in the o= line must not decrease. A new session ID with new ICE credentials is a new connection."""

    @pytest.mark.parametrize("version", [0, 1])
    def test_an_offer_with_a_lower_version_is_refused(self, call: Call, version: int) -> None:
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, offer(version=version))

    @pytest.mark.parametrize("version", [2, 3, 2**63, 10**20 - 1])
    def test_an_offer_with_the_same_or_a_higher_version_is_accepted(self, call: Call, version: int) -> None:
        assert call.alice.put(call.id, MOD, offer(version=version)).status_code == 204
        assert call.bob.news()[0]["restart"] is False

    def test_the_version_of_an_unaccepted_offer_does_not_count(self, call: Call) -> None:
        call.bob.withdraw(call.id, mod_by_alice(call, version=9))
        assert call.bob.accept(call.id, mod_by_alice(call, version=3), answer(version=3)).status_code == 204
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, offer(version=2))

    def test_an_answer_with_a_lower_version_is_refused(self, call: Call) -> None:
        mod = mod_by_alice(call)
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, answer(version=1))
        assert call.bob.accept(call.id, mod, answer(version=2)).status_code == 204

    def test_a_new_connection_can_have_any_version(self, call: Call) -> None:
        assert call.alice.put(call.id, MOD, offer(session=5, version=0)).status_code == 204
        (received,) = call.bob.news()
        assert received["restart"] is True
        assert call.bob.accept(call.id, received["modId"], answer(session=6, version=0)).status_code == 204
        assert call.alice.put(call.id, MOD, offer(session=5, version=1)).status_code == 204
        assert call.bob.news()[-1]["restart"] is False

    @pytest.mark.parametrize(
        "variation", [{"session": 5, "ufrag": f"4ZcD{ALICE}"}, {"session": ALICE, "ufrag": "5ABC"}]
    )
    def test_only_a_new_session_id_or_only_new_credentials_is_the_same_connection(
        self, call: Call, variation: dict[str, Any]
    ) -> None:
        # The first variation is a client that puts a new session ID in each description. The second is an ICE restart.
        assert call.alice.put(call.id, MOD, offer(version=3, **variation)).status_code == 204
        assert call.bob.news()[0]["restart"] is False

    def test_keys_of_a_rejected_section_are_not_stored(self, call: Call) -> None:
        # The ICE user fragment of the first section is longer than the database column for it.
        text = offer(kinds=("audio", "video"), ports=(0, 9), version=3)["sdp"]
        absurd = text.replace("a=ice-ufrag:", f"a=ice-ufrag:{'x' * 1000}", 1)
        mod = call.alice.put(call.id, MOD, {"type": "offer", "sdp": absurd})["x-mod-id"]
        assert call.bob.accept(call.id, mod, answer(ports=(0, 9), version=3)).status_code == 204
        again = offer(session=5, version=0, ufrag=f"4ZcD{ALICE}")
        assert call.alice.put(call.id, MOD, again).status_code == 204
        assert call.bob.news()[-1]["restart"] is False

    def test_the_versions_of_the_two_sides_are_independent(self, call: Call) -> None:
        call.bob.accept(call.id, mod_by_alice(call, version=100), answer(version=3))
        assert call.bob.put(call.id, MOD, offer(session=BOB, version=4)).status_code == 204

    def test_a_move_can_begin_with_any_version(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        response = phone.answer(call.id, offer(session=ALICE, version=0))
        assert response.status_code == 204
        assert call.bob.accept(call.id, response["x-mod-id"], answer(session=8)).status_code == 204
        refused(422, "sdp-invalid", call.bob.put, call.id, MOD, offer(session=8, version=1))
