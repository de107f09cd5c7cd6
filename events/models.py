"""Models: sessions and their event logs.

An event is written once, read in order and pruned by age.
"""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q

from events.identity import Identified, shares_identity
from events.states import SessionState


def new_id() -> str:
    """Return a random ID of 128 bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def hash_token(token: str) -> str:
    """Return the hash under which a token is stored. A token has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


class SessionQuerySet(models.QuerySet["Session"]):
    """Queries for sessions."""

    def live(self, now: datetime) -> Self:
        """Sessions that are active and have not expired at `now`."""
        return self.not_over().filter(expires_at__gt=now)

    def devices_of(self, participants: Iterable[Identified]) -> Self:
        """Sessions that have not ended and share their username, VTN or ICMN with one of the participants."""
        return self.filter(shares_identity(participants, ended_at__isnull=True))

    def sharing_identity_with(self, session: "Session") -> Self:
        """Sessions that have not ended and belong to this session's user, including this session."""
        return self.filter(shares_identity([session], ended_at__isnull=True))

    def due(self, now: datetime) -> Self:
        """Sessions that have expired but are not marked as expired yet."""
        return self.not_over().filter(expires_at__lte=now)

    def not_over(self) -> Self:
        """Sessions that have not ended.

        The conditions on `state` and `ended_at` mean the same. SQLite uses the partial indexes only with the second,
        which has no parameter.
        """
        return self.filter(state=SessionState.ACTIVE, ended_at__isnull=True)

    def away(self) -> Self:
        """Sessions that have not ended, had a reader, and have none now."""
        return self.filter(away_until__isnull=False)

    def leaving(self) -> Self:
        """Sessions that have ended but have not left all their conferences yet."""
        return self.filter(leaving_since__isnull=False)


class Session(models.Model):
    """One registered endpoint of a user, such as a browser tab or a phone. Only a hash of its token is stored."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    username = models.CharField(max_length=128)
    vtn = models.CharField("VTN", max_length=16, blank=True, help_text="Virtual telephone number, E.164.")
    icmn = models.CharField("ICMN", max_length=16, blank=True, help_text="Mobile number, E.164.")
    device = models.CharField(max_length=128, blank=True)
    state = models.CharField(max_length=16, default=SessionState.ACTIVE)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    leaving_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When it ended, until it has left all its conferences."
    )
    away_until = models.DateTimeField(
        null=True, blank=True, help_text="It is away. If it has joined no conference at this time, it ends."
    )
    followed_by = models.CharField(
        max_length=8,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The last process with a reader of its log.",
    )
    last_seq = models.BigIntegerField(default=0, help_text="The number of its newest event.")

    objects = SessionQuerySet.as_manager()

    class Meta:
        # The table keeps the name of the application that created it.
        db_table = "conferences_session"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=sorted(state.value for state in SessionState)), name="session_state_is_known"
            ),
        ]
        indexes = [
            models.Index(fields=["username"], condition=Q(ended_at__isnull=True), name="session_live_username"),
            models.Index(fields=["vtn"], condition=Q(ended_at__isnull=True), name="session_live_vtn"),
            models.Index(fields=["icmn"], condition=Q(ended_at__isnull=True), name="session_live_icmn"),
            models.Index(fields=["expires_at"], condition=Q(ended_at__isnull=True), name="session_live_expiry"),
            models.Index(fields=["away_until"], condition=Q(away_until__isnull=False), name="session_away"),
            models.Index(fields=["leaving_since"], condition=Q(leaving_since__isnull=False), name="session_leaving"),
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="session_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.username} ({self.device})" if self.device else self.username

    def is_live(self, now: datetime) -> bool:
        """Return whether the session is active and has not expired at `now`."""
        return self.state == SessionState.ACTIVE and self.expires_at > now

    def owns(self, participant: Identified) -> bool:
        """Return whether the participant and this session share the username, the VTN or the ICMN."""
        return (
            self.username == participant.username
            or (self.vtn != "" and self.vtn == participant.vtn)
            or (self.icmn != "" and self.icmn == participant.icmn)
        )


class EventQuerySet(models.QuerySet["Event"]):
    """Queries for events."""

    def of(self, session_id: str) -> Self:
        """The log of one session, in order."""
        return self.filter(session_id=session_id).order_by("seq")

    def after(self, seq: int) -> Self:
        """Events whose number is greater than a cursor."""
        return self.filter(seq__gt=seq)


class Event(models.Model):
    """One event of a session's log: `seq` is its number, `wire` the JSON to send (see `events.offers`)."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    type = models.CharField(max_length=32)
    conference_id = models.CharField(max_length=32, db_index=True, help_text="What it tells of.")
    wire = models.TextField()
    at = models.DateTimeField(db_index=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["session", "seq"], name="event_one_per_seq"),
            models.CheckConstraint(condition=models.Q(seq__gte=1), name="event_counts_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"
