"""Bounded use of the channel layer.

When the layer fails, requests and readers wait for at most TIMEOUT_SECONDS and continue without it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from media.pause import Pause

logger = logging.getLogger(__name__)

# The timeout of each use of the channel layer, and the time after a failure in which it is not used.
TIMEOUT_SECONDS = 3.0
PAUSE_SECONDS = 3.0


class ProcessChannelLayer(InMemoryChannelLayer):
    """The in-memory channel layer of a service that runs in one process.

    Channels' own layer searches every group for expired members at each message. This search is not needed here: the
    process has one channel, which leaves each group that it no longer needs.
    """

    def _clean_expired(self) -> None:
        """Do nothing."""


class Layer:
    """Uses the configured channel layer, with a timeout. After a failure it skips all uses for PAUSE_SECONDS."""

    def __init__(self) -> None:
        self.pause = Pause(PAUSE_SECONDS)

    async def use(self, use: Callable[[Any], Awaitable[None]]) -> bool:
        """Call `use` with the layer. Return False if `use` fails or times out, or if the layer failed recently."""
        if self.pause.lasts:
            return False
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await use(get_channel_layer())
        except Exception as error:
            self.pause.begin()
            logger.warning("The channel layer failed; events may be late by one heartbeat: %r", error)
            return False
        return True


LAYER = Layer()


def group_of(session_id: str) -> str:
    """Return the name of the group for a session's readers."""
    return f"session.{session_id}"


def message_to(session_id: str, **content: object) -> dict[str, object]:
    """Build a message for the group of a session's readers."""
    return {"type": "wake", "session": session_id, **content}
