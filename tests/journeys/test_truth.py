"""What the page says about the other side when nothing arrives any more, and that it never says so in a quiet call."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.journeys.focus_people import sees, tile
from tests.support.journeys.pages import FAKE_DEVICES, NO_QUESTIONS
from tests.support.journeys.people import Launch, Person, Visit, call
from tests.support.journeys.silence import DELAY, WATCH, kill_pages
from tests.support.services import Server

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

# Longer than it takes to notice that nothing arrives.
_NOTICED_MS = 2_500


async def _says_nothing(*people: Person) -> None:
    for person in people:
        await person.page.wait_for_timeout(_NOTICED_MS / len(people))
    for person in people:
        assert await person.page.evaluate("window.watched.said") is None, person.username


async def _are_quiet(alice: Person, bob: Person) -> None:
    """Let two users mute themselves, turn the cameras off, hold and resume."""
    for person in (alice, bob):
        await person.press("btn-mic")
        await person.press("btn-camera")
        await expect(person.part("btn-camera")).to_have_attribute("data-on", "false")
    await _says_nothing(alice, bob)
    await bob.press("btn-hold")
    await bob.is_in("on-hold")
    await alice.is_in("held")
    await _says_nothing(alice, bob)
    await bob.press("btn-hold")
    await bob.is_in("open")
    await bob.press("btn-mic")
    await bob.press("btn-camera")


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "focus"])
async def test_a_killed_page_is_noticed_within_two_seconds_and_a_quiet_one_never(
    visit: Visit, launch: Launch, direct: bool
) -> None:
    name = "direct" if direct else "focus"
    doomed = await launch(FAKE_DEVICES, NO_QUESTIONS)
    alice = await visit(f"alice-{name}", direct=direct)
    bob = await visit(f"bob-{name}", direct=direct, browser=doomed)
    await call(alice, bob)
    for person in (alice, bob):
        await person.page.evaluate(WATCH)
    await _are_quiet(alice, bob)
    await (alice.sees_video() if direct else sees(alice, bob))
    await expect(alice.page.locator("#quality-bars")).to_have_attribute("data-level", "3")
    assert await alice.page.evaluate("window.watched.said") is None
    await kill_pages(doomed)
    where: Any = alice.part("trouble") if direct else tile(alice, bob)
    await expect(where).to_contain_text("Reconnecting…", use_inner_text=True)
    await expect(alice.page.locator("#quality-bars")).to_have_attribute("data-level", "0")
    await expect(alice.page.locator("#quality-text")).to_have_text("")
    picture = alice.part("remote-video") if direct else tile(alice, bob).locator("video")
    await expect(picture).to_be_visible()
    assert await alice.page.evaluate("window.sbe.client.currentCall.others[0].receiving") == "silent"
    delay, late = await alice.page.evaluate(DELAY)
    assert delay < 2_000 + late


async def test_the_page_says_who_closed_a_page_and_that_a_call_through_a_dead_server_is_interrupted(
    visit: Visit, server: Server
) -> None:
    alice = await visit("alice-dead", direct=False)
    bob = await visit("bob-dead", direct=False)
    await call(alice, bob)
    await sees(alice, bob)
    await bob.page.reload()
    await expect(tile(alice, bob)).to_contain_text("bob-dead is away", use_inner_text=True)
    await bob.press("rejoin-join")
    await sees(alice, bob)
    await expect(tile(alice, bob)).to_have_attribute("data-state", "")
    server.kill()
    try:
        await alice.shows("banner", "the call is interrupted")
        await expect(tile(alice, bob)).to_contain_text("The connection is interrupted", use_inner_text=True)
    finally:
        server.start()
