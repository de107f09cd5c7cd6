"""The readers of each session in this process. Their number per session is bounded: newer readers replace older."""

from collections.abc import Sequence
from typing import Protocol

from django.conf import settings

# New events: the number and the JSON of each. An ephemeral event has no number.
News = Sequence[tuple[int | None, str]]
# When a reader started (seconds of the database's clock), and a random name.
Rank = tuple[float, str]


class ReplacedError(Exception):
    """Newer readers of the session have replaced this one."""


class Reader(Protocol):
    """One connection or waiting poll that follows the log of a session."""

    session_id: str
    # The number of the last event that this reader has returned.
    cursor: int
    rank: Rank

    def take(self, news: News) -> None:
        """Handle a wake-up with new events. If `news` is empty, read the log."""

    def give_way(self) -> None:
        """Stop: newer readers have replaced this one."""


class Readers:
    """The readers of each session, oldest first, without replaced readers."""

    def __init__(self) -> None:
        self._of_session: dict[str, tuple[Reader, ...]] = {}

    def add(self, reader: Reader) -> None:
        """Add the newest reader of its session. If there are more than READERS_PER_SESSION now, replace the oldest."""
        readers = (*self.of(reader.session_id), reader)
        self._of_session[reader.session_id] = readers
        if len(readers) > settings.READERS_PER_SESSION:
            self.replace(readers[0])

    @property
    def is_empty(self) -> bool:
        """Whether the process has no readers."""
        return not self._of_session

    def sessions(self) -> list[str]:
        """Return the IDs of the sessions that have readers."""
        return list(self._of_session)

    def of(self, session_id: str) -> tuple[Reader, ...]:
        """Return the readers of a session, oldest first."""
        return self._of_session.get(session_id, ())

    def replace(self, reader: Reader) -> None:
        """Remove a reader and tell it to stop, in favour of newer ones."""
        self.remove(reader)
        reader.give_way()

    def remove(self, reader: Reader) -> None:
        """Remove a reader if it is still present."""
        left = tuple(each for each in self.of(reader.session_id) if each is not reader)
        if left:
            self._of_session[reader.session_id] = left
        else:
            self._of_session.pop(reader.session_id, None)


READERS = Readers()
