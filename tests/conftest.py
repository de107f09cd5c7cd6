"""Fixtures that every test may use."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.core.cache import cache

from tests.services import Backend, Backends, Server


@pytest.fixture(autouse=True)
def _forget_the_cache() -> None:
    """Start every test with unused rate limits."""
    cache.clear()


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Make databases for real servers: `backends.sqlite()`, or `backends.grown()` for PostgreSQL and Redis."""
    makers = Backends(tmp_path_factory.mktemp("backends"))
    yield makers
    makers.close()


@pytest.fixture
def serve(backends: Backends, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start real servers: `serve()`, or `serve(backend, SBE_RING_SECONDS="1")`. All stop with the test."""
    with ExitStack() as stack:

        def start(backend: Backend | None = None, **variables: str) -> Server:
            return stack.enter_context(Server(backend or backends.sqlite(), tmp_path, variables))

        yield start
