"""The reports of a media node about participants, and the assignment for which it makes them."""

from dataclasses import dataclass
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
