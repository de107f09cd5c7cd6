"""The memory of an idle WebSocket."""

import asyncio
import contextlib
from collections.abc import Callable

import psutil
import pytest

from tests.support.endpoints import PATIENCE, UNLIMITED, Endpoint, Endpoints, next_event
from tests.support.services import Server

_WARM_UP, _SOCKETS, _AT_ONCE = 50, 300, 20
# With thousands of WebSockets, the goal is 16 KiB for each (docs/performance.md). With a few hundred, each has a larger
# share of the memory that the allocator reserves but does not use.
_MOST_KIB = 20.0


async def open_sockets(stack: contextlib.AsyncExitStack, endpoint: Endpoint, number: int) -> None:
    """Open this many WebSockets, and wait until each has read the log. They close when the stack closes."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def open_one() -> None:
        async with free:
            await next_event(await stack.enter_async_context(endpoint.socket(after=0)))

    await asyncio.gather(*(open_one() for _ in range(number)))


@pytest.mark.once
async def test_idle_websocket_takes_little_memory(serve: Callable[..., Server], endpoints: Endpoints) -> None:
    server = serve(**UNLIMITED)
    _, bob, _ = await endpoints.call(server)
    process = psutil.Process(server.pid)
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(4 * PATIENCE):
        await open_sockets(stack, bob, _WARM_UP)
        before = process.memory_info().rss
        await open_sockets(stack, bob, _SOCKETS)
        each = (process.memory_info().rss - before) / 1024 / _SOCKETS
    print(f"{each:.1f} KiB for each of {_SOCKETS} idle WebSockets")  # noqa: T201
    assert each < _MOST_KIB
