"""Fixtures that every test may use."""

import gc
import os
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.cache import cache, caches
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tests.depth import DEEP
from tests.endpoints import Endpoints
from tests.scratch import in_memory
from tests.services import SHARED, Backend, Backends, Server

# How a module says that all of it is marked `once`.
_ALL_ONCE = re.compile(r"^pytestmark = \[?pytest\.mark\.once\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the modules of which `-m "not once"` runs nothing."""
    if config.option.markexpr != "not once" or collection_path.suffix != ".py":
        return None
    return bool(_ALL_ONCE.search(collection_path.read_text())) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make test-deep` what is marked `deep`, and on PostgreSQL what is marked `any_engine`."""
    if DEEP:
        return
    left = {"deep", "any_engine"} if "SBE_TEST_DATABASE_URL" in os.environ else {"deep"}
    later = {item for item in items if any(marker.name in left for marker in item.iter_markers())}
    config.hook.pytest_deselected(items=list(later))
    items[:] = [item for item in items if item not in later]


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays to the end anyway, as the server does: a tenth of the time went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _empty_tables_quickly() -> Iterator[None]:
    """Delete the few rows that a test leaves, but no permissions: to truncate, and to write those anew, is slow."""
    kept = {"django_content_type", "auth_permission"}

    def deletions(style: Any, connection: BaseDatabaseWrapper, **options: Any) -> list[str]:
        tables = set(connection.introspection.django_table_names()) - kept
        statements = [f"DELETE FROM {connection.ops.quote_name(table)}" for table in sorted(tables)]
        # PostgreSQL takes them all in one round trip.
        return ["; ".join(statements)] if connection.vendor == "postgresql" else statements

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.core.management.commands.flush.sql_flush", deletions)
        patch.setattr("django.core.management.commands.flush.emit_post_migrate_signal", lambda *args, **options: None)
        yield


@pytest.fixture(autouse=True)
def _forget_the_cache() -> None:
    """Start every test with unused rate limits."""
    forget_the_cache()


def forget_the_cache() -> None:
    """Forget what requests have used up of rate limits."""
    cache.clear()
    caches["attempts"].clear()
    if settings.REDIS_URL:
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            for name in client.scan_iter(f"{settings.COUNTER_PREFIX}*"):
                client.delete(name)


@pytest.fixture(scope="session")
def _opened_by_other_threads() -> Iterator[list[BaseDatabaseWrapper]]:
    """Note the connections that other threads open, also between two tests: a thread may outlive what started it."""
    opened: list[BaseDatabaseWrapper] = []

    def note(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            connection.inc_thread_sharing()
            opened.append(connection)

    connection_created.connect(note)
    yield opened
    connection_created.disconnect(note)


@pytest.fixture(autouse=True)
def _close_the_connections_of_other_threads(_opened_by_other_threads: list[BaseDatabaseWrapper]) -> Iterator[None]:
    """Close what threads would keep open: PostgreSQL drops no database that somebody is connected to."""
    yield
    while _opened_by_other_threads:
        connection = _opened_by_other_threads.pop()
        connection.close()
        connection.dec_thread_sharing()


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Make databases for real servers: `backends.sqlite()`, or `backends.grown()` for PostgreSQL and Redis."""
    with tempfile.TemporaryDirectory(prefix="sbe-backends-", dir=in_memory(), ignore_cleanup_errors=True) as directory:
        base = tmp_path_factory.getbasetemp()
        # That of all workers, if not of all stages.
        shared = os.environ.get(SHARED) or (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
        makers = Backends(Path(directory), Path(shared, "backends"))
        yield makers
        makers.close()


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    """Registers endpoints; their connections close with the test."""
    async with Endpoints() as registered:
        yield registered


@pytest.fixture
def serve(backends: Backends, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start real servers: `serve()`, or `serve(backend, SBE_RING_SECONDS="1")`. All stop with the test."""
    with ExitStack() as stack:

        def start(backend: Backend | None = None, **variables: str) -> Server:
            return stack.enter_context(Server(backend or backends.sqlite(), tmp_path, variables))

        yield start
