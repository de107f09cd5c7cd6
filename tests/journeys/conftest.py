"""Fixtures of the journeys: a real server and real Chromium pages."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urljoin

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Playwright, ViewportSize, async_playwright
from playwright.async_api import Error as PlaywrightError

from tests.support.journeys.pages import FAKE_DEVICES, LONG_DEADLINES, NO_QUESTIONS, VIEWPORT, prepare, start_chromium
from tests.support.journeys.people import Launch, Person, Visit
from tests.support.namespace import SERVER_SETTINGS
from tests.support.services import Backends, Server

_GRANTED = ("camera", "microphone")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    """Run the Playwright driver, which controls the browsers."""
    async with async_playwright() as driver:
        yield driver


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(playwright: Playwright) -> AsyncIterator[Browser]:
    """Run one Chromium for all journeys."""
    browser = await start_chromium(playwright, FAKE_DEVICES, NO_QUESTIONS)
    yield browser
    await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def launch(playwright: Playwright) -> AsyncIterator[Launch]:
    """Run another Chromium, with other devices: `await launch(FAKE_DEVICES)`. This browser asks for permissions."""
    async with AsyncExitStack() as stack:

        async def run(*arguments: str) -> Browser:
            browser = await start_chromium(playwright, *arguments, asks=True)
            stack.push_async_callback(browser.close)
            return browser

        yield run


@pytest.fixture(scope="session")
def server(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server for all journeys. Each test ends its sessions."""
    settings = {**LONG_DEADLINES, **SERVER_SETTINGS}
    with Server(backends.sqlite(), tmp_path_factory.mktemp("server"), settings) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profiles(chromium: Browser) -> AsyncIterator[list[BrowserContext]]:
    """Keep the visitors' browser profiles for later tests, so that their caches are warm."""
    contexts: list[BrowserContext] = []
    yield contexts
    for context in contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(
    chromium: Browser, server: Server, profiles: list[BrowserContext], launch: Launch
) -> AsyncIterator[Visit]:
    """Open the test page as this user: `await visit("alice", "laptop")`. All users sign off at the end of the test.

    Each visitor of a test has a separate browser profile. The visitors of the next test reuse these profiles in the
    same order (`profiles`), unless they have another `browser` or other `permissions`.

    - `at` is the server to use, and `also` lists other addresses that the page may send requests to.
    - `before(page)` is awaited before the page loads anything.
    - `address` is the page to open. `live` is the transport of the event channel to wait for (None: do not wait).
    - With `direct` a call with one user goes from browser to browser, otherwise through the focus.
    - `media` contains the CSS media features to emulate (`color_scheme`, `reduced_motion`). By default motion is
    reduced, which saves a tenth of the time on a loaded machine.

    If a page logs an error, or sends a request to another server, the test fails. Browsers of `launch` close later,
    because their pages must sign off first.
    """
    async with AsyncExitStack() as stack:
        people: list[Person] = []
        unused = iter(profiles[:])

        async def profile(browser: Browser, permissions: Sequence[str]) -> BrowserContext:
            usual = (browser, permissions) == (chromium, _GRANTED)
            if usual and (known := next(unused, None)):
                return known
            context = await browser.new_context(permissions=permissions)
            if usual:
                profiles.append(context)
                # Keep the window of the profile open: opening and closing a window is expensive.
                await context.new_page()
            else:
                stack.push_async_callback(context.close)
            return context

        async def open_page(
            username: str,
            device: str = "laptop",
            *,
            query: str = "",
            address: str | None = None,
            live: str | None = "websocket",
            at: Server = server,
            also: Sequence[str] = (),
            browser: Browser = chromium,
            permissions: Sequence[str] = _GRANTED,
            direct: bool = True,
            before: Callable[[Page], Awaitable[object]] | None = None,
            viewport: ViewportSize = VIEWPORT,
            **media: Any,
        ) -> Person:
            page = await (await profile(browser, permissions)).new_page()
            stack.push_async_callback(_leave, page)
            await page.set_viewport_size(viewport)
            await page.emulate_media(**{"reduced_motion": "reduce", **media})
            person = Person(page, username)
            people.append(person)
            _listen(person, (at.base_url, *also))
            await prepare(page, direct=direct)
            if before:
                await before(page)
            await page.goto(urljoin(at.base_url, address or f"/?user={username}&device={device}{query}"))
            if live:
                await person.is_live(live)
            return person

        yield open_page
        complaints = [complaint for person in people for complaint in person.complaints]
        assert not complaints, complaints


async def _leave(page: Page) -> None:
    """Sign the user off if the page and its server still work, and close the page."""
    # `unregister` is no alternative: it would repeat its request if a test has stopped the server.
    with contextlib.suppress(PlaywrightError):
        await page.evaluate(
            """async () => {
              const {enabler, session} = window.sbe?.client ?? {};
              const headers = {Authorization: `Bearer ${session?.token}`};
              if (session) await fetch(`${enabler}/sessions/${session.id}`, {method: "DELETE", headers});
            }"""
        )
    await page.close()


def _listen(person: Person, addresses: tuple[str, ...]) -> None:
    """Record the page's WebSocket frames, its errors, and its requests to other servers."""

    def on_frame(payload: str | bytes) -> None:
        event = json.loads(payload)
        if "seq" in event:
            person.wire.append(event)

    def on_request(request: Any) -> None:
        if not request.url.startswith((*addresses, "blob:", "data:")):
            person.complaints.append(f"request to {request.url}")

    async def on_response(response: Any) -> None:
        if response.request.headers.get("x-conference-action") == "conference-answer" and response.status == 204:
            person.answered_at = await person.page.evaluate("window.sbe?.client.session.id")

    page = person.page
    page.on("response", on_response)
    page.on("websocket", lambda socket: socket.on("framereceived", on_frame))
    page.on("request", on_request)
    page.on("pageerror", lambda error: person.complaints.append(f"{person.username}: {error}"))
    page.on(
        "console",
        lambda message: (
            person.complaints.append(f"{person.username}: {message.text}")
            if message.type == "error"
            and "Failed to load resource" not in message.text
            and "WebSocket" not in message.text
            else None
        ),
    )
