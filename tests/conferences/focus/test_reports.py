"""Participants are notified of the speaker and of broken connections."""

import json
from typing import Any

import pytest

from conferences.operations.focus import connection_changed, speaker_changed
from events import wakeups
from media.reports import Assignment, Connection
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
