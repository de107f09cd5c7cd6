"""The timekeeper as a task: work that it does concurrently."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from conferences.models import Participant
from events import clock
from sbe_enabler import timekeeper
from tests.support.devices import Device

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_ring_ends_while_pruning_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that takes very long does not delay a deadline."""
    pruning, release = threading.Event(), threading.Event()

    def never_ending(**_: object) -> Iterator[tuple[str, int]]:
        pruning.set()
        assert release.wait(20)
        yield "events", 1

    monkeypatch.setattr(timekeeper, "prune_in_batches", never_ending)
    monkeypatch.setattr(timekeeper, "PRUNE_SECONDS", 0.0)
    conference = await sync_to_async(ring)()
    keeping = asyncio.create_task(timekeeper.keep_time())
    try:
        assert await asyncio.to_thread(pruning.wait, 10)
        await sync_to_async(make_due)(conference)
        async with asyncio.timeout(10):
            while await sync_to_async(is_ringing)(conference):
                await asyncio.sleep(0.05)
    finally:
        keeping.cancel()
        release.set()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_due_jobs_are_settled_concurrently(monkeypatch: pytest.MonkeyPatch) -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("SQLite has one writer")
    meeting, in_transaction = threading.Barrier(2), list[bool]()

    def job() -> None:
        """Wait until another job is under way."""
        in_transaction.append(connection.in_atomic_block)
        meeting.wait(10)

    monkeypatch.setattr(timekeeper, "next_deadline", clock.now)
    monkeypatch.setattr(timekeeper, "due", lambda *, now: [job, job])
    await timekeeper.run_once()
    assert not meeting.broken
    # Each job begins a transaction of its own.
    assert in_transaction == [False, False]


def ring() -> str:
    """Start a call from alice to bob; return the conference's ID."""
    alice, _ = Device.register("alice"), Device.register("bob")
    return str(alice.call("bob").json()["id"])


def make_due(conference: str) -> None:
    """Move the end of the ringing into the past."""
    past = timezone.now() - timedelta(seconds=1)
    Participant.objects.ringing().filter(conference=conference).update(rings_until=past)


def is_ringing(conference: str) -> bool:
    """Tell whether the call still rings."""
    return Participant.objects.ringing().filter(conference=conference).exists()
