"""Bounds on what one user may ask of the service and of other users (protocol section 8, `docs/configuration.md`).

Each bound is a count in the database. Starting, inviting and registering count under the locks that
`conferences.operations.users` takes on the users, so requests in the same instant do not exceed a bound together.
"""

import math
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Q

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
    unanswered = Participant.objects.unanswered(now)
    if unanswered.invited_by(caller).count() + len(guests) > settings.INVITATIONS_PER_CALLER:
        wait = math.ceil(settings.RING_DURATION.total_seconds())
        raise TooManyInvitationsError(headers={"Retry-After": str(wait)}, limit=settings.INVITATIONS_PER_CALLER)
    names = [guest.username for guest in guests if guest.username]
    numbers = [guest.vtn for guest in guests if guest.vtn]
    called = unanswered.filter(Q(username__in=names) | Q(vtn__in=numbers)).order_by("username", "vtn")
    busy = called.values("username", "vtn").annotate(number=Count("pk"))
    if row := busy.filter(number__gte=settings.INVITATIONS_PER_CALLEE).first():
        raise CalleeBusyError(to=row["username"] or f"tel:{row['vtn']}", limit=settings.INVITATIONS_PER_CALLEE)
