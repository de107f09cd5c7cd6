"""Rating a call. Only support staff see the ratings, in the admin (protocol section 3)."""

from datetime import datetime, timedelta

from django.db import transaction

from conferences.exceptions import RatingClosedError
from conferences.models import Participant
from conferences.operations.locking import lock_for
from events.exceptions import ForbiddenError
from events.models import Session

# How long after leaving a participant may rate the call, or replace its rating.
OPEN_FOR = timedelta(hours=24)


# Called by the participant itself. No event is sent, and the version stays the same: nobody else may notice.
@transaction.atomic(savepoint=False)
def rate_call(
    *,
    session: Session,
    conference_id: str,
    participant_id: str,
    stars: int,
    comment: str,
    now: datetime,
    if_match: str | None = None,
) -> None:
    """Store how a participant rates the call. A new rating replaces the earlier one.

    :raises ForbiddenError: when the session does not belong to this participant.
    :raises RatingClosedError: when the participant has left more than `OPEN_FOR` ago.
    """
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    own = locked.participant(participant_id)
    if own.session_id != session.pk:
        raise ForbiddenError("Only the participant itself can rate the call.")
    if own.left_at is not None and own.left_at + OPEN_FOR < now:
        raise RatingClosedError
    Participant.objects.filter(pk=own.pk).update(stars=stars, comment=comment)
