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
    changed_seats: dict[str, Participant] = field(default_factory=dict)
    changed_modifications: dict[str, Modification] = field(default_factory=dict)

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
        self.touch(seat)

    def touch(self, seat: Participant) -> None:
        """Note that a seat has changed."""
        self.changed_seats[seat.pk] = seat

    def give_up_seat(self, seat: Participant, reason: LeftReason) -> None:
        """Let a participant leave, whatever it was doing."""
        self.advance_seat(seat, Action.LEAVE)
        seat.left_reason, seat.left_at = reason, self.now

    def settle(self, modification: Modification, action: Action, by: Participant | None = None) -> None:
        """Settle a modification. Told to nobody yet."""
        modification.state = decide(ModificationState(modification.state), action)
        modification.settled_at, modification.settled_by = self.now, by
        self.pending = [each for each in self.pending if each.pk != modification.pk]
        self.changed_modifications[modification.pk] = modification

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
        if self.changed_seats:
            Participant.objects.bulk_update(
                self.changed_seats.values(),
                [
                    "state", "username", "vtn", "icmn", "session", "rings_until", "move_until", "move_expired",
                    "left_reason", "left_at", "sdp_origin",
                ],
            )  # fmt: skip
        if self.changed_modifications:
            Modification.objects.bulk_update(
                self.changed_modifications.values(), ["state", "answer", "settled_at", "settled_by"]
            )
        log.append(self.messages, now=self.now)


def lock(conference_id: str, *, now: datetime) -> Room:
    """Lock a conference until the end of the transaction and load it.

    :raises NotFoundError: when there is none.
    """
    try:
        conference = Conference.objects.select_for_update(no_key=True).get(pk=conference_id)
    except Conference.DoesNotExist:
        raise NotFoundError("There is no such conference.") from None
    return Room(
        conference=conference,
        seats=list(conference.participants.select_related("session")),
        pending=list(conference.modifications.pending()),
        now=now,
    )


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
