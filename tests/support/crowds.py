"""Guests who join and leave."""

import json
import time
from datetime import timedelta

from django.utils import timezone

from conferences.models import Conference, Participant
from conferences.operations.calls import answer_conference, end_participation
from conferences.operations.reading import OfferReading
from conferences.sdp import validate
from events.models import Session
from tests.support.database import insert
from tests.support.descriptions import describe
from tests.support.devices import Device, register
from tests.support.meeting import Meeting
from tests.support.plans import prepare_to_plan


def gather_two() -> tuple[str, tuple[Device, ...]]:
    """Start an open conference of alice and bob."""
    devices = register("alice", "bob")
    return Meeting.open(*devices).id, devices


def come(conference: str, session: Session) -> None:
    """Join an open conference as this session, without HTTP."""
    offer = validate("offer", describe(session=int(time.monotonic_ns())))
    answer_conference(
        session=session,
        conference_id=conference,
        description=offer,
        reading=OfferReading(),
        now=timezone.now(),
    )


def go(conference: str, session: Session) -> None:
    """Leave a conference as this session, without HTTP."""
    end_participation(session=session, conference_id=conference, now=timezone.now())


def crowd(conference: str, number: int) -> None:
    """Add rows of guests that joined and left long ago."""
    position = Participant.objects.filter(conference=conference).count()
    past = f"'{(timezone.now() - timedelta(hours=1)).isoformat(' ')}'"
    texts = {"username": "'guest ' || i", "role": "'guest'", "state": "'left'", "left_reason": "'hung-up'"}
    keys = {"id": f"substr('{conference}', 1, 20) || i", "conference_id": f"'{conference}'", "session_id": "'s' || i"}
    insert(
        Session, 1, number, id="'s' || i", token_hash="i", username="'guest ' || i", created_at=past, expires_at=past
    )
    times = {"left_at": past, "scrubbed_at": past, "listed": "false"}
    insert(Participant, 1, number, position=f"i + {position}", **keys, **texts, **times)
    Conference.objects.filter(pk=conference).update(unlisted=number)
    prepare_to_plan()


def size(device: Device, conference: str) -> int:
    """Return the size of a snapshot, in bytes."""
    return len(json.dumps(device.get(conference)))
