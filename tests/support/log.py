"""Events for tests of the log, and a reader that records what it gets."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pytest
from django.db import transaction
from django.utils import timezone

from conferences.models import Conference
from events import log
from events.log import Message
from events.messages import StoredEvent
from events.models import Session
from events.reader import Batch, Entry, follow, read

in_database = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True, kw_only=True)
class Told(StoredEvent):
    """An event with any fields."""

    type = "told"
    fields: Mapping[str, object]

    def as_wire(self) -> dict[str, object]:
        return dict(self.fields)


def messages(conference: Conference, *sessions: Session, **fields: object) -> list[Message]:
    """Return one `Message` with these fields for each session."""
    return [Message(session.pk, conference.pk, Told(fields=fields)) for session in sessions]


def append(*messages: Message, now: datetime | None = None) -> None:
    """Append messages to the logs, in a separate transaction."""
    with transaction.atomic():
        log.append(messages, now=now or timezone.now())


class Reader:
    """Follows a log. It counts its queries, and can wait until it has read everything."""

    def __init__(self, session: Session, after: int, heartbeat: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.readings = 0
        self.is_up_to_date = False

        async def counted(session_id: str, cursor: int) -> list[Entry]:
            self.readings += 1
            entries = await read(session_id, cursor)
            self.is_up_to_date = not entries
            return entries

        monkeypatch.setattr("events.reader.read", counted)
        self.log = follow(session.pk, after, heartbeat=heartbeat, on_waiting=lambda: None)

    async def next(self) -> list[int]:
        """Return the numbers of the next batch of events, or an empty list for a heartbeat."""
        async with asyncio.timeout(20):
            news = await anext(self.log)
        return [entry.cursor for entry in news.entries] if isinstance(news, Batch) else []

    async def start(self) -> asyncio.Task[list[int]]:
        """Read everything that there is; return a task that waits for the next batch."""
        coming = asyncio.create_task(self.next())
        async with asyncio.timeout(20):
            while not self.is_up_to_date:
                await asyncio.sleep(0.01)
        return coming
