"""A page calls a bot of the Python client, directly and through the focus."""

import asyncio
import contextlib

import pytest

from sbe_client import AsyncClient, CallOver
from sbe_client.bot import Bot, BotCall
from tests.support.endpoints import new_name
from tests.support.journeys.focus_people import look_around
from tests.support.journeys.people import PATIENCE_SECONDS, Person, Visit
from tests.support.services import Server

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

_ENERGY = """async () => {
  let energy = 0;
  for (const report of (await window.sbe.pc.getStats()).values())
    if (report.type === "inbound-rtp" && report.kind === "audio") energy += report.totalAudioEnergy ?? 0;
  return energy;
}"""
# True once the page has offered an ICE restart and its connection uses the new credentials.
_RESTARTS_ICE = """async () => {
  const ufrag = () => window.sbe.pc.remoteDescription.sdp.match(/a=ice-ufrag:(.*)/)[1];
  const before = ufrag();
  window.sbe.pc.restartIce();
  const result = await window.sbe.client.currentCall.modify();
  return result === "accepted" && ufrag() !== before && window.sbe.pc.connectionState === "connected";
}"""
# The sound of a second of the bot's tone has more energy than this. Silence adds none.
_SOME = 0.01
_LOUD = 500


@pytest.mark.parametrize("direct", [True, False])
async def test_page_calls_a_bot_and_both_hear_each_other(visit: Visit, server: Server, direct: bool) -> None:
    user = new_name("agent")
    async with AsyncClient(server.base_url, api_key=server.api_key) as client:
        await client.register(user, device="bot")
        async with Bot(client) as bot:
            alice = await visit(new_name("alice"), direct=direct)
            await look_around(alice)
            await alice.press(f"call-video-{user}")
            call = await (await anext(bot.invitations())).answer()
            playing = asyncio.create_task(tone(call))
            await alice.is_in("open")
            await hears_the_bot(alice)
            await asyncio.wait_for(hears_beeps(call), PATIENCE_SECONDS)

            await alice.press("btn-hold")
            await alice.is_in("on-hold")
            await asyncio.wait_for(reaches(call, "held"), PATIENCE_SECONDS)
            await alice.press("btn-hold")
            await alice.is_in("open")
            await asyncio.wait_for(reaches(call, "open"), PATIENCE_SECONDS)
            await hears_the_bot(alice)

            assert await call.hold() == "accepted"
            await alice.is_in("held")
            assert await call.resume() == "accepted"
            await alice.is_in("open")
            await hears_the_bot(alice)

            # The page restarts ICE. The bot cannot, so it answers with a new connection.
            await alice.until(_RESTARTS_ICE)
            await hears_the_bot(alice)
            await asyncio.wait_for(hears_beeps(call, skipping=50), PATIENCE_SECONDS)
            await call.hang_up()
            await alice.sees_the_end()
            await playing


async def tone(call: BotCall) -> None:
    """Play a tone until the call ends."""
    with contextlib.suppress(CallOver):
        await call.play_tone(440, 300)


async def hears_the_bot(person: Person) -> None:
    """Wait until the page has received some more sound."""
    before = await person.page.evaluate(_ENERGY)
    await person.until(f"async (before) => await ({_ENERGY})() > before + {_SOME}", before)


async def hears_beeps(call: BotCall, skipping: int = 0) -> None:
    """Wait until the bot hears the beeps of Chromium's fake microphone, after the frames that waited before."""
    frames = call.audio()
    for _ in range(skipping):
        await anext(frames)
    async for frame in frames:
        if max(memoryview(frame.pcm).cast("h")) > _LOUD:
            return


async def reaches(call: BotCall, state: str) -> None:
    """Wait for a state."""
    while call.state != state:
        await anext(call.changes())
