"""Fixtures for the tests of the event channel: servers and endpoints."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.db import connections

from events.threads import POOL
from tests.support.endpoints import UNLIMITED
from tests.support.services import Backend, Backends, Server


@pytest.fixture(scope="session")
def new_backend(backends: Backends) -> Callable[[], Backend]:
    """Make a new database of the kind that this test run uses."""
    return backends.grown if "SBE_TEST_DATABASE_URL" in os.environ else backends.sqlite


@pytest.fixture(scope="session")
def shared_server(new_backend: Callable[[], Backend], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the usual settings."""
    with Server(new_backend(), tmp_path_factory.mktemp("shared"), UNLIMITED) as running:
        yield running


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """The shared server, which must log no traceback during the test."""
    before = len(shared_server.log())
    yield shared_server
    log = shared_server.log()[before:]
    assert "Traceback" not in log, log[-3000:]


@pytest.fixture(scope="session")
def hasty_server(new_backend: Callable[[], Backend], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server whose heartbeats come every 0.5 s."""
    variables = {**UNLIMITED, "SBE_HEARTBEAT_SECONDS": "0.5"}
    with Server(new_backend(), tmp_path_factory.mktemp("hasty"), variables) as running:
        yield running


@pytest.fixture
def _no_idle_connections() -> Iterator[None]:
    """Close the connections of the database threads: a test database with open connections cannot be dropped."""
    yield
    together = threading.Barrier(settings.DATABASE_THREADS)

    def close() -> None:
        together.wait(10)
        connections.close_all()

    for done in [POOL.submit(close) for _ in range(settings.DATABASE_THREADS)]:
        done.result(20)
