"""Requests at the same time."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections


def at_once(requests: list[Any]) -> list[int]:
    """Make requests in as many threads and return their statuses."""

    def make(request: Any) -> int:
        try:
            return int(request().status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(make, requests))
