"""A bot answers, hears, is held, holds, moves and is moved, like any other participant."""

import asyncio
from collections.abc import Awaitable

import pytest

from sbe_client.bot import Bot, BotCall
from tests.clients.conftest import Start
from tests.clients.sound import AGENT, ALICE, PHONE, endlessly, hears
from tests.support.endpoints import PATIENCE, new_name

pytestmark = pytest.mark.once


async def is_in(call: BotCall, state: str) -> None:
    """Wait until a call is in this state."""
    async with asyncio.timeout(PATIENCE):
        if call.state != state:
            async for change in call.changes():
                if change.state == state:
                    return


async def connected(alice: Bot, agent: Bot, topology: str) -> tuple[BotCall, BotCall]:
    """Let one bot call another one; return both calls, which send their tones."""
    name = agent.client.session.username if agent.client.session else ""
    async with asyncio.timeout(PATIENCE):
        calling = asyncio.create_task(alice.call(name, topology=topology))
        answered = await (await anext(agent.invitations())).answer()
        return await calling, answered


async def together(*doing: Awaitable[object]) -> None:
    """Wait for all."""
    async with asyncio.timeout(2 * PATIENCE):
        await asyncio.gather(*doing)


@pytest.mark.parametrize("topology", ["peer", "focus"])
async def test_bot_is_called_held_and_moved(start_bot: Start, topology: str) -> None:
    user = new_name("alice")
    alice, phone, agent = await start_bot(user), await start_bot(user, "phone"), await start_bot(new_name("agent"))
    one, two = await connected(alice, agent, topology)
    assert two.topology == topology
    endlessly(one, ALICE)
    endlessly(two, AGENT)
    await together(hears(one, AGENT), hears(two, ALICE))

    assert await one.hold() == "accepted"
    assert one.state == "on-hold"
    await is_in(two, "held")
    assert await one.resume() == "accepted"
    await is_in(two, "open")
    await together(hears(one, AGENT), hears(two, ALICE))

    assert await two.hold() == "accepted"
    await is_in(one, "held")
    assert await two.resume() == "accepted"
    await together(hears(one, AGENT), hears(two, ALICE))

    left = await one.move()
    assert left.outcome == "moving"
    invitation = await anext(phone.invitations())
    assert invitation.reason == "move"
    three = await invitation.answer()
    assert await one.ended() == "moved"
    endlessly(three, PHONE)
    await together(hears(three, AGENT), hears(two, PHONE))

    await three.hang_up()
    assert await asyncio.wait_for(two.ended(), PATIENCE) == "hung-up"
