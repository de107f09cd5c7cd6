"""Measure the cost of idle event channels: WebSockets that only answer heartbeats, one for each session."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import psutil
import websockets

from tests.support.services import Server

_PATIENCE = 60.0  # seconds
_AT_ONCE = 20
_WARM_UP = 50
# Twice the server's interval between heartbeats.
_IDLE_SECONDS = 30.0


async def measure_idle(server: Server, numbers: Sequence[int]) -> dict[str, float]:
    """Open idle channels up to each of these numbers. Return the memory per channel and the share of a core at each."""
    process = psutil.Process(server.pid)
    figures: dict[str, float] = {}
    async with contextlib.AsyncExitStack() as stack:
        sessions = await _register(server, max(numbers) + _WARM_UP)
        await _open(stack, sessions[:_WARM_UP])
        before, opened = process.memory_info().rss, _WARM_UP
        for number in numbers:
            await _open(stack, sessions[opened : number + _WARM_UP])
            opened = number + _WARM_UP
            busy = sum(process.cpu_times()[:2])
            await asyncio.sleep(_IDLE_SECONDS)
            figures[f"idle_{number}_core_percent"] = 100 * (sum(process.cpu_times()[:2]) - busy) / _IDLE_SECONDS
            figures[f"idle_{number}_kib_each"] = (process.memory_info().rss - before) / 1024 / number
    return figures


async def _register(server: Server, number: int) -> list[dict[str, Any]]:
    """Register sessions, each of a different user."""
    limits = httpx.Limits(max_connections=_AT_ONCE)
    async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE, limits=limits) as client:

        async def register(n: int) -> dict[str, Any]:
            answer = await client.post(
                f"{server.base_url}/sessions",
                json={"username": f"idle{n}"},
                headers={"authorization": f"Api-Key {server.api_key}"},
            )
            session: dict[str, Any] = answer.raise_for_status().json()
            return session

        return await _a_few_at_once([register(n) for n in range(number)])


async def _open(stack: contextlib.AsyncExitStack, sessions: Sequence[dict[str, Any]]) -> None:
    """Open the event channel of each session. The channels close with `stack`."""
    await _a_few_at_once([stack.enter_async_context(_idle(session)) for session in sessions])


async def _a_few_at_once(work: Sequence[Any]) -> list[Any]:
    """Await these coroutines, at most _AT_ONCE at a time. Return their results in order."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def run(each: Any) -> Any:
        async with free:
            return await each

    return await asyncio.gather(*map(run, work))


@contextlib.asynccontextmanager
async def _idle(session: dict[str, Any]) -> AsyncIterator[None]:
    """Open a channel and answer its heartbeats."""
    protocols = [websockets.Subprotocol("sbe.v1"), websockets.Subprotocol(f"bearer.{session['token']}")]
    socket = await websockets.connect(
        session["events"]["webSocket"], subprotocols=protocols, compression=None, proxy=None, open_timeout=_PATIENCE
    )

    async def answer() -> None:
        async for text in socket:
            await socket.send(text)
        raise RuntimeError(f"an idle channel was closed with {socket.close_code}")

    answering = asyncio.create_task(answer())
    try:
        yield
        if answering.done():
            answering.result()
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        socket.transport.abort()
