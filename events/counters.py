"""Count requests by name in a sliding window, of a minute if nothing else is said, at a constant cost.

A window is estimated from two buckets: the requests of this minute, and those of the last minute as far as it still
counts. With Redis the processes share the buckets, and the database's clock tells which one is current. While
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
# The longest that a request waits for Redis, and how long Redis is left alone after a failure.
_PATIENCE_SECONDS = 0.25
PAUSE_SECONDS = 3.0


@dataclass(frozen=True)
class Usage:
    """The requests of this bucket and of the one before, `elapsed` seconds after this one began."""

    current: int
    previous: int
    elapsed: float
    window: int = WINDOW  # seconds

    def wait(self, limit: int, number: int = 1) -> float:
        """Return the seconds until the window has room for the last `number` of these; 0 when it has now."""
        others = self.current - number
        room = limit - others
        if room <= 0:
            # This bucket must first become the previous one, and then age.
            return self.window - self.elapsed + self.window * (1 - limit / others)
        if self.previous <= room:
            return 0.0
        return max(0.0, self.window * (1 - room / self.previous) - self.elapsed)


def take(name: str, limit: int, number: int = 1, *, window: int = WINDOW) -> float:
    """Count a request as `number`; return 0 when the limit has room, otherwise the seconds after which to ask again.

    A request that is not allowed is not counted. A name always has the same window, of at most a minute.
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
    """Count a request, as `number`, that the limit must allow.

    :raises RateLimitedError: when it does not, with the seconds after which to ask again.
    """
    if wait := take(name, limit, number, window=window):
        raise RateLimitedError(headers={"Retry-After": str(math.ceil(wait))})


def key_of(username: str) -> str:
    """Return a name for a user: a username may have characters that a cache does not take in its keys."""
    return hashlib.sha256(username.encode()).hexdigest()


def _add(name: str, bucket: int, number: int) -> tuple[int, int]:
    """Add to a bucket; return its count and that of the bucket before."""
    current, previous = f"{settings.COUNTER_PREFIX}{name}.{bucket}", f"{settings.COUNTER_PREFIX}{name}.{bucket - 1}"
    counts = shared().add(current, previous, number) if settings.REDIS_URL else None
    return counts or _add_here(current, previous, number)


def _add_here(current: str, previous: str, number: int) -> tuple[int, int]:
    """Count in this process alone."""
    cache.add(current, 0, timeout=2 * WINDOW)
    try:
        return cache.incr(current, number), int(cache.get(previous, 0))
    except ValueError:
        # A full cache has dropped the key in between.
        return max(0, number), 0


class _Redis:
    """The buckets that all processes share."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(
            url,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._pause = Pause(PAUSE_SECONDS)

    def add(self, current: str, previous: str, number: int) -> tuple[int, int] | None:
        """Add in one round trip; return None while Redis does not answer."""
        if self._pause.lasts:
            return None
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.incrby(current, number).expire(current, 2 * WINDOW).get(previous)
                count, _, before = pipeline.execute()
        except (redis.RedisError, OSError) as error:
            self._pause.begin()
            logger.warning("Redis does not count requests, so each process counts for itself: %r", error)
            return None
        return int(count), int(before or 0)


@once
def shared() -> _Redis:
    return _Redis(settings.REDIS_URL)
