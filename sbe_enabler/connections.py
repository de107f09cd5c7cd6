"""What one client may hold open, and how long it may take to send a request and to read the answer.

Without a gateway the TCP connections of each client network are counted. Behind a gateway all connections are the
gateway's own, so the open requests and WebSockets of each client network are counted instead.
"""

import json
import resource
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.web.http import HTTPChannel

from events.authentication import network_of
from events.consumers import TOO_OFTEN
from events.problems import PROBLEM_TYPE, problem_document, reason_phrase
from media.tally import Tally
from sbe_enabler.middleware import correlator_or_new

SERVER_NAME = "sbe-enabler"
# Descriptors for the database, Redis and files, which connections must not use up.
_RESERVED_DESCRIPTORS = 256
_MOST_DESCRIPTORS = 65536
# A client that is refused has this long to read why.
LINGER_SECONDS = 2.0
_RETRY_SECONDS = 5
_TOO_MANY = "Too many connections from this address at the same time."

# Twisted types a part of this class only.
_Channel: Any = HTTPChannel

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Places:
    """Counts what each client network holds open: at most `most_of_one`, and at most `most` of all together."""

    def __init__(self, most_of_one: int, most: int = _MOST_DESCRIPTORS) -> None:
        self._most_of_one, self._most = most_of_one, most
        self._held = Tally()
        self._total = 0

    def take(self, address: str) -> bool:
        """Take a place for a client at this address; return False when there is none."""
        network = network_of(address)
        if self._held[network] >= self._most_of_one or self._total >= self._most:
            return False
        self._held[network] += 1
        self._total += 1
        return True

    def release(self, address: str) -> None:
        """Give a place back that was taken for a client at this address."""
        self._total -= 1
        self._held.release([network_of(address)])


def raise_descriptor_limit() -> int:
    """Allow this process as many open files as the system lets it; return the number of connections that leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted - _RESERVED_DESCRIPTORS, wanted // 2)


class OpenRequests:
    """An ASGI application with a bound on the open requests and WebSockets of each client behind a gateway."""

    def __init__(self, application: Application, most_of_one: int) -> None:
        self._application = application
        self._places = Places(most_of_one)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        # Without the gateway's header all clients would look like one.
        if not any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            return await self._application(scope, receive, send)
        address, _ = scope.get("client") or ("", 0)
        if not self._places.take(address):
            return await refuse(scope, send, _TOO_MANY)
        try:
            await self._application(scope, receive, send)
        finally:
            self._places.release(address)


async def refuse(scope: Scope, send: Send, detail: str) -> None:
    """Answer 429 `rate-limited`; a WebSocket is closed with the code for that."""
    if scope["type"] == "websocket":
        # Only an accepted WebSocket can tell a browser why it is closed.
        wanted = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": wanted[0] if wanted else None})
        await send({"type": "websocket.close", "code": TOO_OFTEN})
        return
    headers, body = problem(429, "rate-limited", detail, correlator_in(dict(scope["headers"]).get(b"x-correlator")))
    headers["retry-after"] = str(_RETRY_SECONDS)
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 429, "headers": lines})
    await send({"type": "http.response.body", "body": body})


class PatientChannel(_Channel):  # type: ignore[misc]
    """An HTTP connection of a client that holds few others, whose requests arrive in time and whose answers are read.

    Twisted's own timeout is for idle connections only: each byte prolongs it.
    """

    _deadline: Any = None
    _has_place = _is_answering = _is_full = False
    # A request that is answered, while its answer is not yet read and others follow.
    _unread: Any = None

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Take a place, and expect the first request; or refuse the connection."""
        self._has_place = self.factory.server.places.take(self.getPeer().host)
        if self._has_place:
            super().connectionMade()
            self._set_deadline()
            return
        self.transport.write(whole_answer(429, "rate-limited", _TOO_MANY, retry_after=_RETRY_SECONDS))
        self._close_soon()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Give the place back. A WebSocket that took the connection over does so in our stead."""
        self._clear_deadline()
        if self._has_place:
            self.factory.server.places.release(self.getPeer().host)
            super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take what has come. A request that has begun must end in time."""
        if not self._has_place:
            return
        super().dataReceived(data)
        if not self._is_answering and self._deadline is None:
            self._set_deadline()

    def allContentReceived(self) -> None:  # noqa: N802 - Twisted's name
        """Note that the request is complete."""
        self._clear_deadline()
        self._is_answering = True
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:  # noqa: N802 - Twisted's name
        """Go on to the next request, once the client has read the answers so far."""
        self._is_answering = False
        if self._is_full:
            self._set_deadline()
            if any(self._dataBuffer):
                self._unread = request
                return
        super().requestDone(request)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Note that the client has yet to read a part of the answer."""
        self._is_full = True
        super().pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Note that the client has read the answer."""
        if self._is_full:
            self._is_full = False
            self._clear_deadline()
        super().resumeProducing()
        if self._unread is not None:
            answered, self._unread = self._unread, None
            super().requestDone(answered)

    def timeoutConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close an idle connection."""
        self._close_soon()

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self._deadline = self.callLater(self.factory.server.request_seconds, self._give_up)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Close the connection of a client that is too slow."""
        self._deadline = None
        if self._is_full:
            self.transport.abortConnection()
            return
        if self.requests:
            self.transport.write(whole_answer(408, "too-slow", "The request did not arrive in time."))
        self._close_soon()

    def _close_soon(self) -> None:
        """Close once the client has taken what was written, or after a moment."""
        self.setTimeout(None)
        self._clear_deadline()
        # A refused connection never became one of Twisted's channels.
        (self if self._has_place else self.transport).loseConnection()
        self._deadline = self.callLater(LINGER_SECONDS, self._abort)

    def _abort(self) -> None:
        self._deadline = None
        self.transport.abortConnection()


def correlator_in(given: bytes | None) -> str:
    """Return the correlator that a client has sent, or a new one."""
    return correlator_or_new((given or b"").decode("latin-1"))


def problem(status: int, code: str, detail: str, correlator: str, **fields: object) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a refusal that the server itself makes."""
    body = json.dumps(problem_document(status, code, detail, correlator, **fields)).encode()
    headers = {
        "content-type": PROBLEM_TYPE,
        "content-length": str(len(body)),
        "x-correlator": correlator,
        "server": SERVER_NAME,
    }
    return headers, body


def whole_answer(
    status: int,
    code: str,
    detail: str,
    correlator: bytes | None = None,
    *,
    retry_after: int | None = None,
    **fields: object,
) -> bytes:
    """Return the bytes of such a refusal, after which the connection closes."""
    headers, body = problem(status, code, detail, correlator_in(correlator), **fields)
    headers["connection"] = "close"
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n{''.join(lines)}\r\n".encode() + body
