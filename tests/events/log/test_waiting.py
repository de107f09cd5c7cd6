"""Waiting readers share one query, and find the events that they have missed."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from conferences.models import Conference
from events import wakeups, watcher
from events.models import Session
from events.reader import SessionOverError
from events.readers import READERS, ReplacedError
from events.threads import POOL, in_database_thread
from tests.support.log import Reader, append, in_database, messages


@pytest.fixture
def database_calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The functions that were given to the database threads."""
    given: list[Any] = []
    submit = POOL.submit

    def note(function: Any, *args: Any, **kwargs: Any) -> Any:
        given.append(function)
        return submit(function, *args, **kwargs)

    monkeypatch.setattr(POOL, "submit", note)
    return given


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_waiting_reader_makes_no_query(
    new_session: Callable[..., Session], reader: Callable[..., Reader], database_calls: list[Any]
) -> None:
    following = reader(await in_database_thread(new_session)(), heartbeat=0.05)
    assert await following.next() == []
    database_calls.clear()
    for _ in range(10):
        assert await following.next() == []
    assert database_calls == []


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_many_waiting_readers_share_one_query(
    new_session: Callable[..., Session], reader: Callable[..., Reader], database_calls: list[Any], settings: Any
) -> None:
    settings.HEARTBEAT_SECONDS = 0.2
    readers = [reader(await in_database_thread(new_session)(), heartbeat=0.5) for _ in range(30)]
    await asyncio.gather(*(each.next() for each in readers))
    database_calls.clear()
    for _ in range(2):
        await asyncio.gather(*(each.next() for each in readers))
    # The watcher made one query every 0.2 s. On a slow machine there were more, but far fewer than one per reader.
    assert 1 <= len(database_calls) < 30


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_end_of_a_session_is_found_if_its_wake_up_is_lost(
    new_session: Callable[..., Session], reader: Callable[..., Reader], settings: Any
) -> None:
    settings.HEARTBEAT_SECONDS = 0.2
    alice = await in_database_thread(new_session)()
    following = reader(alice)
    waiting = await following.start()
    await in_database_thread(Session.objects.filter(pk=alice.pk).update)(state="ended")
    with pytest.raises(SessionOverError):
        await waiting


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a fault of ours")])
async def test_watcher_pauses_and_continues_after_a_failure(
    conference: Conference,
    new_session: Callable[..., Session],
    reader: Callable[..., Reader],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    error: Exception,
) -> None:
    settings.HEARTBEAT_SECONDS = 0.1
    looks: list[float] = []
    real = watcher.newest_numbers

    def failing(sessions: list[str]) -> Any:
        looks.append(time.monotonic())
        if len(looks) <= 3:
            raise error
        return real(sessions)

    monkeypatch.setattr(watcher, "newest_numbers", failing)
    monkeypatch.setattr(wakeups, "wake", lambda entries: None)
    alice = await in_database_thread(new_session)()
    following = reader(alice)
    waiting = await following.start()
    await in_database_thread(append)(*messages(conference, alice))
    assert await waiting == [1]
    assert looks[3] - looks[0] >= 0.3


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_one_query_covers_a_bounded_number_of_sessions(
    new_session: Callable[..., Session],
    reader: Callable[..., Reader],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.HEARTBEAT_SECONDS = 0.1
    monkeypatch.setattr(watcher, "BATCH", 3)
    asked: list[int] = []
    real = watcher.newest_numbers

    def counting(sessions: list[str]) -> Any:
        asked.append(len(sessions))
        return real(sessions)

    readers = [reader(await in_database_thread(new_session)(), heartbeat=0.5) for _ in range(7)]
    await asyncio.gather(*(each.next() for each in readers))
    monkeypatch.setattr(watcher, "newest_numbers", counting)
    async with asyncio.timeout(20):
        while len(asked) < 6:
            await asyncio.sleep(0.01)
    assert max(asked) == 3
    assert sum(asked[-3:]) == 7


@in_database
@pytest.mark.usefixtures("_no_idle_connections")
async def test_stopped_readers_leave_nothing_behind(
    new_session: Callable[..., Session], reader: Callable[..., Reader], settings: Any
) -> None:
    settings.READERS_PER_SESSION = 2
    alice = await in_database_thread(new_session)()
    readers = [reader(alice, heartbeat=0.05) for _ in range(4)]
    for each in readers:
        assert await each.next() == []
    assert len(READERS.of(alice.pk)) == 2
    for each in readers[:2]:
        with pytest.raises(ReplacedError):
            await each.next()
    for each in readers:
        await each.log.aclose()
    assert READERS.sessions() == []
    async with asyncio.timeout(20):
        while any(task.get_name() == "watcher" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
