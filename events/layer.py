"""The channel layer. When it fails, a request or a reader waits for a moment and goes on without it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from media.pause import Pause

logger = logging.getLogger(__name__)

# How long anything waits for the channel layer, and how long the layer is left alone once it has failed.
PATIENCE_SECONDS = 3.0
REST_SECONDS = 3.0


class ProcessChannelLayer(InMemoryChannelLayer):
    """The channel layer of a service that runs in one process.

    The process has one channel and leaves each group that it no longer needs, so there is nothing to clean up. Channels
    would look at every group for each message.
    """

    def _clean_expired(self) -> None:
        """Do nothing."""


class Layer:
    """Uses the channel layer of the settings, and leaves it alone for a while after a failure."""

    def __init__(self) -> None:
        self.pause = Pause(REST_SECONDS)

    async def use(self, use: Callable[[Any], Awaitable[None]]) -> bool:
        """Do something with the layer, unless it failed a moment ago; return whether that was done."""
        if self.pause.lasts:
            return False
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await use(get_channel_layer())
        except Exception as error:
            self.pause.begin()
            logger.warning("The channel layer fails, events wait for heartbeats: %r", error)
            return False
        return True


LAYER = Layer()


def group_of(session_id: str) -> str:
    """Return the channel layer's group of a session's readers."""
    return f"session.{session_id}"


def message_to(session_id: str, **content: object) -> dict[str, object]:
    """Return a message to the processes that have readers of a session."""
    return {"type": "wake", "session": session_id, **content}
