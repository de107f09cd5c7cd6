"""A conference under its lock, with all that an operation needs of it: loaded in a bounded number of queries."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from conferences import wire
from conferences.exceptions import ForbiddenError, NotFoundError, PreconditionFailedError
from conferences.machine import (
    Action,
    ConferenceState,
    ModificationState,
    ParticipantState,
    decide,
)
from conferences.models import Conference, LeftReason, Modification, Participant, Session
from events import log
from events.log import EventType


@dataclass
class Room:
    """A locked conference, its seats in order, its pending modifications, and what is to be told.

    Operations change the rows through the methods here and finish with `save`, which writes what has changed.
    """

    conference: Conference
    seats: list[Participant]
    pending: list[Modification]
    now: datetime
    messages: list[log.Message] = field(default_factory=list)
    settled: list[Modification] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Remember the seats as they were, to write only what an operation changes."""
        self._seats_before = {seat.pk: _mutable(seat) for seat in self.seats}

    # --- Who is who ---------------------------------------------------------------------------------------

    def seat(self, participant_id: str | None) -> Participant:
        """Return the seat with this ID.

        :raises NotFoundError: when it is not in this conference.
        """
        for seat in self.seats:
            if seat.pk == participant_id:
                return seat
        raise NotFoundError("There is no such participant in this conference.")

    def seat_of(self, session: Session) -> Participant:
        """Return the seat that the session sits at, or has left last.

        :raises ForbiddenError: when another of the user's devices sits there, or none yet.
        """
        own = [seat for seat in self.seats if seat.session_id == session.pk]
        if not own:
            raise ForbiddenError("You do not take part in this conference with this device.")
        return min(own, key=lambda seat: seat.has_left)

    def others(self, seat: Participant) -> list[Participant]:
        """Return everybody else who has not left."""
        return [other for other in self.seats if other is not seat and not other.has_left]

    def other_party(self, seat: Participant) -> Participant:
        """Return the one whom the seat negotiates with: in a conference of two, the other one."""
        (other,) = self.others(seat)
        return other

    def devices(self, seat: Participant) -> list[Session]:
        """Return the live sessions that ring, or would ring, for the seat: never those of someone else in the room."""
        taken = {other.session_id for other in self.seats if other.is_sitting and other is not seat}
        return [session for session in Session.objects.live(self.now).devices_of(seat) if session.pk not in taken]

    # --- Changing -----------------------------------------------------------------------------------------

    def advance(self, action: Action) -> None:
        """Take the conference through a transition."""
        self.conference.state = decide(ConferenceState(self.conference.state), action)

    def advance_seat(self, seat: Participant, action: Action) -> None:
        """Take a participant through a transition; a move that was armed is over with any of them but a hold."""
        seat.state = decide(ParticipantState(seat.state), action)
        if action is not Action.HOLD:
            seat.move_until, seat.move_expired = None, False
        if not seat.is_ringing:
            seat.rings_until = None

    def give_up_seat(self, seat: Participant, reason: LeftReason) -> None:
        """Let a participant leave, whatever it was doing."""
        self.advance_seat(seat, Action.LEAVE)
        seat.left_reason, seat.left_at = reason, self.now

    def settle(self, modification: Modification, action: Action, by: Participant | None = None) -> None:
        """Settle a modification. Told to nobody yet."""
        modification.state = decide(ModificationState(modification.state), action)
        modification.settled_at, modification.settled_by = self.now, by
        self.pending = [each for each in self.pending if each.pk != modification.pk]
        self.settled.append(modification)

    # --- Telling ------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """Return the conference as the wire shows it now."""
        return wire.conference(self.conference, self.seats, self.pending)

    def tell(self, session_id: str | None, type_: EventType, **fields: object) -> None:
        """Note an event for a session; nobody at the seat (None) is no error."""
        if session_id is not None:
            self.messages.append(log.Message(session_id, self.conference.pk, type_, fields))

    def tell_sessions(self, sessions: Iterable[Session], type_: EventType, **fields: object) -> None:
        """Note the same event for several sessions."""
        for session in sessions:
            self.tell(session.pk, type_, **fields)

    def tell_all(self, type_: EventType, *, but: Participant | None = None, **fields: object) -> None:
        """Note the same event for everybody who sits in the conference, or has just left a device to move."""
        for seat in self.seats:
            if seat is not but and (seat.is_sitting or seat.state == ParticipantState.MOVING):
                self.tell(seat.session_id, type_, **fields)

    def tell_settlement(
        self, modification: Modification, receiver: Participant, by: Participant | None, **fields: object
    ) -> None:
        """Note for the receiver how a modification ended."""
        if by is not None:
            fields["from"] = wire.party(by)
        self.tell(
            receiver.session_id,
            EventType(modification.state),
            modId=modification.pk,
            kind=modification.kind,
            **fields,
        )

    # --- Saving -------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write what has changed, and append what is to be told to the logs. The last call of an operation."""
        self.conference.version += 1
        self.conference.save(update_fields=["state", "ended_at", "ended_reason", "version"])
        self._save_seats()
        for modification in self.settled:
            modification.save(update_fields=["state", "answer", "settled_at", "settled_by"])
        log.append(self.messages, now=self.now)

    def _save_seats(self) -> None:
        """Write the columns of the seats that have changed, in one query however many seats."""
        changed: dict[str, Participant] = {}
        columns: set[str] = set()
        for seat in self.seats:
            now, before = _mutable(seat), self._seats_before[seat.pk]
            if differing := {column for column, value in now.items() if value != before[column]}:
                changed[seat.pk] = seat
                columns |= differing
        if len(changed) > 1:
            Participant.objects.bulk_update(changed.values(), sorted(columns))
        for seat in changed.values() if len(changed) == 1 else ():
            seat.save(update_fields=sorted(columns))


# What operations change of a seat.
_MUTABLE = (
    "state", "username", "vtn", "icmn", "session_id", "rings_until", "move_until", "move_expired",
    "left_reason", "left_at", "sdp_origin",
)  # fmt: skip


def _mutable(seat: Participant) -> dict[str, object]:
    """Return the columns of a seat that operations change."""
    return {column: getattr(seat, column) for column in _MUTABLE}


def lock(conference_id: str, *, now: datetime) -> Room:
    """Lock a conference until the end of the transaction and load it.

    :raises NotFoundError: when there is none.
    """
    try:
        conference = Conference.objects.select_for_update(no_key=True).get(pk=conference_id)
    except Conference.DoesNotExist:
        raise NotFoundError("There is no such conference.") from None
    seats = list(conference.participants.select_related("session"))
    return Room(conference=conference, seats=seats, pending=list(conference.modifications.pending()), now=now)


def lock_for(session: Session, conference_id: str, *, now: datetime, if_match: str | None) -> Room:
    """Lock a conference that the session, or its user, takes part in.

    :raises NotFoundError: when there is none for this session.
    :raises PreconditionFailedError: when it has none of the ETags in the `If-Match` header.
    """
    room = lock(conference_id, now=now)
    if not any(seat.session_id == session.pk or session.owns(seat) for seat in room.seats):
        raise NotFoundError("There is no such conference.")
    wanted = {"*"} if if_match is None else {tag.strip() for tag in if_match.split(",")}
    if wanted.isdisjoint({"*", etag(room.conference)}):
        raise PreconditionFailedError(etag=etag(room.conference))
    return room


def etag(conference: Conference) -> str:
    """Return the entity tag of a conference (RFC 9110 section 8.8.3)."""
    return f'"{conference.version}"'
