"""Raised hands. Participants raise their own, and the host may lower the hands of others (protocol section 3)."""

from datetime import datetime

from django.db import transaction

from conferences import wire
from conferences.event_types import ParticipantHand
from conferences.operations import quotas
from conferences.operations.locking import lock_for
from events.exceptions import ForbiddenError
from events.models import Session


# Called by the participant itself, or by the host. Events go to everybody else.
@transaction.atomic(savepoint=False)
def raise_hand(
    *,
    session: Session,
    conference_id: str,
    participant_id: str,
    raised: bool,
    now: datetime,
    if_match: str | None = None,
) -> None:
    """Raise or lower a participant's hand. A hand that is raised already keeps its time, and so its turn.

    :raises ForbiddenError: when the session lowers another participant's hand and is not the host, or raises it.
    :raises FocusOnlyError: in `peer`, where two participants need no turns.
    :raises NotFoundError: when the participant has left.
    """
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    target, own = locked.manage(participant_id, session, refusal="Only the host can lower the hands of others.")
    if raised and target is not own:
        raise ForbiddenError("Participants can only raise their own hands.")
    if raised == (target.hand_raised_at is not None):
        return
    quotas.require_change(own)
    target.hand_raised_at = now if raised else None
    locked.tell_all(ParticipantHand(participant=wire.participant(target)), but=[own])
    locked.save()
