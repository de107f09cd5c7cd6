"""The page by keyboard, with a screen reader, and with reduced motion."""

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.support.journeys.people import Person, Visit

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

_FOCUSED = "() => document.activeElement?.dataset.testid || document.activeElement?.id || ''"


async def _tab_to(person: Person, testid: str) -> None:
    """Press Tab until a control has the focus."""
    passed = []
    for _ in range(40):
        if (focused := await person.page.evaluate(_FOCUSED)) == testid:
            return
        passed.append(focused)
        await person.page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {testid}: {passed}")


async def test_a_whole_call_works_by_keyboard_and_is_announced(visit: Visit) -> None:
    alice, bob = await visit("alice-keys"), await visit("bob-keys")
    keys, announcer = alice.page.keyboard, alice.page.locator("#announcer")
    await expect(alice.part("call-video-bob-keys")).to_be_visible()
    # Typing a name filters out the rows of other users, which contain controls as well.
    await _tab_to(alice, "dial-input")
    await keys.type("bob-keys")
    await _tab_to(alice, "call-video-bob-keys")
    await keys.press("Enter")
    await expect(announcer).to_have_text("Calling bob-keys")
    await expect(bob.part("ring-accept")).to_be_focused()
    await expect(bob.page.locator("#announcer")).to_have_text("alice-keys is calling")
    await bob.page.keyboard.press("Escape")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await bob.page.keyboard.press("Enter")
    await alice.is_in("open")
    await expect(announcer).to_have_text("In a call with bob-keys")
    await expect(announcer).to_have_attribute("aria-live", "polite")

    await keys.press("m")
    await expect(alice.part("btn-mic")).to_have_attribute("data-on", "false")
    await keys.press("t")
    await expect(alice.part("timeline-drawer")).to_be_visible()
    await keys.press("Escape")
    await expect(alice.part("btn-timeline")).to_be_focused()
    await keys.press("h")
    await alice.is_in("on-hold")
    await expect(alice.part("mod-pending")).to_be_hidden()
    await expect(announcer).to_have_text("bob-keys is on hold")
    await expect(bob.page.locator("#announcer")).to_have_text("On hold by alice-keys")
    await _tab_to(alice, "btn-hold")
    await keys.press("Space")
    await alice.is_in("open")
    await expect(alice.part("btn-hold")).to_be_focused()

    await _tab_to(alice, "btn-settings")
    await keys.press("Enter")
    await _tab_to(alice, "keys-switch")
    await keys.press("Space")
    await keys.press("Escape")
    await expect(alice.part("btn-settings")).to_be_focused()
    await keys.press("m")
    await expect(alice.part("btn-mic")).to_have_attribute("data-on", "false")
    await _tab_to(alice, "btn-hangup")
    await keys.press("Enter")
    await alice.is_in("ended")
    await expect(announcer).to_have_text("Call ended")
    await _tab_to(alice, "ended-done")
    await keys.press("Enter")
    await expect(alice.part("dial-input")).to_be_visible()


async def _moving_parts(page: Page) -> int:
    return int(
        await page.evaluate("() => document.getAnimations().filter(({playState}) => playState === 'running').length")
    )


async def test_nothing_moves_with_reduced_motion(visit: Visit) -> None:
    alice, bob = await visit("alice-still"), await visit("bob-still", reduced_motion="no-preference")
    await alice.press("call-audio-bob-still")
    await expect(bob.part("ring-dialog")).to_be_visible()
    assert await _moving_parts(bob.page) > 0
    assert await _moving_parts(alice.page) == 0
    await bob.press("ring-decline")
    await alice.press("ended-again")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await bob.page.emulate_media(reduced_motion="reduce")
    await asyncio.wait_for(_until_still(bob.page), 5)


async def _until_still(page: Page) -> None:
    while await _moving_parts(page):
        await asyncio.sleep(0.05)
