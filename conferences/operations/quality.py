"""Samples of the quality of a participant's connection, as the participant's own client has measured it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from conferences.exceptions import ConferenceNotOpenError, NoSuchConferenceError
from conferences.models import Conference, Participant
from conferences.operations import quotas
from events.exceptions import ForbiddenError
from events.models import Session
from media import samples
from media.reports import Sample

# How long after a participant has left its client may send the last samples of the call.
LATE = timedelta(minutes=2)


@dataclass(frozen=True)
class Reading:
    """A sample without its participant, and how long ago its period ended."""

    age: timedelta
    sample: Sample


# Called by the participant itself. No event is sent, and the version stays the same.
def record_samples(*, session: Session, conference_id: str, readings: Sequence[Reading], now: datetime) -> None:
    """Store what a participant's client has measured.

    :raises NoSuchConferenceError: when the session may not see the conference.
    :raises ForbiddenError: when the session takes no part in the conference.
    :raises ConferenceNotOpenError: when the conference has ended more than `LATE` ago.
    :raises RateLimitedError: when the session has sent too many samples in the last minute.
    """
    own = _participant(session, conference_id, now)
    quotas.require_samples(session, len(readings))
    samples.store(
        samples.Taken(conference_id, now - each.age, replace(each.sample, participant=own.pk)) for each in readings
    )


def _participant(session: Session, conference_id: str, now: datetime) -> Participant:
    """Return the participant that uses the session, or has just left with it."""
    own = Participant.objects.filter(session=session, conference=conference_id).select_related("conference")
    participant = own.order_by("-position").first()
    if participant is None:
        if Conference.objects.concerning(session, conference_id).exists():
            raise ForbiddenError("Only a participant can send samples of its own connection.")
        raise NoSuchConferenceError
    if participant.left_at is not None and participant.left_at + LATE < now:
        if participant.conference.ended_at is not None:
            raise ConferenceNotOpenError(state=participant.conference.state)
        raise ForbiddenError("You have left the conference.")
    return participant
