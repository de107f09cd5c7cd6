"""Rate limits: count requests by name in a sliding window, one minute by default, at a constant cost per request.

The window is estimated from two buckets: the current one, and the fraction of the previous one that is still inside
the window. With Redis, all processes share the buckets, and the database's clock tells which bucket is current. While
Redis does not answer, each process counts for itself.
"""

import hashlib
import logging
import math
from dataclasses import dataclass
from functools import cache as once
from typing import Any

import redis
from django.conf import settings
from django.core.cache import cache
from redis.backoff import NoBackoff
from redis.retry import Retry

from events import clock
from events.exceptions import RateLimitedError
from media.pause import Pause

logger = logging.getLogger(__name__)

WINDOW = 60  # seconds
# How long a request waits for Redis, and how long to wait before using Redis again after a failure.
_TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 3.0


@dataclass(frozen=True)
class Usage:
    """The requests in the current and the previous bucket, `elapsed` seconds after the current one began."""

    current: int
    previous: int
    elapsed: float
    window: int = WINDOW  # seconds

    def wait(self, limit: int, number: int = 1) -> float:
        """Return the seconds until the limit allows a request that counts as `number` requests; 0 if it is allowed now.

        `current` already includes this request.
        """
        others = self.current - number
        room = limit - others
        if room <= 0:
            # The current bucket must first become the previous one. Then that bucket's weight must fall far enough.
            return self.window - self.elapsed + self.window * (1 - limit / others)
        if self.previous <= room:
            return 0.0
        return max(0.0, self.window * (1 - room / self.previous) - self.elapsed)


def take(name: str, limit: int, number: int = 1, *, window: int = WINDOW) -> float:
    """Count a request as `number` requests; return 0 if the limit allows it, otherwise the seconds to wait.

    A refused request is not counted. Always use the same `window` for the same name. It is at most WINDOW seconds.
    """
    now = clock.now().timestamp()
    closed_until = float(cache.get(f"closed.{name}", 0.0))
    if closed_until > now:
        return closed_until - now
    bucket = int(now // window)
    usage = Usage(*_add(name, bucket, number), now % window, window)
    wait = usage.wait(limit, number)
    if wait > 0:
        _add(name, bucket, -number)
        cache.set(f"closed.{name}", now + wait, timeout=wait)
    return wait


def require_room(name: str, limit: int, number: int = 1, *, window: int = WINDOW) -> None:
    """Count a request as `number` requests, or refuse it.

    :raises RateLimitedError: when the limit does not allow it. Its `Retry-After` header holds the seconds to wait.
    """
    if wait := take(name, limit, number, window=window):
        raise RateLimitedError(headers={"Retry-After": str(math.ceil(wait))})


def key_of(username: str) -> str:
    """Hash a username for use in a cache key. A username may contain characters that keys must not contain."""
    return hashlib.sha256(username.encode()).hexdigest()


def _add(name: str, bucket: int, number: int) -> tuple[int, int]:
    """Add to a bucket; return its count and that of the previous bucket."""
    current, previous = f"{settings.COUNTER_PREFIX}{name}.{bucket}", f"{settings.COUNTER_PREFIX}{name}.{bucket - 1}"
    counts = shared().add(current, previous, number) if settings.REDIS_URL else None
    return counts or _add_here(current, previous, number)


def _add_here(current: str, previous: str, number: int) -> tuple[int, int]:
    """Add to a bucket of this process only."""
    cache.add(current, 0, timeout=2 * WINDOW)
    try:
        return cache.incr(current, number), int(cache.get(previous, 0))
    except ValueError:
        # The cache was full and evicted the key between `add` and `incr`.
        return max(0, number), 0


class _Redis:
    """The buckets that all processes share."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._pause = Pause(PAUSE_SECONDS)

    def add(self, current: str, previous: str, number: int) -> tuple[int, int] | None:
        """Add to a bucket in one round trip and return both counts; return None while Redis does not answer."""
        if self._pause.lasts:
            return None
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.incrby(current, number).expire(current, 2 * WINDOW).get(previous)
                count, _, before = pipeline.execute()
        except (redis.RedisError, OSError) as error:
            self._pause.begin()
            logger.warning("Redis does not answer, so this process counts requests for itself: %r", error)
            return None
        return int(count), int(before or 0)


@once
def shared() -> _Redis:
    """Return the buckets in Redis. The connection opens at the first use of a bucket."""
    return _Redis(settings.REDIS_URL)
