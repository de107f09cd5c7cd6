"""Whether this process can do its work: what a gateway or a supervisor asks."""

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

_PATIENCE_SECONDS = 2.0

T = TypeVar("T")


class Silence(Enum):
    """No answer."""

    SILENT = 0


# One thread asks the database. While it waits, further requests wait for the same answer.
_asker = ThreadPoolExecutor(1, thread_name_prefix="healthz")


class _Question:
    """The question to the database that is under way."""

    _future: "Future[dict[str, dict[str, int]]] | None" = None

    def ask(self) -> "asyncio.Future[dict[str, dict[str, int]]]":
        """Ask, unless the last question still waits; return its answer."""
        if self._future is None or self._future.done():
            self._future = _asker.submit(ask_database)
        # A caller that stops waiting must not cancel the question: others may wait for it.
        answer = asyncio.wrap_future(self._future)
        # After the last caller has stopped waiting, nobody else retrieves the error.
        answer.add_done_callback(lambda future: future.cancelled() or future.exception())
        return asyncio.shield(answer)


_question = _Question()


def ask_database() -> dict[str, dict[str, int]]:
    """Ask the database which media nodes live and what they count, on a connection of this thread's own."""
    try:
        return tasks.live_counters(now=clock.now())
    finally:
        connection.close()


async def ask_channel_layer() -> None:
    """Hand the channel layer a message that nobody waits for."""
    layer = get_channel_layer()
    if layer is None:
        raise LookupError("no channel layer is configured")
    await layer.group_send("healthz", {"type": "healthz"})


async def _answer(name: str, question: Awaitable[T]) -> T | Silence:
    """Return the answer to a question; SILENT where none comes in time."""
    try:
        return await asyncio.wait_for(question, _PATIENCE_SECONDS)
    except Exception as error:
        logger.warning("%s does not answer: %s", name, type(error).__name__)
        return Silence.SILENT


async def healthz(request: HttpRequest) -> JsonResponse:
    """Tell whether the database and the channel layer answer: 200 when both do, otherwise 503, in seconds.

    Media nodes are told of with what they count; without one, only conferences of topology `focus` are refused.
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
