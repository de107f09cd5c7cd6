"""An upgrade from the former tables keeps every row and its references."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps.registry import Apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from conferences.models import Conference, Participant, Stay
from events.models import Event, Session

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = [("conferences", "0012_scrubbed_modifications"), ("events", "0001_initial")]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def migrate(targets: list[tuple[str, str]]) -> Apps:
    """Migrate the test database to these migrations; return the models of that state."""
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return MigrationExecutor(connection).loader.project_state(targets).apps


@pytest.fixture
def before() -> Any:
    """The models before the sessions moved to another application. The newest tables are restored after the test."""
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    yield migrate(BEFORE)
    migrate(newest)


def upgrade() -> None:
    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def populate(apps: Apps) -> None:
    """Write a conference with a participant that has returned, and one event of the participant's session."""
    make: Callable[[str, str], Any] = lambda app, name: apps.get_model(app, name).objects.create  # noqa: E731
    session = make("conferences", "Session")(
        id="s" * 32, token_hash="t" * 64, username="alice", created_at=NOW, expires_at=NOW, last_seq=7
    )
    conference = make("conferences", "Conference")(id="c" * 32, topology="peer", created_at=NOW)
    participant = make("conferences", "Participant")(
        conference=conference, session=session, role="host", state="accepted", username="alice", position=1
    )
    make("conferences", "Stay")(
        conference=conference, participant=participant, session=session, joined_at=NOW, left_at=NOW
    )
    make("events", "Event")(session=session, conference=conference, seq=7, type="session-open", wire="{}", at=NOW)


def test_upgrade_keeps_sessions_and_their_references(before: Apps) -> None:
    populate(before)
    upgrade()
    session = Session.objects.get()
    assert (session.pk, session.username, session.last_seq) == ("s" * 32, "alice", 7)
    assert Participant.objects.get().session == Stay.objects.get().session == Event.objects.get().session == session
    assert Event.objects.get().conference_id == Conference.objects.get().pk


def test_upgrade_keeps_the_permissions_of_staff(before: Apps) -> None:
    old = ContentType.objects.get(app_label="conferences", model="session")
    permission = Permission.objects.get(content_type=old, codename="view_session")
    upgrade()
    permission.refresh_from_db()
    assert (permission.content_type.app_label, permission.content_type.pk) == ("events", old.pk)
    assert not ContentType.objects.filter(app_label="conferences", model="session").exists()


def test_upgrade_makes_left_at_agree_with_the_state(before: Apps) -> None:
    """Earlier versions did not require that `left_at` agrees with the state."""
    model: Callable[[str], Any] = lambda name: before.get_model("conferences", name).objects  # noqa: E731
    conferences, participants = model("Conference"), model("Participant")
    session = model("Session").create(token_hash="t", username="alice", created_at=NOW, expires_at=NOW)
    live = conferences.create(id="live", topology="peer", created_at=NOW)
    ended = conferences.create(
        id="ended", topology="peer", created_at=NOW, state="session-terminated", ended_at=NOW + timedelta(hours=1)
    )
    for conference in (live, ended):
        left = {"conference": conference, "role": "guest", "state": "left"}
        participants.create(id=f"{conference.pk} known", position=1, left_at=NOW + timedelta(minutes=1), **left)
        participants.create(id=f"{conference.pk} unknown", position=2, **left)
    present = {"role": "host", "state": "accepted", "session": session, "left_at": NOW}
    participants.create(id="present", conference=live, position=3, **present)
    upgrade()
    assert set(Participant.objects.values_list("pk", "left_at")) == {
        ("live known", NOW + timedelta(minutes=1)),
        ("live unknown", NOW),
        ("ended known", NOW + timedelta(minutes=1)),
        ("ended unknown", NOW + timedelta(hours=1)),
        ("present", None),
    }


# The last migrations before the columns and tables of presence, hand-over, rating, lobby and hands.
FORMER = [("conferences", "0016_list_present_participants"), ("events", "0003_help_texts")]


def test_former_processes_can_write_to_the_upgraded_tables() -> None:
    """During an upgrade, processes of the former version run for a short time after the migrations."""
    former = MigrationExecutor(connection).loader.project_state(FORMER).apps
    make: Callable[[str, str], Any] = lambda app, name: former.get_model(app, name).objects.create  # noqa: E731
    session = make("events", "Session")(token_hash="t", username="alice", created_at=NOW, expires_at=NOW)
    conference = make("conferences", "Conference")(id="c" * 32, topology="peer", created_at=NOW)
    make("conferences", "Participant")(
        conference=conference, session=session, role="host", state="accepted", username="alice", position=1
    )
    assert not Conference.objects.get().locked
    participant = Participant.objects.get()
    assert (participant.away, participant.invited_by, participant.comment, participant.stars) == (False, "", "", None)
