"""Cameras and microphones that are missing or refused."""

import pytest
from playwright.async_api import expect

from tests.support.journeys.inspector import Inspector
from tests.support.journeys.pages import FAKE_DEVICES, NO_QUESTIONS
from tests.support.journeys.people import Launch, Visit

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]


async def test_a_call_works_if_the_devices_are_refused(visit: Visit, launch: Launch) -> None:
    strict = await launch(FAKE_DEVICES)
    alice = await visit("alice-refused", browser=strict, permissions=[])
    bob = await visit("bob-refused")
    await alice.press("call-video-bob-refused")
    await alice.shows("media-dialog", "This page may not use the camera and the microphone.")
    inspector = Inspector()
    await inspector.look("camera and microphone refused", alice)
    assert inspector.found == [], "\n".join(inspector.found)
    # The dialog says what is true now.
    await alice.page.context.grant_permissions(["microphone"])
    await alice.press("media-retry")
    await alice.shows("media-dialog", "This page may not use the camera.", "the others still hear you")
    await alice.press("media-without")
    # A call without a camera is accepted without one.
    await bob.press("ring-accept")
    await bob.is_in("open")
    await bob.press("btn-camera")
    await alice.sees_video()
    await expect(alice.part("local-video")).to_be_hidden()
    for _ in range(3):
        await alice.press("btn-camera")
        await alice.is_told("This page may not use the camera.")
    await expect(alice.part("toast")).to_have_count(1)
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
    await alice.shows("media-dialog", "No camera and no microphone were found.")
    await alice.press("media-cancel")
    await expect(alice.part("dial-input")).to_be_visible()
    await alice.press("call-video-bob-bare")
    await alice.press("media-without")
    await bob.press("ring-accept")
    await bob.is_in("open")
    await expect(bob.page.locator("#placeholder")).to_contain_text("No microphone and no camera")
    await expect(bob.page.locator("#tag-mic-off")).to_be_visible()
    await bob.press("btn-camera")
    await alice.sees_video()
    await alice.press("btn-mic")
    await alice.is_told("No microphone was found.")
    await alice.press("btn-hold")
    await alice.is_in("on-hold")
    await alice.press("btn-hold")
    await alice.sees_video()
