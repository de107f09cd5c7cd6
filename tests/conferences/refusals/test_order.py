"""The order of the checks of a request."""

import pytest

from tests.support.actions import ACCEPT, HOLD, MOD, RESUME
from tests.support.depth import pairs
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.any_engine
class TestOrderOfChecks:
    """Requests that fail several checks. The first failure decides: authentication, existence, headers, body, state."""

    HUGE = b"x" * (300 * 1024)

    BODIES = (HUGE, b"{", b"{}", b"", b'{"sdp": "x"}', b'{"to": 7, "audio": 7}')
    REQUESTS = pairs(BODIES, ("nonsense", MOD, ACCEPT))
    HEADERS: tuple[dict[str, str], ...] = (
        {},
        {"content_type": "text/plain"},
        {"idempotency_key": "a b"},
        {"if_match": '"0"'},
    )

    @pytest.mark.parametrize("headers", HEADERS)
    def test_authentication_is_checked_first(self, call: Call, headers: dict[str, str]) -> None:
        nobody = Device(id="", token="none", username="")
        for body, action in self.REQUESTS:
            refused(401, "unauthenticated", nobody.put, call.id, action, body, **headers)

    @pytest.mark.parametrize("headers", HEADERS)
    def test_existence_is_checked_second(self, call: Call, carol: Device, headers: dict[str, str]) -> None:
        for body, action in self.REQUESTS:
            refused(404, "not-found", carol.put, call.id, action, body, **headers)
            refused(404, "not-found", carol.put, "f" * 32, action, body, **headers)

    @pytest.mark.parametrize("headers", HEADERS)
    def test_existence_of_participants_is_checked_second(
        self, call: Call, carol: Device, headers: dict[str, str]
    ) -> None:
        guest = call.alice.get(call.id)["participants"][1]["id"]
        path = f"/mediaConferences/{call.id}/participants"
        for body in self.BODIES:
            refused(404, "not-found", carol.request, "POST", path, body, **headers)
            refused(404, "not-found", carol.request, "PUT", f"{path}/{guest}/mute", body, **headers)
            refused(404, "not-found", carol.request, "PUT", f"{path}/{guest}/hand", body, **headers)

    def test_headers_are_checked_third(self, ringing: Call) -> None:
        path = f"/mediaConferences/{ringing.id}"
        refused(400, "action-missing", ringing.alice.request, "PUT", path, b"{")
        refused(400, "action-unknown", ringing.alice.put, ringing.id, "nonsense", b"{")
        text = {"content_type": "text/plain"}
        refused(415, "unsupported-media-type", ringing.alice.put, ringing.id, MOD, b"{", **text)
        refused(400, "malformed", ringing.alice.put, ringing.id, MOD, b"{", idempotency_key="a b")

    def test_the_body_is_checked_fourth(self, ringing: Call) -> None:
        refused(400, "malformed", ringing.alice.put, ringing.id, MOD, b"{")
        refused(422, "sdp-invalid", ringing.alice.put, ringing.id, MOD, {})
        refused(422, "sdp-direction", ringing.alice.put, ringing.id, HOLD, offer())
        refused(422, "sdp-direction", ringing.alice.put, ringing.id, RESUME, offer("inactive"))
        refused(400, "malformed", ringing.alice.put, ringing.id, ACCEPT, answer())

    def test_the_state_is_checked_last(self, ringing: Call) -> None:
        refused(409, "conference-not-open", ringing.alice.put, ringing.id, MOD, offer(version=1))
        refused(409, "conference-not-open", ringing.bob.accept, ringing.id, "none")

    def test_a_precondition_is_checked_before_the_state(self, ringing: Call) -> None:
        new = offer(version=3)
        refused(412, "precondition-failed", ringing.alice.put, ringing.id, MOD, new, if_match='"0"')
