"""An invitation tells which media the caller sends, so that the callee can answer in kind."""

from typing import Any

import pytest

from tests.support.actions import CALL_HOLD, HOLD, MOD
from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, Device, hold
from tests.support.focus import ScriptedNode
from tests.support.meeting import REFUSAL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_engine]

AUDIO = {"audio": True, "video": False, "screen": False}
CAMERA = {"audio": True, "video": True, "screen": False}


def media_of_invitation(device: Device) -> Any:
    """Return `media` of the newest invitation."""
    return [event["media"] for event in device.log() if event["type"] == "invitation-received"][-1]


def slides(sdp: str, mid: str) -> str:
    """Mark a media section as a presentation."""
    return sdp.replace(f"a=mid:{mid}\r\n", f"a=mid:{mid}\r\na=content:slides\r\n")


def offer_change(call: Call, action: str, direction: str = "sendrecv", **variation: Any) -> str:
    """Make an offer of alice; return its modId."""
    call.alice.version += 10
    sdp = describe(direction, session=call.alice.peer_connection, version=call.alice.version, **variation)
    response = call.alice.put(call.id, action, {"type": "offer", "sdp": sdp})
    assert response.status_code == 204, response.content
    return str(response["x-mod-id"])


@pytest.mark.parametrize(
    ("variation", "media"),
    [
        ({"kinds": ("audio",)}, AUDIO),
        ({}, CAMERA),
        ({"directions": ("sendrecv", "recvonly")}, AUDIO),
        ({"ports": (9, 0)}, AUDIO),
        ({"direction": "recvonly"}, {"audio": False, "video": False, "screen": False}),
        ({"kinds": ("application",)}, {"audio": False, "video": False, "screen": False}),
    ],
)
class TestCall:
    def test_in_peer(self, alice: Device, bob: Device, variation: dict[str, Any], media: dict[str, bool]) -> None:
        assert alice.call("bob", **offer(**variation)).status_code == 201
        assert media_of_invitation(bob) == media

    @pytest.mark.usefixtures("node")
    def test_in_focus(self, alice: Device, bob: Device, variation: dict[str, Any], media: dict[str, bool]) -> None:
        assert alice.gather("bob", **offer(**variation)).status_code == 201
        assert media_of_invitation(bob) == media


@pytest.mark.parametrize("topology", ["peer", "focus"])
@pytest.mark.usefixtures("node")
def test_slides_are_a_screen(alice: Device, bob: Device, topology: str) -> None:
    sdp = slides(describe(kinds=("audio", "video", "video")), "2")
    alice.gather("bob", type="offer", sdp=sdp, topology=topology)
    assert media_of_invitation(bob) == {"audio": True, "video": True, "screen": True}


@pytest.mark.parametrize("topology", ["peer", "focus"])
@pytest.mark.usefixtures("node")
class TestMove:
    def test_it_tells_the_media_from_before_the_hold(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        assert media_of_invitation(phone) == CAMERA

    def test_an_accepted_change_counts(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        mod = offer_change(call, MOD, kinds=("audio",))
        if not call.has_focus:
            call.bob.accept(call.id, mod, answer(kinds=("audio",), version=9))
        call.follow()
        offer_change(call, CALL_HOLD, "recvonly", kinds=("audio",))
        call.alice.delete(call.id)
        assert media_of_invitation(phone) == AUDIO


@pytest.mark.parametrize("topology", ["focus"])
class TestLaterInvitation:
    def test_it_tells_what_the_host_sends_now(self, call: Call, carol: Device) -> None:
        offer_change(call, MOD, kinds=("audio",))
        call.alice.request("POST", f"/mediaConferences/{call.id}/participants", {"to": "carol"})
        assert media_of_invitation(carol) == AUDIO

    def test_a_refused_change_does_not_count(self, call: Call, carol: Device, node: ScriptedNode) -> None:
        node.refusal = REFUSAL
        offer_change(call, MOD, kinds=("audio",))
        node.refusal = None
        call.alice.request("POST", f"/mediaConferences/{call.id}/participants", {"to": "carol"})
        assert media_of_invitation(carol) == CAMERA

    def test_a_hold_does_not_count(self, call: Call, carol: Device) -> None:
        offer_change(call, HOLD, "recvonly")
        call.follow()
        call.alice.request("POST", f"/mediaConferences/{call.id}/participants", {"to": "carol"})
        assert media_of_invitation(carol) == CAMERA
