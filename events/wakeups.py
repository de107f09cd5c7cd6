"""Wake the readers of a session's log through the channel layer.

A wake-up carries the new events along, so that a reader who is up to date need not ask the database. One that is
lost, late or out of order costs latency, never an event: the log is what counts, and its numbers show a reader what
is missing.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asgiref.sync import async_to_sync

from events.layer import LAYER, REST_SECONDS, group_of, message_to
from events.threads import run_in_server_loop

# What is larger than this in all is left for the reader to fetch.
CARRIED_CHARACTERS = 64 * 1024


def wake(news: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    """Hand each session's new events (their numbers and wires) to its readers, from a thread that runs sync code."""
    messages = {
        session_id: message_to(session_id, news=entries if _is_light(entries) else [])
        for session_id, entries in news.items()
    }
    _send_from_thread(messages)


def tell_ephemeral(session_ids: Iterable[str], wire: str) -> None:
    """Tell these sessions' WebSockets something that passes: it is in no log, and whoever misses it misses nothing."""
    _send_from_thread({session_id: message_to(session_id, news=[(None, wire)]) for session_id in session_ids})


def end(session_id: str) -> None:
    """Tell the readers of a session that it is over, from a thread that runs sync code."""
    _send_from_thread({session_id: message_to(session_id, news=[])})


def _send_from_thread(messages: Mapping[str, dict[str, object]]) -> None:
    """Send wake-ups on the server's loop: its requests do not wait for that. Commands and tests have no server."""
    if not run_in_server_loop(_send_or_owe, messages):
        async_to_sync(send)(messages)


def _is_light(entries: Sequence[tuple[int, str]]) -> bool:
    """Tell whether these events may travel through the channel layer."""
    return sum(len(wire) for _, wire in entries) <= CARRIED_CHARACTERS


async def send(messages: Mapping[str, dict[str, object]]) -> bool:
    """Send wake-ups to groups; return whether the layer took them.

    The rows are committed: whom a wake-up misses finds them at the next heartbeat.
    """

    async def send_all(layer: Any) -> None:
        for session_id, message in messages.items():
            await layer.group_send(group_of(session_id), message)

    return await LAYER.use(send_all)


async def _send_or_owe(messages: Mapping[str, dict[str, object]]) -> None:
    """Send wake-ups. If the layer is down, send the readers to the log as soon as it takes something again."""
    if not await send(messages):
        _debts.add(messages)


class _Debts:
    """The sessions whose wake-ups the layer did not take."""

    def __init__(self) -> None:
        self._sessions: set[str] = set()
        self._payer: asyncio.Task[None] | None = None

    def add(self, session_ids: Iterable[str]) -> None:
        """Note sessions."""
        self._sessions.update(session_ids)
        if self._payer is None or self._payer.done():
            self._payer = asyncio.create_task(self._pay())

    async def _pay(self) -> None:
        """Send all of them to the log, once the layer takes that."""
        while self._sessions:
            await asyncio.sleep(REST_SECONDS)
            owed = frozenset(self._sessions)
            if await send({session_id: message_to(session_id, news=[]) for session_id in owed}):
                self._sessions -= owed


_debts = _Debts()
