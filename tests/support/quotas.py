"""Simultaneous requests."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections


def at_once(requests: list[Any]) -> list[int]:
    """Send each request in a separate thread; return their statuses."""

    def make(request: Any) -> int:
        try:
            return int(request().status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(make, requests))
