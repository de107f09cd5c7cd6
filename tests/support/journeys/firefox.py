"""Firefox as Debian ships it. Playwright cannot drive this build, so puppeteer does, in `firefox.mjs`."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

_DRIVER = Path(__file__).with_suffix(".mjs")
_PATIENCE_SECONDS = 30.0


class Firefox:
    """A Firefox with one page."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def prepare(self, code: str) -> None:
        """Run a script in every page before its own ones."""
        await self._do("prepare", code=code)

    async def open(self, url: str) -> None:
        """Open an address."""
        await self._do("open", url=url)

    async def reload(self) -> None:
        """Reload the page."""
        await self._do("reload")

    async def press(self, testid: str) -> None:
        """Press a control, as soon as it can be pressed."""
        await self._do("press", testid=testid)

    async def evaluate(self, code: str, argument: object = None) -> Any:
        """Return what a JavaScript function of the page returns, or resolves to."""
        return await self._do("evaluate", code=code, argument=argument)

    async def complaints(self) -> list[str]:
        """Return the errors that the page has logged."""
        return list(await self._do("complaints"))

    async def _do(self, command: str, **rest: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps({"command": command, **rest}).encode() + b"\n")
            line = await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE_SECONDS)
        assert line, "the driver of Firefox has ended"
        outcome = json.loads(line)
        assert "error" not in outcome, f"Firefox, {command}: {outcome['error']}"
        return outcome["value"]


@asynccontextmanager
async def firefox() -> AsyncIterator[Firefox]:
    """Run a Firefox until the end of the block.

    :raises FileNotFoundError: when it is missing; the text names the package.
    """
    node, program = shutil.which("node"), shutil.which("firefox-esr")
    if node is None or program is None:
        raise FileNotFoundError("Firefox is missing: `make test` installs it, or apt-get install firefox-esr nodejs")
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(node, str(_DRIVER), program, stdin=pipe, stdout=pipe)
    try:
        yield Firefox(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
