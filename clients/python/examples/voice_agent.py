"""A voice agent: it greets the caller, repeats what it hears a second later, and hands the call to a human.

    python voice_agent.py http://127.0.0.1:8000 --key-file var/demo_api_key --hand-over-after 20

docs/python-client.md says how to install the client. The agent registers as the user `agent` and answers every call.
The echo stands for a model: send the frames of `call.audio()` to the model, and play what it answers.

The human is another device of the same user: open the test page as `/?user=agent&device=human` on the human's computer.
The agent hands over by a move, so that page rings, and the caller keeps the same call. The trigger is the chat message
"human", or `--hand-over-after` seconds. At each new call the human's page rings until the agent has answered.
"""

import argparse
import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from sbe_client import AsyncClient, CallOver, SbeError
from sbe_client.bot import Bot, BotCall, Invitation

RATE = 16_000
DELAY_FRAMES = 50  # of 20 ms each
logger = logging.getLogger("voice_agent")


async def greet_and_echo(call: BotCall, greeting: Path | None) -> None:
    """Talk until the call ends."""
    await (call.play_wav(greeting) if greeting else call.play_tone(1000, 1.0))
    await call.play(delayed(call))


async def delayed(call: BotCall) -> AsyncIterator[bytes]:
    """Yield what the call hears, one second later."""
    waiting: deque[bytes] = deque()
    async for frame in call.audio():
        waiting.append(frame.pcm)
        if len(waiting) > DELAY_FRAMES:
            yield waiting.popleft()


async def wait_for_trigger(call: BotCall, seconds: float | None) -> bool:
    """Return true when the call is to be handed over, false when it has ended. Holds are logged only."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for change in call.changes():
                # During a hold, `call.play` pauses by itself.
                logger.info("%s", f"chat: {change.text}" if change.text else f"the call is {change.state}")
                if (change.text or "").strip().lower() == "human":
                    return True
    return call.state != "ended"


async def hand_over(call: BotCall) -> None:
    """Move the call to the human, or apologise with a low tone if no human is there."""
    try:
        await call.move()
        logger.info("The human's devices ring.")
        logger.info("The agent is out: %s", await call.ended())
    except SbeError as error:
        logger.info("No hand-over: %s", error)
        if call.state != "ended":
            await call.play_tone(200, 1.0)


async def serve(call: BotCall, greeting: Path | None, seconds: float | None) -> None:
    """Serve one call to its end."""
    talking = asyncio.create_task(greet_and_echo(call, greeting))
    try:
        while call.state != "ended" and await wait_for_trigger(call, seconds):
            talking.cancel()
            call.stop_playing()
            await hand_over(call)
            talking, seconds = asyncio.create_task(greet_and_echo(call, None)), None
    finally:
        talking.cancel()
        with suppress(asyncio.CancelledError, CallOver):
            await talking


async def answer(ringing: Invitation, greeting: Path | None, seconds: float | None) -> None:
    """Answer an invitation, and serve the call. Another device may have answered first."""
    try:
        call = await ringing.answer()
        logger.info("Answered %s", ringing.caller)
        await serve(call, greeting, seconds)
    except SbeError as error:
        logger.info("The call of %s failed: %s", ringing.caller, error)


async def main() -> None:
    """Run until interrupted."""
    options = argparse.ArgumentParser(description="A voice agent.")
    options.add_argument("enabler", help="the URL of the enabler")
    options.add_argument("--key-file", type=Path, required=True, help="a file with the API key")
    options.add_argument("--user", default="agent")
    options.add_argument("--greeting", type=Path, help="a WAV file")
    options.add_argument("--hand-over-after", type=float, metavar="SECONDS")
    given = options.parse_args()
    async with AsyncExitStack() as stack:
        key = given.key_file.read_text().strip()
        client = await stack.enter_async_context(AsyncClient(given.enabler, api_key=key))
        await client.register(given.user, device="bot")
        bot = await stack.enter_async_context(Bot(client, rate=RATE))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        logger.info("%s is ready.", given.user)
        async for ringing in bot.invitations():
            # A move comes from the human, who would get it back at once.
            if ringing.reason == "call":
                tasks.create_task(answer(ringing, given.greeting, given.hand_over_after))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    for library in ("aioice", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        asyncio.run(main())
    except (SbeError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
