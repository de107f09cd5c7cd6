"""What users decide: what is sent before a call opens, how they join by a link, and how a conference ends."""

import asyncio
import re
import time
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.support.journeys.focus_people import all_see_each_other, come, look_around, sees, three, tile
from tests.support.journeys.inspector import Inspector
from tests.support.journeys.people import Person, Visit

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

# A guest that hangs up this soon after becoming the host only leaves, unless it ends the call for all.
_GRACE_SECONDS = 5
_NO_CAMERA = "() => window.sbe.client.media.camera === null"


async def _open_conference(host: Person) -> str:
    """Start an open conference, and return its link."""
    await host.press("open-start")
    return str(await host.until("() => document.querySelector('#lonely-link').value"))


async def _turns_everything_off(person: Person) -> None:
    await person.press("btn-camera")
    await person.press("btn-mic")
    await person.until(_NO_CAMERA)
    assert await person.page.evaluate("window.sbe.client.media.microphone.enabled") is False
    await expect(person.part("local-video")).to_be_hidden()
    await expect(person.part("self-avatar")).to_be_visible()
    await person.shows("self", "You", ", microphone off")


@pytest.mark.parametrize("direct", [True, False], ids=["peer", "focus"])
async def test_camera_and_microphone_can_be_switched_off_while_it_rings(visit: Visit, direct: bool) -> None:
    name = "ringing-peer" if direct else "ringing-focus"
    alice, bob = await visit(f"alice-{name}", direct=direct), await visit(f"bob-{name}", direct=direct)
    await look_around(alice)
    await alice.press(f"call-video-{bob.username}")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await _turns_everything_off(alice)
    # The callee, too, chooses before the call opens.
    await bob.press("ring-microphone")
    await expect(bob.part("ring-microphone")).to_have_attribute("aria-label", "Unmute the microphone")
    if not direct:
        await bob.press("ring-camera")
    await bob.press("ring-accept")
    await alice.is_in("open")
    assert await bob.page.evaluate("window.sbe.client.media.microphone.enabled") is False
    if direct:
        await bob.until("() => window.sbe.client.currentCall.leg.remote.camera === null")
        await expect(bob.page.locator("#placeholder")).to_contain_text("The camera is off")
    else:
        await bob.until("() => window.sbe.client.currentCall.others[0]?.camera === null")
        await expect(tile(bob, alice)).to_have_attribute("data-picture", "false")
        await expect(tile(bob, alice)).to_have_attribute("data-silent", "true")
        await bob.until(_NO_CAMERA)
        await expect(tile(alice, bob)).to_have_attribute("data-picture", "false")
        await expect(tile(alice, bob)).to_have_attribute("data-silent", "true")
        await bob.press("btn-camera")
        await sees(alice, bob)
    await expect(alice.part("self-avatar")).to_be_visible()
    await alice.press("btn-camera")
    await (bob.sees_video() if direct else sees(bob, alice))
    await expect(alice.part("self-avatar")).to_be_hidden()


# Chromium starts no AudioContext before a click or a key. The driver's own scripts count as clicks, so forbid it here.
_NO_METER_BY_AUDIO_CONTEXT = """window.AudioContext = class extends AudioContext {
  constructor(options) {
    if (options?.sinkId) throw new Error("a level meter that waits for a click");
    super(options);
  }
};"""


class _Guest:
    """A visitor who has only the link: the page's requests, without the parts of the page itself."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    async def listen(self, page: Page) -> None:
        page.on("request", self._note)
        await page.add_init_script(_NO_METER_BY_AUDIO_CONTEXT)

    def _note(self, request: Any) -> None:
        if request.resource_type == "fetch":
            self.requests.append(f"{request.method} {re.sub(r'^https?://[^/]+', '', request.url)}")


async def test_a_guest_sees_a_preview_and_no_directory(visit: Visit) -> None:
    alice = await come(visit, "alice-guest")
    link = await _open_conference(alice)
    # The host is alone, and turns the camera off and on.
    await _turns_everything_off(alice)
    await alice.press("btn-camera")
    await expect(alice.part("local-video")).to_be_visible()

    inspector, guest = Inspector(), _Guest()
    ann = await visit("ann", address=link, live=None, before=guest.listen)
    await expect(ann.part("preview-name")).to_be_focused()
    await expect(ann.part("preview-video")).to_be_visible()
    await ann.press("preview-microphone")
    await expect(ann.part("preview-level")).to_be_hidden()
    await ann.press("preview-microphone")
    await ann.until("() => Number(document.querySelector('#preview-level').dataset.level) > 0")
    await ann.part("preview-select-camera").select_option(label="fake_device_2")
    await ann.until("() => window.sbe.client.media.camera?.label === 'fake_device_2'")
    await ann.press("preview-camera")
    await ann.until(_NO_CAMERA)
    await inspector.look("preview", ann)
    await ann.press("preview-join")
    await ann.shows("preview-name-error", "Enter your name.")
    await expect(ann.part("preview-name")).to_be_focused()
    assert guest.requests == []
    assert await ann.page.evaluate("window.sbe.pc") is None

    await ann.part("preview-name").fill("Ann")
    await ann.press("preview-microphone")
    await ann.part("preview-name").press("Enter")
    await ann.is_in("open")
    ann.username = await ann.page.evaluate("window.sbe.client.session.username")
    assert re.fullmatch(r"Ann \(guest \d{4}\)", ann.username)
    await sees(ann, alice)
    # The guest joined without the camera, and muted. Everyone sees that.
    await expect(tile(alice, ann)).to_have_attribute("data-picture", "false")
    await expect(tile(alice, ann)).to_have_attribute("data-silent", "true")
    await ann.press("btn-invite")
    await ann.shows("invite-dialog", "Anyone can join with this link")
    await expect(ann.part("invite-input")).to_be_hidden()
    await ann.page.keyboard.press("Escape")
    await expect(ann.part("btn-move")).to_be_hidden()
    await ann.press("btn-camera")
    await all_see_each_other(alice, ann)

    await ann.page.reload()
    await expect(ann.part("preview-join")).to_have_text("Rejoin")
    await ann.press("preview-join")
    await ann.is_in("open")
    await all_see_each_other(alice, ann)
    await expect(ann.part("btn-hangup")).to_contain_text("Leave")
    await ann.press("btn-hangup")
    await ann.sees_the_end("You left the conference")
    await expect(ann.part("ended-done")).to_be_hidden()
    await ann.press("ended-again")
    await expect(ann.part("preview-name")).to_have_value("Ann")
    await ann.press("preview-join")
    await ann.is_in("open")
    await expect(tile(alice, ann)).to_have_count(1)

    await alice.press("btn-hangup")
    await alice.press("leave-end")
    await ann.sees_the_end("alice-guest hung up.", "You can close this page.")
    await expect(ann.part("ended-again")).to_be_hidden()
    assert not [request for request in guest.requests if request.startswith("GET /dev")]
    assert inspector.found == [], "\n".join(inspector.found)


async def test_a_preview_of_a_registered_user_leads_back_to_the_lobby(visit: Visit) -> None:
    alice = await visit("alice-back", query="&join=0")
    await expect(alice.page.locator("#preview-as")).to_have_text("You join as alice-back.")
    await alice.press("preview-join")
    await alice.is_told("This conference no longer exists")
    await expect(alice.part("dial-input")).to_be_visible()
    await alice.until("() => window.sbe.client.media.camera === null && window.sbe.client.media.microphone === null")
    ann = await visit("ann", address="/?join=0", live=None)
    await ann.part("preview-name").fill("Ann")
    await ann.press("preview-join")
    await ann.shows("preview-error", "This conference no longer exists")


async def test_a_guest_of_a_locked_conference_waits_for_the_host(visit: Visit) -> None:
    alice = await come(visit, "alice-locked")
    link = await _open_conference(alice)
    bob = await come(visit, "bob-locked", query=re.sub(r"^[^?]*\?", "&", link))
    await bob.press("preview-join")
    await bob.is_in("open")
    await alice.press("btn-people")
    await alice.part("lock-switch").check()
    await alice.until("() => window.sbe.client.currentCall.locked")
    await alice.press("people-panel-close")
    ann = await visit("ann-locked", address=link, live=None)
    await ann.part("preview-name").fill("Ann")
    await ann.press("preview-join")
    await ann.shows("preview-waiting", "Waiting for the host to let you in")
    await ann.press("preview-cancel")
    await ann.press("preview-join")
    await expect(ann.part("preview-waiting")).to_be_visible()
    knock = "window.sbe.client.currentCall.knocks"
    await alice.until(f"() => {knock}.length === 1")
    assert (await alice.page.evaluate(f"{knock}[0].username")).startswith("Ann (guest ")
    await alice.is_told("asks to join")
    await expect(alice.part("btn-people")).to_contain_text("1 waiting")
    await alice.press("btn-people")
    await alice.part("people-knocks").get_by_role("button", name="Admit").click()
    await ann.is_in("open")
    await sees(ann, alice)
    # Who is denied learns that, and when to ask again.
    eve = await visit("eve-locked", address=link, live=None)
    await eve.part("preview-name").fill("Eve")
    await eve.press("preview-join")
    await alice.part("people-knocks").get_by_role("button", name="Deny").click()
    await eve.shows("preview-error", "The host did not let you in.")
    await eve.press("preview-join")
    await eve.shows("preview-error", "The host did not let you in. You can ask again in")


async def _has_in_front(person: Person, testid: str | None) -> None:
    await person.until(
        "(wanted) => (document.querySelector('.tile[data-front=true]')?.dataset.testid ?? null) === wanted", testid
    )


async def test_a_new_share_comes_to_the_front_and_a_new_host_ends_the_conference(visit: Visit) -> None:
    alice, bob, carol = await three(visit, "share")
    inspector = Inspector()
    await tile(bob, carol).hover()
    await bob.press(f"pin-{carol.username}")
    await _has_in_front(bob, f"tile-{carol.username}")
    await alice.press("btn-screen")
    await alice.shows("presenting", "You are presenting")
    await alice.until("() => document.querySelector('#presenting-video').videoWidth > 0")
    await inspector.look("presenting", alice)
    for person in (bob, carol):
        await _has_in_front(person, f"tile-{alice.username}-screen")
        await person.is_told(f"{alice.username} is presenting.")
    # A hold does not make it another share.
    await alice.press("btn-hold")
    await alice.shows("presenting", "Your screen is hidden during the hold")
    await alice.press("btn-hold")
    await sees(bob, alice, screen=True)
    # The browser's own button ends the track.
    await alice.page.evaluate("window.sbe.client.media.screen.dispatchEvent(new Event('ended'))")
    await expect(alice.part("presenting")).to_be_hidden()
    await _has_in_front(bob, f"tile-{carol.username}")
    await alice.press("btn-screen")
    await _has_in_front(bob, f"tile-{alice.username}-screen")
    # Bob prefers to see Carol, although Alice presents.
    await tile(bob, carol).hover()
    await bob.press(f"pin-{carol.username}")
    await _has_in_front(bob, f"tile-{carol.username}")
    await alice.press("presenting-stop")
    await expect(alice.part("presenting")).to_be_hidden()
    await expect(tile(bob, f"{alice.username}-screen")).to_have_count(0)
    # The notice goes with the screen.
    assert await bob.page.get_by_text("is presenting").count() == 0
    await _has_in_front(bob, f"tile-{carol.username}")

    # A participant whose page has closed cannot become the host. One who has just become it can end the call for all.
    await carol.page.reload()
    await expect(tile(alice, carol)).to_have_attribute("data-state", "away")
    await alice.press("btn-hangup")
    await expect(alice.part("leave-successor").locator("option")).to_have_text([bob.username])
    await alice.page.keyboard.press("Escape")
    await tile(alice, carol).hover()
    await alice.press(f"menu-{carol.username}")
    await expect(alice.part("menu-host")).to_be_disabled()
    await alice.page.keyboard.press("Escape")
    await carol.press("rejoin-join")
    await carol.is_in("open")
    await all_see_each_other(alice, carol)
    await tile(alice, bob).hover()
    await alice.press(f"menu-{bob.username}")
    await alice.press("menu-host")
    await bob.until("() => window.sbe.client.currentCall.me.role === 'host'")
    since = time.monotonic()
    await bob.press("btn-hangup")
    await bob.press("leave-end")
    assert time.monotonic() - since < _GRACE_SECONDS, "too slow to show an end within the grace period"
    for person in (alice, carol):
        await person.sees_the_end(f"{bob.username} ended the conference.")
    assert inspector.found == [], "\n".join(inspector.found)


async def test_the_host_leaves_to_a_new_host_or_ends_the_conference(visit: Visit) -> None:
    alice, bob, carol = await three(visit, "leave")
    inspector = Inspector()
    await alice.page.keyboard.press("e")
    await bob.page.keyboard.press("e")
    await alice.press("btn-hangup")
    await expect(alice.part("leave-start")).to_be_focused()
    await expect(alice.part("leave-successor").locator("option")).to_have_text([bob.username, carol.username])
    await inspector.look("asked whether to leave", alice)
    await alice.page.keyboard.press("Escape")
    await expect(alice.part("leave-dialog")).to_be_hidden()
    await expect(alice.part("btn-hangup")).to_be_focused()
    await asyncio.gather(*(person.is_in("open") for person in (alice, bob, carol)))
    await expect(bob.part("btn-hangup")).to_contain_text("Leave")

    await alice.press("btn-hangup")
    await alice.part("leave-successor").select_option(label=carol.username)
    await alice.press("leave-start")
    await alice.sees_the_end("You left the conference", "The others are still there.")
    await expect(tile(bob, alice)).to_have_count(0)
    await carol.until("() => window.sbe.client.currentCall.me.role === 'host'")
    await all_see_each_other(bob, carol)
    # Two are left, so the host's button ends the call at once.
    await carol.press("btn-hangup")
    await bob.sees_the_end(carol.username)
    assert inspector.found == [], "\n".join(inspector.found)
