"""The readers of each session in this process. Each session has a bounded number; the newest win."""

from collections.abc import Sequence
from typing import Protocol

from django.conf import settings

# New events: their numbers and wires. An event that is not stored has no number.
News = Sequence[tuple[int | None, str]]
# When a reader came, and its name.
Rank = tuple[float, str]


class ReplacedError(Exception):
    """The session has as many newer readers as it may have."""


class Reader(Protocol):
    """One connection or waiting poll that follows the log of a session."""

    session_id: str
    # The number of the last event that it has read.
    cursor: int
    rank: Rank

    def take(self, news: News) -> None:
        """Take in new events. None at all means that the log is to be read."""

    def give_way(self) -> None:
        """Stop, because the session has enough newer readers."""


class Readers:
    """The readers of each session, the oldest first. A reader that was told to give way counts no more."""

    def __init__(self) -> None:
        self._of_session: dict[str, tuple[Reader, ...]] = {}

    def add(self, reader: Reader) -> None:
        """Take in the newest reader of its session. The oldest gives way when they are too many."""
        readers = (*self.of(reader.session_id), reader)
        self._of_session[reader.session_id] = readers
        if len(readers) > settings.READERS_PER_SESSION:
            self.replace(readers[0])

    @property
    def is_empty(self) -> bool:
        """Whether there are no readers at all."""
        return not self._of_session

    def sessions(self) -> list[str]:
        """Return the sessions that have readers."""
        return list(self._of_session)

    def of(self, session_id: str) -> tuple[Reader, ...]:
        """Return the readers of a session."""
        return self._of_session.get(session_id, ())

    def replace(self, reader: Reader) -> None:
        """Let a reader give way to newer ones."""
        self.remove(reader)
        reader.give_way()

    def remove(self, reader: Reader) -> None:
        """Forget a reader that has stopped."""
        left = tuple(each for each in self.of(reader.session_id) if each is not reader)
        if left:
            self._of_session[reader.session_id] = left
        else:
            self._of_session.pop(reader.session_id, None)


READERS = Readers()
