"""The JSON form of tasks. Rows that were stored before an upgrade can be read after it."""

from typing import Any

import pytest

from media.messages import (
    AnswerTask,
    Cause,
    ConferenceView,
    OfferKind,
    OfferTask,
    ParticipantView,
    Restart,
    Task,
    UpdateTask,
    WithdrawTask,
    read_task,
    write_task,
)

# No test in this module uses the database.
pytestmark = pytest.mark.once

PARTICIPANTS = [
    {"participant": "alice", "state": "accepted", "muted": ["audio"]},
    {"participant": "bob", "state": "moving", "muted": []},
]
STORED_VIEW = {
    "view": {"seats": PARTICIPANTS, "cause": {"modId": "m0", "kind": "hold"}},
    "ready": ["alice"],
    "generation": 3,
}
VIEW = ConferenceView(
    participants=(ParticipantView("alice", "accepted", ("audio",)), ParticipantView("bob", "moving")),
    ready=("alice",),
    generation=3,
    cause=Cause("m0", OfferKind.HOLD),
)
RESTARTS = [
    {"participant": "alice", "modId": "m1", "sdp": "v=0", "answer": "v=1"},
    {"participant": "bob", "modId": "m2", "sdp": "v=2"},
]
TASKS = [
    (
        "offer",
        {"participant": "alice", "modId": "m1", "sdp": "v=0", "fresh": True},
        OfferTask("alice", "m1", "v=0", True),
    ),
    ("answer", {"participant": "alice", "modId": "m1", "sdp": "v=0"}, AnswerTask("alice", "m1", "v=0")),
    ("withdraw", {"participant": "alice", "modId": "m1", "rejected": True}, WithdrawTask("alice", "m1", True)),
    ("update", {}, UpdateTask()),
    (
        "update",
        {"restarts": RESTARTS},
        UpdateTask((Restart("alice", "m1", "v=0", "v=1"), Restart("bob", "m2", "v=2"))),
    ),
]


@pytest.mark.parametrize(("kind", "fields", "task"), TASKS)
def test_task_is_stored_as_ever(kind: str, fields: dict[str, Any], task: Task) -> None:
    payload = {**fields, **STORED_VIEW}
    assert write_task(task, VIEW) == (kind, payload)
    assert read_task(kind, payload) == (task, VIEW)


def test_row_without_generation_and_cause_is_read() -> None:
    payload = {"view": {"seats": [], "cause": None}, "ready": []}
    assert read_task("update", payload) == (UpdateTask(), ConferenceView(participants=(), ready=()))


def test_task_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unheard"):
        read_task("unheard", {})
