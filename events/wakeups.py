"""Wake the readers of a session's log through the channel layer. A lost wake-up costs latency, never an event."""

import asyncio
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

# Sent in the place of a number when the session is over: look whether you may go on.
OVER = 2**62


def _group(session_id: str) -> str:
    """Return the channel layer's group of a session's readers."""
    return f"session.{session_id}"


def wake(newest: Mapping[str, int]) -> None:
    """Tell the readers of each session the number of its newest event, from a thread that runs sync code."""
    async_to_sync(_wake)(newest)


async def _wake(newest: Mapping[str, int]) -> None:
    layer: Any = get_channel_layer()
    try:
        for session_id, seq in newest.items():
            await layer.group_send(_group(session_id), {"type": "wake", "seq": seq})
    except Exception:
        # The rows are committed: readers find them at their next heartbeat.
        logger.exception("The channel layer does not take wake-ups")


class Alarm:
    """Waits for the wake-ups of one session. Use it as an async context manager."""

    def __init__(self, session_id: str) -> None:
        self._group = _group(session_id)
        self._layer: Any = get_channel_layer()
        self._channel = ""

    async def __aenter__(self) -> Self:
        self._channel = await self._layer.new_channel()
        await self._layer.group_add(self._group, self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._layer.group_discard(self._group, self._channel)

    async def wait(self, seconds: float) -> int:
        """Wait for a wake-up and return the number of the newest event, or `OVER`.

        :raises TimeoutError: when `seconds` pass without one.
        """
        async with asyncio.timeout(seconds):
            message = await self._layer.receive(self._channel)
        return int(message["seq"])
