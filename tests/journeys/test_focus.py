"""Conferences through the focus, in real browsers, as far as their users can tell."""

import pytest

from tests.journeys.conftest import Visit, call
from tests.journeys.focus_people import agree, all_see_each_other, come, four

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]


async def test_a_call_with_one_goes_through_the_focus(visit: Visit) -> None:
    alice, bob = await come(visit, "alice-one"), await come(visit, "bob-one")
    await call(alice, bob)
    await all_see_each_other(alice, bob)
    assert (await alice.conference())["topology"] == "focus"
    await agree(alice, bob)
    await alice.page.screenshot(path="/tmp/shot-one.png")
    await alice.press("btn-hangup")
    await bob.sees_the_end()


async def test_four_see_each_other(visit: Visit) -> None:
    people = await four(visit, "four")
    await all_see_each_other(*people)
    await people[0].page.screenshot(path="/tmp/shot-four.png")
    await agree(*people)
