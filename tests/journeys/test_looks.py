"""The test page in each of its states: nothing overflows, all text is readable, nothing is loaded from elsewhere."""

import re
from collections.abc import Awaitable, Callable

import httpx
import pytest
from playwright.async_api import expect

from tests.support.journeys.focus_people import all_see_each_other, come, look_around, sees, tile
from tests.support.journeys.inspector import PHONE, WIDTHS, Inspector
from tests.support.journeys.people import Person, Visit, in_a_call
from tests.support.journeys.wire import Wire
from tests.support.services import Server

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]


# `make test` runs `test_some_states_fit_and_are_readable` instead of the three `deep` tests.
@pytest.mark.timeout(300)
@pytest.mark.deep
async def test_every_state_before_a_call_fits_and_is_readable(visit: Visit, server: Server) -> None:
    inspector = Inspector()
    look = inspector.look
    long = "A-rather-long-name-without-any-space-in-it-at-all-that-goes-on-and-on"

    alice = await visit("alice", address="/", live=None)
    await expect(alice.part("register-name")).to_be_focused()
    await alice.page.get_by_text("Phone numbers").click()
    await look("register", alice)
    await alice.part("register-name").fill("tel:alice")
    await alice.part("register-vtn").fill("1")
    await alice.press("register-submit")
    await expect(alice.page.locator("#vtn-error")).to_be_visible()
    await look("register, refused", alice)
    await alice.page.goto(f"{server.base_url}/?user=alice&device=laptop")
    await expect(alice.page.locator("#people-empty")).to_be_visible()
    await look("lobby, empty", alice)
    await alice.press("btn-settings")
    await look("settings", alice)
    await alice.press("settings-close")

    bob = await visit("bob", query="&vtn=%2B15550100")
    await visit("alice", "phone")
    await visit(long)
    await expect(alice.part(f"person-{long}")).to_be_visible()
    await expect(alice.part("person-bob")).to_be_visible()
    await expect(alice.page.locator("#own-devices")).to_be_visible()
    await look("lobby", alice)

    await alice.press(f"call-video-{long}")
    await expect(alice.page.locator("#placeholder")).to_contain_text("Ringing")
    await look("calling somebody with a long name", alice)
    await alice.press("btn-hangup")
    await alice.is_in("ended")
    await alice.press("ended-done")
    await alice.press("call-video-bob")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await look("ringing", bob)
    await bob.press("ring-decline")
    await expect(bob.part("ring-dialog")).to_be_hidden()

    assert len(inspector.seen) == 7
    assert inspector.found == [], "\n".join(inspector.found)


@pytest.mark.timeout(300)
@pytest.mark.deep
async def test_every_state_of_a_call_fits_and_is_readable(visit: Visit) -> None:
    inspector = Inspector()
    look = inspector.look
    phone = await visit("alice-looks", "phone")
    alice, bob = await in_a_call(visit, "looks")
    await alice.sees_video()
    await expect(alice.page.locator("#quality-text")).not_to_be_empty()
    await look("call", alice)
    await alice.press("btn-screen")
    await expect(bob.part("remote-inset")).to_be_visible()
    await look("call with a screen", bob)
    await alice.press("btn-screen")
    await expect(bob.part("remote-inset")).to_be_hidden()
    await alice.press("btn-timeline")
    await alice.page.locator("[data-testid=timeline-item][data-title=initiate-conference-mod] summary").last.click()
    await alice.part("timeline-compare").click()
    await look("timeline", alice)
    await alice.page.keyboard.press("Escape")
    await alice.press("btn-mic")
    await alice.press("btn-hold")
    await alice.is_in("on-hold")
    await bob.is_in("held")
    await look("on hold", alice)
    await look("held", bob)
    await bob.asks_first()
    await alice.press("btn-hold")
    await expect(bob.part("mod-dialog")).to_be_visible()
    await look("asked", bob, widths=PHONE)
    await look("waiting for the other side", alice, widths=PHONE)
    await bob.press("mod-accept")
    await alice.is_in("open")
    await alice.press("btn-move")
    await expect(alice.part("move-start")).to_be_enabled()
    await look("asked whether to move", alice)
    await alice.press("move-start")
    await alice.is_in("moving")
    await look("moving", alice, widths=PHONE)
    await phone.press("ring-accept")
    await alice.is_in("moved")
    await look("moved", alice)
    await phone.is_in("open")
    await phone.press("btn-hangup")
    await bob.is_in("ended")
    await look("ended", bob)

    assert len(inspector.seen) == 11
    assert inspector.found == [], "\n".join(inspector.found)


@pytest.mark.timeout(300)
@pytest.mark.deep
async def test_conferences_fit_and_are_readable(visit: Visit) -> None:
    inspector = Inspector()
    look = inspector.look
    wire = Wire()
    alice = await come(visit, "alice-many", before=wire.attach)
    guests = [await come(visit, f"{who}-many") for who in ("bob", "carol", "dave")]
    bob, carol, dave = guests
    await look_around(alice)
    for guest in guests:
        await alice.part(f"pick-{guest.username}").check()
    await look("people picked", alice)
    await alice.press("picked-video")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await look("conference, ringing", alice, widths=PHONE)
    await look("called to a conference", bob, widths=PHONE)
    for guest in guests:
        await guest.press("ring-accept")
        await guest.is_in("open")
    await all_see_each_other(alice, *guests)
    await look("conference of four", alice)
    for width in WIDTHS:
        # The menu closes when the page changes its size.
        await alice.page.set_viewport_size({"width": width, "height": 800})
        await tile(alice, bob).hover()
        await alice.press("menu-bob-many")
        await expect(alice.part("menu-mute")).to_be_visible()
        await look(f"menu of the host at {width} px", alice, widths=(width,))
        await alice.page.keyboard.press("Escape")
    await tile(alice, bob).hover()
    await alice.press("menu-bob-many")
    await alice.press("menu-mute")
    await expect(tile(alice, bob)).to_have_attribute("data-silent", "true")
    await carol.press("btn-hold")
    await expect(tile(alice, carol)).to_have_attribute("data-state", "on-hold")
    await dave.press("btn-camera")
    await expect(tile(alice, dave)).to_have_attribute("data-picture", "false")
    await look("one muted, one on hold, one without a picture", alice)
    # Send fake `quality` events: a real one would need half a minute without media.
    quality = {"type": "quality", "confId": await alice.conference_id()}
    quality["participant"] = await alice.page.evaluate("window.sbe.client.currentCall.others[0].id")
    wire.say(**quality, connection="poor")
    await expect(tile(alice, bob)).to_have_attribute("data-weak", "true")
    await expect(tile(alice, bob).locator(".tile-name")).to_contain_text("weak connection")
    await look("one has a weak connection", alice)
    wire.say(**quality, connection="disconnected")
    await expect(tile(alice, bob)).to_contain_text("Connection interrupted", use_inner_text=True)
    await look("one is interrupted", alice)
    wire.say(**quality, connection="connected")
    await expect(tile(alice, bob)).to_have_attribute("data-state", "")
    await tile(alice, dave).hover()
    await alice.press("pin-dave-many")
    await look("one in front", alice)
    await alice.press("btn-chat")
    await bob.until(
        """() => window.sbe.client.currentCall.say(
          'I shall be there in a minute, and so will everybody else who was asked')"""
    )
    await expect(alice.part("chat-message")).to_be_visible()
    await look("chat", alice)
    await alice.press("chat-close")
    await alice.press("btn-invite")
    await look("inviting", alice)
    await alice.press("invite-close")
    await dave.asks_first()
    await alice.press("btn-screen")
    await expect(dave.part("mod-dialog")).to_be_visible()
    await look("asked about a screen", dave, widths=PHONE)
    await sees(bob, alice, screen=True)
    await look("a screen in front", bob)

    erin = await come(visit, "erin-many", query="&join=0")
    await expect(erin.part("preview-video")).to_be_visible()
    await look("followed a link", erin)
    await erin.press("preview-back")
    await erin.press("open-start")
    await expect(erin.part("open-link")).to_have_value(re.compile("join=."))
    await look("alone in an open conference", erin)
    assert len(inspector.seen) == 17
    assert inspector.found == [], "\n".join(inspector.found)


async def _move_dialog(person: Person) -> None:
    await person.press("btn-move")
    await expect(person.part("move-dialog")).to_be_visible()


async def _reload(person: Person) -> None:
    await person.page.reload()
    await expect(person.part("rejoin")).to_be_visible()


async def test_some_states_fit_and_are_readable(visit: Visit) -> None:
    inspector = Inspector()
    wire = Wire()
    await inspector.look("lobby", await visit("carol-odd"))
    alice, bob = await in_a_call(visit, "odd", kind="audio", alice={"before": wire.attach})
    await inspector.look("call", alice)
    await alice.press("btn-hold")
    await bob.is_in("held")
    await inspector.look("held", bob)
    await alice.press("btn-hold")
    await alice.is_in("open")

    async def lose_the_server(person: Person) -> None:
        await person.page.context.set_offline(True)
        await wire.cut()
        await expect(person.page.locator("#banner")).to_be_visible()

    steps: list[tuple[str, Callable[[Person], Awaitable[None]]]] = [
        ("no other device", _move_dialog),
        ("reloaded", _reload),
        ("offline", lose_the_server),
    ]
    try:
        for state, reach in steps:
            await reach(alice)
            await inspector.look(state, alice, widths=(360, 1280))
    finally:
        await alice.page.context.set_offline(False)
    assert inspector.found == [], "\n".join(inspector.found)


async def test_the_policy_is_strict(server: Server) -> None:
    answer = httpx.get(server.base_url)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    for own in re.findall(r"https?://[^\s;]+", answer.headers["content-security-policy"]):
        assert own == server.base_url
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", answer.text)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)


async def test_the_policy_is_in_force(visit: Visit) -> None:
    alice = await visit("alice-policy")
    refused = await alice.page.evaluate(
        """async () => {
          const seen = [];
          document.addEventListener("securitypolicyviolation", ({effectiveDirective}) => seen.push(effectiveDirective));
          const script = document.createElement("script");
          script.textContent = "window.injected = true";
          document.body.append(script);
          document.body.setAttribute("style", "color: red");
          await fetch("http://127.0.0.1:9/").catch(() => undefined);
          await new Promise((wake) => setTimeout(wake));
          return [seen.sort(), window.injected === undefined];
        }"""
    )
    assert sorted(set(refused[0])) == ["connect-src", "script-src-elem", "style-src-attr"]
    assert refused[1], "an inline script ran"
    # These refusals were intended. In other journeys, such a refusal fails the test.
    assert len([complaint for complaint in alice.complaints if "Content Security Policy" in complaint]) >= 3
    alice.complaints.clear()
