"""Failed logins are counted by address and by account. Hashing a password delays no other request."""

import asyncio
import threading
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.test import Client
from pytest_django import Settings

from sbe_enabler import handler
from sbe_enabler.handler import Handler, SyncHandler

pytestmark = pytest.mark.django_db(transaction=True)


def log_in(address: str, username: str, password: str = "wrong") -> Any:
    """Log in at the support desk."""
    form = {"username": username, "password": password}
    return Client().post("/admin/login/", form, REMOTE_ADDR=address)


@pytest.fixture
def hashed_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that hashed a password."""
    threads: list[str] = []
    encode = MD5PasswordHasher.encode

    def note(self: MD5PasswordHasher, password: str, salt: str) -> str:
        threads.append(threading.current_thread().name)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", note)
    return threads


def test_failed_logins_lock_their_address(settings: Settings, hashed_in: list[str]) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    statuses = [log_in("192.0.2.1", f"user{number}").status_code for number in range(4)]
    assert statuses == [200, 200, 429, 429]
    hashed = len(hashed_in)
    response = log_in("192.0.2.1", "another")
    assert (response.status_code, response["retry-after"]) == (429, "300")
    assert len(hashed_in) == hashed, "no password of a locked address is hashed"
    assert log_in("192.0.2.2", "another").status_code == 200


def test_failed_logins_lock_their_account(settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    User.objects.create_superuser("chief", password="right")
    for number in range(3):
        log_in(f"192.0.2.{number}", "chief")
    assert log_in("192.0.2.9", "chief", "right").status_code == 429
    User.objects.create_superuser("deputy", password="right")
    assert log_in("192.0.2.9", "deputy", "right").status_code == 302


@pytest.fixture
def known(settings: Settings) -> Client:
    """Return a browser that has logged in earlier."""
    settings.AXES_FAILURE_LIMIT = 3
    User.objects.create_superuser("chief", password="right")
    User.objects.create_superuser("deputy", password="right")
    browser = Client(REMOTE_ADDR="192.0.2.1")
    assert enter(browser, "chief", "right") == 302
    browser.post("/admin/logout/")
    return browser


def enter(browser: Client, username: str, password: str) -> int:
    """Log in with a browser and return the status."""
    return browser.post("/admin/login/", {"username": username, "password": password}).status_code


@pytest.mark.parametrize("network", ["192.0.2.1", "192.0.2.2"])
def test_strangers_do_not_lock_out_a_browser_that_has_logged_in_before(known: Client, network: str) -> None:
    assert [log_in(network, "chief").status_code for _ in range(4)] == [200, 200, 429, 429]
    assert log_in("192.0.2.9", "chief", "right").status_code == 429
    assert enter(known, "chief", "right") == 302


def test_a_known_browser_is_locked_after_its_own_failures(known: Client) -> None:
    assert [enter(known, "chief", "wrong") for _ in range(3)] == [200, 200, 429]
    assert enter(known, "chief", "right") == 429


@pytest.mark.parametrize("cookie", ["", "chief", "x:y:z", None])
def test_a_browser_is_known_only_for_its_own_account(known: Client, cookie: str | None) -> None:
    username = "deputy" if cookie is None else "chief"
    if cookie is not None:
        known.cookies["known_browser"] = cookie
    for number in range(3):
        log_in(f"192.0.2.{5 + number}", username)
    assert enter(known, username, "right") == 429


async def login_at(application: Any, username: str = "chief", address: str = "192.0.2.1", method: str = "POST") -> int:
    """Log in, or only open the login page, through the server's own handler; return the status."""
    token = "x" * 32
    body = urlencode({"username": username, "password": "wrong", "csrfmiddlewaretoken": token}).encode()
    headers = [
        (b"host", b"localhost"),
        (b"cookie", b"csrftoken=" + token.encode()),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": "/admin/login/",
        "query_string": b"",
        "headers": headers,
    }
    scope |= {"client": (address, 1), "http_version": "1.1"}
    communicator: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]
    await communicator.send_input({"type": "http.request", "body": body})
    status: int = (await communicator.receive_output(10))["status"]
    await communicator.wait(10)
    return status


async def test_no_database_thread_hashes_passwords(hashed_in: list[str]) -> None:
    assert await login_at(Handler(get_asgi_application(), SyncHandler())) == 200
    assert hashed_in
    assert all(name.startswith("login") for name in hashed_in)


async def test_the_number_of_waiting_logins_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "_WAITING_LOGINS", 0)
    assert await login_at(Handler(get_asgi_application(), SyncHandler())) == 429


async def test_login_page_opens_while_logins_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "_WAITING_LOGINS", 0)
    assert await login_at(Handler(get_asgi_application(), SyncHandler()), method="GET") == 200


async def test_one_address_does_not_fill_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, encode = threading.Event(), MD5PasswordHasher.encode

    def wait(self: MD5PasswordHasher, password: str, salt: str) -> str:
        go_on.wait(5)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", wait)
    application = Handler(get_asgi_application(), SyncHandler())
    crowd = [asyncio.create_task(login_at(application)) for _ in range(16)]
    finished = asyncio.as_completed(crowd)
    assert [await next(finished) for _ in range(12)] == 12 * [429]
    another = asyncio.create_task(login_at(application, address="192.0.2.2"))
    go_on.set()
    assert [await next(finished) for _ in range(4)] == 4 * [200]
    assert await another == 200
