"""Limits on the connections and requests of each client, and the responses that refuse more.

Without a gateway, the TCP connections of each client network are counted. Behind a gateway, all connections come from
the gateway, so the open requests and WebSockets of each client network are counted instead.
"""

import json
import resource
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conferences.parsers import BODY_LIMIT
from events.authentication import network_of
from events.consumers import TOO_OFTEN
from events.problems import PROBLEM_TYPE, problem_document, reason_phrase
from media.allowance import Allowance
from media.tally import Tally
from sbe_enabler.middleware import correlator_or_new

SERVER_NAME = "sbe-enabler"
# The number of file descriptors that are kept for the database, Redis and files, and not used for connections.
_RESERVED_DESCRIPTORS = 256
_MOST_DESCRIPTORS = 65536
# A refused client has this many seconds to read the response before its connection is closed.
LINGER_SECONDS = 2.0
# The kernel's send buffer for each connection. By default it grows up to 4 MiB for a client that does not read.
SEND_BUFFER_BYTES = 256 * 1024
# The most bytes of a body that are kept in memory until the body is complete. A longer body is kept in a file.
BODY_BYTES_IN_MEMORY = 64 * 1024
# Django parses a Content-Type in time quadratic to its length, before it authenticates the request.
CONTENT_TYPE_LIMIT = 256
# A body may arrive in this many pieces, plus one for each _PIECE_BYTES received. Each piece costs the event loop time.
# Each chunk is a piece, even a chunk of one byte.
_MOST_PIECES = 1024
_PIECE_BYTES = 256
# A WebSocket client may send a burst of _WEB_SOCKET_BYTES, and then that many bytes per _WEB_SOCKET_SECONDS. Clients
# only echo heartbeats. The bound is needed because each frame costs processor time, and the pong for each ping stays in
# memory until the client reads it.
_WEB_SOCKET_BYTES = 64 * 1024
_WEB_SOCKET_SECONDS = 15.0
_RETRY_SECONDS = 5
_TOO_MANY = "Too many connections from this address at the same time."

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Slots:
    """Counts the slots in use: at most `most_of_one` per client network, and at most `most` in total."""

    def __init__(self, most_of_one: int, most: int = _MOST_DESCRIPTORS) -> None:
        self._most_of_one, self._most = most_of_one, most
        self._held = Tally()
        self._total = 0

    def take(self, address: str) -> bool:
        """Take a slot for a client at this address. Return False if none is free."""
        network = network_of(address)
        if self._held[network] >= self._most_of_one or self._total >= self._most:
            return False
        self._held[network] += 1
        self._total += 1
        return True

    def release(self, address: str) -> None:
        """Release a slot that was taken for a client at this address."""
        self._total -= 1
        self._held.release([network_of(address)])


@dataclass(frozen=True)
class Limits:
    """The limits that a server takes from its settings. The other limits are constants of this module."""

    # One slot per TCP connection.
    slots: Slots
    # The time in which a request must arrive. The client must then read its response within the same time.
    request_seconds: float


def has_too_many_pieces(pieces: int, size: int) -> bool:
    """Return whether `pieces` are too many for the `size` bytes of a body that have arrived."""
    return pieces > _MOST_PIECES + size // _PIECE_BYTES


def web_socket_allowance() -> Allowance:
    """Return a new allowance for the bytes that the client of one WebSocket sends."""
    return Allowance(_WEB_SOCKET_BYTES / _WEB_SOCKET_SECONDS, _WEB_SOCKET_BYTES)


def raise_descriptor_limit() -> int:
    """Raise this process's limit of open files as far as the system allows.

    Return how many file descriptors the connections may use.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted - _RESERVED_DESCRIPTORS, wanted // 2)


class OpenRequests:
    """An ASGI application that limits the open requests and WebSockets of each client behind a gateway."""

    def __init__(self, application: Application, most_of_one: int) -> None:
        self._application = application
        self._slots = Slots(most_of_one)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        # Requests without the gateway's header are not counted: they would all have the gateway's address.
        if not any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            return await self._application(scope, receive, send)
        address, _ = scope.get("client") or ("", 0)
        if not self._slots.take(address):
            return await refuse(scope, send, _TOO_MANY)
        try:
            await self._application(scope, receive, send)
        finally:
            self._slots.release(address)


async def refuse(scope: Scope, send: Send, detail: str) -> None:
    """Answer 429 `rate-limited`, or accept a WebSocket and close it with the code TOO_OFTEN."""
    if scope["type"] == "websocket":
        # Browsers report a close code only for a WebSocket that was accepted.
        wanted = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": wanted[0] if wanted else None})
        await send({"type": "websocket.close", "code": TOO_OFTEN})
        return
    headers, body = _problem(429, "rate-limited", detail, dict(scope["headers"]).get(b"x-correlator"))
    headers["retry-after"] = str(_RETRY_SECONDS)
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 429, "headers": lines})
    await send({"type": "http.response.body", "body": body})


# Each of these functions returns the bytes of a whole response, after which the connection closes.


def too_many_connections() -> bytes:
    """Refuse a connection for which no slot is free."""
    return _whole_answer(429, "rate-limited", _TOO_MANY, retry_after=_RETRY_SECONDS)


def request_too_slow() -> bytes:
    """Refuse a request that has not arrived in time."""
    return _whole_answer(408, "too-slow", "The request did not arrive in time.")


def body_too_large(correlator: bytes) -> bytes:
    """Refuse a request whose body is larger than BODY_LIMIT. `correlator` is the client's, or b""."""
    return _whole_answer(413, "too-large", "The body is too large.", correlator, limit=BODY_LIMIT)


def content_type_too_long(correlator: bytes) -> bytes:
    """Refuse a request whose Content-Type is longer than CONTENT_TYPE_LIMIT. `correlator` is the client's, or b""."""
    detail = f"The Content-Type header may have {CONTENT_TYPE_LIMIT} bytes."
    return _whole_answer(400, "malformed", detail, correlator)


def not_one_host(correlator: bytes) -> bytes:
    """Refuse a request that names no host, or several. `correlator` is the client's, or b""."""
    return _whole_answer(400, "malformed", "A request has exactly one Host header.", correlator)


def _whole_answer(
    status: int,
    code: str,
    detail: str,
    correlator: bytes | None = None,
    *,
    retry_after: int | None = None,
    **fields: object,
) -> bytes:
    headers, body = _problem(status, code, detail, correlator, **fields)
    headers["connection"] = "close"
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n{''.join(lines)}\r\n".encode() + body


def _problem(
    status: int, code: str, detail: str, given: bytes | None, **fields: object
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a refusal by the server itself. `given` is the client's correlator, if any."""
    correlator = correlator_or_new((given or b"").decode("latin-1"))
    body = json.dumps(problem_document(status, code, detail, correlator, **fields)).encode()
    headers = {
        "content-type": PROBLEM_TYPE,
        "content-length": str(len(body)),
        "x-correlator": correlator,
        "server": SERVER_NAME,
    }
    return headers, body
