"""Events have exactly the fields that they declare."""

import json
from typing import Any

import pytest

from conferences.event_types import ModRejected, MoveExpired, ParticipantLeft, Quality
from conferences.machine import ModificationKind
from events.messages import Gap, compact
from media.reports import Connection
from tests.support.conformance import require_declared

ORIGIN: Any = {"participant": "focus", "username": None}
REJECTED = ModRejected(mod_id="m", kind=ModificationKind.HOLD, from_=ORIGIN)
AT = "2026-01-01T00:00:00.000Z"


def test_event_is_sent_with_the_field_names_of_the_protocol() -> None:
    assert REJECTED.as_wire() == {"modId": "m", "kind": "hold", "from": ORIGIN}


def test_absent_field_is_not_sent_and_null_is() -> None:
    wire = ModRejected(mod_id="m", kind=ModificationKind.HOLD, from_=ORIGIN, reason="sdp-invalid").as_wire()
    assert wire.keys() == {"modId", "kind", "from", "reason"}
    assert wire["from"]["username"] is None


def test_undeclared_field_cannot_be_sent() -> None:
    fields: Any = {"participant": "p", "connection": Connection.POOR, "loss": 0.5}
    with pytest.raises(TypeError, match="loss"):
        Quality(**fields)


def test_field_cannot_be_left_out() -> None:
    participant: Any = {}
    MoveExpired(participant=participant)
    with pytest.raises(TypeError, match="reason"):
        ParticipantLeft(participant=participant)  # type: ignore[call-arg]


def test_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        REJECTED.mod_id = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"kind": "unheard-of"},
        {"modId": 5},
        {"seq": "1"},
        {"at": "2026-01-01T00:00:00"},
        {"from": {"participant": "focus"}},
        {"from": None},
        {"type": "mod-expired"},
    ],
    ids=str,
)
def test_check_of_received_events_reports_faults(change: dict[str, object]) -> None:
    event = json.loads(compact({"seq": 1, "type": REJECTED.type, "confId": "c", **REJECTED.as_wire(), "at": AT}))
    require_declared(event)
    with pytest.raises(AssertionError):
        require_declared(event | change)


def test_gap_has_no_conference() -> None:
    require_declared({"type": Gap.type, **Gap(oldest=3).as_wire()})
