"""Whether this process can do its work: what a gateway or a supervisor asks."""

import asyncio
import logging
from collections.abc import Awaitable

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import connection
from django.http import HttpRequest, JsonResponse

from sbe_enabler import __version__

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 2.0


def _ask_database() -> None:
    """Make one round trip to the database, on a connection of this thread's own."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


async def _ask_channel_layer() -> None:
    """Hand the channel layer a message that nobody waits for."""
    layer = get_channel_layer()
    if layer is None:
        raise LookupError("no channel layer is configured")
    await layer.group_send("healthz", {"type": "healthz"})


async def _works(name: str, question: Awaitable[None]) -> bool:
    """Return whether the question is answered in time."""
    try:
        await asyncio.wait_for(question, _PATIENCE_SECONDS)
    except Exception as error:
        logger.warning("%s does not answer: %s", name, type(error).__name__)
        return False
    return True


async def healthz(request: HttpRequest) -> JsonResponse:
    """Tell whether the database and the channel layer answer: 200 when both do, otherwise 503, in seconds."""
    # Not thread-sensitive: a database that hangs must not hold the request's own thread, which the end of the
    # request waits for.
    database, channel_layer = await asyncio.gather(
        _works("The database", sync_to_async(_ask_database, thread_sensitive=False)()),
        _works("The channel layer", _ask_channel_layer()),
    )
    healthy = database and channel_layer
    state = {
        "status": "ok" if healthy else "unavailable",
        "database": "ok" if database else "unavailable",
        "channelLayer": "ok" if channel_layer else "unavailable",
        "version": __version__,
    }
    return JsonResponse(state, status=200 if healthy else 503, headers={"Cache-Control": "no-store"})
