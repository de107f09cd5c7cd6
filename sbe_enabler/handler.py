"""Serve sync views with a single switch from the event loop to a thread.

Django's ASGI handler gives each request a new thread and a new database connection. Around each middleware it switches
between that thread and the event loop. These switches cost more than a view of a few milliseconds.

Here a fixed number of threads keep their database connections open. One of them runs the middleware and the view of a
request, and returns the response. Async views wait for a long time, so Django's own handler serves them.
"""

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import IO, Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
from django.http import HttpResponse, HttpResponseBase
from django.urls import Resolver404, resolve, set_script_prefix

from events.authentication import network_of
from events.threads import POOL, in_thread_of, trust_busy_connection
from media.tally import Tally

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]

# Hashing a password is slow by design, so these views share one separate thread.
_HASHING_VIEWS = {"admin:login", "admin:password_change", "admin:auth_user_add", "admin:auth_user_password_change"}
# The most requests for these views, served or waiting: in total, and from one client network. Further requests are
# refused.
_WAITING_LOGINS = 16
_WAITING_OF_ONE = 4
_hashing_pool = ThreadPoolExecutor(1, thread_name_prefix="login")


class SyncHandler(ASGIHandler):
    """Serves sync views, and paths that have no view."""

    def __init__(self, pool: ThreadPoolExecutor = POOL) -> None:
        """Load the middleware in its sync form, and serve in the threads of `pool`."""
        super().__init__()
        self._pool = pool
        self.load_middleware(is_async=False)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body):
            response = await in_thread_of(self._pool, self._respond)(scope, body)
            await self.send_response(response, send)

    def _respond(self, scope: dict[str, Any], body: IO[bytes]) -> HttpResponseBase:
        """Return the complete response. Runs in a thread of the pool."""
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        trust_busy_connection()
        request, refusal = self.create_request(scope, body)
        response = refusal if request is None else self.get_response(request)
        assert response is not None  # noqa: S101 - create_request returns one of the two
        # `close` ends the request, which makes Django check the thread's database connection now.
        response.close()
        return response


class HashingHandler(SyncHandler):
    """Serves views that hash passwords, in one thread. Many requests for these views delay only each other."""

    def __init__(self) -> None:
        """Start with no requests waiting."""
        super().__init__(_hashing_pool)
        self._waiting = Tally()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it if too many requests wait."""
        address, _ = scope.get("client") or ("", 0)
        network = network_of(address)
        if self._waiting.total() >= _WAITING_LOGINS or self._waiting[network] >= _WAITING_OF_ONE:
            return await self.send_response(_busy(), send)
        self._waiting[network] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._waiting.release([network])


def _busy() -> HttpResponse:
    """Return the response to a login when too many logins wait."""
    text = "Too many logins at the same time. Try again in a few seconds."
    return HttpResponse(text, status=429, headers={"Retry-After": "5"}, content_type="text/plain")


class Handler:
    """Chooses a handler by the view of the path."""

    def __init__(self, async_handler: ASGIHandler, sync_handler: SyncHandler) -> None:
        """Use `async_handler` for async views, and `sync_handler` for sync views that hash no password."""
        self._async, self._sync = async_handler, sync_handler
        self._hashing = HashingHandler()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._handler_of(scope["path"], scope["method"])(scope, receive, send)

    def _handler_of(self, path: str, method: str) -> ASGIHandler:
        """Return the handler for the view of a path. A view hashes a password only for a POST."""
        try:
            match = resolve(path)
        except Resolver404:
            return self._sync
        if match.view_name in _HASHING_VIEWS and method == "POST":
            return self._hashing
        return self._async if iscoroutinefunction(match.func) else self._sync
