"""The page registers its user, and lists the registered users."""

import re

import pytest
from playwright.async_api import expect

from tests.support.journeys.people import Visit

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]


async def test_a_user_can_register_by_the_form_and_sign_off(visit: Visit) -> None:
    alice = await visit("alice-form", address="/", live=None)
    name, error = alice.part("register-name"), alice.page.locator("#username-error")
    await expect(name).to_be_focused()
    await alice.press("register-submit")
    await expect(error).to_have_text("Enter a name.")
    await expect(name).to_be_focused()

    await name.fill("tel:alice")
    await name.press("Enter")
    await expect(error).to_contain_text("tel:")

    await name.fill("alice-form")
    await alice.page.get_by_text("Phone numbers").click()
    await alice.part("register-vtn").fill("15550100")
    await alice.part("register-vtn").press("Enter")
    await expect(error).to_be_hidden()
    await expect(alice.page.locator("#vtn-error")).to_contain_text("E.164")
    await expect(alice.part("register-vtn")).to_be_focused()
    await expect(alice.part("register-vtn")).to_have_attribute("aria-invalid", "true")

    await alice.part("register-vtn").fill("+15550100")
    await alice.part("register-device").fill("kitchen")
    await alice.press("register-submit")
    await alice.is_live()
    await expect(alice.page.locator("#identity")).to_have_text(re.compile("alice-form.*kitchen"))

    await alice.press("btn-settings")
    await expect(alice.page.locator("#signed-in")).to_contain_text("+15550100")
    await alice.press("sign-off")
    await expect(name).to_be_focused()
    await expect(alice.part("channel-state")).to_be_hidden()


async def test_the_list_follows_users_that_register_and_sign_off(visit: Visit) -> None:
    alice = await visit("alice-list")
    assert await alice.part("person-bob-list").count() == 0
    bob = await visit("bob-list", "phone", query="&vtn=+15550123")
    await expect(alice.part("person-bob-list")).to_contain_text("+15550123")
    await expect(alice.part("person-bob-list")).to_contain_text("phone")
    tablet = await visit("alice-list", "tablet")
    await expect(alice.page.locator("#own-devices")).to_contain_text("tablet")
    assert await tablet.part("person-alice-list").count() == 0
    await alice.part("dial-input").fill("0123")
    await expect(alice.part("people-list").locator("li")).to_have_count(1)
    await alice.part("dial-input").fill("nobody at all")
    await expect(alice.page.locator("#people-no-match")).to_contain_text("nobody at all")
    await alice.part("dial-input").fill("")
    await bob.page.goto("about:blank")
    await expect(alice.part("person-bob-list")).to_be_hidden(timeout=10_000)


async def test_a_click_during_a_change_of_the_list_is_not_lost(visit: Visit) -> None:
    alice, bob = await visit("alice-click"), await visit("bob-click")
    await alice.part("call-audio-bob-click").hover(timeout=10_000)
    await alice.page.mouse.down()
    await visit("bob-click", "phone")
    await expect(alice.part("person-bob-click")).to_contain_text("phone")
    await alice.page.mouse.up()
    await bob.shows("ring-dialog", "alice-click")
