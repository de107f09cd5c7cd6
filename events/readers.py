"""The readers of each session in this process. Each session has a bounded number; the newest win."""

from typing import Protocol

from django.conf import settings


class Reader(Protocol):
    """One connection or waiting poll that follows the log of a session."""

    session_id: str

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

    def remove(self, reader: Reader) -> None:
        """Forget a reader that has stopped."""
        readers = self._of_session.get(reader.session_id, [])
        if reader in readers:
            readers.remove(reader)
        if not readers:
            self._of_session.pop(reader.session_id, None)


READERS = Readers()
