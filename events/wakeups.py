"""Wake the readers of a session's log through the channel layer.

A wake-up carries the new events along, so that a reader who is up to date need not ask the database. One that is
lost, late or out of order costs latency, never an event: the log is what counts, and its numbers show a reader what
is missing.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

# What is larger than this in all is left for the reader to fetch.
CARRIED_CHARACTERS = 64 * 1024
_WAITING_WAKE_UPS = 16

News = list[tuple[int, str]]


def _group(session_id: str) -> str:
    """Return the channel layer's group of a session's readers."""
    return f"session.{session_id}"


def wake(news: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    """Hand each session's new events (their numbers and wires) to its readers, from a thread that runs sync code."""
    messages: dict[str, dict[str, object]] = {
        session_id: {"type": "wake", "news": entries if _is_light(entries) else []}
        for session_id, entries in news.items()
    }
    async_to_sync(_send)(messages)


def end(session_id: str) -> None:
    """Tell the readers of a session that it is over, from a thread that runs sync code."""
    async_to_sync(_send)({session_id: {"type": "wake", "news": []}})


def _is_light(entries: Sequence[tuple[int, str]]) -> bool:
    """Tell whether these events may travel through the channel layer."""
    return sum(len(wire) for _, wire in entries) <= CARRIED_CHARACTERS


async def _send(messages: Mapping[str, dict[str, object]]) -> None:
    layer: Any = get_channel_layer()
    try:
        for session_id, message in messages.items():
            await layer.group_send(_group(session_id), message)
    except Exception:
        # The rows are committed: readers find them at their next heartbeat.
        logger.exception("The channel layer does not take wake-ups")


class Alarm:
    """Waits for the wake-ups of one session. Use it as an async context manager."""

    def __init__(self, session_id: str) -> None:
        self._group = _group(session_id)
        self._layer: Any = get_channel_layer()
        self._news: asyncio.Queue[News] = asyncio.Queue(_WAITING_WAKE_UPS)

    async def __aenter__(self) -> Self:
        self._channel = await self._layer.new_channel()
        await self._layer.group_add(self._group, self._channel)
        # Channels layers take a cancelled `receive` for the end of the channel, so it must not be what times out.
        self._receiver = asyncio.create_task(self._receive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._layer.group_discard(self._group, self._channel)
        self._receiver.cancel()
        await asyncio.gather(self._receiver, return_exceptions=True)

    async def wait(self, seconds: float) -> News:
        """Wait for a wake-up and return the events that it carries; none means that the log is to be read.

        :raises TimeoutError: when `seconds` pass without one.
        """
        async with asyncio.timeout(seconds):
            return await self._news.get()

    async def _receive(self) -> None:
        """Take in wake-ups. When a slow reader leaves too many waiting, one that sends it to the log replaces them."""
        while True:
            message = await self._layer.receive(self._channel)
            if self._news.full():
                while not self._news.empty():
                    self._news.get_nowait()
                message = {"news": []}
            self._news.put_nowait([(int(seq), str(wire)) for seq, wire in message["news"]])
