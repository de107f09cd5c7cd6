"""One web process: Daphne on one event loop, with the timekeeper as a task beside it.

Daphne is used as a library. This adds limits to what a client may send (a body that is too large is refused while it
arrives) and hold open, an orderly end that lets running requests finish, and a plain sentence when a port is taken.
"""

import asyncio
import contextlib
import errno
import logging
import re
import signal
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, cast

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory
from twisted.internet import defer
from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.logger import ILogObserver, STDLibLogObserver, globalLogBeginner
from twisted.python.failure import Failure
from twisted.web.http import _MalformedChunkedDataError, datetimeToString

from conferences.parsers import BODY_LIMIT
from events.problems import reason_phrase
from media.allowance import Allowance
from sbe_enabler.connections import (
    LINGER_SECONDS,
    SERVER_NAME,
    OpenRequests,
    PatientChannel,
    Places,
    raise_descriptor_limit,
    whole_answer,
)
from sbe_enabler.resting import Input, RestingWebSocket

logger = logging.getLogger(__name__)

# Twisted installs its reactor when it is imported: the type is known only then.
reactor: Any = _reactor

# A body may arrive in so many pieces, and one more for each so many bytes. Each piece costs the loop time, and a chunk
# of one byte is one.
_MOST_PIECES = 1024
_PIECE_BYTES = 256
# How much of a body is kept in memory while the rest is under way; a longer one goes to a file.
_BODY_IN_MEMORY = 64 * 1024
# A running request may finish after SIGTERM; a long poll is cut, and its client resumes by its cursor.
_GRACE_SECONDS = 3
# What the kernel may keep of each connection that its client has not read. By default it keeps up to 4 MiB.
SEND_BUFFER_BYTES = 256 * 1024
_GOING_AWAY = 1001
_ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE)
_LONGEST_BACK_OFF = 30.0


class ListenError(Exception):
    """The server cannot listen where it was told to; the text says so in one sentence."""


@dataclass(frozen=True)
class Address:
    """Where to listen, and with which certificate (PEM paths; both empty for plain HTTP)."""

    bind: str
    port: int
    certificate: str = ""
    key: str = ""

    @property
    def scheme(self) -> str:
        """Return the scheme of the URLs that reach this address."""
        return "https" if self.certificate else "http"

    def endpoint(self) -> str:
        """Return Twisted's description of this address."""
        interface = f"{self.port}:interface={_quoted(self.bind)}"
        if not self.certificate:
            return f"tcp:{interface}"
        certificate, key = _quoted(self.certificate), _quoted(self.key)
        return f"ssl:{interface}:certKey={certificate}:privateKey={key}"


def _quoted(text: str) -> str:
    """Return a text as it must stand in a description of an endpoint."""
    return str(quoteStringArgument(text))  # type: ignore[no-untyped-call]


class Faucet:
    """Lets whoever sends wait while the transport's buffer is full: Twisted's streaming producer for one connection."""

    __slots__ = ("_is_free",)

    def __init__(self) -> None:
        self._is_free: asyncio.Event | None = None

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Note that the transport has more than it can pass on."""
        self._is_free = self._is_free or asyncio.Event()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Let whoever waits go on: the transport's buffer is empty."""
        if self._is_free:
            self._is_free.set()
        self._is_free = None

    # The connection is over: nothing must wait for it.
    stopProducing = resumeProducing  # noqa: N815 - Twisted's name

    async def wait(self, seconds: float) -> bool:
        """Wait until the transport takes more; return False when it did not within `seconds`."""
        if self._is_free is None:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._is_free.wait()
        except TimeoutError:
            return False
        return True


class BoundedRequest(WebRequest):  # type: ignore[misc]
    """A request that is refused as soon as its body is known to be too large, before it is kept anywhere."""

    _received = _pieces = 0
    _refused = False
    # Only a streamed answer has one.
    faucet: Faucet | None = None

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Write a part of the answer, which can be slowed down where more parts follow."""
        if self.faucet is None and message.get("more_body") and self.channel is not None and not self.finished:
            self.faucet = Faucet()
            self.registerProducer(self.faucet, True)
        super().handle_reply(message)

    def finish(self) -> None:
        """End the answer."""
        if self.faucet is not None and self.channel is not None:
            self.unregisterProducer()
        super().finish()

    def cut(self) -> None:
        """Drop the connection and what waits to be sent over it."""
        if self.channel is not None:
            self.channel.transport.abortConnection()

    def process(self) -> Any:
        """Hand the request on, with the date that every answer carries (RFC 9110 section 6.6.1)."""
        if not all(map(bytes.isascii, self.requestHeaders.getRawHeaders(b"sec-websocket-protocol", []))):
            # Daphne would fail with a traceback.
            return self.basic_error(400, b"Bad Request", "Invalid header value")
        # Daphne would let any client choose the path under which it thinks it is mounted.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        self.setHeader(b"date", datetimeToString())  # type: ignore[no-untyped-call]
        return super().process()

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:  # noqa: N802 - Twisted's name
        """Set the status with its reason phrase: Twisted knows few of those that are newer than RFC 2616."""
        with contextlib.suppress(ValueError):
            message = message or reason_phrase(code).encode()
        super().setResponseCode(code, message)

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        """Make room for a body of this length, or refuse it. A client may take its time to send a body."""
        self.content = SpooledTemporaryFile(_BODY_IN_MEMORY)  # noqa: SIM115 - Twisted closes it
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep a piece of the body, or refuse the request when that is one too many."""
        self._received += len(data)
        self._pieces += 1
        if self._pieces > _MOST_PIECES + self._received // _PIECE_BYTES:
            # Twisted answers 400, closes, and reads no further.
            raise _MalformedChunkedDataError
        if not self._refused and self._received > BODY_LIMIT:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802 - Twisted's name
        """Hand the complete request to the application, unless it was refused."""
        if self._refused:
            self.channel.loseConnection()
            return
        hosts = len(self.requestHeaders.getRawHeaders(b"host", []))
        if hosts > 1 or (hosts == 0 and version == b"HTTP/1.1"):
            self._refuse_hosts()
            return
        if absolute := _ABSOLUTE_FORM.fullmatch(path):
            # The target counts, whatever the header says (RFC 9112 section 3.2.2).
            self.requestHeaders.setRawHeaders(b"host", [absolute[1]])
            path = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        super().requestReceived(command, path, version)

    def _refuse_hosts(self) -> None:
        """Answer 400 and close: a request of HTTP/1.1 names one host (RFC 9112 section 3.2)."""
        given = self.requestHeaders.getRawHeaders(b"x-correlator", [b""])[0]
        detail = "A request has exactly one Host header."
        self.channel.transport.write(whole_answer(400, "malformed", detail, given))
        self.channel.loseConnection()

    def _refuse(self) -> None:
        """Answer 413 at once and close, having read on for a moment so that the client sees the answer."""
        self._refused = True
        given = self.requestHeaders.getRawHeaders(b"x-correlator", [b""])[0]
        self.channel.transport.write(whole_answer(413, "too-large", "The body is too large.", given, limit=BODY_LIMIT))
        # A client still sending sees the refusal only if its bytes are read for a while (RFC 9112 section 9.6).
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._abandon)

    def _abandon(self) -> None:
        """Close the connection of a client that sends on and on."""
        if self.channel is not None:
            self.channel.loseConnection()


class BoundedHTTPFactory(HTTPFactory):  # type: ignore[misc]
    """Daphne's factory of HTTP connections, with bounded requests."""

    protocol = PatientChannel

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802 - Twisted's name
        """Return what is spoken over TLS."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: object) -> Any:  # noqa: N802 - Twisted's name
        """Return the protocol of one new connection."""
        protocol = super().buildProtocol(addr)
        # The application reads forms where it wants any. Twisted would read everybody's, on the loop.
        protocol.requestFactory = partial(BoundedRequest, parsePOSTFormSubmission=False)
        return protocol

    def log(self, request: WebRequest) -> None:
        """Keep no access log: the gateway in front has one, and writing two costs time."""


# What a client may send over a WebSocket at once; as much is added in the time. It has nothing to send but answers to
# heartbeats. Every frame costs the process time, and every ping an answer that waits until the client reads it.
_CLIENT_BYTES = 64 * 1024
_CLIENT_SECONDS = 15.0


class PoliteWebSocket(RestingWebSocket):
    """A WebSocket whose handshake may fail, whose sender can be slowed down, and whose client cannot flood us."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._allowance = Allowance(_CLIENT_BYTES / _CLIENT_SECONDS, _CLIENT_BYTES)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take what has come, or drop a client that sends far more than its heartbeats need."""
        if self._allowance.take(len(data), time.monotonic()):
            super().dataReceived(data)
        else:
            self.cut()

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Take the place of the HTTP connection, whose own producer would otherwise stay with the transport."""
        super().connectionMade()
        self.faucet = Faucet()
        self.unregisterProducer()
        self.registerProducer(self.faucet, True)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Give back the place of the connection, which the HTTP channel had taken."""
        self.factory.server_class.places.release(self.transport.getPeer().host)
        super().connectionLost(reason)

    def cut(self) -> None:
        """Drop the connection and what waits to be sent over it."""
        self.dropConnection(abort=True)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N802, N803 - autobahn's
        """Tell the server that the WebSocket is gone, if it ever came to be: Daphne takes that for granted."""
        if hasattr(self, "server"):
            super().onClose(wasClean, code, reason)
            self.faucet.stopProducing()


class WebServer(Server):  # type: ignore[misc]
    """Daphne's server with bounded requests, background tasks, and an orderly end."""

    def __init__(
        self,
        application: Any,
        address: Address,
        *,
        heartbeat_seconds: float,
        request_seconds: float,
        connections_per_address: int,
        behind_gateway: bool,
        background: list[Callable[[], Coroutine[Any, Any, None]]],
        on_listening: Callable[[int], None],
    ) -> None:
        """Prepare to serve `application`; `on_listening` is called once with the port."""
        most = raise_descriptor_limit()
        super().__init__(
            OpenRequests(application, connections_per_address) if behind_gateway else application,
            endpoints=[address.endpoint()],
            ping_interval=heartbeat_seconds,
            ping_timeout=2 * heartbeat_seconds,
            # The gateway sets this header itself, whatever the client sent.
            proxy_forwarded_address_header="x-forwarded-for" if behind_gateway else None,
            server_name=SERVER_NAME,
        )
        self.failure: ListenError | None = None
        # All connections from a gateway's address are the gateway's own.
        self.places = Places(most if behind_gateway else connections_per_address, most)
        self.request_seconds = request_seconds
        self._address = address
        self._background = background
        self._tasks: list[asyncio.Task[None]] = []
        self._ports: list[Any] = []
        self._is_stopping = False
        self._on_listening = on_listening

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that serves."""
        loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop
        return loop

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application of a new connection; return the queue of what its client sends."""
        if scope["type"] != "websocket":
            return super().create_application(protocol, scope)
        queue = Input()
        scope.setdefault("asgi", {"version": "3.0"})
        running = self.application(scope=scope, receive=queue.get, send=partial(self.handle_reply, protocol))
        # Twisted's context is of no use to it, and would stay with it.
        task = self.loop.create_task(running, context=Context())
        self.connections[protocol]["application_instance"] = task
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Pass on what the application sends; the application waits while the transport's buffer is full.

        A client that takes nothing for two heartbeats is cut off.
        """
        await super().handle_reply(protocol, message)
        if protocol.faucet is not None and not await protocol.faucet.wait(self.ping_timeout):
            protocol.cut()

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Daphne's own `run` offers no seam for the factory of requests, so this is its body without the options
        that are not used here.

        :raises ListenError: when the address cannot be listened on.
        """
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = BoundedHTTPFactory(self)
        self.ws_factory = WebSocketFactory(self, server=self.server_name)
        self.ws_factory.protocol = PoliteWebSocket
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
        )
        PoliteWebSocket.share(self.ws_factory)
        globalLogBeginner.beginLoggingTo([cast(ILogObserver, STDLibLogObserver())], redirectStandardIO=False)
        loop = self.loop
        asyncio.set_event_loop(loop)
        for call in (self.application_checker, self.timeout_checker, self._start_listening):
            reactor.callWhenRunning(call)
        reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)
        for number in (signal.SIGINT, signal.SIGTERM):
            # What our parent had us ignore, as a shell does for SIGINT in the background, stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: reactor.callFromThread(self._stop))
        reactor.run(installSignalHandlers=False)
        _wind_up(loop)
        if self.failure:
            raise self.failure

    def _start_listening(self) -> None:
        """Open the endpoints and start the background tasks."""
        self._tasks = [asyncio.ensure_future(_supervise(make)) for make in self._background]
        for description in self.endpoints:
            listener = defer.maybeDeferred(self._listen, description)
            listener.addCallbacks(self.listen_success, self.listen_error)

    def _listen(self, description: str) -> Any:
        """Open an endpoint. A certificate that cannot be used raises an error."""
        return serverFromString(reactor, description).listen(self.http_factory)  # type: ignore[no-untyped-call]

    def listen_success(self, port: Any) -> None:
        """Note that the server is reachable."""
        # Its connections inherit that.
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._ports.append(port)
        self._on_listening(port.getHost().port)

    def listen_error(self, failure: Failure) -> None:
        """Stop, saying why in words."""
        self.failure = ListenError(_why(failure.value, self._address))
        self._stop()

    def _stop(self) -> None:
        """Begin to end; a second signal, which `make` passes on beside the terminal's, is no reason to stumble."""
        if not self._is_stopping:
            self._is_stopping = True
            reactor.stop()

    def _shut_down(self) -> "defer.Deferred[None]":
        """Hold the reactor until everything that runs has ended."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._finish()))

    async def _finish(self) -> None:
        """Take no more connections, let requests finish, send WebSockets away; cancel what is left."""
        for port in self._ports:
            port.stopListening()
        for task in self._tasks:
            task.cancel()
        for protocol in list(self.connections):
            if getattr(protocol, "application_type", "") == "websocket":
                # Not `sendClose`: autobahn keeps that code for itself, and only servers may give this reason.
                protocol.sendCloseFrame(code=_GOING_AWAY)
        running = {
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        }
        if running:
            _, running = await asyncio.wait(running, timeout=_GRACE_SECONDS)
        for application in running:
            application.cancel()
        if ending := {*self._tasks, *running}:
            await asyncio.wait(ending, timeout=_GRACE_SECONDS)


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """End what is left on the loop: a task that is still pending when the interpreter goes can crash it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.wait_for(_ended(left), _GRACE_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait for tasks, whatever becomes of them."""
    await asyncio.gather(*tasks, return_exceptions=True)


def require_usable(address: Address) -> None:
    """Require that the address can be listened on, before anything starts that must then be stopped.

    :raises ListenError: when it cannot.
    """
    if address.certificate:
        _require_certificate(address.certificate, address.key)
    try:
        with socket.create_server(
            (address.bind, address.port), family=socket.AF_INET6 if ":" in address.bind else socket.AF_INET
        ):
            pass
    except OSError as error:
        raise ListenError(_why(error, address)) from None


def _require_certificate(certificate: str, key: str) -> None:
    for name in (certificate, key):
        try:
            Path(name).read_bytes()
        except OSError as error:
            raise ListenError(f"Cannot read {name}: {error.strerror} (SBE_TLS_CERTIFICATE, SBE_TLS_KEY).") from None
    try:
        # An encrypted key would otherwise ask for its passphrase.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        text = f"{certificate} and {key} are no PEM certificate and its unencrypted key: {error.reason or error}."
        raise ListenError(text) from None


def _why(error: BaseException | None, address: Address) -> str:
    """Return in one sentence why nothing can listen there."""
    reason = getattr(error, "socketError", error)
    if isinstance(reason, OSError) and reason.errno == errno.EADDRINUSE:
        return f"Port {address.port} on {address.bind} is taken: stop what uses it, or choose another: PORT=…"
    return f"Cannot listen on {address.bind} port {address.port}: {reason}."


async def _supervise(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a task that should never end, again and again, waiting longer while it keeps dying."""
    delay = 1.0
    while True:
        started = time.monotonic()
        try:
            await make()
        except Exception:
            logger.exception("%s died; it starts again in %.0f s", make.__name__, delay)
        else:
            logger.error("%s ended; it starts again in %.0f s", make.__name__, delay)
        await asyncio.sleep(delay)
        lasted = time.monotonic() - started
        delay = 1.0 if lasted > 2 * _LONGEST_BACK_OFF else min(2 * delay, _LONGEST_BACK_OFF)
