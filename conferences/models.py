"""The rows of conferences, participants, stays and modifications, and of HTTP responses kept for repeated requests.

Database constraints guard the invariants. Only `conferences.machine` decides transitions between states.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Self, cast

from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Subquery, When

from conferences.machine import (
    JOINED,
    RINGING,
    ConferenceState,
    KnockState,
    ModificationKind,
    ModificationState,
    MoveState,
    ParticipantState,
)
from events.identity import identity_of
from events.models import Session, new_id


class Topology(models.TextChoices):
    """Where the media flows (protocol section 4)."""

    FOCUS = "focus"
    PEER = "peer"


# The most participants that have left and are still listed in snapshots. It equals the largest capacity, so a snapshot
# of an ended conference lists everybody who was present at its end.
MAX_LISTED_LEFT = 40
# Stands for the focus where a participant's ID is expected.
FOCUS = "focus"
# The best rating of a call, and the longest comment in code points.
MOST_STARS = 5
LONGEST_COMMENT = 500
# How many conferences of a user's history one query reads.
_BATCH = 100


class Access(models.TextChoices):
    """Who may answer a conference: only invited users, or every session that knows its ID."""

    INVITED = "invited"
    OPEN = "open"


class Role(models.TextChoices):
    """The role of a participant in a conference."""

    HOST = "host"
    GUEST = "guest"


class LeftReason(models.TextChoices):
    """Why a participant left (protocol section 5), and why a conference ended."""

    HUNG_UP = "hung-up"
    DECLINED = "declined"
    NO_ANSWER = "no-answer"
    REMOVED = "removed"
    MEDIA_LOST = "media-lost"
    SESSION_EXPIRED = "session-expired"
    CONFERENCE_ENDED = "conference-ended"
    ENDED_BY_SUPPORT = "ended-by-support"


# Why a participant left if its invitation or move was declined or not answered.
_MISSED = frozenset({LeftReason.DECLINED, LeftReason.NO_ANSWER})


def _one_of(field: str, states: Any) -> Q:
    """Return the condition that the field holds one of these states."""
    return Q(**{f"{field}__in": sorted(str(state) for state in states)})


class ConferenceQuerySet(models.QuerySet["Conference"]):
    """Queries for conferences."""

    def live(self) -> Self:
        """Return conferences that have not ended."""
        return self.filter(ended_at__isnull=True)

    def concerning(self, session: Session, conference_id: str) -> Self:
        """Return the conference with this ID if the session's user takes part in it, or has taken part."""
        known = [Exists(own) for own in _participants_of(session, conference=conference_id)]
        return self.filter(Q(*known, _connector=Q.OR), pk=conference_id) if known else self.none()

    def live_with(self, session: Session) -> Self:
        """Return live conferences in which the session's user is present.

        An invitation that does not ring yet does not count as presence.
        """
        own = [rows.audible() for rows in _participants_of(session, left_at__isnull=True)]
        return self.live().filter(pk__in=_union(own, "conference"))

    def ended_with(self, session: Session, *, after: str, number: int) -> Self:
        """Return the first `number` of the user's ended conferences, by ID, whose IDs are greater than `after`."""
        own = [_first_ended(rows, after, number) for rows in _participants_of(session)]
        return self.filter(pk__in=sorted({*chain(*own)})[:number])

    def missed_by(self, session: Session, *, since: datetime, number: int) -> Self:
        """Return the conferences of the user's last `number` missed calls since an instant, newest first.

        A call is missed if it rang, and no device of the user answered or declined it.
        """
        missed = [
            rows.filter(left_at__gte=since).exclude(left_reason=LeftReason.DECLINED).order_by("-left_at")[:number]
            for rows in _participants_of(session, session__isnull=True, left_at__isnull=False, rang_at__isnull=False)
        ]
        found = sorted((row for rows in missed for row in rows.values_list("left_at", "conference")), reverse=True)
        newest = list(dict.fromkeys(conference for _, conference in found))[:number]
        order = Case(*(When(pk=pk, then=place) for place, pk in enumerate(newest)), output_field=models.IntegerField())
        return self.filter(pk__in=newest).order_by(order) if newest else self.none()

    def silent(self) -> Self:
        """Return conferences that do not ring yet. This is the opposite of `LockedConference.rings`, in SQL."""
        unaccepted = Participant.objects.filter(conference=OuterRef("pk"), role=Role.HOST, listed=True, sdp_origin="")
        return self.filter(Exists(unaccepted), topology=Topology.FOCUS, state=ConferenceState.INVITATION_SENT)


def _first_ended(participants: "ParticipantQuerySet", after: str, number: int) -> list[str]:
    """Return the IDs of these participants' ended conferences in ascending order, beginning after the ID `after`.

    The result has at least `number` IDs, unless fewer exist. The query for each batch reads only an index: a user may
    have many participants in one conference, and reading their rows would take long.
    """
    found: list[str] = []
    while len(found) < number:
        rows = participants.filter(conference__gt=after).order_by("conference_id")
        ids = list(rows.values_list("conference_id", flat=True).distinct()[:_BATCH])
        if not ids:
            break
        ended = Conference.objects.filter(pk__in=ids, ended_at__isnull=False).order_by("pk")
        found += ended.values_list("pk", flat=True)
        after = ids[-1]
    return found


class Conference(models.Model):
    """A conference. Every operation that saves it increments `version`, from which its ETag is made."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    topology = models.CharField(max_length=8, choices=Topology)
    access = models.CharField(max_length=8, choices=Access, default=Access.INVITED)
    locked = models.BooleanField(
        default=False, db_default=False, help_text="Whoever is not invited must knock. Only if access is open."
    )
    name = models.CharField(max_length=128, blank=True)
    state = models.CharField(max_length=20, default=ConferenceState.INVITATION_SENT)
    created_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True, blank=True, help_text="When it was answered for the first time.")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.CharField(max_length=20, blank=True)
    media_node = models.CharField(max_length=32, blank=True, help_text="The media node that forwards its media.")
    placed_at = models.DateTimeField(null=True, blank=True, help_text="When that node was chosen.")
    generation = models.PositiveIntegerField(
        default=1, help_text="Grows with each change of the media node. Reports of an earlier node are refused."
    )
    version = models.PositiveIntegerField(default=1)
    unlisted = models.PositiveIntegerField(default=0, help_text="How many of its participants its snapshots leave out.")
    handed_over_at = models.DateTimeField(
        null=True, blank=True, help_text="When its present host got the role from another participant."
    )

    objects = ConferenceQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=_one_of("state", ConferenceState), name="conference_state_is_known"),
            models.CheckConstraint(condition=_one_of("topology", Topology.values), name="conference_topology_is_known"),
            models.CheckConstraint(condition=_one_of("access", Access.values), name="conference_access_is_known"),
            models.CheckConstraint(
                condition=Q(state=ConferenceState.SESSION_TERMINATED, ended_at__isnull=False)
                | (~Q(state=ConferenceState.SESSION_TERMINATED) & Q(ended_at__isnull=True)),
                name="conference_has_ended_iff_terminated",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at"], name="conference_newest"),
            models.Index(
                fields=["-created_at"],
                condition=Q(ended_at__isnull=True),
                name="conference_live",
            ),
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="conference_ended"),
            # For queries that find a node's conferences, those recently placed on a node, and those without a node.
            models.Index(
                fields=["media_node", "placed_at"],
                condition=Q(ended_at__isnull=True),
                name="conference_of_node",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.id


class ParticipantQuerySet(models.QuerySet["Participant"]):
    """Queries for participants."""

    def concerning(self, session: Session, **also: object) -> Self:
        """Return the participants of the session's user, on any device of the user.

        :param also: further conditions, which are added to the subquery of each identity. With OR instead of
            subqueries, SQLite would read all participants of a conference.
        """
        return self.filter(pk__in=_union(_participants_of(session, **also), "pk"))

    def ringing(self) -> Self:
        """Return participants whose devices ring."""
        return self.present().filter(state__in=sorted(RINGING))

    def present(self) -> Self:
        """Return participants that have not left.

        The condition has no parameter: otherwise SQLite would not use the partial indexes.
        """
        return self.filter(left_at__isnull=True)

    def unanswered(self, now: datetime) -> Self:
        """Return invited participants whose invitation has not ended at `now`, even if it does not ring yet."""
        # `listed` excludes nobody here, because invited participants are always listed. It only makes queries for one
        # conference faster: they read no unlisted participants.
        return self.present().listed().filter(state=ParticipantState.INVITED, rings_until__gt=now)

    def calling_any(self, names: Collection[str]) -> Self:
        """Return present participants with one of these usernames or VTNs."""
        # SQLite uses the partial indexes only if each alternative of the OR repeats their condition.
        return self.filter(Q(username__in=names, left_at__isnull=True) | Q(vtn__in=names, left_at__isnull=True))

    def audible(self) -> Self:
        """Exclude participants whose invitations do not ring yet."""
        silent = Exists(Conference.objects.silent().filter(pk=OuterRef("conference")))
        return self.exclude(silent, state=ParticipantState.INVITED)

    def invited_by(self, session: Session) -> Self:
        """Return present participants that the session's user has invited, even if the user is no longer the host."""
        return self.present().filter(invited_by=session.username)

    def calling(self, session: Session) -> Self:
        """Return the user's participants that host a conference for invited users which nobody has answered."""
        return self.concerning(session, left_at__isnull=True, role=Role.HOST).filter(
            conference__state=ConferenceState.INVITATION_SENT,
            conference__access=Access.INVITED,
        )

    def listed(self) -> Self:
        """Return participants that the snapshots of their conference list."""
        return self.filter(listed=True)

    def unlisted(self) -> Self:
        """Return participants that left earlier than all those that are listed. Snapshots only count them."""
        return self.filter(listed=False)

    def missed_by(self, session: Session, conference: Conference) -> Self:
        """Return participants of a conference that rang, or would have rung, for the session until they left."""
        own = self.concerning(session, conference=conference, state=ParticipantState.LEFT)
        return own.filter(Q(session__isnull=True) | Q(left_reason__in=sorted(_MISSED)))

    def returnable_by(self, session: Session, conference: Conference, now: datetime) -> Self:
        """Return participants that have left a conference and whose rows the session may use to return, best first.

        The session with which the participant left may return. After that session is over, another session may return
        if it has the same username, VTN and ICMN.

        The session's own participants come first. Within each group, participants that left later come first.
        The filter compares the expression `preference`. If it compared the columns instead, SQLite would use their
        indexes and read the whole history of the session and of the user.
        """
        over = Q(session__ended_at__isnull=False) | Q(session__expires_at__lte=now)
        same_user = Q(username=session.username, vtn=session.vtn, icmn=session.icmn)
        own = self.concerning(session, conference=conference, state=ParticipantState.LEFT)
        preference = Case(When(session=session, then=0), When(same_user & over, then=1))
        return own.annotate(preference=preference).filter(preference__isnull=False).order_by("preference", "-left_at")

    def unscrubbed(self, now: datetime) -> Self:
        """Return participants that left at or before `now` and whose descriptions still have credentials."""
        return self.filter(_UNSCRUBBED, left_at__lte=now)

    def with_armed_move(self, session: Session) -> Self:
        """Return participants that use the session and have armed a move."""
        return self.present().filter(session=session, move_until__isnull=False)

    def joined(self) -> Self:
        """Return participants that are in the conference with a device."""
        return self.present().filter(state__in=sorted(JOINED))


def _participants_of(session: Session, **also: object) -> list[ParticipantQuerySet]:
    """Return one query for each identity of the session's user, each with the conditions `also`."""
    identity = identity_of(session).items()
    return [Participant.objects.filter(**{name: value}, **also).order_by() for name, value in identity]


def _union(queries: Sequence[ParticipantQuerySet], column: str) -> ParticipantQuerySet:
    """Return a subquery for the values of a column in the combined results of these queries."""
    first, *others = (each.values(column) for each in queries or [Participant.objects.none()])
    return cast("ParticipantQuerySet", first.union(*others) if others else first)


# The participant has not left.
_PRESENT = Q(left_at__isnull=True)
# The participant rang, and left before any device answered.
_UNANSWERED = Q(session__isnull=True, left_at__isnull=False, rang_at__isnull=False)
# The participant left after its descriptions were last scrubbed.
_UNSCRUBBED = Q(left_at__isnull=False) & (Q(scrubbed_at__isnull=True) | Q(scrubbed_at__lt=F("left_at")))


class Participant(models.Model):
    """One user in one conference, with a role, a state and the session (device) that it uses.

    While the participant is `moving`, `session` is still the device that it leaves. A user who left and returns keeps
    the same row. A `Stay` then records the previous session, times and reason.
    """

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    conference = models.ForeignKey(Conference, on_delete=models.CASCADE, related_name="participants")
    role = models.CharField(max_length=8, choices=Role)
    state = models.CharField(max_length=16, default=ParticipantState.INVITED)
    username = models.CharField(max_length=128, blank=True)
    vtn = models.CharField("VTN", max_length=16, blank=True)
    icmn = models.CharField("ICMN", max_length=16, blank=True)
    session = models.ForeignKey(
        Session, on_delete=models.PROTECT, null=True, blank=True, related_name="participants", db_index=False
    )
    position = models.PositiveIntegerField(help_text="The order in which participants were invited.")
    listed = models.BooleanField(
        default=True, help_text="Snapshots show it: it is present, or among the last that left."
    )
    invited_by = models.CharField(
        max_length=128, blank=True, default="", db_default="", help_text="The username of the user who invited it."
    )
    joined_at = models.DateTimeField(null=True, blank=True, help_text="When its present or last stay began.")
    rings_until = models.DateTimeField(null=True, blank=True)
    rang_at = models.DateTimeField(null=True, blank=True, help_text="When its invitation began to ring.")
    move_until = models.DateTimeField(null=True, blank=True, help_text="When an armed move expires.")
    connect_until = models.DateTimeField(
        null=True, blank=True, help_text="When it is removed unless it has connected to the focus."
    )
    away = models.BooleanField(
        default=False, db_default=False, help_text="Its page has announced that it closes or reloads."
    )
    move_expired = models.BooleanField(default=False, help_text="Its last armed move expired before it began.")
    muted_audio = models.BooleanField(default=False)
    muted_video = models.BooleanField(default=False)
    hand_raised_at = models.DateTimeField(null=True, blank=True, help_text="When it raised its hand, if it still does.")
    left_reason = models.CharField(max_length=20, blank=True, choices=LeftReason)
    left_at = models.DateTimeField(null=True, blank=True)
    scrubbed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When the credentials of its descriptions were deleted."
    )
    stars = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="How its user rated the call, from 1 to 5. Only support staff see this."
    )
    comment = models.TextField(
        blank=True,
        max_length=LONGEST_COMMENT,
        default="",
        db_default="",
        help_text="What its user wrote about the call.",
    )
    sdp_origin = models.CharField(
        max_length=48, blank=True, help_text="Session ID and version of the last o= line from its device."
    )
    directions = models.CharField(
        max_length=48, blank=True, help_text="The distinct directions of its media when it was last off hold."
    )
    sends = models.CharField(
        max_length=18,
        blank=True,
        default="",
        db_default="",
        help_text="The media that its device sends off hold: words of audio, screen and video.",
    )
    ice_ufrag = models.CharField(
        "ICE user fragment", max_length=256, blank=True, help_text="Of the last description from its device."
    )

    objects = ParticipantQuerySet.as_manager()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.CheckConstraint(condition=_one_of("state", ParticipantState), name="participant_state_is_known"),
            models.CheckConstraint(
                condition=~_one_of("state", JOINED) | Q(session__isnull=False),
                name="participant_sits_at_a_session",
            ),
            models.CheckConstraint(
                condition=~_one_of("state", RINGING) | Q(rings_until__isnull=False),
                name="participant_rings_for_a_time",
            ),
            models.UniqueConstraint(
                fields=["conference", "session"],
                condition=_one_of("state", JOINED),
                name="participant_one_seat_per_session",
            ),
            models.UniqueConstraint(fields=["conference"], condition=Q(role=Role.HOST), name="participant_one_host"),
            models.UniqueConstraint(fields=["conference", "position"], name="participant_one_per_position"),
            models.CheckConstraint(
                condition=Q(stars__isnull=True) | Q(stars__gte=1, stars__lte=MOST_STARS),
                name="participant_has_few_stars",
            ),
            models.CheckConstraint(
                condition=Q(listed=True) | Q(state=ParticipantState.LEFT.value), name="participant_present_is_listed"
            ),
            models.CheckConstraint(
                condition=Q(state=ParticipantState.LEFT.value, left_at__isnull=False)
                | (~Q(state=ParticipantState.LEFT.value) & Q(left_at__isnull=True)),
                name="participant_has_left_iff_left_at",
            ),
        ]
        indexes = [
            models.Index(fields=["conference", "position"], condition=Q(listed=True), name="participant_listed"),
            models.Index(fields=["conference", "username"], condition=Q(listed=False), name="participant_unlisted"),
            # Without statistics, SQLite chooses the last of several indexes that seem equal. So the smaller indexes are
            # last here. The next four indexes find a user's participants in one conference, and the user's ended
            # conferences by ID.
            models.Index(fields=["username", "conference"], name="participant_username"),
            models.Index(fields=["vtn", "conference"], name="participant_vtn"),
            models.Index(fields=["icmn", "conference"], name="participant_icmn"),
            models.Index(fields=["session", "conference"], name="participant_session"),
            # The next five indexes are for quotas, calls and lists. They contain only present participants, so a long
            # history does not slow the queries. The conditions of all partial indexes contain no values, because SQLite
            # cannot compare a value with a parameter.
            models.Index(fields=["username"], condition=_PRESENT, name="participant_present_username"),
            models.Index(fields=["vtn"], condition=_PRESENT, name="participant_present_vtn"),
            models.Index(fields=["icmn"], condition=_PRESENT, name="participant_present_icmn"),
            models.Index(fields=["session"], condition=_PRESENT, name="participant_at_session"),
            models.Index(fields=["invited_by"], condition=_PRESENT, name="participant_inviter"),
            models.Index(fields=["stars"], condition=Q(stars__isnull=False), name="participant_rated"),
            models.Index(fields=["username", "left_at"], condition=_UNANSWERED, name="participant_missed_username"),
            models.Index(fields=["vtn", "left_at"], condition=_UNANSWERED, name="participant_missed_vtn"),
            models.Index(fields=["icmn", "left_at"], condition=_UNANSWERED, name="participant_missed_icmn"),
            models.Index(fields=["left_at"], condition=_UNSCRUBBED, name="participant_to_scrub"),
            models.Index(fields=["rings_until"], condition=Q(rings_until__isnull=False), name="participant_ringing"),
            models.Index(fields=["move_until"], condition=Q(move_until__isnull=False), name="participant_move_armed"),
            models.Index(
                fields=["connect_until"], condition=Q(connect_until__isnull=False), name="participant_unconnected"
            ),
        ]

    def __str__(self) -> str:
        return self.username or self.vtn

    @property
    def move_state(self) -> MoveState:
        """The state of the move to another device."""
        if self.move_until is not None:
            return MoveState.ARMED
        return MoveState.EXPIRED if self.move_expired else MoveState.IDLE

    @property
    def is_ringing(self) -> bool:
        """Whether devices of the user ring, for a call or for a move."""
        return self.state in RINGING

    @property
    def is_joined(self) -> bool:
        """Whether the participant is in the conference with a device, accepted or on hold."""
        return self.state in JOINED

    @property
    def has_left(self) -> bool:
        """Whether the participant has left. It may return to an open conference."""
        return self.state == ParticipantState.LEFT

    @property
    def was_missed(self) -> bool:
        """Whether the participant left while it rang or before it rang (in SQL: `ParticipantQuerySet.missed_by`)."""
        return self.has_left and (self.session_id is None or self.left_reason in _MISSED)


class Stay(models.Model):
    """An earlier stay of a participant that has returned. The participant's own row holds the current or last stay."""

    conference = models.ForeignKey(Conference, on_delete=models.CASCADE, related_name="stays")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="stays")
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="stays")
    joined_at = models.DateTimeField(null=True)
    left_at = models.DateTimeField()
    left_reason = models.CharField(max_length=20, choices=LeftReason)

    class Meta:
        ordering = ["left_at"]
        indexes = [models.Index(fields=["conference", "left_at"], name="stay_history")]

    def __str__(self) -> str:
        return f"{self.participant_id} until {self.left_at:%Y-%m-%d %H:%M}"


class KnockQuerySet(models.QuerySet["Knock"]):
    """Queries for knocks."""

    def pending(self) -> Self:
        """Return knocks that wait for the host, or that were admitted and whose session has not joined yet."""
        return self.filter(settled_at__isnull=True)

    def waiting(self, now: datetime) -> Self:
        """Return knocks that wait for the host, oldest first."""
        return self.pending().filter(state=KnockState.WAITING, expires_at__gt=now).order_by("created_at", "pk")

    def due(self, now: datetime) -> Self:
        """Return knocks that must expire at `now`."""
        return self.pending().filter(expires_at__lte=now)


# The knock waits, or was admitted and its session has not joined yet.
_PENDING = Q(settled_at__isnull=True)


class Knock(models.Model):
    """A session's request to be admitted to a locked conference."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    conference = models.ForeignKey(Conference, on_delete=models.CASCADE, related_name="knocks", db_index=False)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="knocks")
    username = models.CharField(max_length=128)
    state = models.CharField(max_length=16, default=KnockState.WAITING)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(
        help_text="Until then the host may answer. After admission: the session may join."
    )
    settled_at = models.DateTimeField(null=True, blank=True)

    objects = KnockQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(condition=_one_of("state", KnockState), name="knock_state_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=[KnockState.WAITING.value, KnockState.ADMITTED.value], settled_at__isnull=True)
                | (~Q(state__in=[KnockState.WAITING.value, KnockState.ADMITTED.value]) & Q(settled_at__isnull=False)),
                name="knock_is_settled_once",
            ),
            models.UniqueConstraint(
                fields=["conference", "session"],
                condition=_PENDING,
                name="knock_one_pending_per_session",
            ),
        ]
        indexes = [
            # A conference and a session may have many settled knocks, so queries for pending knocks have own indexes.
            models.Index(fields=["conference", "username", "state", "settled_at"], name="knock_denials"),
            models.Index(fields=["expires_at"], condition=_PENDING, name="knock_pending"),
            models.Index(fields=["conference", "created_at"], condition=_PENDING, name="knock_at_conference"),
            models.Index(fields=["session"], condition=_PENDING, name="knock_of_session"),
        ]

    def __str__(self) -> str:
        return f"{self.username} ({self.state})"


class ModificationQuerySet(models.QuerySet["Modification"]):
    """Queries for modifications."""

    def pending(self) -> Self:
        """Return modifications that are not settled."""
        return self.filter(state=ModificationState.SENT, settled_at__isnull=True)

    def due(self, now: datetime) -> Self:
        """Return modifications that must expire at `now`."""
        return self.expiring().filter(expires_at__lte=now)

    def since_join(self, participant: Participant) -> Self:
        """Return modifications that a participant has made or received since it last joined."""
        own = self.filter(Q(offered_by=participant) | Q(offered_to=participant))
        return own if participant.joined_at is None else own.filter(created_at__gte=participant.joined_at)

    def unscrubbed(self) -> Self:
        """Return settled modifications whose descriptions still have credentials."""
        return self.filter(_SETTLED_UNSCRUBBED)

    def scrubbable(self) -> Self:
        """Return unscrubbed modifications whose credentials no leg uses.

        A leg uses the credentials of an accepted modification until the same two sides have accepted a newer one, or
        the conference has ended. Credentials of modifications that were not accepted are never used. "Newer" compares
        `settled_at`, as `operations.nodes` does when another media node adopts the conference.
        """
        newer = Modification.objects.unscrubbed().filter(
            pair=OuterRef("pair"), settled_at__gt=OuterRef("settled_at"), state=ModificationState.ACCEPTED
        )
        # This is a scalar subquery, because PostgreSQL would read the whole table for EXISTS or a join.
        ended = Subquery(Conference.objects.filter(pk=OuterRef("conference")).order_by().values("ended_at"))
        over = ~Q(state=ModificationState.ACCEPTED) | Q(conference_ended_at__isnull=False) | Exists(newer)
        return self.unscrubbed().alias(conference_ended_at=ended).filter(over)

    def expiring(self) -> Self:
        """Return pending modifications that expire by themselves.

        These do not include the offer of a call to a participant, which ends with the ringing (`ends_with_ringing`).
        """
        return self.pending().exclude(kind=ModificationKind.CALL, offered_to__isnull=False)


_SETTLED_UNSCRUBBED = Q(settled_at__isnull=False, scrubbed=False)


class Modification(models.Model):
    """One offer and its settlement. `pair` names the two sides, and is the same for offers in either direction.

    A null `offered_by` or `offered_to` means the focus. In an accepted modification, a null `settled_by` also means the
    focus.
    """

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    conference = models.ForeignKey(Conference, on_delete=models.CASCADE, related_name="modifications")
    kind = models.CharField(max_length=8)
    state = models.CharField(max_length=16, default=ModificationState.SENT)
    pair = models.CharField(max_length=65)
    offered_by = models.ForeignKey(
        Participant, on_delete=models.CASCADE, null=True, blank=True, related_name="offers_made"
    )
    offered_to = models.ForeignKey(
        Participant, on_delete=models.CASCADE, null=True, blank=True, related_name="offers_received"
    )
    settled_by = models.ForeignKey(
        Participant, on_delete=models.CASCADE, null=True, blank=True, related_name="settlements"
    )
    caused_by = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="consequences",
        help_text="The modification that this offer of the focus announces.",
    )
    restart = models.BooleanField(default=False, help_text="The offer comes from a new peer connection.")
    offer = models.TextField()
    answer = models.TextField(blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    scrubbed = models.BooleanField(
        default=False, editable=False, help_text="The credentials of its descriptions were deleted."
    )

    objects = ModificationQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(condition=_one_of("state", ModificationState), name="modification_state_is_known"),
            models.CheckConstraint(condition=_one_of("kind", ModificationKind), name="modification_kind_is_known"),
            models.CheckConstraint(
                condition=Q(state=ModificationState.SENT, settled_at__isnull=True)
                | (~Q(state=ModificationState.SENT) & Q(settled_at__isnull=False)),
                name="modification_is_settled_once",
            ),
            # At most one of the two sides is the focus (null).
            models.CheckConstraint(
                condition=Q(offered_by__isnull=False, offered_to__isnull=True)
                | Q(offered_by__isnull=True, offered_to__isnull=False)
                | (Q(offered_by__isnull=False, offered_to__isnull=False) & ~Q(offered_by=F("offered_to"))),
                name="modification_has_two_parties",
            ),
            models.UniqueConstraint(
                fields=["pair"],
                condition=Q(state=ModificationState.SENT),
                name="modification_one_pending_per_pair",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(settled_at__isnull=True), name="modification_pending"),
            models.Index(fields=["conference", "created_at"], name="modification_history"),
            models.Index(fields=["pair", "settled_at"], condition=_SETTLED_UNSCRUBBED, name="modification_to_scrub"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id} ({self.state})"

    def is_since_join(self, participant: Participant) -> bool:
        """Tell whether this offer was made since the participant last joined. Older offers concern an earlier leg."""
        return participant.joined_at is None or self.created_at >= participant.joined_at

    @property
    def ends_with_ringing(self) -> bool:
        """Whether this is the offer of a call to a participant. It ends when the ringing ends, and does not expire."""
        return self.kind == ModificationKind.CALL and self.offered_to_id is not None


def pair_of(one: Participant, other: Participant | None) -> str:
    """Return the name of a pair of sides, which is the same in either direction. None is the focus."""
    return ":".join(sorted((one.pk, other.pk if other else FOCUS)))


def offer_of(modification_id: str) -> str | None:
    """Return the SDP of a modification's offer. Return None if the modification has been deleted."""
    return Modification.objects.filter(pk=modification_id).values_list("offer", flat=True).first()


class KeptAnswer(models.Model):
    """The HTTP response to a request with an `Idempotency-Key`, kept for repeated requests. The body is encrypted."""

    key_hash = models.CharField(primary_key=True, max_length=64)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.status} of {self.created_at:%Y-%m-%d %H:%M}"
