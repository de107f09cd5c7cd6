"""Rows: the media nodes that serve conferences, the tasks that operations have given them, and samples of quality."""

from datetime import datetime
from enum import StrEnum
from typing import Self

from django.db import models
from django.db.models import Q

from media.reports import DeviceKind, Direction, Source


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


def _one_of(field: str, values: type[StrEnum]) -> Q:
    """Return the condition that the field holds one of these values."""
    return Q(**{f"{field}__in": sorted(each.value for each in values)})


class QualitySample(models.Model):
    """The quality of a participant's connection in one direction, over the few seconds before `at`.

    A row is written once and never changed. The IDs are plain, as in `MediaTask`, so samples may move to a database of
    their own. Primary keys grow with time: pruning deletes the lowest ones, and needs no index on `at`. A column is
    null if its value is unknown.
    """

    id = models.BigAutoField(primary_key=True)
    conference_id = models.CharField(max_length=32)
    participant_id = models.CharField("participant", max_length=32)
    at = models.DateTimeField()
    source = models.CharField("measured by", max_length=6, help_text="The focus, or the client itself.")
    direction = models.CharField(max_length=4, help_text="As the participant sees it.")
    score = models.FloatField(help_text="From 1 (bad) to 5 (excellent), with one digit after the point.")
    bitrate = models.PositiveIntegerField("bit/s")
    loss = models.PositiveSmallIntegerField("loss ‰", null=True, help_text="In thousandths of the packets.")
    jitter_ms = models.PositiveSmallIntegerField(null=True)
    round_trip_ms = models.PositiveSmallIntegerField(null=True)
    retransmissions = models.PositiveIntegerField(
        null=True, help_text="Packets that were requested again (up) or sent again (down)."
    )
    estimate = models.PositiveIntegerField(null=True, help_text="The estimated bandwidth, in bit/s.")
    queue_ms = models.PositiveSmallIntegerField(null=True, help_text="How long packets wait on the way.")
    silence_ms = models.PositiveSmallIntegerField(null=True, help_text="For how long no check was answered.")
    videos = models.PositiveSmallIntegerField(null=True)
    paused = models.PositiveSmallIntegerField(null=True, help_text="Videos that do not fit the connection.")
    layers = models.JSONField(default=dict, help_text="How many videos are sent in each layer, by its rid.")
    frame_rate = models.PositiveSmallIntegerField("frames/s", null=True)
    width = models.PositiveSmallIntegerField(null=True)
    height = models.PositiveSmallIntegerField(null=True)
    freezes = models.PositiveSmallIntegerField(null=True)
    frozen_ms = models.PositiveSmallIntegerField(null=True)
    concealed = models.PositiveSmallIntegerField("concealed ‰", null=True, help_text="In thousandths of the sound.")
    device = models.CharField(max_length=8, blank=True, help_text="The kind of the client's device.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=_one_of("source", Source), name="quality_source_is_known"),
            models.CheckConstraint(condition=_one_of("direction", Direction), name="quality_direction_is_known"),
            models.CheckConstraint(
                condition=Q(device="") | _one_of("device", DeviceKind), name="quality_device_is_known"
            ),
            models.CheckConstraint(condition=Q(score__gte=1, score__lte=5), name="quality_score_is_in_range"),
        ]
        indexes = [models.Index(fields=["conference_id", "id"], name="quality_of_conference")]

    def __str__(self) -> str:
        return f"{self.participant_id} {self.direction} {self.at}"
