"""Transactions of SQLite take turns within a process."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection, transaction

from sbe_enabler.sqlite.base import FairLock

pytestmark = [
    pytest.mark.once,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'"),
]

_PATIENCE_SECONDS = 10.0


@pytest.fixture
def run() -> Iterator[Callable[..., "Future[None]"]]:
    """Run functions in threads that close their connections."""

    def work(function: Callable[[], None]) -> None:
        try:
            function()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        yield lambda function: pool.submit(work, function)


def test_a_transaction_waits_only_for_those_before_it(run: Callable[..., "Future[None]"]) -> None:
    begun, passed = 0, [-1]
    is_busy, is_served = threading.Event(), threading.Event()

    def keep_busy() -> None:
        nonlocal begun
        for _ in range(200):
            with transaction.atomic():
                begun += 1
                is_busy.set()
                # A transaction that does some work.
                time.sleep(0.005)
            if is_served.is_set():
                return

    def ask() -> None:
        before = begun
        with transaction.atomic():
            passed[0] = begun - before
        is_served.set()

    working = run(keep_busy)
    assert is_busy.wait(_PATIENCE_SECONDS)
    run(ask).result(_PATIENCE_SECONDS)
    working.result(_PATIENCE_SECONDS)
    assert passed[0] <= 2


def test_a_turn_ends_when_the_connection_is_closed(run: Callable[..., "Future[None]"]) -> None:
    with transaction.atomic():
        connection.close()

    def begin() -> None:
        with transaction.atomic():
            pass

    run(begin).result(_PATIENCE_SECONDS)


def test_a_transaction_that_fails_passes_its_turn_on(run: Callable[..., "Future[None]"]) -> None:
    def fail() -> None:
        with transaction.atomic():
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run(fail).result(_PATIENCE_SECONDS)


def test_a_transaction_without_a_turn_in_time_is_refused(run: Callable[..., "Future[None]"]) -> None:
    def begin() -> None:
        connection.settings_dict = {**connection.settings_dict, "OPTIONS": {"timeout": 0.05}}
        with transaction.atomic():
            pass

    with transaction.atomic(), pytest.raises(OperationalError, match="database is locked"):
        run(begin).result(_PATIENCE_SECONDS)


def test_a_waiter_that_gives_up_leaves_the_queue() -> None:
    lock = FairLock()
    assert lock.acquire(0)
    assert not lock.acquire(0)
    lock.release()
    assert lock.acquire(0)
