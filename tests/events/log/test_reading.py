"""A reader gets every event once and in order, even if wake-ups are lost, repeated or wrong."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import AsyncClient
from django.utils import timezone

from conferences.models import Conference
from events import log, wakeups
from events.models import Session, hash_token
from events.reader import BATCH, Batch, Entry, SessionOverError, follow, read
from events.threads import in_database_thread
from tests.support.log import Reader, append, in_database, messages


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_reader_that_is_up_to_date_needs_only_wake_ups(
    conference: Conference, new_session: Callable[..., Session], reader: Callable[..., Reader]
) -> None:
    alice = await in_database_thread(new_session)()
    following = reader(alice)
    waiting = await following.start()
    await in_database_thread(append)(*messages(conference, alice))
    assert await waiting == [1]
    before = following.readings
    for seq in (2, 3, 4):
        await in_database_thread(append)(*messages(conference, alice))
        assert await following.next() == [seq]
    # The reader was up to date before the first event, so only wake-ups delivered the events.
    assert following.readings == before == 1


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
@pytest.mark.parametrize("wake_up", ["lost", "empty", "late", "early", "doubled"])
async def test_wrong_wake_up_neither_loses_nor_repeats_events(
    conference: Conference,
    new_session: Callable[..., Session],
    reader: Callable[..., Reader],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    wake_up: str,
) -> None:
    alice = await in_database_thread(new_session)()
    right, held = wakeups.wake, []

    def wrong(entries: dict[str, list[tuple[int, str]]]) -> None:
        match wake_up:
            case "empty":
                right({alice.pk: []})
            case "late":
                held.append(entries)
                if len(held) == 3:
                    for each in reversed(held):
                        right(each)
            case "early":
                right({alice.pk: [(seq + 7, wire) for seq, wire in entries[alice.pk]]})
            case "doubled":
                right(entries)
                right(entries)

    monkeypatch.setattr(wakeups, "wake", wrong)
    settings.HEARTBEAT_SECONDS = 0.5
    following = reader(alice, heartbeat=0.5)
    assert await following.next() == []
    for _ in range(3):
        await in_database_thread(append)(*messages(conference, alice))
    seen: list[int] = []
    while len(seen) < 3:
        seen += await following.next()
    assert seen == [1, 2, 3]
    assert await following.next() == []


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_reader_that_is_far_behind_reads_in_batches(
    conference: Conference, new_session: Callable[..., Session], reader: Callable[..., Reader]
) -> None:
    alice = await in_database_thread(new_session)()
    await in_database_thread(append)(*(messages(conference, alice) * (2 * BATCH + 1)))
    following = reader(alice)
    assert [len(await following.next()) for _ in range(3)] == [BATCH, BATCH, 1]


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_reader_reads_to_the_end_of_a_session_and_stops(
    conference: Conference, new_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await in_database_thread(new_session)()

    def end() -> None:
        with transaction.atomic():
            log.append(messages(conference, alice), now=timezone.now())
            Session.objects.filter(pk=alice.pk).update(state="ended")
            log.close([alice.pk])

    async def read_and_let_it_end(session_id: str, cursor: int) -> list[Entry]:
        monkeypatch.undo()
        entries = await read(session_id, cursor)
        await in_database_thread(end)()
        return entries

    monkeypatch.setattr("events.reader.read", read_and_let_it_end)
    following = follow(alice.pk, 0, heartbeat=20, on_waiting=lambda: None)
    first = await anext(following)
    assert isinstance(first, Batch)
    assert [entry.cursor for entry in first.entries] == [1]
    with pytest.raises(SessionOverError):
        await anext(following)


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
@pytest.mark.parametrize(("wait", "heartbeat"), [(1, 15.0), (25, 0.2)])
async def test_poll_finds_an_event_whose_wake_up_was_lost(
    conference: Conference,
    new_session: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    async_client: AsyncClient,
    wait: int,
    heartbeat: float,
) -> None:
    settings.HEARTBEAT_SECONDS = heartbeat
    alice = await in_database_thread(new_session)(token_hash=hash_token("secret"))
    monkeypatch.setattr(wakeups, "wake", lambda entries: None)

    async def read_before_the_event(session_id: str, cursor: int) -> list[Entry]:
        monkeypatch.setattr("events.reader.read", read)
        entries = await read(session_id, cursor)
        await in_database_thread(append)(*messages(conference, alice))
        return entries

    monkeypatch.setattr("events.reader.read", read_before_the_event)
    headers = {"authorization": "Bearer secret"}
    async with asyncio.timeout(10):
        answered = await async_client.get(f"/sessions/{alice.pk}/events?after=0&wait={wait}", headers=headers)
    assert answered.json()["after"] == 1
    assert [event["seq"] for event in answered.json()["events"]] == [1]
