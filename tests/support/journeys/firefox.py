"""Firefox as Debian ships it. Playwright cannot drive this build, so puppeteer does, in `firefox.mjs`."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

_DRIVER = Path(__file__).with_suffix(".mjs")
_PATIENCE_SECONDS = 30.0
# A small camera, and a screen that needs no selection. Firefox runs this script in its first, empty page as well, which
# has no media devices.
SMALL_DEVICES = """(() => {
  const {mediaDevices} = navigator;
  if (!mediaDevices) return;
  const open = mediaDevices.getUserMedia.bind(mediaDevices);
  const small = {width: 320, height: 240, frameRate: 10};
  mediaDevices.getUserMedia = ({audio, video}) => open({audio, video: video && {...video, ...small}});
  mediaDevices.getDisplayMedia = () => open({video: small});
})()"""
_SHOWS = """([testid, words]) => {
  const part = document.querySelector(`[data-testid="${testid}"]`);
  return Boolean(part?.checkVisibility({visibilityProperty: true}) && part.innerText.includes(words));
}"""


class Firefox:
    """A Firefox, of which one tab is driven."""

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

    async def open_tab(self) -> None:
        """Open another tab, and drive it from now on."""
        await self._do("tab")

    async def close_tab(self) -> None:
        """Close the tab."""
        await self._do("close")

    async def kill_tabs(self) -> None:
        """Kill the processes of all tabs, so that no page can say goodbye. Then only `open_tab` works."""
        parents = {int(await self._do("pid"))}
        commands = dict(_processes())
        while more := {pid for pid, (parent, _) in commands.items() if parent in parents} - parents:
            parents |= more
        for pid in parents:
            if commands[pid][1].endswith("tab"):
                os.kill(pid, signal.SIGKILL)

    async def press(self, testid: str) -> None:
        """Press a control, as soon as it can be pressed."""
        await self._do("press", testid=testid)

    async def type(self, text: str) -> None:
        """Type a text, or `\\n` for the Enter key, where the focus is."""
        await self._do("type", text=text)

    async def until(self, code: str, argument: object = None) -> Any:
        """Wait until a JavaScript function of the page returns a true value; return that value."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (value := await self.evaluate(code, argument)):
            assert time.monotonic() < deadline, f"Firefox: never came true: {code}"
            await asyncio.sleep(0.05)
        return value

    async def is_in(self, state: str) -> None:
        """Wait until the call is in a state."""
        await self.until("(state) => document.getElementById('stage').dataset.state === state", state)

    async def shows(self, testid: str, words: str = "") -> None:
        """Wait until a part of the page is visible with this text."""
        await self.until(_SHOWS, [testid, words])

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


def _processes() -> Iterator[tuple[int, tuple[int, str]]]:
    """Return each process of the machine with its parent and its command."""
    for directory in Path("/proc").glob("[0-9]*"):
        # A process may end meanwhile.
        with suppress(OSError):
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            yield int(directory.name), (parent, (directory / "cmdline").read_text().replace("\0", " ").strip())


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
