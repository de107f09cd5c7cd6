"""Bounds on what one user may ask of the service and of other users (protocol section 8, `docs/configuration.md`).

The bounds on simultaneous sessions, conferences and invitations are checked by counting rows in the database.
Operations that call, invite or register lock the users first (`conferences.operations.users`). So simultaneous requests
together do not exceed a bound. The bounds on offers, changes and parsing are rates, and `events.counters` enforces
them.
"""

import math
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Value

from conferences.exceptions import (
    CalleeBusyError,
    TooManyConferencesError,
    TooManyInvitationsError,
    TooManyOffersError,
    TooManySessionsError,
)
from conferences.models import Participant, ParticipantQuerySet
from events.counters import key_of, require_room, take
from events.models import Session

# The seconds in which a user may make `CHANGES_AT_ONCE` changes.
_BURST_SECONDS = 5
# Samples of quality of one session in a minute; each direction counts. A client makes 24, and may send them late.
SAMPLES_PER_MINUTE = 96


def require_session(session: Session, *, now: datetime) -> None:
    """Require that the user may register one more session.

    :raises TooManySessionsError: when the number of the user's live sessions has reached the bound.
    """
    live = Session.objects.live(now).sharing_identity_with(session)
    if live.count() >= settings.SESSIONS_PER_IDENTITY:
        raise TooManySessionsError(limit=settings.SESSIONS_PER_IDENTITY)


def require_conference(session: Session) -> None:
    """Require that the session may take part in one more conference.

    :raises TooManyConferencesError: when the number of conferences that the session has joined has reached the bound.
    """
    if Participant.objects.joined().filter(session=session).count() >= settings.CONFERENCES_PER_SESSION:
        raise TooManyConferencesError(limit=settings.CONFERENCES_PER_SESSION)


def require_offer(participant: Participant) -> None:
    """Count an offer of the participant's user.

    Offers from all conferences and devices of the user are counted together.

    :raises TooManyOffersError: when the user has already made as many offers in the last minute as the bound allows.
    """
    if wait := take(f"offers.{key_of(participant.username)}", settings.OFFERS_PER_MINUTE):
        raise TooManyOffersError(headers={"Retry-After": str(math.ceil(wait))}, limit=settings.OFFERS_PER_MINUTE)


def require_change(participant: Participant) -> None:
    """Count a change by the participant's user that is sent to everybody, such as a mute, an invitation or a removal.

    In a large conference each change takes long, and other requests wait. So there is a second bound on the changes
    within `_BURST_SECONDS`.

    :raises RateLimitedError: when the user's changes within that time, or within a minute, have reached their bound.
    """
    user = key_of(participant.username)
    require_room(f"burst.{user}", settings.CHANGES_AT_ONCE, window=_BURST_SECONDS)
    require_room(f"changes.{user}", settings.CHANGES_PER_MINUTE)


def require_samples(session: Session, number: int) -> None:
    """Count samples of quality that a client sends.

    :raises RateLimitedError: when the session has sent too many of them in the last minute.
    """
    require_room(f"samples.{session.pk}", SAMPLES_PER_MINUTE, number)


def require_reading(session: Session, modification_id: str, text: str) -> None:
    """Count the characters of a stored offer that is parsed to check an answer against it.

    Parsing takes time in proportion to the text, and a client may send any number of wrong answers. For each offer, the
    first answer within a minute is not counted. Otherwise, other users could use up the session's limit by making
    offers.

    :raises RateLimitedError: when too many characters were parsed for the session in the last minute.
    """
    if take(f"answers.{session.pk}.{modification_id}", 1):
        require_room(f"readings.{session.pk}", settings.SDP_CHARACTERS_PER_MINUTE, len(text))


def require_invitations(
    caller: Session, guests: Sequence[Participant], devices: Sequence[Session], *, now: datetime
) -> None:
    """Require that the caller may invite these guests.

    :param guests: the participants to invite, not saved yet.
    :param devices: the live sessions of the guests' users.
    :raises TooManyInvitationsError: when the caller's unanswered invitations, or those to one guest, would exceed
        their bound. The latter bound keeps one caller from making a guest busy for other callers.
    :raises CalleeBusyError: when the ringing invitations of all callers to one guest would exceed their bound.
    """
    if not guests:
        return
    names = _names(guests, devices)
    unanswered = _unanswered(caller, frozenset().union(*names), now=now)
    if sum(is_own for is_own, *_ in unanswered) + len(guests) > settings.INVITATIONS_PER_CALLER:
        raise _too_many_invitations(settings.INVITATIONS_PER_CALLER)
    by_caller = [{username, vtn} for is_own, username, vtn in unanswered if is_own]
    if _beyond(settings.INVITATIONS_PER_PAIR, guests, names, by_caller):
        raise _too_many_invitations(settings.INVITATIONS_PER_PAIR)
    ringing = [{username, vtn} for is_own, username, vtn in unanswered if not is_own]
    for guest in _beyond(settings.INVITATIONS_PER_CALLEE, guests, names, ringing):
        raise CalleeBusyError(to=guest.username or f"tel:{guest.vtn}", limit=settings.INVITATIONS_PER_CALLEE)


def busy_guests(guests: Sequence[Participant], devices: Sequence[Session], *, now: datetime) -> list[Participant]:
    """Return the guests who cannot ring because the ringing invitations of all callers would exceed the limit.

    :param guests: participants whose invitations do not ring yet.
    :param devices: the live sessions of the guests' users.
    """
    names = _names(guests, devices)
    ringing = [{*row} for row in _ringing_to(frozenset().union(*names), now=now).values_list("username", "vtn")]
    return _beyond(settings.INVITATIONS_PER_CALLEE, guests, names, ringing)


def _beyond(
    limit: int, guests: Sequence[Participant], names: Sequence[frozenset[str]], invitations: Sequence[set[str]]
) -> list[Participant]:
    """Return the guests whose invitation would exceed the limit on the number of invitations to one user.

    An invitation within the limit also counts for the later guests in the list, because several guests may be addresses
    of the same user.
    """
    counted, beyond = [*invitations], []
    for guest, own in zip(guests, names, strict=True):
        if _number_to(own, counted) < limit:
            counted.append({guest.username, guest.vtn})
        else:
            beyond.append(guest)
    return beyond


def _number_to(names: frozenset[str], invitations: Sequence[set[str]]) -> int:
    """Return how many of the invitations are to one of these names and numbers."""
    return sum(not names.isdisjoint(invitation) for invitation in invitations)


def _too_many_invitations(limit: int) -> TooManyInvitationsError:
    """Return the refusal of an invitation, which may be retried when other invitations have ended."""
    wait = math.ceil(settings.RING_DURATION.total_seconds())
    return TooManyInvitationsError(headers={"Retry-After": str(wait)}, limit=limit)


def _names(guests: Sequence[Participant], devices: Sequence[Session]) -> list[frozenset[str]]:
    """Return the usernames and numbers of each guest.

    These are the address in the invitation, and the names and numbers of the guest's registered devices. A user with
    two numbers has three addresses. The bounds apply to all three together.
    """
    sessions = [(device.username, device.vtn, device.icmn) for device in devices]
    addresses = [{guest.username, guest.vtn} - {""} for guest in guests]
    return [
        frozenset(own).union(*(session for session in sessions if not own.isdisjoint(session))) - {""}
        for own in addresses
    ]


def _unanswered(caller: Session, names: frozenset[str], *, now: datetime) -> list[tuple[bool, str, str]]:
    """Return a row for each unanswered invitation of the caller, and for each ringing invitation to these names.

    A row begins with True for the first kind and False for the second. The invited username and VTN follow. An
    invitation that does not ring yet counts only for the caller: the callee does not know of it. One query returns all
    rows. The bounds themselves limit the number of rows.
    """
    invited = Participant.objects.unanswered(now).invited_by(caller).order_by()
    parts = ((invited, True), (_ringing_to(names, now=now), False))
    own, others = (part.values_list(Value(is_own), "username", "vtn") for part, is_own in parts)
    return list(own.union(others, all=True))


def _ringing_to(names: frozenset[str], *, now: datetime) -> ParticipantQuerySet:
    """Return the ringing invitations to these names and numbers."""
    return Participant.objects.unanswered(now).audible().calling_any(names).order_by()
