"""A conference under its lock, with all that an operation needs of it: loaded in a bounded number of queries."""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import combinations
from operator import attrgetter

from django.conf import settings
from django.db import connection
from django.db.models import Case, When
from django.utils.http import parse_etags

from conferences import wire
from conferences.exceptions import NoSuchConferenceError, PreconditionFailedError
from conferences.machine import (
    Action,
    ConferenceState,
    ModificationKind,
    ModificationState,
    MoveState,
    ParticipantState,
    decide,
    move_after,
)
from conferences.models import (
    LEFT_SHOWN,
    Access,
    Conference,
    ConferenceQuerySet,
    LeftReason,
    Modification,
    ModificationQuerySet,
    Participant,
    ParticipantQuerySet,
    Role,
    Stay,
    Topology,
)
from conferences.shapes import ConferenceShape
from events import log, statements
from events.exceptions import ForbiddenError, NotFoundError, UnauthenticatedError
from events.identity import IDENTITY, identity_of
from events.messages import StoredEvent
from events.models import Session, SessionQuerySet
from events.statements import Prepared
from media import tasks
from media.messages import Cause, ConferenceView, OfferKind, ParticipantView, Task, UpdateTask
from media.reports import LOST_SECONDS


@dataclass
class LockedConference:
    """A locked conference, its listed participants in order, its pending modifications, and what is to be told.

    Listed are those who are present and the last `LEFT_SHOWN` that left. An older participant is loaded only when it is named.

    Operations change the rows through the methods here and finish with `save`, which writes what has changed, tells
    whom it concerns and lets the focus know.
    """

    conference: Conference
    participants: list[Participant]
    pending: list[Modification]
    now: datetime
    messages: list[log.Message] = field(default_factory=list)
    offered: list[Modification] = field(default_factory=list)
    settled: list[Modification] = field(default_factory=list)
    unlisted: list[Participant] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    # The live sessions of those participants' users whose devices ring, by participant, where these were read ahead.
    devices_ahead: Mapping[str, list[Session]] = field(default_factory=dict)
    # What the focus is asked besides taking note, and why its other participants must learn something.
    focus_task: Task | None = None
    cause: Cause | None = None

    def __post_init__(self) -> None:
        """Remember what was, to write only what an operation changes."""
        self._participants_before = {participant.pk: _values(participant) for participant in self.participants}
        self._view_before = self._view()

    # --- Who is who ---------------------------------------------------------------------------------------

    def participant(self, participant_id: str | None) -> Participant:
        """Return the participant with this ID.

        :raises NotFoundError: when it is not in this conference.
        """
        for participant in (*self.participants, *self.unlisted):
            if participant.pk == participant_id:
                return participant
        if older := self._load(Participant.objects.filter(pk=participant_id)):
            return older
        raise NotFoundError("There is no such participant in this conference.")

    def _load(self, rows: ParticipantQuerySet) -> Participant | None:
        """Return the one of these participants that left last, if it is an unlisted one of this conference."""
        if not self.conference.unlisted:
            return None
        rows = rows.unlisted().filter(conference=self.conference)
        participant = rows.select_related("session").order_by("-left_at").first()
        if participant is not None and participant.pk not in self._participants_before:
            self._participants_before[participant.pk] = _values(participant)
            self.unlisted.append(participant)
        return participant

    def involves(self, session: Session) -> bool:
        """Tell whether the session, or its user, takes or took part."""
        if any(participant.session_id == session.pk or session.owns(participant) for participant in self.participants):
            return True
        return self._load(Participant.objects.concerning(session)) is not None

    def participant_of(self, session: Session) -> Participant:
        """Return the participant that the session sits at, or has left last.

        :raises ForbiddenError: when another of the user's devices sits there, or none yet.
        """
        own = self.participants_of(session)
        if not own and (older := self._load(Participant.objects.filter(session=session))):
            own = [older]
        if not own:
            raise ForbiddenError("You do not take part in this conference with this device.")
        return min(own, key=lambda participant: (participant.has_left, -participant.position))

    def participants_of(self, session: Session) -> list[Participant]:
        """Return the participants that the session sits at or has left."""
        return [
            participant for participant in (*self.participants, *self.unlisted) if participant.session_id == session.pk
        ]

    def joined_participant(self, session: Session) -> Participant | None:
        """Return the participant that the session sits at; None where it has none."""
        return next((participant for participant in self.participants_of(session) if participant.is_joined), None)

    def returnable_participant(self, session: Session) -> Participant | None:
        """Return the participant that the session may return to, best the one that it has left itself."""
        vacated = Participant.objects.returnable_by(session, self.now).filter(conference=self.conference)
        best = vacated.order_by(Case(When(session=session, then=0), default=1), "-left_at").first()
        return self.participant(best.pk) if best else None

    def directions_of(self, session: Session) -> str:
        """Return the directions of the session's media when it was last off hold; empty where it has no participant."""
        participant = self.joined_participant(session)
        return participant.directions if participant else ""

    def others(self, participant: Participant) -> list[Participant]:
        """Return everybody else who has not left."""
        return [other for other in self.participants if other is not participant and not other.has_left]

    def side(self, participant_id: str | None) -> Participant | None:
        """Return the side of a modification with this ID: a participant, or the focus (None)."""
        return None if participant_id is None else self.participant(participant_id)

    def other_side(self, participant: Participant) -> Participant | None:
        """Return the one whom the participant negotiates with: the focus (None), or between browsers the other one.

        This is where the topologies differ; what follows is the same for both.
        """
        if self.has_focus:
            return None
        (other,) = self.others(participant)
        return other

    @property
    def has_focus(self) -> bool:
        """Whether the media of all flows through a focus."""
        return self.conference.topology == Topology.FOCUS

    @property
    def host(self) -> Participant:
        """The participant of the host."""
        (host,) = (participant for participant in self.participants if participant.role == Role.HOST)
        return host

    @property
    def rings(self) -> bool:
        """Whether invitations ring: with a focus not before it has accepted the host's offer, or somebody has come."""
        is_unanswered = self.conference.state == ConferenceState.INVITATION_SENT
        return not (self.has_focus and is_unanswered and self.host.sdp_origin == "")

    def may_call_again(self, participant: Participant) -> bool:
        """Tell whether a participant is the host's whose first offer the focus has not accepted, before anybody answered."""
        return not self.rings and participant.role == Role.HOST

    def has_space_for(self, number: int) -> bool:
        """Tell whether so many more may be invited or come in."""
        capacity = settings.CONFERENCE_CAPACITY if self.has_focus else 2
        present = sum(not participant.has_left for participant in self.participants)
        return present + number <= capacity

    def continues_without(self, participant: Participant) -> bool:
        """Tell whether the conference goes on when this participant is given up.

        It needs its host, and somebody to talk to, be it that their devices still ring; an open one waits for people.
        """
        others = self.others(participant)
        return participant.role != Role.HOST and (len(others) > 1 or self.conference.access == Access.OPEN)

    def devices(self, participant: Participant) -> list[Session]:
        """Return the live sessions that ring, or would ring, for the participant: never those of another participant."""
        return self.devices_of([participant])[participant.pk]

    def devices_of(
        self, participants: list[Participant], live: list[Session] | None = None
    ) -> dict[str, list[Session]]:
        """Return the same for each of several participants, in one query; in none if their `live` sessions are known."""
        if not participants:
            return {}
        taken = {participant.session_id for participant in self.participants if participant.is_joined}
        known = self._live_sessions(participants) if live is None else live
        free = [each for each in known if each.pk not in taken]
        return {
            participant.pk: [each for each in free if each.owns(participant) and each.pk != participant.session_id]
            for participant in participants
        }

    def _live_sessions(self, participants: list[Participant]) -> Iterable[Session]:
        """Return the live sessions that share an identity with one of the participants."""
        if self.devices_ahead.keys() >= {participant.pk for participant in participants}:
            return {
                each.pk: each for participant in participants for each in self.devices_ahead[participant.pk]
            }.values()
        if len(participants) > 1:
            return Session.objects.live(self.now).devices_of(participants)
        user = identity_of(participants[0])
        return _DEVICES[tuple(user)].objects(now=self.now, **user) if user else []

    def rings_until(self) -> datetime:
        """Return when an invitation ends. One that does not ring yet waits for the host's first offer besides."""
        wait = timedelta() if self.rings else timedelta(seconds=LOST_SECONDS)
        return self.now + wait + settings.RING_DURATION

    # --- Changing -----------------------------------------------------------------------------------------

    def add_participant(self, participant: Participant) -> Participant:
        """Give a new participant the next position."""
        participant.conference = self.conference
        participant.position = len(self.participants) + self.conference.unlisted + 1
        self.participants.append(participant)
        return participant

    def renew_invitations(self) -> list[Participant]:
        """Give the invited their full time from now, and return their participants."""
        invited = [participant for participant in self.participants if participant.state == ParticipantState.INVITED]
        for participant in invited:
            participant.rings_until = self.rings_until()
        return invited

    def advance(self, action: Action) -> None:
        """Take the conference through a transition."""
        self.conference.state = decide(ConferenceState(self.conference.state), action)

    def advance_participant(self, participant: Participant, action: Action) -> None:
        """Take a participant, and its move, through a transition."""
        becomes = decide(ParticipantState(participant.state), action)
        participant.state = becomes
        self._set_move(participant, move_after(participant.move_state, action, becomes), until=participant.move_until)
        if not participant.is_ringing:
            participant.rings_until = None
        if not participant.is_joined:
            participant.connect_until = None

    def advance_move(self, participant: Participant, action: Action, *, until: datetime | None = None) -> None:
        """Take a participant's move through a transition. One that is armed expires at `until`."""
        self._set_move(participant, decide(participant.move_state, action), until=until)

    def _set_move(self, participant: Participant, state: MoveState, *, until: datetime | None) -> None:
        """Write the state of a participant's move to its columns."""
        participant.move_until = until if state is MoveState.ARMED else None
        participant.move_expired = state is MoveState.EXPIRED

    def record_leave(self, participant: Participant, reason: LeftReason) -> None:
        """Let a participant leave, whatever it was doing."""
        self.advance_participant(participant, Action.LEAVE)
        participant.left_reason, participant.left_at = reason, self.now
        self._unlist_oldest()

    def _unlist_oldest(self) -> None:
        """Show no more than the last `LEFT_SHOWN` that left. A longer list shrinks by a bounded number of participants."""
        left = [participant for participant in self.participants if participant.has_left]
        left.sort(key=lambda participant: (participant.left_at or self.now, participant.position))
        for participant in left[:-LEFT_SHOWN][:LEFT_SHOWN]:
            participant.listed = False
            self.conference.unlisted += 1
            self.unlisted.append(participant)
        self.participants = [participant for participant in self.participants if participant.listed]

    def return_participant(self, participant: Participant) -> None:
        """Let a participant return to its participant, which is then as good as new. A `Stay` keeps the time before."""
        self.stays.append(
            Stay(
                conference=self.conference,
                participant=participant,
                session=participant.session,
                joined_at=participant.joined_at,
                left_at=participant.left_at or self.now,
                left_reason=participant.left_reason,
            )
        )
        self.advance_participant(participant, Action.RETURN)
        participant.left_reason, participant.left_at = "", None
        participant.muted_audio = participant.muted_video = False
        participant.sdp_origin = participant.ice_ufrag = participant.directions = ""
        if not participant.listed:
            participant.listed = True
            self.conference.unlisted -= 1
            self.unlisted.remove(participant)
            self.participants = sorted([*self.participants, participant], key=lambda participant: participant.position)

    def offer(self, modification: Modification) -> None:
        """Let an offer wait for its settlement. Told to nobody yet."""
        self.pending.append(modification)
        self.offered.append(modification)

    def settle(self, modification: Modification, action: Action, by: Participant | None = None) -> None:
        """Settle a modification. Told to nobody yet."""
        modification.state = decide(ModificationState(modification.state), action)
        modification.settled_at, modification.settled_by = self.now, by
        self.pending = [each for each in self.pending if each.pk != modification.pk]
        self.settled.append(modification)

    # --- Telling ------------------------------------------------------------------------------------------

    def snapshot(self) -> ConferenceShape:
        """Return the conference as the wire shows it now."""
        return wire.conference(self.conference, self.participants, self.pending)

    def tell(self, receiver: Participant | Session | None, event: StoredEvent) -> None:
        """Note an event for a session, or for the device of a participant; there may be none."""
        session_id = receiver.pk if isinstance(receiver, Session) else receiver.session_id if receiver else None
        if session_id is not None:
            self.messages.append(log.Message(session_id, self.conference.pk, event))

    def tell_sessions(self, sessions: Iterable[Session], event: StoredEvent) -> None:
        """Note an event for several sessions."""
        for session in sessions:
            self.tell(session, event)

    def tell_all(self, event: StoredEvent, *, but: Collection[Participant] = ()) -> None:
        """Note an event for everybody who sits in the conference, or has just left a device to move."""
        for participant in self.participants:
            if participant not in but and (participant.is_joined or participant.state == ParticipantState.MOVING):
                self.tell(participant, event)

    # --- Asking the focus ---------------------------------------------------------------------------------

    def ask_focus(self, task: Task) -> None:
        """Give the focus a task, at most one per operation."""
        self.focus_task = task

    def announce(self, modification: Modification | None, kind: ModificationKind = ModificationKind.SYNC) -> None:
        """Note what the participants must learn from the focus with its next offers: of what kind, and by whom."""
        self.cause = Cause(modification.pk if modification else None, OfferKind(kind))

    def _view(self) -> tuple[ParticipantView, ...]:
        """Return who is in the conference, as the focus must know it."""
        return tuple(
            ParticipantView(
                participant.pk,
                participant.state,
                tuple(
                    kind
                    for kind, muted in (("audio", participant.muted_audio), ("video", participant.muted_video))
                    if muted
                ),
            )
            for participant in self.participants
            if participant.is_joined or participant.state == ParticipantState.MOVING
        )

    def ready(self) -> list[str]:
        """Return whom the focus may make an offer: those who sit, with nothing pending between the two."""
        busy = {side for each in self.pending for side in (each.offered_by_id, each.offered_to_id)}
        return [
            participant.pk for participant in self.participants if participant.is_joined and participant.pk not in busy
        ]

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to save: something was offered, settled or told, or the focus is asked."""
        return bool(self.offered or self.settled or self.messages or self.focus_task)

    # --- Saving -------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write what has changed, and append what is to be told to the logs. The last call of an operation."""
        save_together([self])

    def write(self) -> None:
        """Write what has changed, but not to the logs."""
        self.conference.version += 1
        statements.update([self.conference], {"state", "ended_at", "ended_reason", "version", "unlisted"})
        self._save_participants()
        statements.insert(self.stays)
        self._save_modifications()
        self._save_task()

    def _save_participants(self) -> None:
        """Write the participants that are new and the columns that have changed, in two queries however many participants."""
        new = [participant for participant in self.participants if participant.pk not in self._participants_before]
        statements.insert(new)
        changed: list[Participant] = []
        columns: set[str] = set()
        for participant in (*self.participants, *self.unlisted):
            before = self._participants_before.get(participant.pk)
            if before and before != (after := _values(participant)):
                changed.append(participant)
                columns.update(name for name, old, new in zip(_MUTABLE, before, after, strict=True) if old != new)
        statements.update(changed, columns)

    def _save_modifications(self) -> None:
        """Write the offers that were made and those that were settled, in two queries however many."""
        statements.insert(self.offered)
        statements.update(self.settled, {"state", "answer", "restart", "settled_at", "settled_by_id"})

    def _save_task(self) -> None:
        """Ask the focus, in one task, for what it has to do and to know; any task tells it everything."""
        view = self._view()
        if self.focus_task is None and view == self._view_before and not any(map(_involves_focus, self.settled)):
            return
        if self.conference.media_node:
            self.send_focus_task()

    def send_focus_task(self) -> None:
        """Write the task that the operation has for the focus, or one that only describes the conference."""
        task, node_id, conference_id = self.focus_task or UpdateTask(), self.conference.media_node, self.conference.pk
        view = ConferenceView(self._view(), tuple(self.ready()), self.conference.generation, self.cause)
        tasks.enqueue(node_id=node_id, conference_id=conference_id, task=task, view=view, now=self.now)


def save_together(all_locked: Sequence[LockedConference]) -> None:
    """Save several conferences and append their events at once. The last call of an operation.

    Two appends in one transaction could lock sessions in another order than a transaction beside it.
    """
    for locked in all_locked:
        locked.write()
    log.append([message for locked in all_locked for message in locked.messages], now=all_locked[0].now)


def require_still_live(session: Session, *, now: datetime) -> None:
    """Require that a session has not ended since its request was authenticated.

    Whoever gives a session a participant calls it last: the session can then not end before the transaction does, so whoever
    ends it finds the participant. The lock does not conflict with the locks of `log.append`.

    :raises UnauthenticatedError: when it has ended.
    """
    share = "FOR KEY SHARE" if connection.features.has_select_for_update else ""
    table = Session._meta.db_table
    (row,) = Session.objects.raw(f"SELECT * FROM {table} WHERE id = %s {share}", [session.pk])  # noqa: S608
    require_live(row, now=now)


def require_live(session: Session | None, *, now: datetime) -> None:
    """Require that a session, as it was loaded, has not ended since its request was authenticated.

    A participant whose session is gone (None) is like one whose session has ended.

    :raises UnauthenticatedError: when it has ended.
    """
    if session is None or not session.is_live(now):
        raise UnauthenticatedError("Your session has ended: register again.")


def _involves_focus(modification: Modification) -> bool:
    """Tell whether the focus is a side of a modification."""
    return modification.offered_by_id is None or modification.offered_to_id is None


# What operations change of a participant.
_MUTABLE = (
    "state", "username", "vtn", "icmn", "session_id", "rings_until", "move_until", "move_expired", "connect_until",
    "left_reason", "left_at", "joined_at", "muted_audio", "muted_video", "sdp_origin", "ice_ufrag", "directions",
    "listed",
)  # fmt: skip


# Returns their values.
_values = attrgetter(*_MUTABLE)


@dataclass(frozen=True)
class Reading:
    """A conference's rows, read without its lock. They hold under the lock while the version is still the same."""

    version: int
    participants: list[Participant]
    pending: list[Modification]
    # A device that registers while it rings makes a new version, too.
    devices: dict[str, list[Session]] = field(default_factory=dict)


class ReadAhead:
    """Reads several conferences together, without their locks, as soon as one of them is needed.

    Threads may share it.
    """

    def __init__(self, conference_ids: Collection[str], *, now: datetime) -> None:
        """Note which conferences to read, and when their devices must be live."""
        self._conference_ids, self._now = conference_ids, now
        self._readings: dict[str, Reading] | None = None
        self._turn = threading.Lock()

    def take(self, conference_id: str) -> Reading | None:
        """Return what was read of a conference. Each reading is handed out once, because an operation changes it."""
        with self._turn:
            if self._readings is None:
                self._readings = _read(self._conference_ids, self._now)
            return self._readings.pop(conference_id, None)


def _read(conference_ids: Collection[str], now: datetime) -> dict[str, Reading]:
    """Read the versions first: rows that change after that make the version differ from the one under the lock."""
    versions = Conference.objects.filter(pk__in=conference_ids).order_by().values_list("pk", "version")
    readings = {pk: Reading(version, [], []) for pk, version in versions}
    for participant in Participant.objects.listed().filter(conference__in=[*readings]).select_related("session"):
        readings[participant.conference_id].participants.append(participant)
    for modification in Modification.objects.pending().filter(conference__in=[*readings]).defer("offer"):
        readings[modification.conference_id].pending.append(modification)
    _read_devices(readings.values(), now)
    return readings


def _read_devices(readings: Iterable[Reading], now: datetime) -> None:
    """Read the live sessions of those whose devices ring."""
    ringing = [
        (reading, participant) for reading in readings for participant in reading.participants if participant.is_ringing
    ]
    by_identity: dict[tuple[str, str], list[Session]] = defaultdict(list)
    for session in Session.objects.live(now).devices_of([participant for _, participant in ringing]):
        for identity in identity_of(session).items():
            by_identity[identity].append(session)
    for reading, participant in ringing:
        own = {each.pk: each for identity in identity_of(participant).items() for each in by_identity[identity]}
        reading.devices[participant.pk] = [*own.values()]


def lock(
    conference_id: str, *, now: datetime, skip_locked: bool = False, reading: Reading | None = None
) -> LockedConference:
    """Lock a conference until the end of the transaction and load it.

    :param skip_locked: whether to do without a conference that somebody else holds, where the database can tell.
    :param reading: rows to use if the conference has not changed since they were read.
    :raises NotFoundError: when there is none.
    """
    skip = skip_locked and connection.features.has_select_for_update_skip_locked
    found = _LOCKED[skip].objects(pk=conference_id)
    if not found:
        raise NoSuchConferenceError
    (conference,) = found
    if reading is None or reading.version != conference.version:
        participants = _PARTICIPANTS.objects(conference=conference_id)
        pending = _PENDING[Topology(conference.topology)].objects(conference=conference_id)
        reading = Reading(conference.version, participants, pending)
    for participant in reading.participants:
        participant.conference = conference
    for modification in reading.pending:
        modification.conference = conference
    return LockedConference(
        conference=conference,
        participants=reading.participants,
        pending=reading.pending,
        now=now,
        devices_ahead=reading.devices,
    )


def _locked(pk: str, *, skip: bool) -> ConferenceQuerySet:
    return Conference.objects.select_for_update(no_key=True, skip_locked=skip).filter(pk=pk).order_by()


def _pending(conference: str, *without: str) -> ModificationQuerySet:
    return Modification.objects.pending().filter(conference=conference).defer(*without)


def _devices(now: datetime, **identity: str) -> SessionQuerySet:
    return Session.objects.live(now).devices_of([Participant(**identity)])


# By whether to do without what somebody else holds.
_LOCKED = {skip: Prepared(partial(_locked, skip=skip), pk=str) for skip in (False, True)}
_PARTICIPANTS = Prepared(
    lambda conference: Participant.objects.listed().filter(conference=conference).select_related("session"),
    conference=str,
)
_PENDING = {
    Topology.PEER: Prepared(_pending, conference=str),
    # There may be many, and their offers are long.
    Topology.FOCUS: Prepared(lambda conference: _pending(conference, "offer"), conference=str),
}
# By what is known of a user.
_DEVICES = {
    known: Prepared(_devices, now=datetime, **dict.fromkeys(known, str))
    for number in (1, 2, 3)
    for known in combinations(IDENTITY, number)
}


def lock_together(conference_ids: Collection[str], *, now: datetime) -> dict[str, LockedConference]:
    """Lock several conferences, always in the order of their IDs, and load them.

    :raises NotFoundError: when one does not exist.
    """
    return {conference_id: lock(conference_id, now=now) for conference_id in sorted(conference_ids)}


def lock_for(session: Session, conference_id: str, *, now: datetime, if_match: str | None) -> LockedConference:
    """Lock a conference that the session, or its user, takes part in.

    :raises NotFoundError: when there is none for this session.
    :raises PreconditionFailedError: when it has none of the ETags in the `If-Match` header.
    """
    locked = lock(conference_id, now=now)
    require_visible(locked, session, if_match=if_match)
    return locked


def require_visible(
    locked: LockedConference, session: Session, *, if_match: str | None, to_join: bool = False
) -> None:
    """Require that the session, or its user, takes part in a conference, or may enter because it is open.

    :raises NotFoundError: when not.
    :raises PreconditionFailedError: when the conference has none of the ETags in the `If-Match` header.
    """
    is_open = to_join and locked.conference.access == Access.OPEN
    if not is_open and not locked.involves(session):
        raise NoSuchConferenceError
    wanted = {"*"} if if_match is None else {*parse_etags(if_match)}
    if wanted.isdisjoint({"*", etag(locked.conference)}):
        raise PreconditionFailedError(etag=etag(locked.conference))


def etag(conference: Conference) -> str:
    """Return the entity tag of a conference (RFC 9110 section 8.8.3)."""
    return f'"{conference.version}"'
