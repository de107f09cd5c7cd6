"""The design sheet's seven flows in real browsers, as their users see them."""

import pytest
from playwright.async_api import expect

from tests.support.journeys.people import Person, Visit, agrees_with_a_fresh_get, call, in_a_call, move

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]


async def _agree(*people: Person) -> None:
    """Require that each user's events give the same state as a fresh GET. All users then see the same conference."""
    for person in people:
        await agrees_with_a_fresh_get(person)
        heard = person.heard()
        assert heard == list(range(1, len(heard) + 1)), f"{person.username} heard {heard}"


# Only `deep`: every other journey begins with these steps, and some end with them.
@pytest.mark.deep
async def test_flow_1_answering_connects_the_two(visit: Visit) -> None:
    alice, bob = await visit("alice1"), await visit("bob1")
    await alice.press("call-video-bob1")
    await bob.shows("ring-dialog", "alice1")
    await bob.press("ring-accept")
    await alice.sees_video()
    await bob.sees_video()
    await alice.is_in("open")
    await bob.is_in("open")
    await _agree(alice, bob)
    await alice.press("btn-hangup")
    await bob.is_in("ended")


async def test_flows_2_and_5_an_audio_call_gets_video_and_a_screen(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "2", kind="audio")
    await alice.press("btn-camera")
    await bob.sees_video()
    await expect(alice.part("mod-pending")).to_be_hidden()
    await bob.press("btn-camera")
    await alice.sees_video()
    await _agree(alice, bob)
    # Alice shares a screen in addition to the camera.
    await alice.press("btn-screen")
    await expect(bob.part("remote-inset")).to_be_visible()
    await bob.sees_video()
    await _agree(alice, bob)


async def test_flows_3_and_4_hold_stops_the_media_and_resume_brings_it_back(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "3")
    await bob.sees_video()
    await alice.press("btn-hold")
    await alice.is_in("on-hold")
    await bob.is_in("held")
    await expect(bob.part("hold-overlay")).to_be_visible()
    await bob.shows("hold-overlay-text", "alice-3")
    await bob.sees_no_more_video()
    await _agree(alice, bob)
    await alice.press("btn-hold")
    await alice.is_in("open")
    await bob.is_in("open")
    await bob.sees_video()
    await alice.sees_video()
    await expect(bob.part("hold-overlay")).to_be_hidden()
    await _agree(alice, bob)


async def test_flow_6_a_rejected_or_cancelled_change_leaves_the_media_unchanged(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "6")
    await bob.asks_first()
    await alice.press("btn-hold")
    await bob.press("mod-reject")
    await alice.is_in("open")
    await bob.sees_video()
    await alice.sees_video()
    await _agree(alice, bob)

    await alice.press("btn-hold")
    await expect(bob.part("mod-dialog")).to_be_visible()
    await alice.press("mod-cancel")
    await expect(bob.part("mod-dialog")).to_be_hidden()
    await alice.is_in("open")
    await bob.sees_video()
    await _agree(alice, bob)


async def test_flow_7_the_call_moves_to_the_device_that_answers_first(visit: Visit) -> None:
    laptop, bob = await visit("alice7", "laptop"), await visit("bob7")
    phone = await visit("alice7", "phone")
    tablet = await visit("alice7", "tablet")
    await call(laptop, bob)
    await bob.sees_video()
    await move(laptop)
    await expect(phone.part("ring-dialog")).to_be_visible()
    await expect(tablet.part("ring-dialog")).to_be_visible()
    await phone.press("ring-accept")
    await bob.sees_video(frames=1)
    await phone.sees_video()
    await expect(tablet.part("ring-dialog")).to_be_hidden()
    await laptop.is_in("moved")
    await laptop.shows("moved-overlay", "phone")
    await phone.is_in("open")
    await _agree(phone, bob)


@pytest.mark.deep
async def test_flow_7_a_call_on_hold_can_move_too(visit: Visit) -> None:
    laptop, bob = await visit("alice7hold", "laptop"), await visit("bob7hold")
    phone = await visit("alice7hold", "phone")
    await call(laptop, bob)
    await laptop.press("btn-hold")
    await laptop.is_in("on-hold")
    await move(laptop)
    await phone.press("ring-accept")
    await phone.is_in("open")
    await bob.sees_video()
    await laptop.is_in("moved")


# In test_client.py the offers collide every time. Here the buttons are pressed at the same time, but the offers do not
# always collide.
@pytest.mark.deep
async def test_two_simultaneous_changes_are_both_made(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "8", kind="audio")
    await alice.part("btn-camera").dispatch_event("click")
    await bob.part("btn-camera").dispatch_event("click")
    await alice.sees_video()
    await bob.sees_video()
    await _agree(alice, bob)
