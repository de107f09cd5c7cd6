"""A real server and a real Chromium, for benchmarks in a network namespace of their own."""

import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from benchmarks.joining import ARGUMENTS, CHROMIUM
from tests.support.services import Backends, Server

# The UDP port of the media node. The rules of `tc` name it.
MEDIA_PORT = 45000


@contextlib.asynccontextmanager
async def server_and_browser(settings: Mapping[str, str] | None = None) -> AsyncIterator[tuple[Server, Browser]]:
    """Enable the loopback interface, and run `manage.py serve` with its media node, these settings, and Chromium."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    variables = {"SBE_LOG_LEVEL": "WARNING", "MEDIA_PORT": str(MEDIA_PORT), **(settings or {})}
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backends = stack.enter_context(contextlib.closing(Backends(directory)))
        server = stack.enter_context(Server(backends.sqlite(), directory / "server", variables, anew=True))
        driver = await stack.enter_async_context(async_playwright())
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        stack.push_async_callback(browser.close)
        yield server, browser
