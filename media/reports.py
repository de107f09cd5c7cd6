"""What a media node reports about participants, and for which assignment."""

from dataclasses import dataclass
from enum import StrEnum

# A participant without media for this long is given up.
LOST_SECONDS = 30.0


class Connection(StrEnum):
    """How a participant's connection is."""

    # It answers the node's checks (consent, RFC 7675).
    CONNECTED = "connected"
    # It answers, but too many packets are lost, in one direction or the other.
    POOR = "poor"
    # It has not answered for a while.
    DISCONNECTED = "disconnected"


@dataclass(frozen=True)
class Assignment:
    """The assignment of a conference to a node. Each later assignment of it has a higher generation."""

    node: str
    generation: int
