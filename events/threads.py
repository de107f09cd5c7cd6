"""The threads in which a server works with the database, each on a connection of its own that stays open."""

from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.conf import settings

P = ParamSpec("P")
R = TypeVar("R")

POOL = ThreadPoolExecutor(settings.DATABASE_THREADS, thread_name_prefix="database")


def in_database_thread(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return an async function that runs the sync one in one of these threads."""
    call: Callable[P, Coroutine[Any, Any, R]] = database_sync_to_async(function, thread_sensitive=False, executor=POOL)
    return call
