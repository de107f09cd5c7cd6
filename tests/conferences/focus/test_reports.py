"""Participants are notified of the speaker and of broken connections."""

import json
from datetime import timedelta
from typing import Any

import pytest

from conferences.operations.focus import connection_changed, notify, record_connection, speaker_changed
from events import clock, wakeups
from events.clock import instant
from media.reports import Assignment, Connection, PausedVideos, UsedLayers, Verdict, Video
from tests.support.conformance import require_declared
from tests.support.devices import Device
from tests.support.meeting import SCRIPTED, Meeting
from tests.support.refusals import all_rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
def test_every_participant_is_notified_of_the_speaker_and_of_broken_connections(
    trio: Meeting, alice: Device, bob: Device, carol: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.setattr(wakeups, "send_ephemeral", lambda ids, wire: sent.append((list(ids), json.loads(wire))))
    carol.delete(trio.id)
    before = all_rows()
    speaker = trio.participant(bob).pk
    for by in (SCRIPTED, Assignment("scripted", 2), Assignment("other", 1)):
        speaker_changed(conference_id=trio.id, participant_id=speaker, by=by)
        connection_changed(conference_id=trio.id, participant_id=speaker, connection=Connection.DISCONNECTED, by=by)
    of_bob = {"confId": trio.id, "participant": speaker}
    assert [event for _, event in sent] == [
        {"type": "active-speaker", **of_bob},
        {"type": "quality", **of_bob, "connection": "disconnected"},
    ]
    for sessions, _ in sent:
        assert sorted(sessions) == sorted([alice.id, bob.id])
    assert all_rows() == before


@pytest.mark.any_engine
def test_a_participant_gets_the_record_of_its_own_connection(
    trio: Meeting, alice: Device, bob: Device, carol: Device
) -> None:
    now = clock.now()
    since = now - timedelta(seconds=3)
    participant, etag = trio.participant(bob).pk, alice.request("GET", f"/mediaConferences/{trio.id}")["etag"]
    change: dict[str, Any] = {"conference_id": trio.id, "participant_id": participant, "since": since, "now": now}
    record_connection(**change, verdict=Verdict.POOR, by=SCRIPTED)
    (event,) = bob.news()
    assert event["type"] == "connection-changed"
    assert (event["participant"], event["connection"], event["since"]) == (participant, "poor", instant(since))
    assert alice.news() == carol.news() == []
    # Nobody's conditional requests fail because of it.
    assert alice.request("GET", f"/mediaConferences/{trio.id}")["etag"] == etag
    # Reports of a node that no longer serves the conference, and about those that have left, are ignored.
    carol.delete(trio.id)
    trio.catch_up()
    before = all_rows()
    for by in (Assignment("scripted", 2), Assignment("other", 1)):
        record_connection(**change, verdict=Verdict.FINE, by=by)
    left = {**change, "participant_id": trio.participant(carol).pk}
    record_connection(**left, verdict=Verdict.INTERRUPTED, by=SCRIPTED)
    for unknown in ("conference_id", "participant_id"):
        record_connection(**{**change, unknown: "none"}, verdict=Verdict.FINE, by=SCRIPTED)
    assert all_rows() == before


@pytest.mark.any_engine
def test_only_the_participant_concerned_gets_a_notice_about_its_own_media(
    trio: Meeting, bob: Device, carol: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.setattr(wakeups, "send_ephemeral", lambda ids, wire: sent.append((list(ids), json.loads(wire))))
    who, other = trio.participant(bob).pk, trio.participant(carol).pk
    for by in (SCRIPTED, Assignment("scripted", 2), Assignment("other", 1)):
        notify(conference_id=trio.id, participant_id=who, notice=UsedLayers("1", ("0",)), by=by)
        notify(conference_id=trio.id, participant_id=who, notice=PausedVideos((Video(other, "video"),)), by=by)
    videos = [{"participant": other, "label": "video"}]
    assert sent == [
        ([bob.id], {"type": "layers", "confId": trio.id, "mid": "1", "rids": ["0"]}),
        ([bob.id], {"type": "paused-videos", "confId": trio.id, "videos": videos, "reason": "slow-connection"}),
    ]
    for _, event in sent:
        require_declared(event)
    bob.delete(trio.id)
    notify(conference_id=trio.id, participant_id=who, notice=UsedLayers("1", ()), by=SCRIPTED)
    assert len(sent) == 2
