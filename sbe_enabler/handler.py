"""Serve sync views in one hop between threads.

Django's own ASGI handler gives every request a thread and a database connection of its own, and changes between that
thread and the event loop around each middleware: for a view that takes a few milliseconds, that is more than the view.
Here a request for a sync view goes, middleware and all, to one of a fixed number of threads whose database connections
stay open, and comes back as an answer. Async views, which wait for long, are served by Django's own handler.
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

# Hashing a password is slow on purpose: these views have one thread of their own.
_HASHING_VIEWS = {"admin:login", "admin:password_change", "admin:auth_user_add", "admin:auth_user_password_change"}
# How many of these requests are served or wait, and how many of one client's network; the next one is refused.
_WAITING_LOGINS = 16
_WAITING_OF_ONE = 4
_hashing_pool = ThreadPoolExecutor(1, thread_name_prefix="login")


class SyncHandler(ASGIHandler):
    """Serves sync views, and whatever has no view."""

    def __init__(self, pool: ThreadPoolExecutor = POOL) -> None:
        """Load the middleware in its sync form; serve in the threads of `pool`."""
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
        """Return the complete answer."""
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        trust_busy_connection()
        request, refusal = self.create_request(scope, body)
        response = refusal if request is None else self.get_response(request)
        assert response is not None  # noqa: S101 - create_request returns the one or the other
        # Closing ends the request: Django looks after the thread's database connection then.
        response.close()
        return response


class HashingHandler(SyncHandler):
    """Serves views that hash passwords. A crowd of them waits for one thread, and only among themselves."""

    def __init__(self) -> None:
        """Prepare for an empty queue."""
        super().__init__(_hashing_pool)
        self._waiting = Tally()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request, unless too many wait."""
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
    """Return the answer to one login too many."""
    text = "Too many logins at the same time. Try again in a few seconds."
    return HttpResponse(text, status=429, headers={"Retry-After": "5"}, content_type="text/plain")


class Handler:
    """Chooses between these by the view that a path leads to."""

    def __init__(self, async_handler: ASGIHandler, sync_handler: SyncHandler) -> None:
        """Serve async views with the one, and sync views that hash no password with the other."""
        self._async, self._sync = async_handler, sync_handler
        self._hashing = HashingHandler()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._handler_of(scope["path"], scope["method"])(scope, receive, send)

    def _handler_of(self, path: str, method: str) -> ASGIHandler:
        """Return the handler for the view of a path. Only what is posted there has a password to hash."""
        try:
            match = resolve(path)
        except Resolver404:
            return self._sync
        if match.view_name in _HASHING_VIEWS and method == "POST":
            return self._hashing
        return self._async if iscoroutinefunction(match.func) else self._sync
