"""Serve sync views in one hop between threads.

Django's own ASGI handler gives every request a thread and a database connection of its own, and changes between that
thread and the event loop around each middleware: for a view that takes a few milliseconds, that is more than the view.
Here a request for a sync view goes, middleware and all, to one of a fixed number of threads whose database connections
stay open, and comes back as an answer. Async views, which wait for long, are served by Django's own handler.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from typing import IO, Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
from django.http import HttpResponseBase
from django.urls import Resolver404, resolve, set_script_prefix

from events.threads import in_database_thread, trust_busy_connection

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class SyncHandler(ASGIHandler):
    """Serves sync views, and whatever has no view."""

    def __init__(self) -> None:
        """Load the middleware in its sync form."""
        super().__init__()
        self.load_middleware(is_async=False)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body):
            response = await in_database_thread(self._respond)(scope, body)
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


class Handler:
    """Chooses between the two by the view that a path leads to."""

    def __init__(self, async_handler: ASGIHandler) -> None:
        """Serve async views with `async_handler`."""
        self._async = async_handler
        self._sync = SyncHandler()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        handler = self._async if _leads_to_async_view(scope["path"]) else self._sync
        await handler(scope, receive, send)


def _leads_to_async_view(path: str) -> bool:
    """Tell whether the view of a path is async."""
    try:
        view = resolve(path).func
    except Resolver404:
        return False
    return iscoroutinefunction(view)
