"""A conference under its lock, with the rows that operations need, loaded in a bounded number of queries."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations
from operator import attrgetter

from django.conf import settings

from conferences import wire
from conferences.exceptions import FocusOnlyError
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
    MAX_LISTED_LEFT,
    Access,
    Conference,
    LeftReason,
    Modification,
    Participant,
    ParticipantQuerySet,
    Role,
    Stay,
    Topology,
)
from conferences.shapes import ConferenceShape
from events import log, statements
from events.exceptions import ForbiddenError, NotFoundError
from events.identity import IDENTITY, identity_of
from events.messages import StoredEvent
from events.models import Session, SessionQuerySet
from events.statements import Prepared
from media import tasks
from media.messages import Cause, ConferenceView, OfferKind, ParticipantView, Task, UpdateTask
from media.reports import LOST_SECONDS


@dataclass
class LockedConference:
    """A locked conference: its listed participants by position, its pending modifications, and the queued events.

    The listed participants are those that are present and the last `MAX_LISTED_LEFT` that left. Others are loaded when
    needed.

    Operations change the rows through its methods and finish with `save`. That method writes the changes, appends
    the queued events to the logs, and writes a task for the focus.
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
    # The live sessions of the users of ringing participants, by participant ID, if they were read ahead.
    devices_ahead: Mapping[str, list[Session]] = field(default_factory=dict)
    # How many of the user's devices are present, by the ID of each participant that the operation has invited.
    reachable: dict[str, int] = field(default_factory=dict)
    # The task for the focus. If it is None, `save` writes an `UpdateTask` if the focus must know of a change.
    focus_task: Task | None = None
    # The modification that the next offers of the focus announce.
    cause: Cause | None = None

    def __post_init__(self) -> None:
        """Remember the loaded values, so that `save` writes only what has changed."""
        self._participants_before = {participant.pk: _values(participant) for participant in self.participants}
        self._view_before = self._view()

    # --- Reading ------------------------------------------------------------------------------------------

    def participant(self, participant_id: str | None) -> Participant:
        """Return the participant with this ID.

        :raises NotFoundError: when this conference has no participant with this ID.
        """
        for participant in (*self.participants, *self.unlisted):
            if participant.pk == participant_id:
                return participant
        if older := self._load(self._unlisted.filter(pk=participant_id)):
            return older
        raise NotFoundError("There is no such participant in this conference.")

    def _load(self, rows: ParticipantQuerySet) -> Participant | None:
        """Load the participant that left last among `rows`, which are unlisted participants of this conference."""
        if not self.conference.unlisted:
            return None
        participant = rows.select_related("session").order_by("-left_at").first()
        if participant is not None and participant.pk not in self._participants_before:
            self._participants_before[participant.pk] = _values(participant)
            self.unlisted.append(participant)
        return participant

    @property
    def _unlisted(self) -> ParticipantQuerySet:
        """The participants of this conference that are not listed."""
        return Participant.objects.unlisted().filter(conference=self.conference)

    def involves(self, session: Session) -> bool:
        """Tell whether the session, or its user on another device, takes or took part."""
        if any(participant.session_id == session.pk or session.owns(participant) for participant in self.participants):
            return True
        return self.conference.unlisted > 0 and Conference.objects.concerning(session, self.conference.pk).exists()

    def participant_of(self, session: Session) -> Participant:
        """Return the participant of the session: the one that has not left, or else the newest that has left.

        :raises ForbiddenError: when the session has never joined, even if another device of its user has.
        """
        own = self.participants_of(session)
        if not own and (older := self._load(self._unlisted.filter(session=session))):
            own = [older]
        if not own:
            raise ForbiddenError("You do not take part in this conference with this device.")
        return min(own, key=lambda participant: (participant.has_left, -participant.position))

    def missed_participant(self, session: Session) -> Participant | None:
        """Return the newest participant that rang, or would have rung, for the session until it left."""
        missed = [each for each in self.participants if each.was_missed and session.owns(each)]
        return missed[-1] if missed else self._load(self._unlisted.missed_by(session, self.conference))

    def participants_of(self, session: Session) -> list[Participant]:
        """Return those loaded participants that use, or last used, the session."""
        return [each for each in (*self.participants, *self.unlisted) if each.session_id == session.pk]

    def joined_participant(self, session: Session) -> Participant | None:
        """Return the participant that has joined with the session, if there is one."""
        return next((each for each in self.participants_of(session) if each.is_joined), None)

    def returnable_participant(self, session: Session) -> Participant | None:
        """Return the participant as which the session may return, if any (`ParticipantQuerySet.returnable_by`)."""
        best = Participant.objects.returnable_by(session, self.conference, self.now).first()
        return self.participant(best.pk) if best else None

    def directions_of(self, session: Session) -> str:
        """Return the session's media directions from when it was last off hold; empty if the session has not joined."""
        participant = self.joined_participant(session)
        return participant.directions if participant else ""

    @property
    def present(self) -> list[Participant]:
        """The participants that have not left."""
        return [each for each in self.participants if not each.has_left]

    @property
    def joined(self) -> list[Participant]:
        """The participants that are in the conference with a device."""
        return [each for each in self.participants if each.is_joined]

    @property
    def joined_or_moving(self) -> list[Participant]:
        """The participants that are in the conference with a device, or are moving between two devices."""
        return [each for each in self.participants if each.is_joined or each.state == ParticipantState.MOVING]

    def others(self, participant: Participant) -> list[Participant]:
        """Return the other participants that have not left."""
        return [other for other in self.present if other is not participant]

    def side(self, participant_id: str | None) -> Participant | None:
        """Return one side of a modification: the participant with this ID, or None for the focus."""
        return None if participant_id is None else self.participant(participant_id)

    def other_side(self, participant: Participant) -> Participant | None:
        """Return the side that the participant negotiates with: the focus (None), or in `peer` the other participant.

        With this method, operations handle both topologies in the same way.
        """
        if self.has_focus:
            return None
        (other,) = self.others(participant)
        return other

    @property
    def has_focus(self) -> bool:
        """Whether the media flows through a focus."""
        return self.conference.topology == Topology.FOCUS

    @property
    def host(self) -> Participant:
        """The participant that is the host."""
        (host,) = (each for each in self.participants if each.role == Role.HOST)
        return host

    @property
    def rings(self) -> bool:
        """Whether invitations ring.

        In `focus`, they ring once the focus has accepted the host's offer, or somebody has answered. A conference that
        rings never becomes silent again. `ConferenceQuerySet.silent` is the opposite rule in SQL.
        """
        is_unanswered = self.conference.state == ConferenceState.INVITATION_SENT
        return not (self.has_focus and is_unanswered and self.host.sdp_origin == "")

    def may_call_again(self, participant: Participant) -> bool:
        """Tell whether this participant is the host, and invitations do not ring yet (`rings`)."""
        return not self.rings and participant.role == Role.HOST

    def has_space_for(self, number: int) -> bool:
        """Tell whether this many more participants may be invited or join."""
        capacity = settings.CONFERENCE_CAPACITY if self.has_focus else 2
        return len(self.present) + number <= capacity

    def continues_without(self, participant: Participant) -> bool:
        """Tell whether the conference continues when this participant leaves.

        A conference needs its host and one other participant, joined or ringing. If it is open, it needs only its host.
        """
        others = self.others(participant)
        return participant.role != Role.HOST and (len(others) > 1 or self.conference.access == Access.OPEN)

    def devices(self, participant: Participant) -> list[Session]:
        """Return the live sessions of the participant's user that have not joined. They ring, or would ring."""
        return self.devices_of([participant])[participant.pk]

    def devices_of(
        self, participants: list[Participant], live: list[Session] | None = None
    ) -> dict[str, list[Session]]:
        """Return the `devices` of each participant by its ID, in one query.

        :param live: the live sessions of the participants' users, if they are known. Then no query is made.
        """
        if not participants:
            return {}
        taken = {each.session_id for each in self.joined}
        known = self.live_sessions(participants) if live is None else live
        free = [each for each in known if each.pk not in taken]
        return {
            participant.pk: [each for each in free if each.owns(participant) and each.pk != participant.session_id]
            for participant in participants
        }

    def count_reachable(self, invited: list[Participant], live: list[Session]) -> None:
        """Count the devices of each invited user that ring, or will ring. Devices that are away do not count.

        :param live: the live sessions of the invited users.
        """
        present = [each for each in live if each.away_until is None]
        self.reachable = {pk: len(own) for pk, own in self.devices_of(invited, present).items()}

    def live_sessions(self, participants: list[Participant]) -> Iterable[Session]:
        """Return the live sessions that share an identity with a participant in this list, which must not be empty."""
        ids = [each.pk for each in participants]
        if self.devices_ahead.keys() >= {*ids}:
            return {each.pk: each for pk in ids for each in self.devices_ahead[pk]}.values()
        if len(participants) > 1:
            return Session.objects.live(self.now).devices_of(participants)
        user = identity_of(participants[0])
        return _DEVICES[tuple(user)].objects(now=self.now, **user) if user else []

    def rings_until(self) -> datetime:
        """Return when an invitation made now ends.

        If invitations do not ring yet, this adds the time in which the focus must accept the host's first offer.
        """
        wait = timedelta() if self.rings else timedelta(seconds=LOST_SECONDS)
        return self.now + wait + settings.RING_DURATION

    # --- Changing -----------------------------------------------------------------------------------------

    def add_participant(self, participant: Participant) -> Participant:
        """Add a new participant at the next position."""
        participant.conference = self.conference
        participant.position = len(self.participants) + self.conference.unlisted + 1
        self.participants.append(participant)
        return participant

    def renew_invitations(self) -> list[Participant]:
        """Restart the ringing time of all invited participants, and return them."""
        invited = [each for each in self.participants if each.state == ParticipantState.INVITED]
        for participant in invited:
            participant.rings_until = self.rings_until()
        return invited

    def advance(self, action: Action) -> None:
        """Take the conference through a transition.

        :raises RefusalError: when the action is illegal in the current state. All methods with a parameter `action`
            raise this error.
        """
        self.conference.state = decide(ConferenceState(self.conference.state), action)
        if self.conference.state == ConferenceState.SESSION_OPEN:
            self.conference.opened_at = self.conference.opened_at or self.now

    def manage(self, participant_id: str, session: Session, *, refusal: str) -> tuple[Participant, Participant]:
        """Return the participant to manage in a focus, and the session's own. Only the host may manage others.

        :param refusal: the detail of the error for a participant that is not the host.
        :raises ForbiddenError: when the session may not do this.
        :raises FocusOnlyError: in `peer`.
        :raises NotFoundError: when the participant has left, or does not exist.
        """
        target, own = self.participant(participant_id), self.participant_of(session)
        if target is not own and own.role != Role.HOST:
            raise ForbiddenError(refusal)
        if not self.has_focus:
            raise FocusOnlyError
        self.advance(Action.MANAGE)
        if target.has_left:
            raise NotFoundError("This participant has left.")
        return target, own

    def advance_participant(self, participant: Participant, action: Action) -> None:
        """Take a participant, and its move, through a transition."""
        state = decide(ParticipantState(participant.state), action)
        participant.state = state
        self._set_move(participant, move_after(participant.move_state, action, state), until=participant.move_until)
        if not participant.is_ringing:
            participant.rings_until = None
        if not participant.is_joined:
            participant.connect_until = None

    def advance_move(self, participant: Participant, action: Action, *, until: datetime | None = None) -> None:
        """Take a participant's move through a transition. A move that is armed expires at `until`."""
        self._set_move(participant, decide(participant.move_state, action), until=until)

    def _set_move(self, participant: Participant, state: MoveState, *, until: datetime | None) -> None:
        """Write the state of a participant's move to its columns."""
        participant.move_until = until if state is MoveState.ARMED else None
        participant.move_expired = state is MoveState.EXPIRED

    def record_leave(self, participant: Participant, reason: LeftReason) -> None:
        """Record that a participant leaves, and why."""
        self.advance_participant(participant, Action.LEAVE)
        participant.left_reason, participant.left_at, participant.away = reason, self.now, False
        participant.hand_raised_at = None
        self._unlist_oldest()

    def record_end(self, reason: LeftReason) -> None:
        """Record that the conference has ended, and why. Call this after all its participants have left."""
        self.conference.ended_at, self.conference.ended_reason = self.now, reason

    def _unlist_oldest(self) -> None:
        """Keep the last `MAX_LISTED_LEFT` participants that left, and unlist those that left before them.

        Each call unlists at most `MAX_LISTED_LEFT` participants.
        """
        left = [each for each in self.participants if each.has_left]
        left.sort(key=lambda each: (each.left_at or self.now, each.position))
        for participant in left[:-MAX_LISTED_LEFT][:MAX_LISTED_LEFT]:
            participant.listed = False
            self.conference.unlisted += 1
            self.unlisted.append(participant)
        self.participants = [each for each in self.participants if each.listed]

    def return_participant(self, participant: Participant) -> None:
        """Record that a participant returns, unmuted and without its earlier leg.

        A new `Stay` records when and why the participant left.
        """
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
            self.participants = sorted([*self.participants, participant], key=attrgetter("position"))

    def add_modification(self, modification: Modification) -> None:
        """Add a pending modification. The caller queues its events."""
        self.pending.append(modification)
        self.offered.append(modification)

    def settle(self, modification: Modification, action: Action, by: Participant | None = None) -> None:
        """Settle a modification. The caller queues its events."""
        modification.state = decide(ModificationState(modification.state), action)
        modification.settled_at, modification.settled_by = self.now, by
        self.pending = [each for each in self.pending if each.pk != modification.pk]
        self.settled.append(modification)

    # --- Queueing events ----------------------------------------------------------------------------------

    def snapshot(self) -> ConferenceShape:
        """Return the current conference in the form that clients receive."""
        return wire.conference(self.conference, self.participants, self.pending)

    def snapshot_for_caller(self) -> ConferenceShape:
        """Return the snapshot for the answer to the request that has started the conference."""
        return wire.conference(self.conference, self.participants, self.pending, self.reachable)

    def tell(self, receiver: Participant | Session | None, event: StoredEvent) -> None:
        """Queue an event for a session or a participant's device. Do nothing if the participant has no device."""
        session_id = receiver.pk if isinstance(receiver, Session) else receiver.session_id if receiver else None
        if session_id is not None:
            self.messages.append(log.Message(session_id, self.conference.pk, event))

    def tell_sessions(self, sessions: Iterable[Session], event: StoredEvent) -> None:
        """Queue an event for several sessions."""
        for session in sessions:
            self.tell(session, event)

    def tell_all(self, event: StoredEvent, *, but: Collection[Participant] = ()) -> None:
        """Queue an event for all participants that have joined, or are moving, except those in `but`."""
        for participant in self.joined_or_moving:
            if participant not in but:
                self.tell(participant, event)

    # --- Asking the focus ---------------------------------------------------------------------------------

    def ask_focus(self, task: Task) -> None:
        """Set the task that `save` writes for the focus. It replaces a task that was set earlier."""
        self.focus_task = task

    def set_cause(self, modification: Modification | None, kind: ModificationKind = ModificationKind.SYNC) -> None:
        """Set the modification that the next offers of the focus announce (or None), and the kind of these offers."""
        self.cause = Cause(modification.pk if modification else None, OfferKind(kind))

    def _view(self) -> tuple[ParticipantView, ...]:
        """Return the participants that the focus must know: those that have joined or are moving."""
        return tuple(ParticipantView(each.pk, each.state, _muted(each)) for each in self.joined_or_moving)

    def ready(self) -> list[str]:
        """Return the IDs of the participants that may get an offer of the focus: joined, and with no offer pending."""
        busy = {side for each in self.pending for side in (each.offered_by_id, each.offered_to_id)}
        return [each.pk for each in self.joined if each.pk not in busy]

    @property
    def has_changed(self) -> bool:
        """Whether an operation has made or settled offers, queued events, or set a task for the focus."""
        return bool(self.offered or self.settled or self.messages or self.focus_task)

    # --- Saving -------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write what has changed and append the queued events. Call it once, at the end of an operation."""
        save_together([self])

    def send_events(self) -> None:
        """Append the queued events, instead of `save`, if nothing has changed that participants can read.

        The version stays the same. Otherwise strangers could make conditional requests of participants fail.
        """
        log.append(self.messages, now=self.now)

    def write(self) -> None:
        """Write all changes, but do not append the queued events."""
        self.conference.version += 1
        statements.update([self.conference], _MUTABLE_OF_CONFERENCE)
        self._save_participants()
        statements.insert(self.stays)
        self._save_modifications()
        self._save_task()

    def _save_participants(self) -> None:
        """Write new participants and changed columns, in two queries for any number of participants."""
        statements.insert([each for each in self.participants if each.pk not in self._participants_before])
        changed: list[Participant] = []
        columns: set[str] = set()
        for participant in (*self.participants, *self.unlisted):
            before = self._participants_before.get(participant.pk)
            if before and before != (after := _values(participant)):
                changed.append(participant)
                columns.update(name for name, old, new in zip(_MUTABLE, before, after, strict=True) if old != new)
        if "role" in columns:
            # The constraint on one host checks each row. So the earlier host loses the role first.
            statements.update([each for each in changed if each.role == Role.GUEST], {"role"})
        statements.update(changed, columns)

    def _save_modifications(self) -> None:
        """Write the modifications that were made and those that were settled, in two queries for any number of them."""
        statements.insert(self.offered)
        statements.update(self.settled, {"state", "answer", "restart", "settled_at", "settled_by_id"})

    def _save_task(self) -> None:
        """Write a task if the focus must act or know of a change. Each task describes the whole conference."""
        view = self._view()
        if self.focus_task is None and view == self._view_before and not any(map(_involves_focus, self.settled)):
            return
        if self.conference.media_node:
            self.send_focus_task()

    def send_focus_task(self) -> None:
        """Write the task that was set for the focus, or an update if none was set."""
        task, node_id, conference_id = self.focus_task or UpdateTask(), self.conference.media_node, self.conference.pk
        view = ConferenceView(self._view(), tuple(self.ready()), self.conference.generation, self.cause)
        tasks.enqueue(node_id=node_id, conference_id=conference_id, task=task, view=view, now=self.now)


def save_together(all_locked: Sequence[LockedConference]) -> None:
    """Save several conferences and append their events at once. Call it once, at the end of an operation.

    If the events of each conference were appended separately, concurrent transactions could lock the same sessions in
    different orders and deadlock.
    """
    for locked in all_locked:
        locked.write()
    log.append([message for locked in all_locked for message in locked.messages], now=all_locked[0].now)


def _involves_focus(modification: Modification) -> bool:
    """Tell whether the focus is one side of a modification."""
    return modification.offered_by_id is None or modification.offered_to_id is None


# The columns of a conference, and of a participant, that operations change.
_MUTABLE_OF_CONFERENCE = (
    "state", "opened_at", "ended_at", "ended_reason", "version", "unlisted", "handed_over_at", "locked",
)  # fmt: skip
_MUTABLE = (
    "role", "state", "username", "vtn", "icmn", "session_id", "rings_until", "rang_at", "move_until", "move_expired",
    "connect_until", "left_reason", "left_at", "joined_at", "muted_audio", "muted_video", "hand_raised_at",
    "sdp_origin", "ice_ufrag", "directions", "sends", "listed", "away",
)  # fmt: skip


# Returns the values of these columns of a participant.
_values = attrgetter(*_MUTABLE)


def _muted(participant: Participant) -> tuple[str, ...]:
    """Return the kinds of media that are muted."""
    muted = {"audio": participant.muted_audio, "video": participant.muted_video}
    return tuple(kind for kind, is_muted in muted.items() if is_muted)


def _devices(now: datetime, **identity: str) -> SessionQuerySet:
    return Session.objects.live(now).devices_of([Participant(**identity)])


# Queries for a user's devices, by the identity fields of the user that are known.
_DEVICES = {
    known: Prepared(_devices, now=datetime, **dict.fromkeys(known, str))
    for number in (1, 2, 3)
    for known in combinations(IDENTITY, number)
}
