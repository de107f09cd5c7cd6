"""Daphne's server behind an interface of our own."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any, cast

from daphne.server import Server
from twisted.internet import defer
from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.logger import ILogObserver, STDLibLogObserver, globalLogBeginner
from twisted.python.failure import Failure

from sbe_enabler.connections import SEND_BUFFER_BYTES, SERVER_NAME, Application, Limits
from sbe_enabler.web.http import HttpFactory
from sbe_enabler.web.resting import ReceiveQueue
from sbe_enabler.web.websocket import WebSocket, web_socket_factory

# Importing Daphne installs Twisted's reactor, so the type checker cannot know its type.
reactor: Any = _reactor


def endpoint(bind: str, port: int, certificate: str = "", key: str = "") -> str:
    """Return Twisted's description of where to listen. Given a certificate and its key (PEM paths), it includes TLS."""
    interface = f"{port}:interface={_quoted(bind)}"
    if not certificate:
        return f"tcp:{interface}"
    return f"ssl:{interface}:certKey={_quoted(certificate)}:privateKey={_quoted(key)}"


def _quoted(text: str) -> str:
    """Escape the separators of Twisted's descriptions in a text."""
    return str(quoteStringArgument(text))  # type: ignore[no-untyped-call]


class DaphneServer(Server):  # type: ignore[misc]
    """Serves one ASGI application over HTTP and WebSockets, on one event loop.

    Use only the documented members: `loop`, `run`, `stop`, `stop_listening`, `close_web_sockets` and `applications`.
    The callbacks run on the event loop:

    - `on_start()` when the loop runs, before the server listens;
    - `on_listening(port)` when the server listens;
    - `on_listen_error(error)` when the server cannot listen. The error is an OSError, or concerns the certificate. Then
      the server stops;
    - `on_stop()` after `stop`. The server awaits it and then ends the loop.
    """

    def __init__(
        self,
        application: Application,
        limits: Limits,
        *,
        endpoint: str,
        heartbeat_seconds: float,
        trusts_forwarded_for: bool,
        on_start: Callable[[], None],
        on_listening: Callable[[int], None],
        on_listen_error: Callable[[BaseException], None],
        on_stop: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare to serve.

        A client that reads nothing for two heartbeat intervals is dropped. With `trusts_forwarded_for`, the client's
        address is taken from `X-Forwarded-For`. Without a gateway that replaces this header, any client could set it.
        """
        super().__init__(
            application,
            endpoints=[endpoint],
            ping_interval=heartbeat_seconds,
            ping_timeout=2 * heartbeat_seconds,
            proxy_forwarded_address_header="x-forwarded-for" if trusts_forwarded_for else None,
            server_name=SERVER_NAME,
        )
        self.limits = limits
        self._on_start, self._on_stop = on_start, on_stop
        self._on_listening, self._on_listen_error = on_listening, on_listen_error
        self._ports: list[Any] = []
        self._is_stopping = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that serves."""
        loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop
        return loop

    @property
    def applications(self) -> set["asyncio.Task[None]"]:
        """The tasks of all open requests and WebSockets. Some may have ended within the last second."""
        found = (details.get("application_instance") for details in self.connections.values())
        return {application for application in found if application is not None}

    def run(self) -> None:
        """Serve until `stop` is called, and `on_stop` has ended.

        Daphne's own `run` offers no way to choose the factories. This method is a copy of it, without the options that
        are not used here.
        """
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = HttpFactory(self)
        self.ws_factory = web_socket_factory(self)
        globalLogBeginner.beginLoggingTo([cast(ILogObserver, STDLibLogObserver())], redirectStandardIO=False)
        asyncio.set_event_loop(self.loop)
        for call in (self.application_checker, self.timeout_checker, self._start):
            reactor.callWhenRunning(call)
        reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)
        reactor.run(installSignalHandlers=False)

    def stop(self) -> None:
        """Start the shutdown. Any thread or signal handler may call this, even several times."""
        reactor.callFromThread(self._stop)

    def stop_listening(self) -> None:
        """Accept no more connections."""
        for port in self._ports:
            port.stopListening()

    def close_web_sockets(self, code: int) -> None:
        """Send a close frame with this code to every WebSocket, and drop those whose handshake is not answered yet."""
        for protocol in list(self.connections):
            if not isinstance(protocol, WebSocket):
                continue
            if protocol.state == WebSocket.STATE_CONNECTING:
                protocol.cut()
            else:
                # autobahn's `sendClose` refuses the codes of RFC 6455 section 7.4.1, except 1000.
                protocol.sendCloseFrame(code=code)

    # Daphne and Twisted call these.

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if scope["type"] != "websocket":
            return super().create_application(protocol, scope)
        queue = ReceiveQueue()
        scope.setdefault("asgi", {"version": "3.0"})
        running = self.application(scope=scope, receive=queue.get, send=partial(self.handle_reply, protocol))
        # Use an empty context: the task does not need Twisted's context but would keep it in memory.
        task = self.loop.create_task(running, context=Context())
        self.connections[protocol]["application_instance"] = task
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        # The application waits here while the transport's buffer is full.
        await super().handle_reply(protocol, message)
        if protocol.flow is not None and not await protocol.flow.wait(self.ping_timeout):
            protocol.cut()

    def listen_success(self, port: Any) -> None:
        # Accepted connections inherit this option.
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._ports.append(port)
        self._on_listening(port.getHost().port)

    def listen_error(self, failure: Failure) -> None:
        # Twisted wraps an OSError in a CannotListenError.
        error: Any = failure.value
        self._on_listen_error(getattr(error, "socketError", error))
        self._stop()

    def _start(self) -> None:
        self._on_start()
        for description in self.endpoints:
            listener = defer.maybeDeferred(self._listen, description)
            listener.addCallbacks(self.listen_success, self.listen_error)

    def _listen(self, description: str) -> Any:
        """Start listening. Return a Deferred that fires with the port. Raise an error for an unusable certificate."""
        return serverFromString(reactor, description).listen(self.http_factory)  # type: ignore[no-untyped-call]

    def _stop(self) -> None:
        """Stop the reactor once; a second stop would fail. Under `make`, a signal from the terminal arrives twice."""
        if not self._is_stopping:
            self._is_stopping = True
            reactor.stop()

    def _shut_down(self) -> "defer.Deferred[None]":
        """Keep the reactor running until `on_stop` has ended."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._on_stop()))
