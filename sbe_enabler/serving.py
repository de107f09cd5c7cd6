"""One web process: an HTTP and WebSocket server on one event loop, with background tasks beside it.

`sbe_enabler.web` adapts Daphne's server. This module adds the parts that do not depend on Daphne. They check the
address, set the limits, run the background tasks, and let running requests finish at shutdown.
"""

import asyncio
import errno
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbe_enabler.connections import Application, Limits, OpenRequests, Slots, raise_descriptor_limit
from sbe_enabler.web.server import DaphneServer, endpoint

logger = logging.getLogger(__name__)

# After SIGTERM, requests may finish within this time. A long poll is cancelled, and the client resumes at its cursor.
_GRACE_SECONDS = 3
# The close code of a server that shuts down (RFC 6455 section 7.4.1).
_GOING_AWAY = 1001
_LONGEST_BACK_OFF = 30.0

Background = Callable[[], Coroutine[Any, Any, None]]


class ListenError(Exception):
    """The server cannot listen on its address. The text says why in one sentence."""


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


class WebServer:
    """A server with limits for each client, background tasks, and an orderly shutdown."""

    def __init__(
        self,
        application: Application,
        address: Address,
        *,
        heartbeat_seconds: float,
        request_seconds: float,
        connections_per_address: int,
        behind_gateway: bool,
        background: list[Background],
        on_listening: Callable[[int], None],
    ) -> None:
        """Prepare to serve `application`. `on_listening` is called once, with the port."""
        most = raise_descriptor_limit()
        # Behind a gateway, all connections come from the gateway.
        slots = Slots(most if behind_gateway else connections_per_address, most)
        self.failure: ListenError | None = None
        self._address = address
        self._background = background
        self._tasks: list[asyncio.Task[None]] = []
        self._server = DaphneServer(
            OpenRequests(application, connections_per_address) if behind_gateway else application,
            Limits(slots, request_seconds),
            endpoint=endpoint(address.bind, address.port, address.certificate, address.key),
            heartbeat_seconds=heartbeat_seconds,
            # A gateway replaces the X-Forwarded-For that a client sends.
            trusts_forwarded_for=behind_gateway,
            on_start=self._start_background,
            on_listening=on_listening,
            on_listen_error=self._fail,
            on_stop=self._finish,
        )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that serves."""
        return self._server.loop

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        :raises ListenError: when the server cannot listen on its address.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell starts background processes with SIGINT ignored. Keep the signal ignored in that case.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: self._server.stop())
        self._server.run()
        _wind_up(self.loop)
        if self.failure:
            raise self.failure

    def _start_background(self) -> None:
        self._tasks = [asyncio.ensure_future(_supervise(make)) for make in self._background]

    def _fail(self, error: BaseException) -> None:
        self.failure = ListenError(_why(error, self._address))

    async def _finish(self) -> None:
        """Accept no more connections, close WebSockets and let requests finish. Then cancel the remaining requests."""
        self._server.stop_listening()
        for task in self._tasks:
            task.cancel()
        self._server.close_web_sockets(_GOING_AWAY)
        running = self._server.applications
        if running:
            _, running = await asyncio.wait(running, timeout=_GRACE_SECONDS)
        for application in running:
            application.cancel()
        if ending := {*self._tasks, *running}:
            await asyncio.wait(ending, timeout=_GRACE_SECONDS)


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the remaining tasks of the loop. A task that is pending when the interpreter ends can crash it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.wait_for(_ended(left), _GRACE_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait for tasks, and ignore their results and errors."""
    await asyncio.gather(*tasks, return_exceptions=True)


def require_usable(address: Address) -> None:
    """Check that the server can listen on the address, before the other parts of the process start.

    :raises ListenError: when the server cannot listen on the address.
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
        # Without a password, OpenSSL would prompt for the passphrase of an encrypted key.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        text = f"{certificate} and {key} are no PEM certificate and its unencrypted key: {error.reason or error}."
        raise ListenError(text) from None


def _why(error: BaseException, address: Address) -> str:
    """Return one sentence that says why the server cannot listen on the address."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"Port {address.port} on {address.bind} is taken: stop the other program, or change the port: PORT=…"
    return f"Cannot listen on {address.bind} port {address.port}: {error}."


async def _supervise(make: Background) -> None:
    """Run a task that should never end, and restart it when it ends. Wait longer before each restart, up to 30 s."""
    delay = 1.0
    while True:
        started = time.monotonic()
        try:
            await make()
        except Exception:
            logger.exception("%s failed; it restarts in %.0f s", make.__name__, delay)
        else:
            logger.error("%s ended; it restarts in %.0f s", make.__name__, delay)
        await asyncio.sleep(delay)
        lasted = time.monotonic() - started
        delay = 1.0 if lasted > 2 * _LONGEST_BACK_OFF else min(2 * delay, _LONGEST_BACK_OFF)
