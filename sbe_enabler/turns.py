"""Serve a few requests of each client network at a time, so that a flood of requests delays only its sender.

All requests wait for one event loop and a few database threads, in the order of their arrival. Without turns, a client
with hundreds of connections could make all other clients wait. Here each client network has at most two requests per
database thread served at a time, enough to keep every thread busy. Its other requests wait for their turns.

Handshakes of WebSockets take turns too. The turn of a request for events ends when the request has read the log and
only waits.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from events.authentication import network_of
from events.turns import END_TURN
from sbe_enabler.connections import Application, Receive, Scope, Send, refuse

# The most requests of one queue (see `Queue`), served or waiting. The limit on connections does not bound their number:
# a request stays in its queue for some seconds after its client has disconnected.
_MOST_WANTED = 512
# A streamed response lasts until its client has read it. The turn of its request ends after at most this many seconds.
_LONGEST_ANSWER = 1.0
_TOO_MANY = "Too many requests from this address at the same time."

# A client network, and whether its requests need a database thread.
Queue = tuple[str, bool]


@dataclass
class _Turns:
    """The turns of one queue. `wanted` counts the requests that have or await a turn."""

    semaphore: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2 * settings.DATABASE_THREADS))
    wanted: int = 0


class InTurns:
    """An ASGI application that serves a few requests and handshakes of each client network at a time."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._turns: dict[Queue, _Turns] = {}

    @property
    def queues(self) -> int:
        """How many queues have requests, served or waiting."""
        return len(self._turns)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request in its turn. The turn ends with the response, or sooner if the client is slow."""
        address, _ = scope.get("client") or ("", 0)
        queue = (network_of(address), _needs_threads(scope["path"]))
        if queue in self._turns and self._turns[queue].wanted >= _MOST_WANTED:
            await refuse(scope, send, _TOO_MANY)
            return
        turn = _Turn(self._turns, queue)
        try:
            await turn.begin()
            scope[END_TURN] = turn.end
            await self._application(scope, receive, turn.sender(send))
        finally:
            turn.end()


class _Turn:
    """The turn of one request in its queue. The constructor adds the turn to `wanted`."""

    __slots__ = ("_all", "_has_begun", "_is_limited", "_is_over", "_queue")

    def __init__(self, all_turns: dict[Queue, _Turns], queue: Queue) -> None:
        self._all, self._queue = all_turns, queue
        self._has_begun = self._is_limited = self._is_over = False
        all_turns.setdefault(queue, _Turns()).wanted += 1

    async def begin(self) -> None:
        """Wait for the turn."""
        await self._all[self._queue].semaphore.acquire()
        self._has_begun = True

    def end(self) -> None:
        """End the turn, so that the next request is served. Further calls have no effect."""
        if self._is_over:
            return
        self._is_over = True
        turns = self._all[self._queue]
        if self._has_begun:
            turns.semaphore.release()
        turns.wanted -= 1
        if not turns.wanted:
            del self._all[self._queue]

    def sender(self, send: Send) -> Send:
        """Return a function that sends the response, and limits the turn's duration if the response is streamed."""

        async def send_in_turn(message: Mapping[str, Any]) -> None:
            if not self._is_limited and (message.get("more_body") or message["type"] == "websocket.accept"):
                self._is_limited = True
                asyncio.get_running_loop().call_later(_LONGEST_ANSWER, self.end)
            await send(message)
            if message["type"] == "websocket.close":
                # End the turn now: the application runs on until the client has closed the WebSocket too.
                self.end()

        return send_in_turn


def _needs_threads(path: str) -> bool:
    """Tell whether a request needs a database thread. Other requests have a separate queue.

    While the database hangs, `/healthz` must not wait for requests that wait for the database.
    """
    return path != "/healthz" and not path.startswith(settings.STATIC_URL)
