"""Fixtures that all tests of media share."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from media.focus.node import Settings
from media.forward import fastpath
from tests.support.media.node_harness import World, around

if library := os.environ.get("SANITIZED_LIBRARY"):
    # Use a library compiled with sanitizers, which check each access to memory.
    fastpath.library_path = Path(library)


@pytest_asyncio.fixture(params=[True, False], ids=["fast", "python"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A started node. Each test runs twice: with the fast path and without it."""
    async with around(Settings(fast=request.param)) as made:
        yield made
