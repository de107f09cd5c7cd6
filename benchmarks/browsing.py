"""A real server and a real Chromium, for benchmarks in a network namespace of their own."""

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from benchmarks.joining import ARGUMENTS, CHROMIUM, PATIENCE_MS
from tests.support.services import Backends, Server

# The UDP port of the media node. The rules of `tc` name it.
MEDIA_PORT = 45000


@contextlib.asynccontextmanager
async def server_and_browser() -> AsyncIterator[tuple[Server, Browser]]:
    """Enable the loopback interface, and run `manage.py serve` with its media node and Chromium."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    variables = {"SBE_LOG_LEVEL": "WARNING", "MEDIA_PORT": str(MEDIA_PORT)}
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backends = stack.enter_context(contextlib.closing(Backends(directory)))
        server = stack.enter_context(Server(backends.sqlite(), directory / "server", variables, anew=True))
        driver = await stack.enter_async_context(async_playwright())
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        stack.push_async_callback(browser.close)
        yield server, browser


async def until(page: Page, condition: str) -> None:
    """Wait until an async function in a page returns true. `Page.wait_for_function` takes any promise for true.

    :raises TimeoutError: when that takes longer than PATIENCE_MS.
    """
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not await page.evaluate(condition):
            await asyncio.sleep(0.1)
