"""Rows: the media nodes that serve conferences, and the tasks that operations have given them."""

from datetime import datetime
from typing import Self

from django.db import models


class MediaNodeQuerySet(models.QuerySet["MediaNode"]):
    """Media nodes."""

    def live(self, since: datetime) -> Self:
        """Return the nodes whose last heartbeat was at this time or later."""
        return self.filter(heartbeat_at__gte=since)


class MediaNode(models.Model):
    """A process, or a thread of one, that forwards media. It gets a new ID with every start."""

    id = models.CharField(primary_key=True, max_length=32, editable=False)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField(db_index=True)
    legs = models.PositiveIntegerField(default=0, help_text="How many participants' media it carries.")
    counters = models.JSONField(default=dict, help_text="What it has done so far, as it last said.")
    announce = models.TextField(blank=True, help_text="The addresses that its clients are told.")

    objects = MediaNodeQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return self.pk


class MediaTask(models.Model):
    """A task that a node must still do for a conference. The transaction that applies its result deletes the row.

    `node` and `conference` are plain IDs and no foreign keys. This application does not know the model of conferences,
    and a task may outlive its node.
    """

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=32)
    conference = models.CharField(max_length=32)
    kind = models.CharField(max_length=8)
    payload = models.JSONField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["node", "id"], name="media_task_queue")]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
