"""The readers of each session in this process. Each session has a bounded number; the newest win."""

from typing import Protocol

from django.conf import settings


class Reader(Protocol):
    """One connection or waiting poll that follows the log of a session."""

    session_id: str
    # The number of the last event that it has read.
    cursor: int

    def look(self) -> None:
        """Read the log, because a wake-up may have been lost."""

    def give_way(self) -> None:
        """Stop, because the session has enough newer readers."""


class Readers:
    """The readers of each session, the oldest first. A reader that was told to give way counts no more."""

    def __init__(self) -> None:
        self._of_session: dict[str, list[Reader]] = {}

    def add(self, reader: Reader) -> None:
        """Take in the newest reader of its session. The oldest gives way when they are too many."""
        readers = self._of_session.setdefault(reader.session_id, [])
        readers.append(reader)
        if len(readers) > settings.READERS_PER_SESSION:
            readers.pop(0).give_way()

    @property
    def is_empty(self) -> bool:
        """Whether there are no readers at all."""
        return not self._of_session

    def sessions(self) -> list[str]:
        """Return the sessions that have readers."""
        return list(self._of_session)

    def of(self, session_id: str) -> list[Reader]:
        """Return the readers of a session."""
        return list(self._of_session.get(session_id, ()))

    def remove(self, reader: Reader) -> None:
        """Forget a reader that has stopped."""
        readers = self._of_session.get(reader.session_id, [])
        if reader in readers:
            readers.remove(reader)
        if not readers:
            self._of_session.pop(reader.session_id, None)


READERS = Readers()
