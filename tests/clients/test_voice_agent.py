"""The example of a voice agent: it greets, echoes, notices a hold, and hands the call to a human's device."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.clients.conftest import Start
from tests.clients.sound import ALICE, GREETING, endlessly, hears
from tests.support.endpoints import PATIENCE, new_name
from tests.support.services import ROOT, Server

pytestmark = pytest.mark.once

_CLIENT = ROOT / "clients" / "python"


class Agent:
    """The example as a process, and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Use a running process."""
        self._process, self._log = process, b""

    async def logs(self, words: str, again: Callable[[], Awaitable[None]] | None = None) -> None:
        """Wait until the agent logs these words; call `again` every second until then."""
        assert self._process.stderr
        deadline = time.monotonic() + PATIENCE
        while words.encode() not in self._log:
            if again:
                await again()
            with contextlib.suppress(TimeoutError):
                line = await asyncio.wait_for(self._process.stderr.readline(), 1)
                assert line, self._log.decode()
                self._log += line
            assert time.monotonic() < deadline, f"no {words!r} in {self._log.decode()}"


@asynccontextmanager
async def voice_agent(server: Server, folder: Path, user: str, *options: str) -> AsyncIterator[Agent]:
    """Run the example until the end of the block."""
    key = folder / "key"
    key.write_text(server.api_key)
    arguments = [server.base_url, "--key-file", str(key), "--user", user, *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_CLIENT / "examples" / "voice_agent.py"),
        *arguments,
        env={**os.environ, "PYTHONPATH": str(_CLIENT)},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        agent = Agent(process)
        await agent.logs("is ready")
        yield agent
    finally:
        process.terminate()
        await process.wait()


async def test_agent_greets_echoes_and_hands_over_to_a_human(server: Server, tmp_path: Path, start_bot: Start) -> None:
    user = new_name("agent")
    async with voice_agent(server, tmp_path, user) as agent:
        alice = await start_bot(new_name("alice"))
        call = await alice.call(user)
        await hears(call, GREETING)
        playing = endlessly(call, ALICE)
        await hears(call, ALICE)

        assert await call.hold() == "accepted"
        await agent.logs("the call is held")
        assert await call.resume() == "accepted"

        # Without another device, the call goes on.
        # The agent's chat may open later than this one, and nobody stores a message.
        await agent.logs("No hand-over", again=lambda: call.say("human"))

        human = await start_bot(user, "human")
        await call.say("Human")
        ringing = await asyncio.wait_for(anext(human.invitations()), PATIENCE)
        assert ringing.reason == "move"
        taken = await ringing.answer()
        await agent.logs("The agent is out: moved")
        await hears(taken, ALICE)
        assert [each.device for each in call.others] == ["human"]
        playing.cancel()


async def test_agent_hands_over_a_direct_call_after_some_seconds(
    server: Server, tmp_path: Path, start_bot: Start
) -> None:
    user = new_name("agent")
    async with voice_agent(server, tmp_path, user, "--hand-over-after", "0.5") as agent:
        human, alice = await start_bot(user, "human"), await start_bot(new_name("alice"))
        call = await alice.call(user, topology="peer")
        async with asyncio.timeout(PATIENCE):
            async for ringing in human.invitations():
                if ringing.reason == "move":
                    break
        taken = await ringing.answer()
        await agent.logs("The agent is out: moved")
        playing = endlessly(call, ALICE)
        await hears(taken, ALICE)
        playing.cancel()
