"""Cameras and microphones that are lost in a call, and the menus that list the others."""

import pytest
from playwright.async_api import expect

from tests.support.journeys.focus_people import come, goes_on, sees, tile
from tests.support.journeys.inspector import Inspector
from tests.support.journeys.pages import FAKE_DEVICES
from tests.support.journeys.people import Launch, Person, Visit, call

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

_USED = "(name) => window.sbe.client.media[name]?.label"
_DESCRIPTION = "window.sbe.pc.currentLocalDescription.sdp"
_SAYS_RECONNECTING = """() => {
  window.reconnecting = 0;
  window.sbe.client.on("participants", (others) => {
    window.reconnecting += others.filter(({receiving}) => receiving === "silent").length;
  });
}"""


async def _chooses(person: Person, menu: str, label: str) -> None:
    """Choose a device in a menu, with the keyboard."""
    await person.part(menu).focus()
    await person.page.keyboard.press("Enter")
    item = person.part("device-menu").get_by_role("menuitemradio", name=label, exact=True).first
    await expect(item).to_be_visible()
    await person.page.keyboard.press("End")
    while not await item.evaluate("(item) => item === document.activeElement"):
        await person.page.keyboard.press("ArrowUp")
    await person.page.keyboard.press("Enter")
    await expect(person.part("device-menu")).to_be_hidden()
    await expect(person.part(menu)).to_be_focused()


async def test_devices_that_are_lost_in_a_call_can_be_replaced_and_come_back(visit: Visit, launch: Launch) -> None:
    # When a browser that asks for permissions loses one, it ends the tracks as if the devices were unplugged.
    asking = await launch(FAKE_DEVICES)
    alice, bob = await come(visit, "alice-lost", browser=asking), await come(visit, "bob-lost")
    await call(alice, bob)
    await sees(bob, alice)
    await bob.page.evaluate(_SAYS_RECONNECTING)
    await alice.page.context.clear_permissions()
    await alice.is_told("“Fake Default Audio Input” is no longer available. The others do not hear you.")
    await alice.is_told("“fake_device_0” is no longer available. The others do not see you.")
    await expect(tile(bob, alice)).to_have_attribute("data-silent", "true")
    await expect(tile(bob, alice)).to_have_attribute("data-picture", "false")
    await expect(alice.part("btn-mic")).to_have_attribute("data-on", "false")

    await alice.page.context.grant_permissions(["camera", "microphone"])
    await _chooses(alice, "btn-camera-devices", "fake_device_2")
    await sees(bob, alice)
    assert await alice.page.evaluate(_USED, "camera") == "fake_device_2"
    description = await alice.page.evaluate(_DESCRIPTION)
    await _chooses(alice, "btn-mic-devices", "Fake Audio Input 1")
    await expect(tile(bob, alice)).to_have_attribute("data-silent", "false")
    await alice.is_told("Your microphone is now “Fake Audio Input 1”.")
    # It has replaced the news about the camera.
    assert await alice.page.get_by_text("Your camera is now").count() == 0
    # An open track is replaced without negotiation.
    await _chooses(alice, "btn-camera-devices", "fake_device_0")
    assert await alice.until(f"(name) => ({_USED})(name) === 'fake_device_0'", "camera")
    await _chooses(alice, "btn-mic-devices", "System default")
    assert await alice.until(f"(name) => ({_USED})(name) === 'Fake Default Audio Input'", "microphone")
    await goes_on(bob, alice)
    assert await alice.page.evaluate(_DESCRIPTION) == description

    # Devices that the user did not replace return by themselves.
    await alice.page.context.clear_permissions()
    await expect(tile(bob, alice)).to_have_attribute("data-silent", "true")
    await expect(tile(bob, alice)).to_have_attribute("data-picture", "false")
    await alice.page.context.grant_permissions(["camera", "microphone"])
    await alice.page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    await expect(tile(bob, alice)).to_have_attribute("data-silent", "false")
    await sees(bob, alice)
    assert await bob.page.evaluate("window.reconnecting") == 0

    inspector = Inspector()
    # The menu closes when the page changes its size.
    await alice.page.set_viewport_size({"width": 390, "height": 800})
    await alice.press("btn-mic-devices")
    await inspector.look("devices", alice, widths=(390,))
    assert inspector.found == [], "\n".join(inspector.found)
