"""Between peers, descriptions pass through unchanged."""

from typing import Any

import pytest

from tests.support.actions import MOD
from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, Device, hold, open_call
from tests.support.modifications import ALICE, BARE, BOB, mod_by_alice
from tests.support.refusals import all_rows
from tests.support.samples import CASES

pytestmark = pytest.mark.django_db(transaction=True)


ACCEPT, WITHDRAW = "accept-conference-mod", "rejectCancel-conference-mod"


def replying(text: str) -> str:
    """Return alice's offer, turned into an answer by bob."""
    return text.replace(str(ALICE), str(BOB)).replace("a=setup:actpass", "a=setup:active")


class TestForwarding:
    """Every forwarded description equals the sent description byte for byte."""

    # This description contains unknown attributes, unusual spaces, Chinese characters and mixed line ends.
    ODD = (
        describe(version=3).replace("s=-", "s= 会议 \t😀 ").replace("a=rtcp-rsize\r\n", "a=x-unknown:ä \u200b\n", 1)
        + "a=candidate:1 1 udp 1 host.invalid 9 typ host\n"
    )

    @pytest.mark.parametrize("bare", [False, True])
    @pytest.mark.parametrize("text", [describe(version=3), describe(version=3).replace("\r\n", "\n"), ODD])
    def test_a_modification_and_its_answer_are_forwarded_unchanged(self, call: Call, text: str, bare: bool) -> None:
        body: Any = text if bare else {"type": "offer", "sdp": text}
        response = call.alice.put(call.id, MOD, body, **(BARE if bare else {}))
        assert response.status_code == 204, response.content
        (received,) = call.bob.news()
        assert received["description"] == {"type": "offer", "sdp": text}
        mod, reply = response["x-mod-id"], replying(text)
        if bare:
            accepted = call.bob.put(call.id, ACCEPT, reply, x_mod_id=mod, **BARE)
        else:
            accepted = call.bob.accept(call.id, mod, {"type": "answer", "sdp": reply})
        assert (accepted.status_code, accepted["x-state"]) == (204, "mod-accepted")
        (event,) = call.alice.news()
        assert event["description"] == {"type": "answer", "sdp": reply}

    def test_a_call_is_forwarded_unchanged(self, alice: Device, bob: Device) -> None:
        conference = alice.call("bob", sdp=self.ODD).json()["id"]
        assert bob.news()[0]["description"] == {"type": "offer", "sdp": self.ODD}
        reply = replying(self.ODD)
        response = bob.put(conference, "conference-answer", reply, **BARE)
        assert (response.status_code, response["x-state"]) == (204, "accepted")
        assert alice.news()[0]["description"] == {"type": "answer", "sdp": reply}

    @pytest.mark.parametrize("bare", [False, True])
    def test_a_move_is_forwarded_unchanged(self, call: Call, bare: bool) -> None:
        phone = Device.register("alice", "phone")
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        call.bob.news()
        text = self.ODD.replace(str(ALICE), "99")
        body: Any = text if bare else {"type": "offer", "sdp": text}
        response = phone.put(call.id, "conference-answer", body, **(BARE if bare else {}))
        assert (response.status_code, response["x-state"]) == (204, "accepted"), response.content
        assert call.bob.news()[1]["description"] == {"type": "offer", "sdp": text}

    def test_a_body_without_a_content_type_is_forwarded_unchanged(self, ringing: Call) -> None:
        text = describe(session=BOB, setup="active")
        assert ringing.bob.put(ringing.id, "conference-answer", {"sdp": text}).status_code == 204
        assert ringing.alice.news()[0]["description"] == {"type": "answer", "sdp": text}

    @pytest.mark.parametrize("who", ["alice", "bob"])
    def test_a_withdrawal_can_have_a_bare_sdp(self, call: Call, who: str) -> None:
        mod = mod_by_alice(call)
        device = call.alice if who == "alice" else call.bob
        response = device.put(call.id, WITHDRAW, describe(), x_mod_id=mod, **BARE)
        assert (response.status_code, response["x-state"]) == (
            204,
            "mod-cancelled" if who == "alice" else "mod-rejected",
        )

    def test_a_withdrawal_needs_no_body(self, call: Call) -> None:
        mod = mod_by_alice(call)
        assert call.bob.put(call.id, WITHDRAW, x_mod_id=mod)["x-state"] == "mod-rejected"


class TestOtherStacks:
    """Offers of other WebRTC stacks (tests/support/samples/cases). Between peers, they are forwarded unchanged."""

    @pytest.mark.parametrize("name", CASES)
    def test_offers_of_other_stacks_are_forwarded(self, alice: Device, bob: Device, name: str) -> None:
        text = CASES[name]
        assert alice.call("bob", sdp=text).status_code == 201
        assert bob.news()[0]["description"] == {"type": "offer", "sdp": text}


def test_two_conferences_do_not_affect_each_other(alice: Device, bob: Device) -> None:
    one = open_call(alice, bob)
    other = open_call(alice, Device.register("carol"))
    mod = mod_by_alice(one)
    before = all_rows()["Modification"]
    assert other.alice.put(other.id, MOD, offer(version=3)).status_code == 204
    assert len(all_rows()["Modification"]) == len(before) + 1
    assert one.bob.accept(one.id, mod, answer(version=3)).status_code == 204
