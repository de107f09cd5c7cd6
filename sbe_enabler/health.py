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

# How long to wait for each answer.
_PATIENCE_SECONDS = 2.0

T = TypeVar("T")


class Silence(Enum):
    """The result of a check that got no answer in time."""

    SILENT = 0


# One thread queries the database. While it waits, further requests wait for the same answer.
_asker = ThreadPoolExecutor(1, thread_name_prefix="healthz")


class _Question:
    """The current query of the database, shared by all requests that wait for it."""

    _future: "Future[dict[str, dict[str, int]]] | None" = None

    def ask(self) -> "asyncio.Future[dict[str, dict[str, int]]]":
        """Start a query unless one is running; return a future of its result."""
        if self._future is None or self._future.done():
            self._future = _asker.submit(ask_database)
        # A caller that stops waiting must not cancel the query: others may wait for it.
        answer = asyncio.wrap_future(self._future)
        # Retrieve the error here: if all callers have stopped waiting, asyncio would log it as never retrieved.
        answer.add_done_callback(lambda future: future.cancelled() or future.exception())
        return asyncio.shield(answer)


_question = _Question()


def ask_database() -> dict[str, dict[str, int]]:
    """Return the counters of each live media node. The connection to the database is new and closed afterwards."""
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


async def _answer(name: str, question: Awaitable[T]) -> T | Silence:
    """Wait for an answer; return SILENT if it fails or takes longer than _PATIENCE_SECONDS. `name` is for the log."""
    try:
        return await asyncio.wait_for(question, _PATIENCE_SECONDS)
    except Exception as error:
        logger.warning("%s does not answer: %s", name, type(error).__name__)
        return Silence.SILENT


async def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 if the database and the channel layer answer, otherwise 503, within _PATIENCE_SECONDS.

    The body lists the live media nodes with their counters. They do not affect the status: without a node, only
    conferences of topology `focus` are refused.
    """
    database, channel_layer = await asyncio.gather(
        _answer("The database", _question.ask()),
        _answer("The channel layer", ask_channel_layer()),
    )
    healthy = Silence.SILENT not in (database, channel_layer)
    state = {
        "status": "ok" if healthy else "unavailable",
        "database": "unavailable" if database is Silence.SILENT else "ok",
        "channelLayer": "unavailable" if channel_layer is Silence.SILENT else "ok",
        "mediaNodes": {} if database is Silence.SILENT else database,
        "version": __version__,
    }
    return JsonResponse(state, status=200 if healthy else 503, headers={"Cache-Control": "no-store"})
