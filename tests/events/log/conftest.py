"""Fixtures for the tests of a session's log."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

import events.views  # noqa: F401 - before a test replaces what it imports
from conferences.models import Conference, Topology
from events.models import Session
from tests.support.log import Reader


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def conference(now: datetime) -> Conference:
    return Conference.objects.create(topology=Topology.PEER, created_at=now)


@pytest.fixture
def new_session(now: datetime) -> Callable[..., Session]:
    def make(name: str = "alice", **fields: Any) -> Session:
        made = {"created_at": now, "expires_at": now + timedelta(hours=1), "token_hash": f"{Session.objects.count()}"}
        return Session.objects.create(username=name, **{**made, **fields})

    return make


@pytest.fixture
async def reader(
    new_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Reader]]:
    """Make readers that stop when the test ends."""
    readers: list[Reader] = []

    def make(session: Session, after: int = 0, heartbeat: float = 20) -> Reader:
        readers.append(Reader(session, after, heartbeat, monkeypatch))
        return readers[-1]

    yield make
    for each in readers:
        await each.log.aclose()
