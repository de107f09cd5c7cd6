"""Wake the readers of a session's log through the channel layer.

A wake-up carries the new events, so a reader that is up to date needs no query. A wake-up that is lost, late or out of
order delays an event but never loses one: if a number is missing, the reader reads the log.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asgiref.sync import async_to_sync

from events.layer import LAYER, PAUSE_SECONDS, group_of, message_to
from events.threads import run_in_server_loop

# The most characters of events that a wake-up carries. If the events are longer, it carries none of them, and readers
# read the log.
CARRIED_CHARACTERS = 64 * 1024


def wake(news: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    """Send each session's new events (number and JSON) to its readers. Call this from a thread that runs sync code."""
    messages = {
        session_id: message_to(session_id, news=entries if _is_small(entries) else [])
        for session_id, entries in news.items()
    }
    _send_from_thread(messages)


def send_ephemeral(session_ids: Iterable[str], wire: str) -> None:
    """Send an ephemeral event to the open WebSockets of these sessions. The event is not stored and not sent again."""
    _send_from_thread({session_id: message_to(session_id, ephemeral=wire) for session_id in session_ids})


def end(session_ids: Iterable[str]) -> None:
    """Tell the readers of sessions that these are over. Call this from a thread that runs sync code."""
    _send_from_thread({session_id: message_to(session_id, news=[]) for session_id in session_ids})


def _send_from_thread(messages: Mapping[str, dict[str, object]]) -> None:
    """Send wake-ups on the server's loop and do not wait. Without a server (commands, tests), send and wait."""
    if not run_in_server_loop(_send_or_retry, messages):
        async_to_sync(send)(messages)


def _is_small(entries: Sequence[tuple[int, str]]) -> bool:
    """Return whether these events are small enough to be carried by a wake-up."""
    return sum(len(wire) for _, wire in entries) <= CARRIED_CHARACTERS


async def send(messages: Mapping[str, dict[str, object]]) -> bool:
    """Send wake-ups to the sessions' groups; return whether the channel layer accepted all of them.

    The events are committed already. Readers that miss a wake-up get its events at the next heartbeat, when the
    watcher finds them.
    """

    async def send_all(layer: Any) -> None:
        for session_id, message in messages.items():
            await layer.group_send(group_of(session_id), message)

    return await LAYER.use(send_all)


async def _send_or_retry(messages: Mapping[str, dict[str, object]]) -> None:
    """Send wake-ups. If the layer is down, retry the sessions that were missed."""
    if not await send(messages):
        _missed.add(messages)


class _MissedSessions:
    """The sessions whose wake-ups the layer did not accept, and the task that retries them."""

    def __init__(self) -> None:
        self._sessions: set[str] = set()
        self._retrying: asyncio.Task[None] | None = None

    def add(self, session_ids: Iterable[str]) -> None:
        """Add sessions, and start the retries if they are not running."""
        self._sessions.update(session_ids)
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry())

    async def _retry(self) -> None:
        """Every PAUSE_SECONDS, send a wake-up without events to all missed sessions, until the layer accepts it."""
        while self._sessions:
            await asyncio.sleep(PAUSE_SECONDS)
            missed = frozenset(self._sessions)
            if await send({session_id: message_to(session_id, news=[]) for session_id in missed}):
                self._sessions -= missed


_missed = _MissedSessions()
