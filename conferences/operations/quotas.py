"""Bounds on what one user may ask of the service and of other users (protocol section 8, `docs/configuration.md`).

Each bound is a count in the database. Starting, inviting and registering count under the locks that
`conferences.operations.users` takes on the users, so requests in the same instant do not exceed a bound together.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Q, Value

from conferences.exceptions import (
    CalleeBusyError,
    TooManyConferencesError,
    TooManyInvitationsError,
    TooManySessionsError,
)
from conferences.models import Participant, Session


def require_session(session: Session, *, now: datetime) -> None:
    """Require that the user may register one more session.

    :raises TooManySessionsError: when the live sessions with one of its identities reach the bound.
    """
    live = Session.objects.live(now).sharing_identity_with(session)
    if live.count() >= settings.SESSIONS_PER_IDENTITY:
        raise TooManySessionsError(limit=settings.SESSIONS_PER_IDENTITY)


def require_conference(session: Session) -> None:
    """Require that the session may take part in one more conference.

    :raises TooManyConferencesError: when it already sits in as many as the bound.
    """
    if Participant.objects.sitting().filter(session=session).count() >= settings.CONFERENCES_PER_SESSION:
        raise TooManyConferencesError(limit=settings.CONFERENCES_PER_SESSION)


def require_invitations(caller: Session, guests: Sequence[Participant], *, now: datetime) -> None:
    """Require that the caller may invite these guests, who are not saved yet.

    :raises TooManyInvitationsError: when the caller's unanswered invitations would exceed the bound.
    :raises CalleeBusyError: when one of the guests has too many unanswered invitations, from whomever.
    """
    if not guests:
        return
    unanswered = _unanswered(caller, guests, now=now)
    if sum(is_own for is_own, *_ in unanswered) + len(guests) > settings.INVITATIONS_PER_CALLER:
        wait = math.ceil(settings.RING_DURATION.total_seconds())
        raise TooManyInvitationsError(headers={"Retry-After": str(wait)}, limit=settings.INVITATIONS_PER_CALLER)
    called = Counter((username, vtn) for is_own, username, vtn in unanswered if not is_own)
    for (username, vtn), number in sorted(called.items()):
        if number >= settings.INVITATIONS_PER_CALLEE:
            raise CalleeBusyError(to=username or f"tel:{vtn}", limit=settings.INVITATIONS_PER_CALLEE)


def _unanswered(caller: Session, guests: Sequence[Participant], *, now: datetime) -> list[tuple[bool, str, str]]:
    """Return the unanswered invitations by the caller (true) and to the guests' addresses (false), in one query.

    Each row has the username and VTN that it calls. The bounds themselves keep the rows few.
    """
    unanswered = Participant.objects.unanswered(now).order_by()
    names = [guest.username for guest in guests if guest.username]
    numbers = [guest.vtn for guest in guests if guest.vtn]
    called = unanswered.filter(Q(username__in=names) | Q(vtn__in=numbers))
    parts = ((unanswered.invited_by(caller), True), (called, False))
    own, others = (part.values_list(Value(is_own), "username", "vtn") for part, is_own in parts)
    return list(own.union(others, all=True))
