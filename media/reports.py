"""What a media node reports about participants, and for which assignment."""

from dataclasses import dataclass
from enum import StrEnum

# A participant without media for this long is given up.
LOST_SECONDS = 30.0


class Connection(StrEnum):
    """How a participant's connection is.

    Connected: its checks for consent come (RFC 7675). Poor: they do, but too much gets lost, one way or the other.
    """

    CONNECTED = "connected"
    POOR = "poor"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True)
class Assignment:
    """That a node serves a conference. Each later assignment of a conference has a higher generation."""

    node: str
    generation: int
