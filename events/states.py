"""The states of a session. `active` changes once, to `expired` or `ended`, so no table of transitions is needed."""

from enum import StrEnum


class SessionState(StrEnum):
    """States of a session."""

    ACTIVE = "active"
    EXPIRED = "expired"
    ENDED = "ended"
