"""The event log: rows that are written once, read in order and pruned by age."""

from typing import Self

from django.db import models

from conferences.models import Conference, Session


class EventQuerySet(models.QuerySet["Event"]):
    """Events, in words."""

    def of(self, session_id: str) -> Self:
        """The log of one session, in order."""
        return self.filter(session_id=session_id).order_by("seq")

    def after(self, seq: int) -> Self:
        """Those that follow a cursor."""
        return self.filter(seq__gt=seq)


class Event(models.Model):
    """What a session is told: `wire` is the JSON as it is sent, `seq` its number in the session's log."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    type = models.CharField(max_length=32)
    conference = models.ForeignKey(Conference, on_delete=models.CASCADE, related_name="events")
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
