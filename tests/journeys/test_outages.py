"""The page when the event channel or the server fails during a change."""

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.support.journeys.people import Visit, in_a_call, nothing_lost_or_repeated
from tests.support.journeys.wire import Wire, come_back_soon
from tests.support.services import Server

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]


async def _restart(server: Server) -> None:
    server.restart()


async def _crash(server: Server) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("cut", [pytest.param(_restart, marks=pytest.mark.deep), _crash])
async def test_a_modification_survives_the_server(
    visit: Visit, server: Server, cut: Callable[[Server], Awaitable[None]]
) -> None:
    alice, bob = await in_a_call(visit, cut.__name__, before=come_back_soon)
    await bob.sees_video()
    await bob.asks_first()
    await alice.press("btn-hold")
    await expect(bob.part("mod-dialog")).to_be_visible()
    await cut(server)
    for person in (alice, bob):
        await person.is_live("websocket", "sse", "poll")
    await bob.press("mod-accept")
    await alice.is_in("on-hold")
    await bob.is_in("held")
    await alice.press("btn-hold")
    await bob.press("mod-accept")
    await alice.is_in("open")
    await bob.sees_video()
    await nothing_lost_or_repeated(alice, bob)


# Only `deep`: the fallback test in test_client.py also cuts the WebSocket, but between two modifications.
@pytest.mark.deep
async def test_a_modification_survives_a_killed_websocket(visit: Visit) -> None:
    wire = Wire()
    alice, bob = await in_a_call(visit, "cut", bob={"before": wire.attach})
    await bob.asks_first()
    await wire.cut()
    await expect(bob.part("channel-state")).not_to_have_attribute("data-state", "websocket")
    await alice.press("btn-hold")
    await expect(alice.part("mod-pending")).to_be_visible()
    wire.mend()
    await bob.is_live()
    await bob.press("mod-accept")
    await alice.is_in("on-hold")
    await nothing_lost_or_repeated(alice, bob)
