"""Fixtures: one server for all tests, clients, and bots."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from sbe_client import AsyncClient
from sbe_client.bot import Bot
from tests.support.endpoints import UNLIMITED
from tests.support.services import Backends, Server

Start = Callable[..., Awaitable[Bot]]


@pytest.fixture(scope="session")
def server(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server, without rate limits."""
    with Server(backends.sqlite(), tmp_path_factory.mktemp("clients"), UNLIMITED) as running:
        yield running


@pytest.fixture
async def start_bot(server: Server) -> AsyncIterator[Start]:
    """Start bots: `await start_bot("agent", "bot")`. All end with the test."""
    async with AsyncExitStack() as stack:

        async def start(username: str, device: str = "bot", rate: int = 16_000) -> Bot:
            client = await stack.enter_async_context(AsyncClient(server.base_url, api_key=server.api_key))
            await client.register(username, device=device)
            return await stack.enter_async_context(Bot(client, rate=rate))

        yield start
