"""The single channel of the channel layer through which a process receives messages for all its readers.

The channel is a member of the group of each session that has readers in this process. Each message goes to the readers
of its session. Only `READERS` decides which groups the channel belongs to. If the layer fails to add the channel to a
group or to remove it, the inbox retries until the groups match `READERS`.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from django.conf import settings

from events.layer import LAYER, PAUSE_SECONDS, TIMEOUT_SECONDS, group_of, message_to
from events.readers import READERS, Rank

logger = logging.getLogger(__name__)

# The seconds in which other processes may report their readers of a session, after a reader was added.
_COUNT_SECONDS = 10.0


class Inbox:
    """The channel of one event loop. A server process runs one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = asyncio.Lock()
        self._channel = ""
        self._receiver: asyncio.Task[None] | None = None
        self._outdated: set[str] = set()
        self._counts: dict[Rank, set[Rank]] = {}
        # Keep references to tasks: the event loop holds only weak ones.
        self._tasks: set[asyncio.Task[object]] = set()

    async def update_group(self, session_id: str) -> None:
        """Join a session's group if the session has readers in this process, otherwise leave the group.

        Joining again renews the membership.
        """
        if not await self._try_to_update_group(session_id):
            if not self._outdated:
                self._run(self._retry())
            self._outdated.add(session_id)

    async def count_readers(self, session_id: str, rank: Rank) -> None:
        """Ask the other processes for their readers of a session. Call this after adding a reader with this `rank`.

        If the session then has more than READERS_PER_SESSION readers, `_count` replaces the oldest.
        """
        self._counts[rank] = {reader.rank for reader in READERS.of(session_id)}
        self.loop.call_later(_COUNT_SECONDS, self._counts.pop, rank, None)
        await self._send(session_id, joined=rank, channel=self._channel)

    # --- Groups ---

    async def _try_to_update_group(self, session_id: str) -> bool:
        """Join or leave a group; return whether the layer succeeded."""
        async with self._lock:
            if READERS.of(session_id):
                return await LAYER.use(lambda layer: self._join(layer, session_id))
            if self._receiver is None:
                return True
            is_done = await LAYER.use(lambda layer: layer.group_discard(group_of(session_id), self._channel))
            if is_done and READERS.is_empty and self._outdated <= {session_id}:
                await self._close()
            return is_done

    async def _join(self, layer: Any, session_id: str) -> None:
        if self._receiver is None:
            self._channel = await layer.new_channel()
            # Receive in a task without timeout: channel layers drop a channel whose `receive` is cancelled.
            self._receiver = self.loop.create_task(self._receive(layer), name="inbox")
        await layer.group_add(group_of(session_id), self._channel)

    async def _close(self) -> None:
        """Stop receiving, because the process has no readers."""
        if self._receiver is not None:
            self._receiver.cancel()
            await asyncio.wait([self._receiver], timeout=TIMEOUT_SECONDS)
            self._receiver = None

    async def _retry(self) -> None:
        """Try again to join or leave the groups for which the layer failed.

        After that, the readers of each group read the log for missed events.
        """
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            for session_id in list(self._outdated):
                if not await self._try_to_update_group(session_id):
                    break
                self._outdated.discard(session_id)
                for reader in READERS.of(session_id):
                    reader.take([])
            if not self._outdated:
                return

    # --- Messages ---

    async def _receive(self, layer: Any) -> None:
        """Receive messages until cancelled."""
        while True:
            try:
                message = await layer.receive(self._channel)
            except Exception:
                logger.exception("The channel layer failed; a message may be lost")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                self._handle(message)
            except Exception:
                # Do not pause: messages for other sessions may be waiting.
                logger.exception("A message from the channel layer could not be handled")

    def _handle(self, message: dict[str, Any]) -> None:
        """Handle a message: a wake-up, or a message about readers in other processes."""
        match message:
            case {"session": session_id, "news": entries}:
                news = [(int(seq), str(wire)) for seq, wire in entries]
                for reader in READERS.of(session_id):
                    reader.take(news)
            case {"session": session_id, "ephemeral": wire}:
                for reader in READERS.of(session_id):
                    reader.take([(None, str(wire))])
            case {"session": session_id, "joined": joined, "channel": channel} if channel != self._channel:
                ranks = [reader.rank for reader in READERS.of(session_id)]
                answer = message_to(session_id, called=joined, ranks=ranks)
                self._run(LAYER.use(lambda layer: layer.send(channel, answer)))
            case {"session": session_id, "called": [called_at, name], "ranks": ranks}:
                self._count(session_id, (called_at, name), {(joined_at, other) for joined_at, other in ranks})
            case {"session": session_id, "replaced": [_, name]}:
                for reader in READERS.of(session_id):
                    if reader.rank[1] == name:
                        READERS.replace(reader)

    def _count(self, session_id: str, called: Rank, ranks: set[Rank]) -> None:
        """Count the readers of another process. Replace the oldest readers while there are too many in total."""
        known = self._counts.get(called, set())
        known |= ranks
        while called in known and len(known) > settings.READERS_PER_SESSION:
            oldest = min(known)
            known.remove(oldest)
            self._run(self._send(session_id, replaced=oldest))

    async def _send(self, session_id: str, **content: object) -> None:
        """Send a message to all processes that have readers of a session."""
        message = message_to(session_id, **content)
        await LAYER.use(lambda layer: layer.group_send(group_of(session_id), message))

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_inbox: Inbox | None = None


def inbox() -> Inbox:
    """Return the inbox of the running event loop."""
    global _inbox
    loop = asyncio.get_running_loop()
    if _inbox is None or _inbox.loop is not loop:
        _inbox = Inbox(loop)
    return _inbox
