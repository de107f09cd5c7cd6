"""The database finds due rows and their participants by indexes, without scanning whole tables."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import islice

import pytest
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from pytest_django import Settings

from conferences.admin import ConferenceAdmin
from conferences.models import Conference, KeptAnswer, Knock, Modification, Participant, Stay
from conferences.operations.deadlines import next_deadline, settle_due
from conferences.operations.nodes import adopt_orphans
from conferences.operations.retention import prune_in_batches
from events.models import Event, Session
from media import samples, tasks
from media.models import MediaTask, QualitySample
from tests.support.database import insert
from tests.support.plans import plans, prepare_to_plan

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER = 2000


@pytest.fixture
def _many_participants() -> None:
    """Write open conferences with a history, one of which also has a participant whose ringing is due to end."""
    now = timezone.now()
    past, late = (f"'{(now + timedelta(days=days)).isoformat(' ')}'" for days in (-1, 1))
    over = f"'{(now - timedelta(seconds=1)).isoformat(' ')}'"
    participant = {"conference_id": "'c' || i", "session_id": "'s' || i", "state": "'accepted'"}
    insert(Session, 1, NUMBER, id="'s' || i", token_hash="i", username="'u' || i", created_at=past, expires_at=late)
    live = {"topology": "'focus'", "state": "'session-open'", "media_node": "'n'", "created_at": past}
    insert(Conference, 1, NUMBER, id="'c' || i", **live)
    for position, role in enumerate(("host", "guest"), 1):
        insert(Participant, 1, NUMBER, id=f"'{role}' || i", role=f"'{role}'", position=f"{position}", **participant)
        participant["session_id"] = f"'s' || (i % {NUMBER} + 1)"
    sides = {"pair": "'p' || i", "conference_id": "'c' || i", "kind": "'mod'"}
    sides["offered_by_id"] = "CASE WHEN i % 2 = 1 THEN 'host' || i END"
    sides["offered_to_id"] = "CASE WHEN i % 2 = 0 THEN 'guest' || i END"
    settled = {"state": "'mod-accepted'", "created_at": past, "expires_at": past, "settled_at": past}
    insert(Modification, 1, NUMBER, id="'m' || i", **sides, **settled)
    knock = {"conference_id": "'c' || i", "session_id": "'s' || i", "username": "'u' || i", "created_at": past}
    insert(Knock, 1, NUMBER, id="'k' || i", state="'knock-denied'", expires_at=past, settled_at=past, **knock)
    Participant.objects.filter(pk="guest7").update(state="invited", session=None, username="u9", rings_until=over[1:-1])
    prepare_to_plan()


@pytest.mark.usefixtures("_many_participants")
def test_a_pass_of_the_timekeeper_scans_no_table() -> None:
    now = timezone.now()

    def look() -> None:
        assert settle_due(now=now) == 1
        assert next_deadline()

    assert_indexed(look)
    assert Participant.objects.get(pk="guest7").state == "left"
    assert len(plans(next_deadline)) == 1


@pytest.mark.usefixtures("_many_participants")
def test_a_search_for_conferences_without_a_node_scans_no_table() -> None:
    tasks.heartbeat("n")
    assert_indexed(lambda: adopt_orphans(now=timezone.now(), watched=timedelta(minutes=1)))


@pytest.mark.usefixtures("_many_participants")
def test_pruning_scans_no_table(settings: Settings) -> None:
    """One row of each kind is due for pruning, among many that are not."""
    now = timezone.now()
    old, at = now - 2 * max(settings.RECORD_RETENTION, settings.EVENT_RETENTION), f"'{now.isoformat(' ')}'"
    event = {"session_id": "'s' || i", "conference_id": "'c' || i", "type": "'x'", "wire": "'{}'", "at": at}
    insert(Event, 1, NUMBER, id="i", seq="1", **event)
    insert(KeptAnswer, 1, NUMBER, key_hash="'k' || i", request_hash="'r'", headers="'{}'", created_at=at)
    insert(
        MediaTask, 1, NUMBER, id="i", node="'n'", conference="'c' || i", kind="'update'", payload="'{}'", created_at=at
    )
    of_alice = {"participant_id": "'alice'", "source": "'focus'", "direction": "'up'", "score": "4.4", "bitrate": "1"}
    insert(QualitySample, 1, NUMBER, id="i", conference_id="'c' || i", at=at, layers="'{}'", device="''", **of_alice)
    QualitySample.objects.filter(pk=1).update(at=old)
    stay = {"conference_id": "'c' || i", "participant_id": "'guest' || i", "session_id": "'s' || i"}
    insert(Stay, 1, NUMBER, id="i", left_at=at, left_reason="'hung-up'", **stay)
    Event.objects.filter(session="s7").update(at=old)
    KeptAnswer.objects.filter(pk="k7").update(created_at=old)
    MediaTask.objects.filter(pk=7).update(created_at=old)
    Conference.objects.filter(pk="c7").update(state="session-terminated", ended_at=old)
    Participant.objects.filter(conference="c7").update(state="left", left_at=old)
    Session.objects.filter(pk="s9").update(state="ended", ended_at=old)
    # Of the participants that have left, one is due for scrubbing, one has a future `left_at`, and many are scrubbed.
    Participant.objects.filter(role="guest").update(state="left", left_at=old, scrubbed_at=now)
    Participant.objects.filter(pk__in=["guest10", "guest12"]).update(left_at=now, scrubbed_at=None)
    Participant.objects.filter(pk="guest12").update(left_at=now + timedelta(seconds=5))
    # Two settled modifications are due: m10, which was offered to the due participant, and m13, which was not accepted.
    Modification.objects.filter(pk__in=["m10", "m13"]).update(offer="a=ice-pwd:1")
    Modification.objects.filter(pk="m13").update(state="mod-rejected")
    prepare_to_plan()
    gone: Counter[str] = Counter()

    def prune() -> None:
        # The bound ends the loop if a participant stays due and is found again and again.
        for kind, number in islice(prune_in_batches(now=now), 100):
            gone[kind] += number

    seen = "\n".join(assert_indexed(prune))
    kinds = (
        "events",
        "answers",
        "modifications",
        "stays",
        "knocks",
        "conferences",
        "media tasks",
        "samples of quality",
    )
    assert gone == dict.fromkeys((*kinds, "scrubbed participants"), 1) | {"descriptions": 2}
    # A scan of a large index would be as slow as a scan of the table, so the small indexes must be used.
    assert "participant_to_scrub" in seen
    assert "modification_to_scrub" in seen


def test_samples_of_a_conference_are_found_by_an_index() -> None:
    row = {"participant_id": "'alice'", "source": "'focus'", "direction": "'up'", "score": "4.4", "bitrate": "1"}
    row |= {"at": f"'{timezone.now().isoformat(' ')}'", "layers": "'{}'", "device": "''"}
    insert(QualitySample, 1, NUMBER, id="i", conference_id="'c' || (i % 50)", **row)
    prepare_to_plan()
    seen = assert_indexed(lambda: list(samples.page("c7", limit=100, after=100, participant_id="alice")))
    assert len(seen) == 2
    assert all("quality_of_conference" in plan for plan in seen)
    # The index is in the order of the pages. PostgreSQL prefers to sort if there are few rows, as here.
    assert not any("TEMP B-TREE" in plan for plan in seen)


@pytest.mark.usefixtures("_many_participants")
def test_search_of_the_support_desk_finds_users_and_modifications_by_an_index() -> None:
    """The only scan is over the names of conferences."""
    desk = ConferenceAdmin(Conference, admin.site)
    found, _ = desk.get_search_results(HttpRequest(), Conference.objects.order_by("-created_at"), "u9 m5")
    (plan,) = plans(lambda: list(found))
    assert not re.search(r"(Seq Scan on|SCAN) conferences_(participant|modification)", plan), plan


def assert_indexed(look: Callable[[], object]) -> list[str]:
    """Require that each statement finds its rows by an index; return the plans of the statements."""
    table = r"(?:conferences|events|media_mediatask|media_qualitysample)\w*"
    whole = re.compile(rf"Seq Scan on {table}|SCAN (?:{table}|U\d+)$|AUTOMATIC", re.MULTILINE)
    seen = plans(look)
    bad = [plan for plan in seen if whole.search(plan)]
    assert not bad, "\n\n".join(bad)
    return seen
