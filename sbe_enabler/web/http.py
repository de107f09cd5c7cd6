"""HTTP connections and requests of Daphne, with the limits of `sbe_enabler.connections`."""

import asyncio
import contextlib
import re
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import HTTPChannel, _MalformedChunkedDataError, datetimeToString

from conferences.parsers import BODY_LIMIT
from events.problems import reason_phrase
from sbe_enabler.connections import (
    BODY_BYTES_IN_MEMORY,
    CONTENT_TYPE_LIMIT,
    LINGER_SECONDS,
    body_too_large,
    content_type_too_long,
    has_too_many_pieces,
    not_one_host,
    request_too_slow,
    too_many_connections,
)
from sbe_enabler.web.flow import FlowControl

# Twisted annotates only a part of this class.
_Channel: Any = HTTPChannel
_ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE)


class HttpConnection(_Channel):  # type: ignore[misc]
    """An HTTP connection that holds one of its client's slots, and whose requests and responses have deadlines.

    Twisted has only a timeout for idle connections, which each received byte prolongs.
    """

    _deadline: Any = None
    _has_slot = _is_answering = _is_full = _is_closing = False
    # An answered request that still counts as unfinished: the next requests wait until the client has read its
    # response.
    _unread: Any = None

    def connectionMade(self) -> None:
        """Take a slot and wait for the first request, or refuse the connection."""
        self._has_slot = self.factory.server.limits.slots.take(self.getPeer().host)
        if self._has_slot:
            super().connectionMade()
            self._set_deadline()
            return
        self.transport.write(too_many_connections())
        self._close_soon()

    def connectionLost(self, reason: Any) -> None:
        """Release the slot. A WebSocket that has taken over the connection releases it instead."""
        self._clear_deadline()
        if self._has_slot:
            self.factory.server.limits.slots.release(self.getPeer().host)
            super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes. If they begin a request, set its deadline."""
        if not self._has_slot:
            return
        super().dataReceived(data)
        if not self._is_answering and self._deadline is None:
            self._set_deadline()

    def allContentReceived(self) -> None:
        """Start to answer: the request is complete, so its deadline no longer applies."""
        self._clear_deadline()
        self._is_answering = True
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """Continue with the next request, once the client has read the responses so far."""
        self._is_answering = False
        if self._is_full:
            self._set_deadline()
            if any(self._dataBuffer):
                self._unread = request
                return
        super().requestDone(request)

    def pauseProducing(self) -> None:
        """Called by Twisted when the transport's buffer is full, because the client does not read."""
        self._is_full = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """Called by Twisted when the transport's buffer is empty again."""
        if self._is_full:
            self._is_full = False
            self._clear_deadline()
            if self._is_closing:
                self._limit_closing(self.factory.server.limits.request_seconds)
        super().resumeProducing()
        if self._unread is not None:
            answered, self._unread = self._unread, None
            super().requestDone(answered)

    def loseConnection(self) -> None:
        """Close when the client has read all data that was written. Abort if the client takes too long.

        Twisted itself sets no limit: over TLS, it waits for the client's close_notify, for any length of time.
        """
        self._is_closing = True
        if self._deadline is None:
            self._limit_closing(self.factory.server.limits.request_seconds)
        super().loseConnection()

    def timeoutConnection(self) -> None:
        """Close an idle connection."""
        self._close_soon()

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self._deadline = self.callLater(self.factory.server.limits.request_seconds, self._give_up)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Close a connection whose client missed the deadline to send a request or to read a response."""
        self._deadline = None
        if self._is_full:
            self.transport.abortConnection()
            return
        if self.requests:
            self.transport.write(request_too_slow())
        self._close_soon()

    def _close_soon(self) -> None:
        """Close when the client has read all data that was written, or after LINGER_SECONDS."""
        self.setTimeout(None)
        self._clear_deadline()
        self._limit_closing(LINGER_SECONDS)
        # A refused connection has no HTTP channel that Twisted could close, only a transport.
        (self if self._has_slot else self.transport).loseConnection()

    def _limit_closing(self, seconds: float) -> None:
        self._deadline = self.callLater(seconds, self._abort)

    def _abort(self) -> None:
        self._deadline = None
        self.transport.abortConnection()


class HttpRequest(WebRequest):  # type: ignore[misc]
    """A request that is refused as soon as its body is known to be too large."""

    _received = _pieces = 0
    _refused = False
    # Only a response that is sent in parts has flow control.
    flow: FlowControl | None = None

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Write a part of the response. If more parts follow, start flow control."""
        if self.flow is None and message.get("more_body") and self.channel is not None and not self.finished:
            self.flow = FlowControl()
            self.registerProducer(self.flow, True)
        super().handle_reply(message)

    def finish(self) -> None:
        """End the response."""
        if self.flow is not None and self.channel is not None:
            self.unregisterProducer()
        super().finish()

    def cut(self) -> None:
        """Drop the connection and all unsent data."""
        if self.channel is not None:
            self.channel.transport.abortConnection()

    def process(self) -> Any:
        """Start the application. Every response carries a date (RFC 9110 section 6.6.1)."""
        if not all(map(bytes.isascii, self.requestHeaders.getRawHeaders(b"sec-websocket-protocol", []))):
            # For a subprotocol that is not ASCII, Daphne would log a traceback.
            return self.basic_error(400, b"Bad Request", "Invalid header value")
        # Any client can send Daphne-Root-Path, and Daphne would use its value as the application's root path.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        self.setHeader(b"date", datetimeToString())  # type: ignore[no-untyped-call]
        return super().process()

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status and its reason phrase. Twisted lacks most phrases that are newer than RFC 2616."""
        with contextlib.suppress(ValueError):
            message = message or reason_phrase(code).encode()
        super().setResponseCode(code, message)

    def gotLength(self, length: int | None) -> None:
        """Prepare to receive a body of this length (None: chunked), or refuse it.

        A client may send slowly, so little of the body is kept in memory. Twisted would keep up to 100 kB.
        """
        self.content = SpooledTemporaryFile(BODY_BYTES_IN_MEMORY)  # noqa: SIM115 - Twisted closes it
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Store a piece of the body, or refuse the request if the body is too large or has too many pieces."""
        self._received += len(data)
        self._pieces += 1
        if has_too_many_pieces(self._pieces, self._received):
            # Twisted answers 400, closes the connection and reads no further.
            raise _MalformedChunkedDataError
        if not self._refused and self._received > BODY_LIMIT:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Process the complete request, unless it was refused or its headers are unacceptable."""
        if not self._refused and (refusal := self._refusal_of_headers(version)):
            self.channel.transport.write(refusal)
            self._refused = True
        if self._refused:
            self.channel.loseConnection()
            return
        if absolute := _ABSOLUTE_FORM.fullmatch(path):
            # The host in the request target replaces the Host header (RFC 9112 section 3.2.2).
            self.requestHeaders.setRawHeaders(b"host", [absolute[1]])
            path = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        super().requestReceived(command, path, version)

    def _refusal_of_headers(self, version: bytes) -> bytes:
        """Return the response that refuses the headers, or b"". A request names one host (RFC 9112 section 3.2)."""
        hosts = len(self.requestHeaders.getRawHeaders(b"host", []))
        if hosts > 1 or (hosts == 0 and version == b"HTTP/1.1"):
            return not_one_host(self._correlator)
        if sum(map(len, self.requestHeaders.getRawHeaders(b"content-type", []))) > CONTENT_TYPE_LIMIT:
            return content_type_too_long(self._correlator)
        return b""

    @property
    def _correlator(self) -> bytes:
        """The correlator that the client has sent, or b""."""
        given: bytes = self.requestHeaders.getRawHeaders(b"x-correlator", [b""])[0]
        return given

    def _refuse(self) -> None:
        """Answer 413 at once. Close after LINGER_SECONDS, or when the request is complete.

        Until the connection closes, the body is read and dropped. Otherwise a client that is still sending might not
        see the response (RFC 9112 section 9.6).
        """
        self._refused = True
        self.channel.transport.write(body_too_large(self._correlator))
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._abandon)

    def _abandon(self) -> None:
        """Close the connection, if it is still open."""
        if self.channel is not None:
            self.channel.loseConnection()


class HttpFactory(HTTPFactory):  # type: ignore[misc]
    """Daphne's factory of HTTP connections. It makes connections of this module's classes."""

    protocol = HttpConnection

    def acceptableProtocols(self) -> list[bytes]:
        """Return the protocols that are offered over TLS: HTTP/1.1 only."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: object) -> Any:
        """Return a new connection."""
        connection = super().buildProtocol(addr)
        # Twisted would parse every form, on the event loop. The application parses the forms that it uses.
        connection.requestFactory = partial(HttpRequest, parsePOSTFormSubmission=False)
        return connection

    def log(self, request: WebRequest) -> None:
        """Write no access log: the gateway has one."""
