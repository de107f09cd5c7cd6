"""`/healthz`, by which a gateway or a supervisor checks whether this process can work."""

import asyncio
import logging
from collections.abc import Awaitable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from typing import TypeVar

from channels.layers import get_channel_layer
from django.db import connection
from django.http import HttpRequest, JsonResponse

from events import clock
from media import tasks
from sbe_enabler import __version__

logger = logging.getLogger(__name__)

# How long to wait for the database and for the channel layer.
_TIMEOUT_SECONDS = 2.0

T = TypeVar("T")


class NoAnswer(Enum):
    """The result of a check that got no answer in time."""

    NO_ANSWER = 0


# One thread queries the database. While this thread waits, further requests wait for the same answer.
_executor = ThreadPoolExecutor(1, thread_name_prefix="healthz")


class _DatabaseQuery:
    """The current query of the database, shared by all requests that wait for it."""

    _future: "Future[dict[str, dict[str, int]]] | None" = None

    def result(self) -> "asyncio.Future[dict[str, dict[str, int]]]":
        """Start a query unless one is running; return a future of its result."""
        if self._future is None or self._future.done():
            self._future = _executor.submit(ask_database)
        # A caller that stops waiting must not cancel the query: other callers may wait for it.
        answer = asyncio.wrap_future(self._future)
        # Retrieve the error here: if all callers have stopped waiting, asyncio would log it as never retrieved.
        answer.add_done_callback(lambda future: future.cancelled() or future.exception())
        return asyncio.shield(answer)


_query = _DatabaseQuery()


def ask_database() -> dict[str, dict[str, int]]:
    """Return the counters of each live media node. This opens a new connection to the database and closes it."""
    try:
        return tasks.live_counters(now=clock.now())
    finally:
        connection.close()


async def ask_channel_layer() -> None:
    """Send a message to a group without members."""
    layer = get_channel_layer()
    if layer is None:
        raise LookupError("no channel layer is configured")
    await layer.group_send("healthz", {"type": "healthz"})


async def _answer_in_time(name: str, answer: Awaitable[T]) -> T | NoAnswer:
    """Wait for an answer; return NO_ANSWER if it fails or takes longer than _TIMEOUT_SECONDS. `name` is for the log."""
    try:
        return await asyncio.wait_for(answer, _TIMEOUT_SECONDS)
    except Exception as error:
        logger.warning("%s does not answer: %s", name, type(error).__name__)
        return NoAnswer.NO_ANSWER


async def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 if the database and the channel layer answer, otherwise 503, within _TIMEOUT_SECONDS.

    The body lists the live media nodes with their counters. Nodes do not affect the status: without a node, only
    conferences of topology `focus` are refused.
    """
    database, channel_layer = await asyncio.gather(
        _answer_in_time("The database", _query.result()),
        _answer_in_time("The channel layer", ask_channel_layer()),
    )
    healthy = NoAnswer.NO_ANSWER not in (database, channel_layer)
    state = {
        "status": "ok" if healthy else "unavailable",
        "database": "unavailable" if database is NoAnswer.NO_ANSWER else "ok",
        "channelLayer": "unavailable" if channel_layer is NoAnswer.NO_ANSWER else "ok",
        "mediaNodes": {} if database is NoAnswer.NO_ANSWER else database,
        "version": __version__,
    }
    return JsonResponse(state, status=200 if healthy else 503, headers={"Cache-Control": "no-store"})
