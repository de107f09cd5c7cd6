"""Rate limits have constant cost, are shared through Redis, and do not wait if Redis is down."""

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from events import counters
from events.counters import WINDOW, Usage, take
from tests.support.clock import Clock, stop_clock
from tests.support.depth import examples
from tests.support.devices import Device

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the clock, so that no test crosses the end of a minute."""
    return stop_clock(monkeypatch)


@pytest.mark.parametrize(
    ("usage", "wait"),
    [
        (Usage(1, 0, 0), 0),
        (Usage(10, 0, 59), 0),
        (Usage(11, 0, 20), 40),
        (Usage(1, 10, 0), 0),
        (Usage(2, 10, 0), 6),
        (Usage(2, 10, 6), 0),
        (Usage(10, 10, 30), 24),
        (Usage(21, 0, 20), 70),
    ],
)
def test_wait_is_until_the_window_has_room(usage: Usage, wait: float) -> None:
    assert usage.wait(10) == pytest.approx(wait)


def test_limit_holds_and_is_given_back_as_the_window_moves(still_clock: Clock) -> None:
    still_clock.at = datetime.fromtimestamp(1000.0 * WINDOW, UTC)
    assert [take("alice", 3) for _ in range(3)] == [0, 0, 0]
    assert [take("alice", 3) for _ in range(5)] == [WINDOW] * 5
    assert take("bob", 3) == 0
    still_clock.at += timedelta(seconds=WINDOW)
    assert take("alice", 3) == 0
    assert take("alice", 3) == pytest.approx(WINDOW / 3)


def test_window_can_be_shorter(still_clock: Clock) -> None:
    still_clock.at = datetime.fromtimestamp(1000.0 * WINDOW, UTC)
    assert [take("alice", 2, window=5) for _ in range(3)] == [0, 0, 5]
    still_clock.at += timedelta(seconds=4)
    assert take("alice", 2, window=5) == 1
    still_clock.at += timedelta(seconds=1)
    assert take("alice", 2, window=5) == 0
    assert take("alice", 2, window=5) == pytest.approx(2.5)


def test_cost_does_not_grow_with_the_number_of_requests() -> None:
    def seconds(requests: int) -> float:
        began = time.thread_time()
        for _ in range(requests):
            take("busy", 10**9)
        return (time.thread_time() - began) / requests

    early = min(seconds(200) for _ in range(5))
    seconds(examples(6_000, deep=20_000))
    # If the cost grew with the number of requests, it would be at least seven times as high (20 times in deep runs).
    assert min(seconds(200) for _ in range(5)) < 5 * early


# --- Redis ------------------------------------------------------------------------------------------------


@pytest.fixture
def silent_redis(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A Redis that accepts connections and never answers. `counters` tries it only once during the test."""
    monkeypatch.setattr(counters, "PAUSE_SECONDS", 60.0)
    counters.shared.cache_clear()
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        yield server
    counters.shared.cache_clear()


def test_hanging_redis_delays_one_request_and_limits_still_hold(silent_redis: socket.socket) -> None:
    assert [bool(take("alice", 3)) for _ in range(100)] == [False] * 3 + [True] * 97
    # Redis was tried once, and is not tried again for a while.
    silent_redis.setblocking(False)
    silent_redis.accept()[0].close()
    with pytest.raises(BlockingIOError):
        silent_redis.accept()


def test_processes_share_their_counts_through_redis(settings: Settings) -> None:
    if not settings.REDIS_URL:
        pytest.skip("needs Redis")
    for _ in range(3):
        assert take("alice", 3) == 0
        # Clear this process's cache, so that the next `take` counts as it would in another process.
        cache.clear()
    assert take("alice", 3) > 0


# --- Requests ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_polls_count_as_requests(settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE = 5
    alice = Device.register("alice")
    answers = [alice.request("GET", f"/sessions/{alice.id}/events?wait=0") for _ in range(8)]
    assert [response.status_code for response in answers] == [200] * 5 + [429] * 3
    assert answers[-1].json()["code"] == "rate-limited"
    assert 1 <= int(answers[-1]["retry-after"]) <= WINDOW + 1
    assert alice.request("GET", "/mediaConferences").status_code == 429


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/mediaConferences", "/mediaConferences/x", "/sessions/x/events"])
def test_unknown_tokens_are_counted_per_address(settings: Settings, path: str) -> None:
    settings.UNKNOWN_TOKENS_PER_MINUTE = 3
    alice = Device.register("alice")

    def guess(number: int, address: str) -> int:
        headers = {"authorization": f"Bearer guess{number}"}
        return Client(REMOTE_ADDR=address).get(path, headers=headers).status_code

    assert [guess(number, "192.0.2.1") for number in range(6)] == [401] * 3 + [429] * 3
    assert guess(9, "192.0.2.2") == 401
    assert [guess(number, f"2001:db8::{number}") for number in range(6)] == [401] * 3 + [429] * 3
    assert guess(9, "2001:db8:0:1::1") == 401
    alice.client = Client(REMOTE_ADDR="192.0.2.1")
    assert alice.request("GET", "/mediaConferences").status_code == 200
