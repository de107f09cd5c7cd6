"""Old events, conferences and sessions are deleted in batches."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.machine import ConferenceState
from conferences.models import Conference, KeptAnswer, Modification, Participant
from conferences.operations import retention
from conferences.operations.retention import prune
from events.models import Event, Session
from events.states import SessionState
from media.models import MediaTask, QualitySample
from tests.support.actions import MOD
from tests.support.descriptions import offer
from tests.support.devices import Call
from tests.support.refusals import all_rows

pytestmark = pytest.mark.django_db(transaction=True)


class TestPruning:
    def test_events_are_deleted_by_age(self, call: Call, settings: Settings) -> None:
        count = Event.objects.count()
        newest = max(Event.objects.values_list("at", flat=True))
        assert prune(now=newest + settings.EVENT_RETENTION - timedelta(minutes=1))["events"] == 0
        assert prune(now=newest + settings.EVENT_RETENTION)["events"] == count
        assert not Event.objects.exists()
        # The next event continues the numbering of the deleted events.
        call.alice.put(call.id, MOD, offer(version=3))
        assert [event["seq"] for event in call.bob.log()] == [call.bob.seen + 1]

    def test_conferences_and_sessions_are_deleted_long_after_they_end(self, call: Call, settings: Settings) -> None:
        now = timezone.now()
        call.alice.delete(call.id)
        for device in (call.alice, call.bob):
            device.request("DELETE", f"/sessions/{device.id}")
        late = now + settings.RECORD_RETENTION
        assert prune(now=late - timedelta(minutes=1)) == {
            "events": 3,
            "answers": 0,
            "conferences": 0,
            "sessions": 0,
            "media tasks": 0,
            "samples of quality": 0,
        }
        assert prune(now=late + timedelta(minutes=1)) == {
            "events": 0,
            "answers": 0,
            "conferences": 1,
            "sessions": 2,
            "media tasks": 0,
            "samples of quality": 0,
        }
        for model in (Session, Conference, Participant, Modification, Event, KeptAnswer):
            assert not model._default_manager.exists()

    def test_live_rows_are_not_pruned(self, call: Call) -> None:
        before = all_rows()
        counts = prune(now=timezone.now() + timedelta(hours=1))
        assert set(counts.values()) == {0}
        assert all_rows() == before
        late = prune(now=timezone.now() + timedelta(days=4000))
        assert (late["conferences"], late["sessions"]) == (0, 0)

    def test_a_log_loses_only_its_beginning_even_if_clocks_differed(self, call: Call, settings: Settings) -> None:
        now = timezone.now()
        for version in (3, 4, 5):
            call.bob.withdraw(call.id, call.alice.put(call.id, MOD, offer(version=version))["x-mod-id"])
        log = Event.objects.of(call.bob.id)
        _, second, *_, last = log.values_list("seq", flat=True)
        log.update(at=now - settings.EVENT_RETENTION)
        log.filter(seq=second).update(at=now)
        prune(now=now)
        assert list(log.values_list("seq", flat=True)) == list(range(second, last + 1))
        prune(now=now + settings.EVENT_RETENTION)
        assert not log.exists()

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_a_log_has_no_gap_between_batches(
        self, call: Call, settings: Settings, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        now = timezone.now()
        for version in (3, 4, 5):
            call.bob.withdraw(call.id, call.alice.put(call.id, MOD, offer(version=version))["x-mod-id"])
        log = Event.objects.of(call.bob.id)
        for seq in log.values_list("seq", flat=True):
            # Events with higher numbers have earlier times.
            log.filter(seq=seq).update(at=now - settings.EVENT_RETENTION - timedelta(seconds=seq))
        last = log.last()
        assert last is not None
        monkeypatch.setattr(retention, "BATCH", size)
        for kind, number in retention.prune_in_batches(now=now):
            assert kind != "events" or number <= size
            left = list(log.values_list("seq", flat=True))
            assert left == list(range(last.seq + 1 - len(left), last.seq + 1))
        assert not log.exists()

    def test_a_log_that_fills_a_batch_leaves_no_space_for_other_logs(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = timezone.now()
        conference = Conference.objects.create(topology="peer", created_at=now, state=ConferenceState.SESSION_OPEN)
        # The two oldest events are in different logs. In the first log, two younger events have lower numbers than the
        # oldest event.
        for name, ages in (("first", [1, 2, 4]), ("second", [3])):
            session = Session.objects.create(id=name, token_hash=name, username=name, created_at=now, expires_at=now)
            for seq, age in enumerate(ages, 1):
                at = now - settings.EVENT_RETENTION - timedelta(seconds=age)
                Event.objects.create(session=session, seq=seq, conference_id=conference.pk, type="x", wire="{}", at=at)
        monkeypatch.setattr(retention, "BATCH", 2)
        batches = retention.prune_in_batches(now=now)
        assert next(batches) == ("events", 2)
        assert list(Event.objects.order_by("session", "seq").values_list("session", "seq")) == [
            ("first", 3),
            ("second", 1),
        ]
        assert next(batches) == ("events", 2)

    def test_a_conference_is_kept_until_its_events_are_deleted(self, call: Call, settings: Settings) -> None:
        settings.EVENT_RETENTION = 2 * settings.RECORD_RETENTION
        late = timezone.now() + settings.RECORD_RETENTION + timedelta(minutes=1)
        call.alice.delete(call.id)
        assert prune(now=late)["conferences"] == 0
        Event.objects.all().delete()
        assert prune(now=late)["conferences"] == 1

    def test_more_rows_than_a_statement_has_parameters_are_deleted(self, settings: Settings) -> None:
        now = timezone.now()
        ended = {"created_at": now, "ended_at": now, "state": ConferenceState.SESSION_TERMINATED}
        number = 2 * retention.BATCH + 1
        Conference.objects.bulk_create(Conference(topology="peer", **ended) for _ in range(number))
        late = now + settings.RECORD_RETENTION
        batches = list(retention.prune_in_batches(now=late))
        assert batches == [("conferences", retention.BATCH), ("conferences", retention.BATCH), ("conferences", 1)]

    def test_rows_of_every_kind_are_deleted_in_batches(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = timezone.now()
        ended = {"created_at": now, "ended_at": now, "state": ConferenceState.SESSION_TERMINATED}
        conference = Conference.objects.create(topology="peer", created_at=now, state=ConferenceState.SESSION_OPEN)
        live = Session.objects.create(token_hash="live", username="eve", created_at=now, expires_at=now)
        for number in range(5):
            Event.objects.create(session=live, seq=number + 1, conference_id=conference.pk, type="x", wire="{}", at=now)
            KeptAnswer.objects.create(key_hash=f"{number}", request_hash="", created_at=now)
            Conference.objects.create(topology="peer", **ended)
            over = {"created_at": now, "expires_at": now, "ended_at": now, "state": SessionState.ENDED}
            Session.objects.create(token_hash=f"{number}", username="eve", **over)
            MediaTask.objects.create(node="n", conference="c", kind="update", payload={}, created_at=now)
            QualitySample.objects.create(source="focus", direction="up", score=4.4, bitrate=1, at=now)
        monkeypatch.setattr(retention, "BATCH", 2)
        late = now + max(settings.RECORD_RETENTION, settings.EVENT_RETENTION, settings.QUALITY_RETENTION)
        batches: dict[str, list[int]] = {}
        for kind, number in retention.prune_in_batches(now=late):
            batches.setdefault(kind, []).append(number)
        assert batches == {kind: [2, 2, 1] for kind in retention.KINDS}

    def test_a_log_that_must_wait_does_not_delay_others(
        self, call: Call, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Bob's whole log is kept until its first event is old enough. The clock that stamped this event was ahead."""
        now = timezone.now()
        for version in (3, 4, 5):
            call.bob.withdraw(call.id, call.alice.put(call.id, MOD, offer(version=version))["x-mod-id"])
        old = now - settings.EVENT_RETENTION
        log, other = Event.objects.of(call.bob.id), Event.objects.of(call.alice.id)
        log.update(at=old - timedelta(seconds=9))
        other.update(at=old)
        log.filter(seq=min(log.values_list("seq", flat=True))).update(at=now)
        count, others = log.count(), other.count()
        monkeypatch.setattr(retention, "BATCH", 2)
        assert prune(now=now)["events"] == others
        assert log.count() == count

    def test_participants_and_modifications_are_deleted_in_batches_too(
        self, call: Call, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for version in (3, 4, 5):
            call.bob.withdraw(call.id, call.alice.put(call.id, MOD, offer(version=version))["x-mod-id"])
        call.alice.delete(call.id)
        Event.objects.all().delete()
        ended = {"created_at": timezone.now(), "ended_at": timezone.now(), "state": ConferenceState.SESSION_TERMINATED}
        Conference.objects.bulk_create(Conference(topology="peer", **ended) for _ in range(2))
        modifications = list(Modification.objects.order_by("created_at"))
        modifications[-1].caused_by = modifications[0]
        modifications[-1].save()
        monkeypatch.setattr(retention, "BATCH", 3)
        late = timezone.now() + settings.RECORD_RETENTION
        batches = list(retention.prune_in_batches(now=late))
        assert all(number <= 3 for _, number in batches)
        gone = {kind: sum(number for each, number in batches if each == kind) for kind, _ in batches}
        assert gone == {"modifications": len(modifications), "conferences": 3}
        assert not Participant.objects.exists()

    def test_a_conference_with_more_participants_than_a_batch_is_a_batch_by_itself(
        self, call: Call, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call.alice.delete(call.id)
        Event.objects.all().delete()
        ended = {"created_at": timezone.now(), "ended_at": timezone.now(), "state": ConferenceState.SESSION_TERMINATED}
        Conference.objects.bulk_create(Conference(topology="peer", **ended) for _ in range(2))
        monkeypatch.setattr(retention, "BATCH", 1)
        late = timezone.now() + settings.RECORD_RETENTION
        assert prune(now=late)["conferences"] == 3

    def test_a_session_is_kept_until_its_events_are_deleted(self, call: Call, settings: Settings) -> None:
        settings.EVENT_RETENTION = 2 * settings.RECORD_RETENTION
        call.alice.delete(call.id)
        for device in (call.alice, call.bob):
            device.request("DELETE", f"/sessions/{device.id}")
        Participant.objects.all().delete()
        late = timezone.now() + settings.RECORD_RETENTION + timedelta(minutes=1)
        assert prune(now=late)["sessions"] == 0
        Event.objects.all().delete()
        assert prune(now=late)["sessions"] == 2
