"""The reports of a media node about participants, and the assignment for which it makes them.

Also the samples of a connection's quality, which come from nodes and from clients.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

# A participant whose device has answered no connectivity check for this long is removed.
LOST_SECONDS = 30.0


class Connection(StrEnum):
    """The quality of a participant's connection."""

    # The participant answers the node's checks (consent, RFC 7675).
    CONNECTED = "connected"
    # The participant answers, but too many packets are lost in at least one direction.
    POOR = "poor"
    # The participant has not answered a check for a while.
    DISCONNECTED = "disconnected"


class Verdict(StrEnum):
    """The quality of a participant's connection, as the participant's event log records it."""

    FINE = "fine"
    # Too many packets are lost in at least one direction.
    POOR = "poor"
    # The participant does not answer the node's checks, so it neither sends nor gets media.
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class UsedLayers:
    """A notice: the layers of the participant's video that somebody receives, in the participant's order."""

    # The participant's media section.
    mid: str
    rids: tuple[str, ...]

    @property
    def subject(self) -> str:
        """A later notice of this subject replaces this one."""
        return f"layers {self.mid}"


@dataclass(frozen=True)
class Video:
    """A video, by the participant that sends it and its label: `video`, `screen` …"""

    participant: str
    label: str


@dataclass(frozen=True)
class PausedVideos:
    """A notice: all videos that the participant does not get now, because its connection is too slow."""

    videos: tuple[Video, ...]
    subject = "paused"


# What the focus tells one participant about its own media.
Notice = UsedLayers | PausedVideos


@dataclass(frozen=True)
class Assignment:
    """The assignment of a conference to a node. Each later assignment of the conference has a higher generation."""

    node: str
    generation: int


class Direction(StrEnum):
    """The direction of media, as the participant sees it."""

    # From the participant.
    UP = "up"
    # To the participant.
    DOWN = "down"


class Source(StrEnum):
    """Who has measured a sample."""

    FOCUS = "focus"
    CLIENT = "client"


class DeviceKind(StrEnum):
    """The kind of a client's device."""

    DESKTOP = "desktop"
    PHONE = "phone"
    TABLET = "tablet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The quality of a participant's connection in one direction, over a few seconds.

    Times are in seconds, rates in bits per second, and shares between 0 and 1. None means that a value is unknown.
    """

    participant: str
    source: Source
    direction: Direction
    bitrate: int
    # The share of packets that were lost, in the worst stream.
    loss: float | None = None
    jitter: float | None = None
    round_trip: float | None = None
    # How many packets were requested again (up) or sent again (down).
    retransmissions: int | None = None
    # The node's estimate of the bandwidth to the participant, and how long packets wait on the way there.
    estimate: int | None = None
    queue: float | None = None
    # For how long the participant has not answered the node's connectivity checks.
    silence: float | None = None
    # How many videos there are, and how many of them are paused because the connection is slow.
    videos: int | None = None
    paused: int | None = None
    # How many videos are sent in each layer, by its rid.
    layers: Mapping[str, int] = field(default_factory=dict)
    # Of the largest picture.
    frame_rate: float | None = None
    width: int | None = None
    height: int | None = None
    # Of the picture that froze most: how often, and for how long in total.
    freezes: int | None = None
    frozen: float | None = None
    # Over which time the sample was measured.
    period: float = 5.0
    # The share of sound that the decoder had to invent.
    concealed: float | None = None
    device: DeviceKind | None = None
