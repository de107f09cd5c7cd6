"""Participants rate a call. Only support staff see the ratings."""

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from conferences.models import Conference, Participant
from conferences.operations.retention import prune
from events import clock
from tests.support.actions import CALL_HOLD
from tests.support.devices import Call, Device, hold
from tests.support.refusals import problem, refused

pytestmark = pytest.mark.django_db(transaction=True)


def rate(call: Call, by: Device, body: Any, of: Device | None = None, **headers: str) -> Any:
    participant = Participant.objects.filter(conference=call.id, session=(of or by).id).latest("position")
    path = f"/mediaConferences/{call.id}/participants/{participant.pk}/rating"
    return by.request("PUT", path, body, **headers)


def ratings(call: Call) -> dict[str, tuple[int | None, str]]:
    rows = Participant.objects.filter(conference=call.id)
    return {row.username: (row.stars, row.comment) for row in rows}


@pytest.mark.any_engine
class TestRating:
    def test_a_participant_can_rate_during_and_after_the_call_and_replace_its_rating(self, call: Call) -> None:
        assert rate(call, call.bob, {"stars": 2, "comment": "Choppy."}).status_code == 204
        assert ratings(call) == {"alice": (None, ""), "bob": (2, "Choppy.")}
        call.alice.delete(call.id)
        assert rate(call, call.bob, {"stars": 4}).status_code == 204
        assert ratings(call) == {"alice": (None, ""), "bob": (4, "")}

    def test_nobody_else_notices(self, call: Call) -> None:
        before = call.alice.request("GET", f"/mediaConferences/{call.id}")
        rate(call, call.bob, {"stars": 1, "comment": "A secret."})
        after = call.alice.request("GET", f"/mediaConferences/{call.id}")
        assert (after["etag"], after.json()) == (before["etag"], before.json())
        assert call.alice.news() == call.bob.news() == []
        ended = call.alice.delete(call.id)
        for response in (ended, call.bob.request("GET", "/mediaConferences?state=session-terminated")):
            assert b"secret" not in response.content
            assert b"stars" not in response.content

    def test_an_event_of_another_request_keeps_the_rating(self, call: Call) -> None:
        rate(call, call.alice, {"stars": 3})
        hold(call)
        assert ratings(call)["alice"] == (3, "")

    def test_a_comment_is_normalised(self, call: Call) -> None:
        rate(call, call.bob, {"stars": 5, "comment": "  Cafe\u0301\nis fine \U0001f469\u200d\U0001f4bb\n"})
        assert ratings(call)["bob"] == (5, "Caf\u00e9\nis fine \U0001f469\u200d\U0001f4bb")

    def test_the_device_that_a_move_has_left_cannot_rate(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        assert rate(call, call.alice, {"stars": 3}).status_code == 204
        phone.answer(call.id, phone.offer())
        assert rate(call, phone, {"stars": 4}).status_code == 204
        refused(403, "forbidden", rate, call, call.alice, {"stars": 1}, phone)
        assert ratings(call)["alice"] == (4, "")


class TestRefusals:
    @pytest.mark.parametrize("stars", [None, 0, 6, -1, 10**30, "5", 4.0, 4.5, True, [], {}])
    def test_wrong_stars_are_refused(self, call: Call, stars: Any) -> None:
        response = refused(400, "malformed", rate, call, call.bob, {"stars": stars, "comment": "x"})
        assert set(problem(response)["errors"]) == {"stars"}

    @pytest.mark.parametrize(
        "comment", [None, 7, ["x"], "a\0", "a\tb", "a\r\nb", "\x1b[31m", "a\u202eb", "\u2066", "\ud800", "x" * 501]
    )
    def test_a_wrong_comment_is_refused(self, call: Call, comment: Any) -> None:
        response = refused(400, "malformed", rate, call, call.bob, {"stars": 1, "comment": comment})
        assert set(problem(response)["errors"]) == {"comment"}

    def test_a_comment_may_be_long_before_it_is_normalised(self, call: Call) -> None:
        assert rate(call, call.bob, {"stars": 1, "comment": "e\u0301" * 500}).status_code == 204
        refused(400, "malformed", rate, call, call.bob, {"stars": 1, "comment": "e" + "\u0301" * 2000})

    def test_a_rating_needs_stars(self, call: Call) -> None:
        refused(400, "malformed", rate, call, call.bob, {"comment": "Good."})

    def test_nobody_can_rate_for_others(self, call: Call) -> None:
        refused(403, "forbidden", rate, call, call.alice, {"stars": 1}, call.bob)

    def test_an_invited_user_who_has_not_answered_cannot_rate(self, ringing: Call) -> None:
        (invited,) = Participant.objects.filter(conference=ringing.id, session=None)
        path = f"/mediaConferences/{ringing.id}/participants/{invited.pk}/rating"
        refused(403, "forbidden", ringing.bob.request, "PUT", path, {"stars": 1})

    def test_a_condition_is_honoured(self, call: Call) -> None:
        refused(412, "precondition-failed", rate, call, call.bob, {"stars": 1}, if_match='"0"')

    def test_the_rating_closes_a_day_after_the_participant_has_left(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call.alice.delete(call.id)
        day, now = timedelta(hours=24), clock.now()
        Participant.objects.update(left_at=now - day)
        monkeypatch.setattr(clock, "now", lambda: now)
        assert rate(call, call.bob, {"stars": 3}).status_code == 204
        Participant.objects.update(left_at=now - day - timedelta(milliseconds=1))
        refused(409, "rating-closed", rate, call, call.bob, {"stars": 5})


def test_ratings_are_deleted_with_their_conference(call: Call) -> None:
    rate(call, call.bob, {"stars": 1, "comment": "A secret."})
    call.alice.delete(call.id)
    assert prune(now=timezone.now() + timedelta(days=1000))["conferences"] == 1
    assert not Participant.objects.exists()


class TestSupportDesk:
    LIST = "/admin/conferences/conference/"

    @pytest.fixture
    def staff(self) -> Client:
        client = Client()
        client.force_login(User.objects.create_superuser("chief", password="irrelevant"))
        return client

    def shown(self, staff: Client, query: str) -> bool:
        """Tell whether the list shows the only conference."""
        response = staff.get(f"{self.LIST}?{query}")
        assert response.status_code == 200, response
        return f"{self.LIST}{Conference.objects.get().pk}/change/" in response.content.decode()

    def test_staff_see_the_ratings_of_a_conference(self, staff: Client, call: Call) -> None:
        rate(call, call.bob, {"stars": 2, "comment": "<b>Choppy</b>"})
        page = staff.get(f"{self.LIST}{call.id}/change/").content.decode()
        assert "Ratings (the newest" in page
        assert "<b>Choppy" not in page
        assert "<b>Choppy</b>" in unescape(page)

    def test_staff_find_conferences_by_their_ratings(self, staff: Client, call: Call) -> None:
        assert not self.shown(staff, "rating=any")
        rate(call, call.bob, {"stars": 2})
        assert self.shown(staff, "rating=any")
        assert self.shown(staff, "rating=2")
        assert not self.shown(staff, "rating=1")
        assert not self.shown(staff, "rating=comment")
        rate(call, call.alice, {"stars": 5, "comment": "Fine."})
        call.alice.delete(call.id)
        # With a rating, the list also shows ended conferences.
        assert self.shown(staff, "rating=comment")
        assert not self.shown(staff, "rating=3")
        assert self.shown(staff, "rating=nonsense&live=ended")
