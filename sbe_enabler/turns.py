"""Let the requests of one client network take turns, so that a crowd of them delays only themselves.

All requests share a loop and a few database threads, in the order of their arrival. A client with hundreds of
connections would otherwise stand in the queue hundreds of times. Here a few of its requests are served at a time, and
its others wait outside the queue. It loses nothing by that: a few are as many as there are threads.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from conferences.authentication import network_of
from sbe_enabler.connections import Application, Receive, Scope, Send, refuse

# Requests of the event channel wait for events, and must not keep others waiting meanwhile.
_WAITING = re.compile(r"/sessions/[^/]+/events")
# A request keeps its place in the queue for some seconds after its client has gone, so connections do not bound these.
_MOST_WANTED = 512
# An answer in parts takes as long as its client reads it, and may keep others waiting for this many seconds only.
_LONGEST_ANSWER = 1.0
_TOO_MANY = "Too many requests from this address at the same time."

# A client network, and whether its requests need a database thread.
Queue = tuple[str, bool]


@dataclass
class _Turns:
    """The turns of one queue, and how many requests have or want one."""

    semaphore: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2 * settings.DATABASE_THREADS))
    wanted: int = 0


class InTurns:
    """An ASGI application that serves a few HTTP requests of each client network at a time."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._turns: dict[Queue, _Turns] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request when its turn has come. The turn ends with the answer, or when it is read slowly."""
        if scope["type"] != "http" or _WAITING.fullmatch(scope["path"]):
            await self._application(scope, receive, send)
            return
        address, _ = scope.get("client") or ("", 0)
        queue = (network_of(address), _needs_threads(scope["path"]))
        if queue in self._turns and self._turns[queue].wanted >= _MOST_WANTED:
            await refuse(scope, send, _TOO_MANY)
            return
        async with self._turn(queue) as turn:
            await self._application(scope, receive, turn.sender(send))

    @asynccontextmanager
    async def _turn(self, queue: Queue) -> AsyncIterator["_Turn"]:
        """Wait for a turn in this queue, and hold it."""
        turns = self._turns.setdefault(queue, _Turns())
        turns.wanted += 1
        try:
            await turns.semaphore.acquire()
            turn = _Turn(turns.semaphore)
            try:
                yield turn
            finally:
                turn.end()
        finally:
            turns.wanted -= 1
            if not turns.wanted:
                del self._turns[queue]


class _Turn:
    """The turn of one request."""

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore
        self._is_limited = False

    def end(self) -> None:
        """Let the next request have its turn, if none has it already."""
        if self._semaphore is not None:
            self._semaphore.release()
            self._semaphore = None

    def sender(self, send: Send) -> Send:
        """Return a function that sends the answer, and limits the turn once the answer comes in parts."""

        async def send_in_turn(message: Mapping[str, Any]) -> None:
            if message.get("more_body") and not self._is_limited:
                self._is_limited = True
                asyncio.get_running_loop().call_later(_LONGEST_ANSWER, self.end)
            await send(message)

        return send_in_turn


def _needs_threads(path: str) -> bool:
    """Tell whether a request needs a database thread. The others have a queue of their own.

    While the database hangs, `/healthz` must not wait for those that wait for it.
    """
    return path != "/healthz" and not path.startswith(settings.STATIC_URL)
