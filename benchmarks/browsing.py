"""A real server and a real Chromium, for benchmarks in a network namespace of their own."""

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from playwright.async_api import Browser, Page, Playwright, async_playwright

from benchmarks.joining import ARGUMENTS, CHROMIUM, PATIENCE_MS
from benchmarks.link import NEAR, Link
from tests.support.services import Backends, Server, free_port

# The UDP port of the media node. The rules of `tc` name it.
MEDIA_PORT = 45000


@contextlib.asynccontextmanager
async def server_and_browser(**variables: str) -> AsyncIterator[tuple[Server, Browser]]:
    """Enable the loopback interface, and run `manage.py serve` with its media node and Chromium."""
    async with _services(variables) as (server, driver), _chromium(driver, CHROMIUM) as browser:
        yield server, browser


@contextlib.asynccontextmanager
async def server_and_browsers() -> AsyncIterator[tuple[Server, Link, Sequence[Browser]]]:
    """Do the same for three users. The third one has a browser of its own, behind a link."""
    port = free_port()
    link = Link(port)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await link.start()
        server, driver = await stack.enter_async_context(_services({"MEDIA_BIND": NEAR}, port))
        here = await stack.enter_async_context(_chromium(driver, CHROMIUM))
        there = await stack.enter_async_context(_chromium(driver, link.wrapped(CHROMIUM, folder)))
        yield server, link, (here, here, there)


@contextlib.asynccontextmanager
async def _services(variables: Mapping[str, str], port: int | None = None) -> AsyncIterator[tuple[Server, Playwright]]:
    """Run the server, and Playwright."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    variables = {"SBE_LOG_LEVEL": "WARNING", "MEDIA_PORT": str(MEDIA_PORT), **variables}
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backends = stack.enter_context(contextlib.closing(Backends(directory)))
        made = Server(backends.sqlite(), directory / "server", variables, port or free_port(), anew=True)
        server = stack.enter_context(made)
        yield server, await stack.enter_async_context(async_playwright())


@contextlib.asynccontextmanager
async def _chromium(driver: Playwright, program: str) -> AsyncIterator[Browser]:
    browser = await driver.chromium.launch(executable_path=program, args=ARGUMENTS)
    try:
        yield browser
    finally:
        await browser.close()


async def until(page: Page, condition: str) -> None:
    """Wait until an async function in a page returns true. `Page.wait_for_function` takes any promise for true.

    :raises TimeoutError: when that takes longer than PATIENCE_MS.
    """
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not await page.evaluate(condition):
            await asyncio.sleep(0.1)
