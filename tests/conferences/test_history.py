"""Requests do not read the history of their user, whatever its length."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from conferences.models import Conference, Knock, Participant, Stay
from conferences.operations.deadlines import next_deadline, settle_due
from conferences.operations.sessions import end_session
from events.models import Session
from tests.support.database import analyze, insert
from tests.support.descriptions import offer
from tests.support.devices import Device
from tests.support.plans import forget_statistics, prepare_to_plan, rows_read

pytestmark = pytest.mark.django_db(transaction=True)

ENDED = 5000
# The number of rows of former participants in one live conference. Every twentieth row is the user's. The number is
# smaller on PostgreSQL, which would read the whole table if a large share of its rows belonged to one conference.
LEFT = 1000 if connection.vendor == "sqlite" else 200
# The most rows that one statement may read.
MOST_ROWS = 500

NUMBERS = {"vtn": "+15550101", "icmn": "+15550102"}
MOD = "initiate-conference-mod"
Act = Callable[[], object]


@pytest.fixture
def user(alice: Device) -> Device:
    """A user with two numbers."""
    return Device.register("zoe", **NUMBERS)


@pytest.fixture
def live(user: Device, node: object) -> str:
    """An open conference of the user."""
    return str(user.gather(access="open").json()["id"])


@pytest.fixture(params=[False, True], ids=["without statistics", "with statistics"])
def _history(request: pytest.FixtureRequest, user: Device, live: str) -> None:
    """Write ended calls to and by the user, a live conference that many users left, and live sessions of others."""
    past, late = (f"'{(timezone.now() + timedelta(hours=hours)).isoformat(' ')}'" for hours in (-1, 1))
    ended = {"state": "'session-terminated'", "ended_at": past, "ended_reason": "'hung-up'"}
    insert(Conference, 1, ENDED, id="'c' || i", topology="'peer'", created_at=past, **ended)
    left = {"state": "'left'", "left_at": past, "scrubbed_at": past, "left_reason": "'hung-up'"}
    own = {"username": "'zoe'", **{name: f"'{value}'" for name, value in NUMBERS.items()}, "session_id": f"'{user.id}'"}
    others = {"username": "'u' || i", "vtn": "'+1' || i", "icmn": "'+2' || i", "created_at": past, "expires_at": late}
    insert(Session, 1, ENDED, id="'o' || i", token_hash="i", **others)
    over = {"conference_id": "'c' || i"}
    insert(Participant, 1, ENDED, id="'a' || i", role="'host'", position="1", **left, **own, **over)
    insert(
        Participant,
        1,
        ENDED,
        id="'b' || i",
        role="'guest'",
        position="2",
        username="'zoe'",
        rang_at=past,
        **left,
        **over,
    )
    crowd = {"conference_id": f"'{live}'", "role": "'guest'", "listed": "false", "position": "i + 1"}
    insert(Participant, 1, LEFT, id="'d' || i", username="CASE i % 20 WHEN 0 THEN 'zoe' ELSE 'x' END", **left, **crowd)
    Conference.objects.filter(pk=live).update(unlisted=LEFT)
    if connection.vendor == "postgresql" or request.param:
        prepare_to_plan()
    else:
        forget_statistics()


def require_few_rows(act: Act) -> None:
    """Require that each statement of an action reads few rows."""
    slow = [f"{number}: {sql}" for sql, number in rows_read(act).items() if number > MOST_ROWS]
    assert not slow, "\n\n".join(slow)


@pytest.mark.usefixtures("_history")
class TestHistory:
    def test_of_the_user_does_not_slow_reading(self, user: Device, live: str) -> None:
        def read() -> None:
            assert [each["id"] for each in user.request("GET", "/mediaConferences").json()["conferences"]] == [live]
            assert user.get(live)["id"] == live
            missed = user.request("GET", "/mediaConferences?missed=true").json()["conferences"]
            assert missed
            for missing in ("c" * 32, "x"):
                assert user.request("GET", f"/mediaConferences/{missing}").status_code == 404

        require_few_rows(read)

    def test_of_the_user_is_read_page_by_page(self, user: Device) -> None:
        seen: list[str] = []

        def read() -> None:
            path = f"/mediaConferences?state=session-terminated&limit=2&after={seen[-1] if seen else ''}"
            page = user.request("GET", path).json()
            seen.extend(each["id"] for each in page["conferences"])
            assert page["next"] == seen[-1]

        require_few_rows(read)
        require_few_rows(read)
        assert seen == list(
            Conference.objects.filter(pk__startswith="c").order_by("pk").values_list("pk", flat=True)[:4]
        )

    def test_of_the_user_does_not_slow_changes(self, user: Device, live: str) -> None:
        def change() -> None:
            assert user.put(live, MOD, b"{}").status_code == 422
            assert user.put(live, MOD, user.offer()).status_code in {204, 409}
            assert user.put(live, "conference-answer", offer()).status_code == 409
            assert user.put("x" * 32, "conference-answer", offer()).status_code == 404

        require_few_rows(change)

    def test_of_the_user_does_not_slow_calls(self, user: Device, bob: Device) -> None:
        def call() -> None:
            assert user.call("bob").status_code == 201
            conference = bob.call("zoe").json()["id"]
            assert user.answer(conference).status_code == 204
            assert bob.delete(conference).status_code == 200

        require_few_rows(call)

    def test_of_the_user_does_not_slow_sessions(self, user: Device) -> None:
        def begin_and_end() -> None:
            other = Device.register("zoe", "phone", **NUMBERS)
            end_session(session_id=other.id, now=timezone.now())
            end_session(session_id=user.id, now=timezone.now())

        require_few_rows(begin_and_end)

    def test_of_the_user_does_not_slow_its_return(self, user: Device, bob: Device, live: str) -> None:
        conference = bob.gather(access="open").json()["id"]
        assert user.join(conference).status_code == 204
        assert user.delete(conference).status_code == 200
        require_few_rows(lambda: user.join(conference))
        assert Stay.objects.count() == 1

    def test_of_a_conference_does_not_slow_strangers_and_returning_users(self, live: str, bob: Device) -> None:
        stranger = Device.register("yan", vtn="+15550111", icmn="+15550112")

        def come_and_go() -> None:
            assert stranger.request("GET", f"/mediaConferences/{live}").status_code == 404
            assert stranger.delete(live).status_code == 404
            for _ in range(2):
                assert stranger.join(live).status_code == 204
                assert stranger.delete(live).status_code == 200

        require_few_rows(come_and_go)
        assert Stay.objects.count() == 1

    def test_of_knocks_slows_neither_the_host_nor_those_who_knock(self, user: Device, live: str) -> None:
        stranger = Device.register("yan", vtn="+15550111", icmn="+15550112")
        past, late = (f"'{(timezone.now() + timedelta(hours=hours)).isoformat(' ')}'" for hours in (-1, 1))
        settled = {"state": "'knock-withdrawn'", "created_at": past, "expires_at": past, "settled_at": past}
        # PostgreSQL would read the whole table if a large share of its rows belonged to one session.
        is_sqlite = connection.vendor == "sqlite"
        crowd = {"conference_id": f"'{live}'", "session_id": f"'{stranger.id}'" if is_sqlite else "'o' || i", **settled}
        insert(Knock, 1, ENDED if is_sqlite else 700, id="'k' || i", username="'yan'", **crowd)
        lobby = f"/mediaConferences/{live}"
        # Many other users wait at other conferences.
        waiting = {"state": "'knock-waiting'", "created_at": past, "expires_at": late, "settled_at": "NULL"}
        insert(
            Knock,
            1,
            ENDED,
            id="'w' || i",
            username="'u' || i",
            conference_id="'c' || i",
            session_id="'o' || i",
            **waiting,
        )
        if connection.vendor == "postgresql":
            analyze()

        def knock() -> None:
            assert user.request("PUT", f"{lobby}/lock", {"locked": True}).status_code == 204
            response = stranger.request("POST", f"{lobby}/knocks")
            assert response.status_code == 201, response.content
            path = f"{lobby}/knocks/{response.json()['id']}"
            assert len(user.request("GET", f"{lobby}/knocks").json()["knocks"]) == 1
            assert user.request("PUT", path, {"admit": False}).status_code == 204
            assert stranger.request("POST", f"{lobby}/knocks").status_code == 429
            assert stranger.request("DELETE", path).status_code == 204
            assert user.request("PUT", f"{lobby}/lock", {"locked": False}).status_code == 204
            end_session(session_id=stranger.id, now=timezone.now())
            settle_due(now=timezone.now())
            next_deadline()

        require_few_rows(knock)
