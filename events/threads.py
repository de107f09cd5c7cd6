"""The threads in which a server uses the database. Each thread keeps its own connection open."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any, ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connection

# A connection that was used within this time needs no health check.
_TRUST_SECONDS = 1.0
_thread = threading.local()

P = ParamSpec("P")
R = TypeVar("R")

POOL = ThreadPoolExecutor(settings.DATABASE_THREADS, thread_name_prefix="database")

# The server's event loop, for code that runs in a database thread.
_server_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("server_loop", default=None)


def in_database_thread(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return an async function that runs the sync function in a thread of POOL."""
    return in_thread_of(POOL, function)


def in_thread_of(pool: ThreadPoolExecutor, function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return an async function that runs the sync function in a thread of this pool."""
    call = database_sync_to_async(function, thread_sensitive=False, executor=pool)

    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _server_loop.set(asyncio.get_running_loop())
        result: R = await call(*args, **kwargs)
        return result

    return run


def set_server_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Set the loop that `run_in_server_loop` uses in this thread. Only threads outside the pools need this."""
    _server_loop.set(loop)


def run_in_server_loop(function: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Start an async function on the server's loop and do not wait for it; return False if there is no such loop."""
    loop = _server_loop.get()
    if loop is None or loop.is_closed():
        return False
    loop.call_soon_threadsafe(partial(_start, partial(function, *args, **kwargs)))
    return True


def trust_busy_connection() -> None:
    """Skip the connection's health check if this thread has used the connection within the last second.

    Django would check it at the start of every request, which takes a fifth of the request's time.
    """
    now = time.monotonic()
    if now - getattr(_thread, "used_at", 0.0) < _TRUST_SECONDS:
        connection.health_check_done = True  # type: ignore[attr-defined]
    _thread.used_at = now


# Keep references to tasks: the event loop holds only weak ones.
_started: set[asyncio.Task[None]] = set()


def _start(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.ensure_future(function())
    _started.add(task)
    task.add_done_callback(_started.discard)
