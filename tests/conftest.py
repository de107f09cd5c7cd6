"""Fixtures for all tests."""

import functools
import gc
import os
import re
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import thread as pool_threads
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.cache import cache, caches
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tests.support.depth import DEEP
from tests.support.endpoints import Endpoints
from tests.support.scratch import in_memory
from tests.support.services import SHARED, Backend, Backends, Server

# The code that a thread of a pool runs while it waits for work.
_WAITS_FOR_WORK = pool_threads._worker.__code__
# Matches a module whose tests are all marked `once`.
_ALL_ONCE = re.compile(r"^pytestmark = \[?pytest\.mark\.once\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import modules in which `-m "not once"` selects no test."""
    if config.option.markexpr != "not once" or collection_path.suffix != ".py":
        return None
    return bool(_ALL_ONCE.search(collection_path.read_text())) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests marked `deep`, and on PostgreSQL those marked `any_engine`: `make test-deep` runs them."""
    if DEEP:
        return
    left = {"deep", "any_engine"} if "SBE_TEST_DATABASE_URL" in os.environ else {"deep"}
    later = {item for item in items if any(marker.name in left for marker in item.iter_markers())}
    config.hook.pytest_deselected(items=list(later))
    items[:] = [item for item in items if item not in later]
    # Tests that start whole servers come first. Workers then share the rest without starting the same servers again.
    items.sort(key=lambda item: item.path.parent.name != "sbe_enabler")


def pytest_collection_finish() -> None:
    """Exclude permanent objects from garbage collection, as the server does. This saves a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@functools.cache
def _deletions() -> list[str]:
    """Return the statements that delete a test's rows. Permissions stay, because writing them again is slow."""
    tables = set(connection.introspection.django_table_names()) - {"django_content_type", "auth_permission"}
    statements = [f"DELETE FROM {table}" for table in sorted(tables)]
    # PostgreSQL executes all of them in one round trip.
    return ["; ".join(statements)] if connection.vendor == "postgresql" else statements


@pytest.fixture(scope="session", autouse=True)
def _empty_tables_quickly() -> Iterator[None]:
    """Empty the tables without the command `flush`, which takes longer to find the tables than to empty them."""

    def empty(command: str, **options: Any) -> None:
        assert command == "flush"
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in _deletions():
                cursor.execute(statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.test.testcases.call_command", empty)
        yield


@pytest.fixture(autouse=True)
def _forget_the_cache() -> None:
    """Start every test with reset rate limits."""
    forget_the_cache()


def forget_the_cache() -> None:
    """Reset all rate limits."""
    cache.clear()
    caches["attempts"].clear()
    if settings.REDIS_URL:
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            for name in client.scan_iter(f"{settings.COUNTER_PREFIX}*"):
                client.delete(name)


@pytest.fixture(scope="session")
def _opened_by_other_threads() -> Iterator[list[tuple[threading.Thread, BaseDatabaseWrapper]]]:
    """Collect the connections that other threads open, also between two tests: a thread can outlive its test."""
    opened: list[tuple[threading.Thread, BaseDatabaseWrapper]] = []

    def note(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            connection.inc_thread_sharing()
            opened.append((threading.current_thread(), connection))

    connection_created.connect(note)
    yield opened
    connection_created.disconnect(note)


@pytest.fixture(autouse=True)
def _close_the_connections_of_other_threads(
    _opened_by_other_threads: list[tuple[threading.Thread, BaseDatabaseWrapper]],
) -> Iterator[None]:
    """Close the connections of other threads: PostgreSQL cannot drop a database with open connections."""
    yield
    while _opened_by_other_threads:
        thread, connection = _opened_by_other_threads.pop()
        _wait_until_idle(thread)
        connection.close()
        connection.dec_thread_sharing()


def _wait_until_idle(thread: threading.Thread) -> None:
    """Wait until a thread has ended, or waits for work in its pool: SQLite crashes if a connection in use is closed.

    A thread continues its work even if the task that awaited it was cancelled.
    """
    deadline = time.monotonic() + 30
    # A new thread can get the ident of one that has ended.
    while thread.is_alive() and (frame := sys._current_frames().get(thread.ident or 0)):
        if frame.f_code is _WAITS_FOR_WORK:
            return
        assert time.monotonic() < deadline, "".join(traceback.format_stack(frame))
        time.sleep(0.001)


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Make databases for real servers: `backends.sqlite()`, or `backends.grown()` for PostgreSQL and Redis."""
    with tempfile.TemporaryDirectory(prefix="sbe-backends-", dir=in_memory(), ignore_cleanup_errors=True) as directory:
        base = tmp_path_factory.getbasetemp()
        # The directory that all workers and all stages of `make test` share.
        shared = os.environ.get(SHARED) or (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
        makers = Backends(Path(directory), Path(shared, "backends"))
        yield makers
        makers.close()


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    """Return an object that registers endpoints. Their connections close when the test ends."""
    async with Endpoints() as registered:
        yield registered


@pytest.fixture
def serve(backends: Backends, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start real servers: `serve()`, or `serve(backend, SBE_RING_SECONDS="1")`. All stop with the test."""
    with ExitStack() as stack:

        def start(backend: Backend | None = None, **variables: str) -> Server:
            return stack.enter_context(Server(backend or backends.sqlite(), tmp_path, variables))

        yield start
