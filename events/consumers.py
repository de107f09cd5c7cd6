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
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from autobahn.exception import Disconnected
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from conferences.exceptions import RateLimitedError, UnauthenticatedError
from conferences.problems import OUTAGE, note_outage
from conferences.throttles import admit
from events.cursor import CursorError, parse_cursor
from events.reader import SessionOverError, follow
from events.threads import in_database_thread
from events.wakeups import ReplacedError

logger = logging.getLogger(__name__)

PROTOCOL = "sbe.v1"
_BEARER = "bearer."
# Close codes: those of HTTP plus 4000. The server's WebSocket library sends no others but 1000.
MALFORMED, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, TOO_SLOW = 4400, 4401, 4403, 4404, 4408
REPLACED, TOO_OFTEN = 4409, 4429
FAILED, UNAVAILABLE = 4500, 4503
# How many bytes may be under way to a client that has not answered a heartbeat since.
UNANSWERED_BYTES = 1024 * 1024
# The client sends heartbeats and nothing else; more than this is not read.
_CLIENT_MESSAGE_LIMIT = 1024


class EventsConsumer(AsyncWebsocketConsumer):
    """One WebSocket of one session."""

    # No layer: what wakes the reader is the reader's own, and Channels would need it up to connect at all.
    channel_layer_alias = "none"

    _follower: asyncio.Task[None] | None = None
    _is_replaced = False

    async def connect(self) -> None:
        """Let the session's own client in and start to follow its log."""
        # Accept first: only an accepted WebSocket can tell a browser why it is closed.
        await self.accept(subprotocol=PROTOCOL if PROTOCOL in self.scope["subprotocols"] else None)
        if not self._is_host_and_origin_allowed():
            return await self.close(FORBIDDEN)
        session_id = self.scope["url_route"]["kwargs"]["session_id"]
        try:
            address, _ = self.scope.get("client") or ("", 0)
            speaker = await in_database_thread(admit)(address, *self._credentials(session_id))
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
        self._answered = asyncio.Event()
        self._nonce: str | None = None
        self._bytes_unanswered = self._bytes_since_asked = 0
        self._follower = asyncio.create_task(self._follow(session_id, after))
        return None

    async def disconnect(self, code: int) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take the answer to a heartbeat. The channel is not for anything else."""
        if text_data is None or len(text_data) > _CLIENT_MESSAGE_LIMIT or self._follower is None:
            return await self.close(MALFORMED)
        if self._nonce is not None and _nonce_in(text_data) == self._nonce:
            # The client has read everything that came before the heartbeat that it answers.
            self._nonce, self._bytes_unanswered = None, self._bytes_since_asked
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

    async def _follow(self, session_id: str, after: int) -> None:
        """Send the log as it grows, and heartbeats between."""
        try:
            news = follow(
                session_id, after, heartbeat=settings.HEARTBEAT_SECONDS, passing=True, on_replaced=self._give_way
            )
            async with contextlib.aclosing(news) as log:
                async for entries in log:
                    for entry in entries:
                        await self._require_room(len(entry.wire.encode()))
                        await self.send(text_data=entry.wire)
                    if not entries:
                        await self._beat()
        except SessionOverError:
            await self.close(UNAUTHENTICATED)
        except (asyncio.CancelledError, ReplacedError):
            # A library may swallow the cancellation; the alarm then says the same.
            if not self._is_replaced:
                raise
            await self.close(REPLACED)
        except TimeoutError:
            await self.close(TOO_SLOW)
        except OUTAGE as error:
            note_outage(error)
            await self.close(UNAVAILABLE)
        except Disconnected:
            # The client went while something was on its way to it; it comes again with its cursor.
            return
        except Exception:
            # Closing makes the client come again, with its cursor; staying would leave it deaf.
            logger.exception("The event channel of session %s failed", session_id)
            await self.close(FAILED)

    def _give_way(self) -> None:
        """Stop following at once, even while the client takes in nothing."""
        self._is_replaced = True
        if self._follower is not None:
            self._follower.cancel()

    async def _require_room(self, size: int) -> None:
        """Wait until the client has taken in what was sent, where that is much.

        :raises TimeoutError: when it does not within two heartbeats.
        """
        while self._bytes_unanswered and self._bytes_unanswered + size > UNANSWERED_BYTES:
            self._answered.clear()
            if self._nonce is None:
                await self._beat()
            async with asyncio.timeout(2 * settings.HEARTBEAT_SECONDS):
                await self._answered.wait()
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


class NowhereConsumer(AsyncWebsocketConsumer):
    """A WebSocket at an address where there is none."""

    channel_layer_alias = "none"

    async def connect(self) -> None:
        """Say so."""
        await self.accept()
        await self.close(NOT_FOUND)
