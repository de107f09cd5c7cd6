"""Whether this process can do its work: what a gateway or a supervisor asks."""

import asyncio
import logging
from collections.abc import Awaitable
from enum import Enum
from typing import TypeVar

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from media import tasks
from sbe_enabler import __version__

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 2.0

T = TypeVar("T")


class Silence(Enum):
    """No answer."""

    SILENT = 0


def _ask_database() -> dict[str, dict[str, int]]:
    """Ask the database which media nodes live and what they count, on a connection of this thread's own."""
    try:
        return tasks.live_counters(now=timezone.now())
    finally:
        connection.close()


async def _ask_channel_layer() -> None:
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
    # Not thread-sensitive: a database that hangs must not hold the request's own thread, which the end of the
    # request waits for.
    database, channel_layer = await asyncio.gather(
        _answer("The database", sync_to_async(_ask_database, thread_sensitive=False)()),
        _answer("The channel layer", _ask_channel_layer()),
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
