"""Events of a session as an async iterator, over WebSocket or long poll."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

import websockets
from websockets.asyncio.client import ClientConnection

from sbe_client.channel import (
    LONGEST_MESSAGE,
    OPENING,
    SILENCE,
    Cursor,
    Missing,
    Reconnection,
    Transport,
    after_close,
    events_of,
    parse,
)
from sbe_client.errors import NetworkError, ProtocolError
from sbe_client.exchange import Response
from sbe_client.registration import Registration
from sbe_client.shapes import Event

logger = logging.getLogger(__name__)

# Events that wait for the application. When the queue is full, the stream reads no more, and continues later from the
# cursor: no event is lost.
_WAITING = 256

Poll = Callable[[int, int], Awaitable[Response]]


class EventStream:
    """Yields each event once and in order, until the session ends. Connects again by itself, from the cursor.

    Use it as a context manager: `async with client.events() as events: async for event in events: ...`. The event `gap`
    means that events were lost: read the conferences again.

    Iterating raises `SessionOver`, `ChannelReplaced`, or `ProtocolError` if the same unreadable message comes again and
    again. After a `ChannelReplaced`, connect again only if the user asks for it.
    """

    def __init__(self, registration: Registration, poll: Poll, after: int, tls: ssl.SSLContext | None) -> None:
        """Begin after event number `after`. `poll(after, wait)` sends one long poll."""
        self._registration, self._poll, self._tls = registration, poll, tls
        self._cursor = Cursor(after)
        self._again = Reconnection()
        self._queue: asyncio.Queue[Event | Exception] = asyncio.Queue(_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        # The `seq` of the last event that the application has received.
        self.cursor = after

    @property
    def transport(self) -> Transport:
        """How events arrive, or will arrive after the next attempt."""
        return self._again.transport

    async def opened(self, timeout: float = 10.0) -> None:
        """Wait until events arrive for the first time.

        :raises TimeoutError: when they do not within `timeout` seconds.
        """
        self._start()
        await asyncio.wait_for(self._opened.wait(), timeout)

    async def __aenter__(self) -> Self:
        """Start reading."""
        self._start()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop reading."""
        await self.aclose()

    def __aiter__(self) -> Self:
        """Iterate."""
        self._start()
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event. It may take any time; `asyncio.timeout` may bound it without losing an event."""
        if self._task is None:
            raise StopAsyncIteration
        event = await self._queue.get()
        if isinstance(event, Exception):
            await self.aclose()
            raise event
        self.cursor = event.oldest - 1 if event.type == "gap" else (event.seq or self.cursor)
        return event

    async def aclose(self) -> None:
        """Stop reading. May be repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="sbe-events")

    async def _run(self) -> None:
        try:
            while True:
                self._again.begin()
                await self._connect_once()
                await asyncio.sleep(self._again.pause())
        except Exception as error:
            await self._queue.put(error)

    async def _connect_once(self) -> None:
        try:
            if self._again.transport is Transport.WEBSOCKET:
                await self._read_socket()
            else:
                await self._long_poll()
        except ProtocolError as error:
            self._cursor.fault(error)
        except (OSError, TimeoutError, NetworkError, Missing, websockets.WebSocketException) as error:
            logger.info("The event channel is interrupted after event %d: %r", self._cursor.after, error)

    async def _read_socket(self) -> None:
        session = self._registration.registered
        connection = websockets.connect(
            f"{session.web_socket}?after={self._cursor.after}",
            subprotocols=[websockets.Subprotocol("sbe.v1"), websockets.Subprotocol(f"bearer.{session.token}")],
            ssl=self._tls if session.web_socket.startswith("wss:") else None,
            max_size=LONGEST_MESSAGE,
            open_timeout=OPENING,
            close_timeout=1,
            ping_interval=None,
        )
        socket = await connection
        try:
            self._again.opened()
            self._opened.set()
            await self._read(socket)
        finally:
            try:
                await socket.close()
            finally:
                # Closing properly can be interrupted.
                socket.transport.abort()

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._take(socket)
        except websockets.ConnectionClosed:
            if socket.close_code == 1009 or (socket.protocol.close_sent and socket.protocol.close_sent.code == 1009):
                raise ProtocolError("a message of the event channel is too large") from None
            after_close(socket.close_code)

    async def _take(self, socket: ClientConnection) -> None:
        message = await asyncio.wait_for(socket.recv(), SILENCE)
        data = parse(message)
        if data.get("type") == "heartbeat":
            # The answer repeats the heartbeat with its nonce.
            await asyncio.wait_for(socket.send(message), SILENCE)
            return
        for event in self._cursor.take(data):
            await self._queue.put(event)

    async def _long_poll(self) -> None:
        wait = 0
        while not self._again.upgrade_is_due():
            response = await self._poll(self._cursor.after, wait)
            events = events_of(response)
            if events is None:
                return
            self._again.polls()
            self._opened.set()
            for data in events:
                for event in self._cursor.take(data):
                    await self._queue.put(event)
            wait = self._again.wait


async def cancel(task: asyncio.Task[None] | None) -> None:
    """End a background task."""
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
