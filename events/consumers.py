"""The event channel over WebSocket: a thin adapter over the reader (protocol section 5).

The client echoes each heartbeat. A heartbeat carries a nonce, so only a client that reads can echo it. Heartbeats are
also the flow control: the bytes sent since the last echoed heartbeat are bounded. The server closes a WebSocket that
leaves two heartbeats unanswered. The client then reconnects and resumes from its cursor.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from autobahn.exception import Disconnected
from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from events.cursor import CursorError, parse_cursor
from events.exceptions import RateLimitedError, UnauthenticatedError
from events.heartbeats import HEARTBEATS
from events.problems import OUTAGE, log_outage
from events.reader import Reader, SessionOverError
from events.readers import ReplacedError
from events.threads import in_database_thread
from events.throttles import admit
from events.turns import turn_end_of

logger = logging.getLogger(__name__)

PROTOCOL = "sbe.v1"
_BEARER = "bearer."
# Close codes: the HTTP status plus 4000. Autobahn can send only the codes 1000 and 3000 to 4999.
MALFORMED, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, TOO_SLOW = 4400, 4401, 4403, 4404, 4408
REPLACED, TOO_OFTEN = 4409, 4429
FAILED, UNAVAILABLE = 4500, 4503
# The client disconnected without a close frame (RFC 6455 section 7.1.5).
_GONE = 1006
# The most bytes to send to a client after the last heartbeat that the client has echoed.
UNANSWERED_BYTES = 1024 * 1024
# The longest message to accept from a client, in characters. Clients only echo heartbeats.
_CLIENT_MESSAGE_LIMIT = 1024


class LeanConsumer(AsyncWebsocketConsumer):
    """A Channels WebSocket consumer that runs in the task that called it and has no channel of its own.

    Channels' own consumer starts a task for each message. It also closes old database connections, in threads that
    this consumer does not use.
    """

    groups: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one WebSocket until it disconnects."""
        self.scope, self.base_send = scope, send
        try:
            # Do not store the message in a variable: it would stay in memory while the loop awaits the next message.
            while await self._serve(await receive()):
                pass
        finally:
            await self.disconnect(_GONE)

    async def _serve(self, message: dict[str, Any]) -> bool:
        """Call the handler of a message; return False when the WebSocket has disconnected."""
        if message["type"] == "websocket.disconnect":
            return False
        await getattr(self, get_handler_name(message))(message)
        return True

    def free_handshake(self) -> None:
        """Free the memory of the handshake. Channels' routers keep the scope until the WebSocket closes."""
        scope: Any = self.scope
        scope["headers"].clear()
        scope["subprotocols"].clear()
        scope.clear()


class EventsConsumer(LeanConsumer):
    """One WebSocket of one session. Its sending task exists only while there is something to send."""

    _reader: Reader | None = None
    _sender: asyncio.Task[None] | None = None
    _is_beat_due = _is_replaced = False
    _answered: asyncio.Event | None = None
    _nonce: str | None = None
    _beat_sent_at = 0.0
    _bytes_unanswered = _bytes_since_beat = 0

    async def connect(self) -> None:
        """Authenticate the client and start to follow the session's log, or close with the code of the refusal."""
        # Accept first: browsers only see the close code of an accepted WebSocket.
        await self.accept(subprotocol=PROTOCOL if PROTOCOL in self.scope["subprotocols"] else None)
        if not self._is_host_and_origin_allowed():
            return await self.close(FORBIDDEN)
        session_id = self.scope["url_route"]["kwargs"]["session_id"]
        try:
            address, _ = self.scope.get("client") or ("", 0)
            # Run `admit` in its own task, so that the context variables that it sets are freed with that task.
            admission = in_database_thread(admit)(address, *self._credentials(session_id))
            principal = await asyncio.create_task(admission)
            query = parse_qs(self.scope["query_string"].decode("latin-1"))
            after = parse_cursor(query.get("after", ["0"])[0])
        except UnauthenticatedError:
            return await self.close(UNAUTHENTICATED)
        except RateLimitedError:
            return await self.close(TOO_OFTEN)
        except CursorError:
            return await self.close(MALFORMED)
        except OUTAGE as error:
            log_outage(error)
            return await self.close(UNAVAILABLE)
        if principal.session is None or principal.session.pk != session_id:
            return await self.close(NOT_FOUND)
        self._reader = Reader(session_id, after, self._start_sending, ephemeral=True, on_replaced=self.stop_replaced)
        self._sender = asyncio.create_task(self._start(self._reader, turn_end_of(self.scope)))
        HEARTBEATS.add(self)
        self.free_handshake()
        return None

    async def disconnect(self, code: int) -> None:
        """Stop sending and stop the reader."""
        HEARTBEATS.remove(self)
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        if self._reader is not None:
            await self._reader.stop()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle the echo of a heartbeat, the only message that a client may send."""
        if text_data is None or len(text_data) > _CLIENT_MESSAGE_LIMIT or self._reader is None:
            return await self.close(MALFORMED)
        if self._nonce is not None and _nonce_in(text_data) == self._nonce:
            # The client has read everything that was sent before this heartbeat.
            self._nonce, self._bytes_unanswered = None, self._bytes_since_beat
            if self._answered is not None:
                self._answered.set()
        return None

    def _credentials(self, session_id: str) -> tuple[str, str | None]:
        """Return the credentials of the handshake: `Authorization` (in browsers, a subprotocol) and `x-session-id`."""
        for protocol in self.scope["subprotocols"]:
            if protocol.startswith(_BEARER):
                return f"Bearer {protocol.removeprefix(_BEARER)}", None
        headers = dict(self.scope["headers"])
        return headers.get(b"authorization", b"").decode("latin-1"), session_id

    def _is_host_and_origin_allowed(self) -> bool:
        """Return whether `Host` is in ALLOWED_HOSTS, and `Origin` is missing, allowed or the same as the host.

        Without the check of `Host`, a page on a foreign domain that resolves to this server would count as same-origin.
        """
        headers = {name: value.decode("latin-1") for name, value in self.scope["headers"]}
        try:
            own_host = _named_host(headers)
            origin = headers.get(b"origin", "")
            return not origin or origin in settings.ALLOWED_ORIGINS or urlsplit(origin).netloc == own_host
        except (DisallowedHost, ValueError):
            return False

    def beat(self) -> None:
        """Send a heartbeat as soon as the sending task is free."""
        self._is_beat_due = True
        self._start_sending()

    def _start_sending(self) -> None:
        """Start the sending task, unless it is running already or has closed the WebSocket."""
        if self._sender is None and self._reader is not None:
            self._sender = asyncio.create_task(self.send_on(self._reader))

    def stop_replaced(self) -> None:
        """Stop at once because newer readers replaced this one, even if a send is blocked by a slow client."""
        self._is_replaced = True
        if self._sender is None:
            self._start_sending()
        else:
            self._sender.cancel()

    async def _start(self, reader: Reader, end_turn: Callable[[], None]) -> None:
        """Register the reader, send the log so far, and end the turn of this handshake."""
        await self.send_on(reader, is_new=True)
        end_turn()

    async def send_on(self, reader: Reader, *, is_new: bool = False) -> None:
        """Send what is pending. If the session is over or sending fails, close the WebSocket and stop the reader."""
        code = await self._try_to_send(reader, is_new=is_new)
        if code is None:
            self._sender = None
            return
        HEARTBEATS.remove(self)
        if code != _GONE:
            await self.close(code)
        await reader.stop()

    async def _try_to_send(self, reader: Reader, *, is_new: bool) -> int | None:
        """Send what is pending; return the close code if the WebSocket must be closed, otherwise None."""
        try:
            if is_new:
                await reader.start()
            await self._send(reader)
        except SessionOverError:
            return UNAUTHENTICATED
        except (asyncio.CancelledError, ReplacedError):
            # `stop_replaced` cancels this task. If a library swallows the cancellation, the reader raises
            # ReplacedError instead.
            if not self._is_replaced:
                raise
            return REPLACED
        except TimeoutError:
            return TOO_SLOW
        except OUTAGE as error:
            log_outage(error)
            return UNAVAILABLE
        except Disconnected:
            # The client disconnected during a send. It reconnects with its cursor.
            return _GONE
        except Exception:
            # Close, so that the client reconnects with its cursor. An open WebSocket would get no more events.
            logger.exception("The event channel of session %s failed", reader.session_id)
            return FAILED
        return None

    async def _send(self, reader: Reader) -> None:
        """Send all events after the cursor, and the heartbeat if one is due."""
        while reader.has_news or self._is_beat_due:
            for entry in await reader.next() if reader.has_news else ():
                await self._wait_for_room(len(entry.wire.encode()))
                await self.send(text_data=entry.wire)
            if self._is_beat_due:
                self._is_beat_due = False
                await self._beat()

    async def _wait_for_room(self, size: int) -> None:
        """Wait until this many more bytes fit within UNANSWERED_BYTES, then count them as sent.

        :raises TimeoutError: when the client echoes no heartbeat within two heartbeat intervals.
        """
        while self._bytes_unanswered and self._bytes_unanswered + size > UNANSWERED_BYTES:
            self._answered = asyncio.Event()
            if self._nonce is None:
                await self._beat()
            async with asyncio.timeout(2 * settings.HEARTBEAT_SECONDS):
                await self._answered.wait()
            self._answered = None
        self._bytes_unanswered += size
        self._bytes_since_beat += size

    async def _beat(self) -> None:
        """Send a heartbeat.

        :raises TimeoutError: when the client has not echoed the previous heartbeat for 1.5 heartbeat intervals.
        """
        now = time.monotonic()
        if self._nonce is None:
            self._nonce = secrets.token_urlsafe(9)
            self._beat_sent_at, self._bytes_since_beat = now, 0
        elif now - self._beat_sent_at > 1.5 * settings.HEARTBEAT_SECONDS:
            raise TimeoutError
        await self.send(text_data=json.dumps({"type": "heartbeat", "nonce": self._nonce}))


def _named_host(headers: Mapping[bytes, str]) -> str:
    """Return the host that a handshake names, by the same rules as Django's `get_host()`.

    :raises DisallowedHost: when the host is not in ALLOWED_HOSTS.
    """
    request = HttpRequest()
    named = {"HTTP_HOST": headers.get(b"host"), "HTTP_X_FORWARDED_HOST": headers.get(b"x-forwarded-host")}
    request.META = {name: value for name, value in named.items() if value is not None}
    request.META |= {"SERVER_NAME": "", "SERVER_PORT": ""}
    return request.get_host()


def _nonce_in(text: str) -> object:
    """Return the nonce in the echo of a heartbeat; None if the text is not such an echo."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return answer.get("nonce") if isinstance(answer, dict) and answer.get("type") == "heartbeat" else None


class NotFoundConsumer(LeanConsumer):
    """Accepts a WebSocket at an unknown address and closes it with 4404."""

    async def connect(self) -> None:
        """Accept first, so that a browser sees the close code."""
        await self.accept()
        await self.close(NOT_FOUND)
