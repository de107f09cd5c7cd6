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
    await bob.press("btn-hand")
    await expect(tile(alice, bob)).to_have_attribute("data-hand", "true")
    await alice.press("btn-people")
    await look("people", alice)
    await alice.press("people-panel-close")
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
    assert len(inspector.seen) == 18
    assert inspector.found == [], "\n".join(inspector.found)


_PLACES = """() => ["btn-invite", "btn-people", "btn-chat"].map((id) => {
  const { x, y } = document.getElementById(id).getBoundingClientRect();
  return [id, Math.round(innerWidth - x), Math.round(y)];
})"""
# The toasts, and those visible names that a toast covers.
_COVERED = """() => {
  const rect = (element) => element.getBoundingClientRect();
  const toasts = [...document.querySelectorAll(".toast")].map(rect);
  const all = [...document.querySelectorAll(".tile-name, .tag-name, .self-label")];
  const names = all.filter((name) => name.checkVisibility());
  const covered = names.filter((name) => toasts.some((toast) => {
    const { left, right, top, bottom } = rect(name);
    return left < toast.right && right > toast.left && top < toast.bottom && bottom > toast.top;
  }));
  return [toasts.length, names.length, covered.map(({ textContent }) => textContent.trim())];
}"""


# Whether an element's background is reddish.
_IS_RED = """(element) => {
  const [red, green] = getComputedStyle(element).backgroundColor.match(/[\\d.]+/g).map(Number);
  return red > green * 1.05;
}"""


async def test_a_call_from_its_ringing_to_its_end_is_calm(visit: Visit) -> None:
    inspector = Inspector()
    guests = [await come(visit, f"{who}-calm", "phone") for who in ("bob", "carol")]
    bob, carol = guests
    alice = await come(visit, "alice-calm")
    await look_around(alice)
    for guest in guests:
        await alice.part(f"pick-{guest.username}").check()
    await alice.press("picked-video")
    await expect(bob.part("ring-dialog")).to_be_visible()
    ring = bob.part("ring-accept")
    await expect(ring).to_be_focused()
    assert await ring.locator(".icon").evaluate("(icon) => getComputedStyle(icon).outlineStyle") == "none"
    # A switch that is off looks off under the mouse, too.
    await bob.press("ring-microphone")
    assert await bob.part("ring-microphone").evaluate(_IS_RED)
    await bob.press("ring-microphone")
    before = await alice.page.evaluate(_PLACES)
    for guest in guests:
        await guest.press("ring-accept")
    for person in (alice, *guests):
        await person.is_in("open")
    assert await alice.page.evaluate(_PLACES) == before, "the buttons jump when the call opens"

    tiles = alice.part("tiles").locator("> li")
    await expect(tiles).to_have_count(3)
    await expect(tiles.last).to_have_attribute("data-testid", "tile-self")
    await expect(tile(bob, alice).locator(".tile-name")).to_contain_text("host")
    await expect(alice.page.locator("#quality-text")).not_to_be_empty()
    assert await alice.page.evaluate("document.getElementById('quality-text').offsetWidth") <= 1

    await carol.press("btn-mic")
    await expect(tile(alice, carol)).to_have_attribute("data-silent", "true")
    assert await carol.part("btn-mic").evaluate(_IS_RED)
    await carol.press("btn-mic")

    await bob.press("btn-hand")
    await expect(tile(carol, bob)).to_have_attribute("data-hand", "true")
    await expect(alice.part("btn-people")).to_contain_text("3 here")
    await alice.press("btn-people")
    rows = alice.part("people-here").locator("> li")
    await expect(rows.first).to_have_attribute("data-testid", "attendee-bob-calm")
    await expect(alice.part("attendee-self")).to_contain_text("Host")
    await expect(rows.first.locator("[href$='#smartphone']")).to_be_attached()
    await inspector.look("the list of people", alice)
    await alice.page.get_by_label("Lower the hand of bob-calm").click()
    await expect(alice.part("people-here").locator("> li").first).to_have_attribute("data-testid", "attendee-self")
    await expect(tile(carol, bob)).to_have_attribute("data-hand", "false")
    await expect(bob.part("btn-hand")).to_have_attribute("data-on", "false")

    await alice.press("btn-chat")
    await expect(alice.part("people-panel")).to_be_hidden()
    text = "javascript:alert(1) https://bank.example@attacker.example <b>https://example.org/x</b>."
    await bob.until("(text) => window.sbe.client.currentCall.say(text)", text)
    await expect(alice.part("chat-message")).to_contain_text(text)
    (link,) = await alice.part("chat-message").locator("a").all()
    assert [await link.get_attribute(name) for name in ("href", "target", "rel")] == [
        "https://example.org/x",
        "_blank",
        "noopener noreferrer nofollow",
    ]
    await alice.press("chat-close")

    await carol.press("btn-hangup")
    await alice.is_told("carol-calm left.")
    for width in (390, 768, 1440):
        await alice.page.set_viewport_size({"width": width, "height": 800})
        await alice.page.evaluate(
            "() => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))"
        )
        toasts, names, covered = await alice.page.evaluate(_COVERED)
        assert toasts == 1
        assert names > 0
        assert covered == [], f"at {width} px"

    await bob.press("btn-hangup")
    await alice.sees_the_end("Call ended", "bob-calm left. Nobody else is here.")
    await expect(alice.part("toast")).to_have_count(0)
    await inspector.look("the end", alice, widths=PHONE)
    # One press of a key chooses three stars. The rating that was not sent is sent when the user goes on.
    await alice.part("rating-2").focus()
    await alice.page.keyboard.press("ArrowRight")
    await alice.part("rating-comment").fill("Calm.")
    async with alice.page.expect_request("**/rating") as rated:
        await alice.press("ended-done")
    assert (await rated.value).post_data_json == {"stars": 3, "comment": "Calm."}
    answer = await (await rated.value).response()
    assert answer is not None
    assert answer.status == 204
    await expect(bob.part("rating")).to_be_visible()
    await bob.page.locator(".rating-star").last.click()
    await bob.press("rating-send")
    await bob.shows("rating-thanks", "Thanks")
    await expect(bob.part("rating")).to_be_hidden()
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
    # Nothing is to arrive, so there is no quality to show.
    await expect(bob.part("quality")).to_be_hidden()
    await inspector.look("held", bob)
    await alice.press("btn-hold")
    await alice.is_in("open")
    await expect(bob.part("quality")).to_be_visible()

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
