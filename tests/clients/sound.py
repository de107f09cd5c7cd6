"""What bots send and hear in tests: tones."""

import asyncio
import contextlib
import math
from array import array
from collections import defaultdict
from collections.abc import Mapping

from sbe_client import CallOver
from sbe_client.bot import BotCall
from tests.support.endpoints import PATIENCE

RATE = 16_000
ALICE, AGENT, PHONE = 440.0, 1200.0, 1700.0
# The greeting of the example.
GREETING = 1000.0
PITCHES = (ALICE, AGENT, PHONE, GREETING)


def strength(pcm: bytes, hertz: float) -> float:
    """Return the amplitude of a frequency in 16-bit PCM (Goertzel)."""
    samples = array("h", pcm)
    factor = 2 * math.cos(2 * math.pi * hertz / RATE)
    last, before = 0.0, 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    return 2 * math.sqrt(max(0.0, last * last + before * before - factor * last * before)) / len(samples)


async def hears(call: BotCall, hertz: float) -> None:
    """Wait until a call hears this tone, loudest of all, in 100 ms of audio."""
    await hear_from(call, {None: hertz})


async def hear_from(call: BotCall, tones: Mapping[str | None, float]) -> None:
    """Wait until a call has heard each of these participants' tones. The participant None is anyone."""
    missing, heard = dict(tones), defaultdict[str | None, bytes](bytes)
    async with asyncio.timeout(PATIENCE):
        async for frame in call.audio():
            who = None if None in tones else frame.participant
            pcm = heard[who] = (heard[who] + frame.pcm)[-2 * RATE // 10 :]
            if who in missing and _is(pcm, missing[who]):
                del missing[who]
            if not missing:
                return
    raise AssertionError("the call ended")


def _is(pcm: bytes, hertz: float) -> bool:
    """Tell whether 100 ms of audio have this tone, loudest of all."""
    found = {pitch: strength(pcm, pitch) for pitch in PITCHES} if len(pcm) == 2 * RATE // 10 else {hertz: 0.0}
    return found[hertz] > 1000 and found[hertz] == max(found.values())


def endlessly(call: BotCall, hertz: float) -> "asyncio.Task[None]":
    """Play a tone in the background until the call ends."""

    async def play() -> None:
        with contextlib.suppress(CallOver):
            await call.play_tone(hertz, 60)

    return asyncio.create_task(play())
