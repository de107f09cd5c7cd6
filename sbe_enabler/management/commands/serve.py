"""`manage.py serve`: run a web process, by default with a timekeeper, a nodekeeper and a media node."""

import asyncio
import ctypes
import gc
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

_LARGEST_PORT = 65535
_M_ARENA_MAX = -8  # malloc.h


class Command(BaseCommand):
    """Serves HTTP and WebSockets until SIGINT or SIGTERM."""

    help = "Serve HTTP and WebSockets (HTTPS with SBE_TLS_CERTIFICATE and SBE_TLS_KEY) until SIGINT or SIGTERM."
    # Skip the system checks: they would delay each restart by a second. `make check` and `quickstart` run them.
    requires_system_checks = []
    stealth_options = ("announce",)

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options for the address to listen on."""
        parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port; 0 takes a free one (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the server. Once it listens, it calls `announce(scheme, bind, port)` if this option is given."""
        _use_one_malloc_arena()
        from sbe_enabler.asgi import application
        from sbe_enabler.readiness import only_web_process, require_database
        from sbe_enabler.serving import Address, ListenError, WebServer, require_usable

        if not 0 <= options["port"] <= _LARGEST_PORT:
            raise CommandError(f"The port must be between 0 and {_LARGEST_PORT}, not {options['port']}.")
        require_database()
        address = Address(options["bind"], options["port"], settings.TLS_CERTIFICATE, settings.TLS_KEY)
        try:
            require_usable(address)
        except ListenError as error:
            raise CommandError(str(error)) from None
        announce = options.get("announce") or self._announce
        server = WebServer(
            application,
            address,
            heartbeat_seconds=settings.HEARTBEAT_SECONDS,
            request_seconds=settings.REQUEST_SECONDS,
            connections_per_address=settings.CONNECTIONS_PER_ADDRESS,
            behind_gateway=settings.USE_X_FORWARDED_HOST,
            background=_background(),
            on_listening=lambda port: announce(address.scheme, address.bind, port),
        )
        if is_media_local_only(address.bind):
            self.stderr.write(
                f"Media is received only on {settings.MEDIA_BIND}. For browsers on other machines, set MEDIA_BIND."
            )
        _tune_garbage_collection()
        try:
            with only_web_process(), _media_node(server.loop):
                server.run()
        except ListenError as error:
            raise CommandError(str(error)) from None

    def _announce(self, scheme: str, bind: str, port: int) -> None:
        """Print the URL on which the server listens."""
        host = f"[{bind}]" if ":" in bind else bind
        self.stdout.write(f"Listening on {scheme}://{host}:{port}")
        self.stdout.flush()


def is_media_local_only(bind: str) -> bool:
    """Return whether other machines can reach the server at `bind`, but not its media node."""
    return settings.MEDIA_NODE and _is_loopback(settings.MEDIA_BIND) and not _is_loopback(bind)


def _is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _use_one_malloc_arena() -> None:
    """Make all threads use glibc's first malloc arena.

    An arena per thread would grow by megabytes and never shrink.
    """
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _tune_garbage_collection() -> None:
    """Collect garbage less often, and exclude the existing objects, because imported code is never freed.

    This saves a twentieth of the processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@contextmanager
def _media_node(server_loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Run a media node in its own threads while the block runs, if SBE_MEDIA_NODE is set."""
    if not settings.MEDIA_NODE:
        yield
        return
    from sbe_enabler.focus import media_service

    service = media_service(server_loop)
    service.start()
    try:
        yield
    finally:
        service.stop()


def _background() -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Return the background tasks of the server's loop: timekeeper and nodekeeper, unless SBE_TIMEKEEPER is off."""
    if not settings.TIMEKEEPER:
        return []
    from sbe_enabler.nodekeeper import keep_nodes
    from sbe_enabler.timekeeper import keep_time

    return [keep_time, keep_nodes]
