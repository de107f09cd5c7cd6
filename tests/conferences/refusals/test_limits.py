"""Requests that the topology or a rate limit does not allow."""

from functools import partial

import pytest
from pytest_django import Settings

from tests.support.devices import Call, Device
from tests.support.refusals import refused
from tests.support.requests import anyone

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.any_engine
class TestTopology:
    @pytest.mark.parametrize("access", ["invited", "open"])
    def test_a_focus_conference_needs_a_media_node(self, alice: Device, bob: Device, access: str) -> None:
        response = refused(503, "media-unavailable", alice.call, "bob", topology="focus", access=access)
        assert int(response["retry-after"]) > 0

    @pytest.mark.parametrize("who", ["ringing", "open"])
    def test_a_peer_conference_admits_no_third_participant(self, ringing: Call, who: str) -> None:
        if who == "open":
            ringing.bob.answer(ringing.id)
        path = f"/mediaConferences/{ringing.id}/participants"
        refused(409, "conference-full", ringing.alice.request, "POST", path, {"to": "carol"})

    @pytest.mark.parametrize("body", [{"audio": True}, {"video": True}, {"audio": False, "video": False}, {}])
    def test_a_peer_conference_does_not_support_muting(self, call: Call, body: dict[str, bool]) -> None:
        for participant in call.alice.get(call.id)["participants"]:
            path = f"/mediaConferences/{call.id}/participants/{participant['id']}/mute"
            refused(409, "focus-only", call.alice.request, "PUT", path, body)

    @pytest.mark.parametrize("raised", [True, False])
    def test_a_peer_conference_does_not_support_hands(self, call: Call, raised: bool) -> None:
        own = call.alice.get(call.id)["participants"][0]["id"]
        path = f"/mediaConferences/{call.id}/participants/{own}/hand"
        refused(409, "focus-only", call.alice.request, "PUT", path, {"raised": raised})


class TestRateLimited:
    def test_the_requests_of_a_session_are_limited(self, call: Call, settings: Settings) -> None:
        settings.REQUESTS_PER_MINUTE = 3
        path = f"/mediaConferences/{call.id}"
        answers = [call.alice.request("GET", path).status_code for _ in range(10)]
        assert answers.count(200) <= 3
        response = refused(429, "rate-limited", call.alice.delete, call.id)
        assert 1 <= int(response["retry-after"]) <= 61
        # The requests of each session are counted separately.
        assert call.bob.request("PUT", f"/sessions/{call.bob.id}").status_code == 200

    def test_the_requests_of_a_gateway_are_limited(self, key: str, settings: Settings) -> None:
        settings.GATEWAY_REQUESTS_PER_MINUTE = 2
        register = partial(anyone, "POST", "/sessions", {"username": "x"}, authorization=f"Api-Key {key}")
        assert [register().status_code for _ in range(2)] == [201, 201]
        response = refused(429, "rate-limited", register)
        assert int(response["retry-after"]) >= 1
