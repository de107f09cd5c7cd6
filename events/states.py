"""The states of a session. Both ends are final, so they need no table of transitions."""

from enum import StrEnum


class SessionState(StrEnum):
    """States of a session."""

    ACTIVE = "active"
    EXPIRED = "expired"
    ENDED = "ended"
