"""The event channel over WebSocket: a thin adapter over the reader (protocol section 5).

The client answers each heartbeat with the same heartbeat. Each carries a nonce, so only a client that reads can answer.
That is also the flow control: the bytes sent since the last answered heartbeat are bounded. A client that leaves two
unanswered is closed and resumes by its cursor.
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
from events.problems import OUTAGE, note_outage
from events.reader import Reader, SessionOverError
from events.readers import ReplacedError
from events.threads import in_database_thread
from events.throttles import admit
from events.turns import turn_end_of

logger = logging.getLogger(__name__)

PROTOCOL = "sbe.v1"
_BEARER = "bearer."
# Close codes: those of HTTP plus 4000. The server's WebSocket library sends no others but 1000.
MALFORMED, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, TOO_SLOW = 4400, 4401, 4403, 4404, 4408
REPLACED, TOO_OFTEN = 4409, 4429
FAILED, UNAVAILABLE = 4500, 4503
# A client that is gone without a word (RFC 6455 section 7.1.5).
_GONE = 1006
# How many bytes may be under way to a client that has not answered a heartbeat since.
UNANSWERED_BYTES = 1024 * 1024
# The client sends heartbeats and nothing else; more than this is not read.
_CLIENT_MESSAGE_LIMIT = 1024


class LeanConsumer(AsyncWebsocketConsumer):
    """A Channels consumer of WebSockets that waits in the task in which it was called, and has no channel of its own.

    Channels would start another task for each message, and close database connections of threads that it does not use.
    """

    groups: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one WebSocket until it is gone."""
        self.scope, self.base_send = scope, send
        try:
            # No variable here holds the last message while the next one is awaited.
            while await self._serve(await receive()):
                pass
        finally:
            await self.disconnect(_GONE)

    async def _serve(self, message: dict[str, Any]) -> bool:
        """Hand a message to its method; return whether more may come."""
        if message["type"] == "websocket.disconnect":
            return False
        await getattr(self, get_handler_name(message))(message)
        return True

    def forget_handshake(self) -> None:
        """Let go of what only the handshake needed: Channels' routers hold the scope as long as the WebSocket lives."""
        scope: Any = self.scope
        scope["headers"].clear()
        scope["subprotocols"].clear()
        scope.clear()


class EventsConsumer(LeanConsumer):
    """One WebSocket of one session. It has a task that sends only while there is something to send."""

    _reader: Reader | None = None
    _sender: asyncio.Task[None] | None = None
    _is_beat_due = _is_replaced = False
    _answered: asyncio.Event | None = None
    _nonce: str | None = None
    _asked_at = 0.0
    _bytes_unanswered = _bytes_since_asked = 0

    async def connect(self) -> None:
        """Let the session's own client in and start to follow its log."""
        # Accept first: only an accepted WebSocket can tell a browser why it is closed.
        await self.accept(subprotocol=PROTOCOL if PROTOCOL in self.scope["subprotocols"] else None)
        if not self._is_host_and_origin_allowed():
            return await self.close(FORBIDDEN)
        session_id = self.scope["url_route"]["kwargs"]["session_id"]
        try:
            address, _ = self.scope.get("client") or ("", 0)
            # In a task of its own: what its context remembers goes with it.
            admission = in_database_thread(admit)(address, *self._credentials(session_id))
            speaker = await asyncio.create_task(admission)
            query = parse_qs(self.scope["query_string"].decode("latin-1"))
            after = parse_cursor(query.get("after", ["0"])[0])
        except UnauthenticatedError:
            return await self.close(UNAUTHENTICATED)
        except RateLimitedError:
            return await self.close(TOO_OFTEN)
        except CursorError:
            return await self.close(MALFORMED)
        except OUTAGE as error:
            note_outage(error)
            return await self.close(UNAVAILABLE)
        if speaker.session is None or speaker.session.pk != session_id:
            return await self.close(NOT_FOUND)
        self._reader = Reader(session_id, after, self._wake, ephemeral=True, on_replaced=self._give_way)
        self._sender = asyncio.create_task(self._start(self._reader, turn_end_of(self.scope)))
        HEARTBEATS.add(self)
        self.forget_handshake()
        return None

    async def disconnect(self, code: int) -> None:
        """Stop following."""
        HEARTBEATS.remove(self)
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        if self._reader is not None:
            await self._reader.stop()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take the answer to a heartbeat. The channel is not for anything else."""
        if text_data is None or len(text_data) > _CLIENT_MESSAGE_LIMIT or self._reader is None:
            return await self.close(MALFORMED)
        if self._nonce is not None and _nonce_in(text_data) == self._nonce:
            # The client has read everything that came before the heartbeat that it answers.
            self._nonce, self._bytes_unanswered = None, self._bytes_since_asked
            if self._answered is not None:
                self._answered.set()
        return None

    def _credentials(self, session_id: str) -> tuple[str, str | None]:
        """Return the `Authorization` of the handshake: a browser can only send it as a subprotocol."""
        for protocol in self.scope["subprotocols"]:
            if protocol.startswith(_BEARER):
                return f"Bearer {protocol.removeprefix(_BEARER)}", None
        headers = dict(self.scope["headers"])
        return headers.get(b"authorization", b"").decode("latin-1"), session_id

    def _is_host_and_origin_allowed(self) -> bool:
        """Tell whether the handshake names a host of ours, and the page is our own, an allowed one, or no page.

        Without the check of the host, a foreign name that resolves to this server would make its pages our own.
        """
        headers = {name: value.decode("latin-1") for name, value in self.scope["headers"]}
        try:
            own_host = _named_host(headers)
            origin = headers.get(b"origin", "")
            return not origin or origin in settings.ALLOWED_ORIGINS or urlsplit(origin).netloc == own_host
        except (DisallowedHost, ValueError):
            return False

    def beat(self) -> None:
        """Send a heartbeat as soon as nothing else is being sent."""
        self._is_beat_due = True
        self._wake()

    def _wake(self) -> None:
        """Send what there is, unless that is being done already, or is over."""
        if self._sender is None and self._reader is not None:
            self._sender = asyncio.create_task(self._send_on(self._reader))

    def _give_way(self) -> None:
        """Stop following at once, even while the client takes in nothing."""
        self._is_replaced = True
        if self._sender is None:
            self._wake()
        else:
            self._sender.cancel()

    async def _start(self, reader: Reader, end_turn: Callable[[], None]) -> None:
        """Become a reader, send the log, and let the next handshake have its turn."""
        await self._send_on(reader, is_new=True)
        end_turn()

    async def _send_on(self, reader: Reader, *, is_new: bool = False) -> None:
        """Send what there is. If the log is over or sending fails, close and stop following."""
        code = await self._try_to_send(reader, is_new=is_new)
        if code is None:
            self._sender = None
            return
        HEARTBEATS.remove(self)
        if code != _GONE:
            await self.close(code)
        await reader.stop()

    async def _try_to_send(self, reader: Reader, *, is_new: bool) -> int | None:
        """Send what there is; return the code with which the WebSocket is to be closed, if it is."""
        try:
            if is_new:
                await reader.start()
            await self._send(reader)
        except SessionOverError:
            return UNAUTHENTICATED
        except (asyncio.CancelledError, ReplacedError):
            # A library may swallow the cancellation; the reader then says the same.
            if not self._is_replaced:
                raise
            return REPLACED
        except TimeoutError:
            return TOO_SLOW
        except OUTAGE as error:
            note_outage(error)
            return UNAVAILABLE
        except Disconnected:
            # The client went while something was on its way to it; it comes again with its cursor.
            return _GONE
        except Exception:
            # Closing makes the client come again, with its cursor; staying would leave it deaf.
            logger.exception("The event channel of session %s failed", reader.session_id)
            return FAILED
        return None

    async def _send(self, reader: Reader) -> None:
        """Send the log as far as it goes, and the heartbeat that is due."""
        while reader.has_news or self._is_beat_due:
            for entry in await reader.next() if reader.has_news else ():
                await self._require_room(len(entry.wire.encode()))
                await self.send(text_data=entry.wire)
            if self._is_beat_due:
                self._is_beat_due = False
                await self._beat()

    async def _require_room(self, size: int) -> None:
        """Wait until the client has taken in what was sent, where that is much.

        :raises TimeoutError: when it does not within two heartbeats.
        """
        while self._bytes_unanswered and self._bytes_unanswered + size > UNANSWERED_BYTES:
            self._answered = asyncio.Event()
            if self._nonce is None:
                await self._beat()
            async with asyncio.timeout(2 * settings.HEARTBEAT_SECONDS):
                await self._answered.wait()
            self._answered = None
        self._bytes_unanswered += size
        self._bytes_since_asked += size

    async def _beat(self) -> None:
        """Send a heartbeat.

        :raises TimeoutError: when two are unanswered.
        """
        now = time.monotonic()
        if self._nonce is None:
            self._nonce = secrets.token_urlsafe(9)
            self._asked_at, self._bytes_since_asked = now, 0
        elif now - self._asked_at > 1.5 * settings.HEARTBEAT_SECONDS:
            raise TimeoutError
        await self.send(text_data=json.dumps({"type": "heartbeat", "nonce": self._nonce}))


def _named_host(headers: Mapping[bytes, str]) -> str:
    """Return the host that a handshake names, by the rules for every other request.

    :raises DisallowedHost: when it is not in ALLOWED_HOSTS.
    """
    request = HttpRequest()
    named = {"HTTP_HOST": headers.get(b"host"), "HTTP_X_FORWARDED_HOST": headers.get(b"x-forwarded-host")}
    request.META = {name: value for name, value in named.items() if value is not None}
    request.META |= {"SERVER_NAME": "", "SERVER_PORT": ""}
    return request.get_host()


def _nonce_in(text: str) -> object:
    """Return the nonce in the answer to a heartbeat, or None when the text is no such answer."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return answer.get("nonce") if isinstance(answer, dict) and answer.get("type") == "heartbeat" else None


class NowhereConsumer(LeanConsumer):
    """A WebSocket at an address where there is none."""

    async def connect(self) -> None:
        """Say so."""
        await self.accept()
        await self.close(NOT_FOUND)
