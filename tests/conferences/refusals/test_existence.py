"""Conferences, sessions, modifications, addresses and methods that do not exist for the requester."""

import pytest

from tests.support.actions import MOD
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, open_call
from tests.support.refusals import problem, refused
from tests.support.requests import EVERY_ADDRESS, address, anyone

pytestmark = pytest.mark.django_db(transaction=True)


class TestNotFound:
    @pytest.mark.parametrize("conference", ["none", "0" * 32, "%00", "%F0%9F%98%80", "a%2Fb", "x" * 500])
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_an_unknown_conference_is_not_found(self, alice: Device, conference: str, method: str) -> None:
        path = f"/mediaConferences/{conference}"
        refused(404, "not-found", alice.request, method, path, offer(), x_conference_action=MOD)

    @pytest.mark.parametrize("session", ["none", "%00", "x" * 500])
    def test_an_unknown_session_is_not_found(self, alice: Device, key: str, session: str) -> None:
        path, header = f"/sessions/{session}", f"Api-Key {key}"
        for method in ("GET", "PUT", "DELETE"):
            refused(404, "not-found", alice.request, method, path)
            refused(404, "not-found", anyone, method, path, authorization=header)

    @pytest.mark.parametrize(("method", "path"), [each for each in EVERY_ADDRESS if "{conference}" in each[1]])
    def test_a_conference_of_others_is_not_found(self, call: Call, carol: Device, method: str, path: str) -> None:
        place = address(path, call)
        here = refused(404, "not-found", carol.request, method, place, {"to": "x"}, x_conference_action=MOD)
        nowhere = place.replace(call.id, "f" * 32)
        there = refused(404, "not-found", carol.request, method, nowhere, {"to": "x"}, x_conference_action=MOD)
        # The response does not show whether the conference exists.
        assert {**problem(here), "xCorrelator": ""} == {**problem(there), "xCorrelator": ""}

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_the_session_of_another_user_is_not_found(self, call: Call, method: str) -> None:
        refused(404, "not-found", call.alice.request, method, f"/sessions/{call.bob.id}")

    @pytest.mark.parametrize("mod", ["none", "0" * 32, "ü", "é" * 64])
    def test_an_unknown_modification_is_not_found(self, call: Call, mod: str) -> None:
        refused(404, "not-found", call.bob.accept, call.id, mod, answer(version=3))
        refused(404, "not-found", call.bob.withdraw, call.id, mod)

    def test_a_modification_of_another_conference_is_not_found(self, call: Call, carol: Device) -> None:
        other = open_call(Device.register("dave"), carol)
        mod = other.alice.put(other.id, MOD, offer(version=3))["x-mod-id"]
        refused(404, "not-found", call.bob.accept, call.id, mod, answer(version=3))
        refused(404, "not-found", call.bob.withdraw, call.id, mod)

    def test_a_modification_of_ones_other_conference_is_not_found(self, call: Call, carol: Device) -> None:
        other = open_call(call.bob, carol)
        mod = other.alice.put(other.id, MOD, offer(version=3))["x-mod-id"]
        refused(404, "not-found", call.bob.withdraw, call.id, mod)

    def test_a_participant_of_another_conference_is_not_found(self, call: Call, carol: Device) -> None:
        other = open_call(call.bob, carol)
        stranger = other.alice.get(other.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants/{stranger}"
        refused(404, "not-found", call.alice.request, "DELETE", path)
        refused(404, "not-found", call.alice.request, "PUT", f"{path}/mute", {"audio": True})
        refused(404, "not-found", call.alice.request, "PUT", f"{path}/hand", {"raised": True})

    @pytest.mark.parametrize(
        "path", ["/mediaconferences", "/mediaConferences/", "/sessions/", "/v1", "/../etc/passwd", "/%00"]
    )
    def test_an_unknown_address_is_not_found(self, alice: Device, path: str) -> None:
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
        ("DELETE", "/mediaConferences/{conference}/participants/{participant}/hand"),
        ("TRACE", "/mediaConferences"),
        ("BREW", "/mediaConferences"),
    ],
)
def test_a_method_that_the_address_does_not_support_is_refused(call: Call, key: str, method: str, path: str) -> None:
    headers = {"authorization": f"Api-Key {key}", "x_session_id": call.bob.id}
    response = refused(405, "method-not-allowed", anyone, method, address(path, call), **headers)
    assert method not in response["allow"]
    assert "OPTIONS" in response["allow"]
