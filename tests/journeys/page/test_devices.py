"""Cameras and microphones that are missing, refused or lost."""

import pytest
from playwright.async_api import expect

from tests.support.journeys.focus_people import come, decoded, goes_on, sees, tile

from tests.support.journeys.inspector import Inspector
from tests.support.journeys.pages import FAKE_DEVICES, NO_QUESTIONS
from tests.support.journeys.people import Launch, Person, Visit, call

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]


async def test_a_call_works_if_the_camera_is_refused(visit: Visit, launch: Launch) -> None:
    strict = await launch(FAKE_DEVICES)
    alice = await visit("alice-refused", browser=strict, permissions=["microphone"])
    bob = await visit("bob-refused")
    await alice.press("call-video-bob-refused")
    await alice.shows("media-dialog", "This page may not use the camera.")
    inspector = Inspector()
    await inspector.look("camera refused", alice)
    assert inspector.found == [], "\n".join(inspector.found)
    await alice.press("media-without")
    await bob.press("ring-accept")
    await alice.sees_video()
    await expect(alice.part("local-video")).to_be_hidden()
    await alice.press("btn-camera")
    await alice.is_told("This page may not use the camera.")
    await alice.press("btn-hangup")
    await alice.press("ended-done")

    await bob.press("ended-done")
    await bob.press("call-video-alice-refused")
    await alice.press("ring-accept")
    await expect(alice.part("media-dialog")).to_be_visible()
    await alice.page.context.grant_permissions(["camera", "microphone"])
    await alice.press("media-retry")
    await bob.sees_video()


# Only `deep`: the test above covers the same dialog.
@pytest.mark.deep
async def test_a_call_works_without_any_devices(visit: Visit, launch: Launch) -> None:
    bare = await launch(NO_QUESTIONS)
    alice, bob = await visit("alice-bare", browser=bare), await visit("bob-bare")
    await alice.press("call-video-bob-bare")
    await alice.shows("media-dialog", "No microphone was found.")
    await alice.press("media-cancel")
    await expect(alice.part("dial-input")).to_be_visible()
    await alice.press("call-video-bob-bare")
    await alice.press("media-without")
    await alice.shows("media-dialog", "No camera was found.")
    await alice.press("media-without")
    await bob.press("ring-accept")
    await alice.sees_video()
    await alice.press("btn-mic")
    await alice.is_told("No microphone was found.")
    await alice.press("btn-hold")
    await alice.is_in("on-hold")
    await alice.press("btn-hold")
    await alice.sees_video()


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
    assert await decoded(bob, alice.username)
    assert await bob.page.evaluate("window.reconnecting") == 0

    inspector = Inspector()
    # The menu closes when the page changes its size.
    await alice.page.set_viewport_size({"width": 390, "height": 800})
    await alice.press("btn-mic-devices")
    await inspector.look("devices", alice, widths=(390,))
    assert inspector.found == [], "\n".join(inspector.found)
