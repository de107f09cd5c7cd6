"""The log shows where a slow request waited."""

import asyncio
import gc
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils import timezone
from pytest_django import Settings

from events.models import Session
from sbe_enabler.asgi import sync_handler
from sbe_enabler.slowness import Pauses, TimedHandler

pytestmark = pytest.mark.django_db(transaction=True)

_PATIENCE_SECONDS = 10.0
_WORK_SECONDS = 0.1


is_at_work = threading.Event()


def quick(request: HttpRequest) -> HttpResponse:
    """Answer at once."""
    return HttpResponse()


def locking(request: HttpRequest) -> HttpResponse:
    """Take a database lock. If another thread has it, wait."""
    is_at_work.set()
    with transaction.atomic():
        list(Session.objects.select_for_update().all())
    return HttpResponse()


def computing(request: HttpRequest) -> HttpResponse:
    """Use the processor."""
    is_at_work.set()
    end = time.thread_time() + _WORK_SECONDS
    while time.thread_time() < end:
        pass
    return HttpResponse()


def collecting(request: HttpRequest) -> HttpResponse:
    """Make the garbage collector visit many objects."""
    objects = [[number] for number in range(100_000)]
    gc.collect()
    assert objects
    return HttpResponse()


urlpatterns = [path(view.__name__, view) for view in (quick, locking, computing, collecting)]


@pytest.fixture(autouse=True)
def _own_paths() -> Iterator[None]:
    is_at_work.clear()
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        yield


async def ask(handler: Any, name: str) -> None:
    """Make one request."""
    scope = {"type": "http", "method": "GET", "path": f"/{name}", "query_string": b"", "http_version": "1.1"}
    scope |= {"headers": [(b"host", b"localhost")]}
    communicator: Any = ApplicationCommunicator(handler, scope)  # type: ignore[no-untyped-call]
    await communicator.send_input({"type": "http.request", "body": b""})
    await communicator.receive_output(_PATIENCE_SECONDS)
    await communicator.receive_output(_PATIENCE_SECONDS)
    await communicator.wait(_PATIENCE_SECONDS)


@pytest.fixture
def measured(caplog: pytest.LogCaptureFixture) -> Callable[[], dict[str, float]]:
    """Return a function that returns the phases of the one logged request."""

    def read() -> dict[str, float]:
        (line,) = [each.getMessage() for each in caplog.records if each.name == "sbe_enabler.slowness"]
        return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", line)}

    return read


Measured = Callable[[], dict[str, float]]


async def test_phases_add_up_to_the_whole_time(measured: Measured) -> None:
    await ask(TimedHandler(1e-9), "quick")
    division = measured()
    phases = sum(division[name] for name in ("body", "queue", "lock", "commit", "view", "answer", "send"))
    assert phases == pytest.approx(division["total"], abs=0.5)


async def test_processor_time_is_the_threads_own(measured: Measured) -> None:
    await ask(TimedHandler(1e-9), "computing")
    division = measured()
    assert 1000 * _WORK_SECONDS <= division["busy"] <= division["view"] + 1
    assert division["lock"] == division["commit"] == 0


async def test_a_wait_for_the_database_lock_is_logged_separately(measured: Measured) -> None:
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            Session.objects.create(created_at=timezone.now(), expires_at=timezone.now())
            with transaction.atomic():
                list(Session.objects.select_for_update())
                is_held.set()
                is_over.wait(_PATIENCE_SECONDS)
        finally:
            connection.close()

    holding = asyncio.create_task(asyncio.to_thread(hold))
    await asyncio.to_thread(is_held.wait, _PATIENCE_SECONDS)
    asking = asyncio.create_task(ask(TimedHandler(1e-9), "locking"))
    await asyncio.to_thread(is_at_work.wait, _PATIENCE_SECONDS)
    asyncio.get_running_loop().call_later(_WORK_SECONDS, is_over.set)
    await asyncio.gather(asking, holding)
    division = measured()
    assert division["lock"] > 0.5 * 1000 * _WORK_SECONDS
    assert 0 < division["committed"] <= division["total"]


async def test_a_late_event_loop_is_measured(measured: Measured) -> None:
    asking = asyncio.create_task(ask(TimedHandler(1e-9), "computing"))
    await asyncio.to_thread(is_at_work.wait, _PATIENCE_SECONDS)
    # This blocks the loop.
    time.sleep(2 * _WORK_SECONDS)
    await asking
    assert measured()["late"] > 1000 * _WORK_SECONDS / 2


async def test_garbage_collections_are_counted(measured: Measured) -> None:
    await ask(TimedHandler(1e-9), "collecting")
    assert measured()["gc"] > 0


async def test_quick_requests_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await ask(TimedHandler(_PATIENCE_SECONDS), "quick")
    assert not [each for each in caplog.records if each.name == "sbe_enabler.slowness"]


async def test_nothing_is_measured_by_default(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    await ask(sync_handler(), "quick")
    assert not [each for each in caplog.records if each.name == "sbe_enabler.slowness"]
    settings.SLOW_REQUEST_SECONDS = 1e-9
    await ask(sync_handler(), "quick")
    assert [each for each in caplog.records if each.name == "sbe_enabler.slowness"]


def test_only_the_part_of_a_pause_inside_the_request_counts() -> None:
    pauses = Pauses()
    for begin in (0.0, 4.0, 8.0):
        pauses.add(begin, begin + 2.0)
    assert pauses.within(1.0, 5.0) == 2.0
