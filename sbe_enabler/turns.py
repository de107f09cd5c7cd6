"""Let the requests of one client network take turns, so that a crowd of them delays only themselves.

All requests share a loop and a few database threads, in the order of their arrival. A client with hundreds of
connections would otherwise stand in the queue hundreds of times. Here a few of its requests are served at a time, and
its others wait outside the queue. It loses nothing by that: a few are as many as there are threads.

The handshakes of WebSockets take turns too. Where a request follows the event channel, its turn ends when it has read
the log and only waits for events.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from events.authentication import network_of
from events.turns import END_TURN
from sbe_enabler.connections import Application, Receive, Scope, Send, refuse

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
    """An ASGI application that serves a few requests and handshakes of each client network at a time."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._turns: dict[Queue, _Turns] = {}

    @property
    def queues(self) -> int:
        """How many queues have requests that are served or wait."""
        return len(self._turns)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request when its turn has come. The turn ends with the answer, or when it is read slowly."""
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
    """The turn of one request in its queue, which is wanted from the beginning."""

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
        """Let the next request have its turn, if none has it already."""
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
        """Return a function that sends the answer, and limits the turn once the answer comes in parts."""

        async def send_in_turn(message: Mapping[str, Any]) -> None:
            if not self._is_limited and (message.get("more_body") or message["type"] == "websocket.accept"):
                self._is_limited = True
                asyncio.get_running_loop().call_later(_LONGEST_ANSWER, self.end)
            await send(message)
            if message["type"] == "websocket.close":
                # Its application waits on until the client has closed too.
                self.end()

        return send_in_turn


def _needs_threads(path: str) -> bool:
    """Tell whether a request needs a database thread. The others have a queue of their own.

    While the database hangs, `/healthz` must not wait for those that wait for it.
    """
    return path != "/healthz" and not path.startswith(settings.STATIC_URL)
