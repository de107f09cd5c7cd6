"""Calls between Firefox and Chromium: what each of them shows of the other."""

import time
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.support.journeys.firefox import SMALL_DEVICES, Firefox, firefox
from tests.support.journeys.focus_people import come, look_around, sees, tile
from tests.support.journeys.pages import FAKE_DEVICES, NO_QUESTIONS
from tests.support.journeys.people import BRIGHT, Launch, Person, Visit
from tests.support.journeys.silence import DELAY, WATCH, kill_pages
from tests.support.namespace import in_a_network_of_its_own
from tests.support.services import Server

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

_SEES = f"""(testid) => {{
  const video = document.querySelector(`[data-testid="${{testid}}"] video`);
  return Boolean(video?.videoWidth) && ({BRIGHT})(video);
}}"""
_MEDIA = "() => ['camera', 'microphone'].map((name) => Boolean(window.sbe.client.media[name]?.enabled))"
_SPEAKS = "() => document.getElementById('self').dataset.speaking === 'true'"
_CAN_CHAT = "() => window.sbe.client.currentCall.chat.open"
# Chromium goes on sending silence when a microphone is lost. Without a track it sends nothing.
_SENDS_NOTHING = "() => Promise.all(window.sbe.pc.getSenders().map((sender) => sender.replaceTrack(null)))"
# Resolves when a second has passed since the call became idle: whether it has always been idle since then.
_STAYS_IDLE = """async () => {
  const {client} = window.sbe;
  const next = () => new Promise((wake) => setTimeout(wake, 50));
  while (client.currentCall.receiving === "live") await next();
  for (const begun = performance.now(); performance.now() - begun < 1_000; await next())
    if (client.currentCall.receiving !== "idle") return client.currentCall.receiving;
  return "idle";
}"""


@in_a_network_of_its_own
async def test_firefox_shows_and_says_what_chromium_does(visit: Visit, server: Server, launch: Launch) -> None:
    doomed = await launch(FAKE_DEVICES, NO_QUESTIONS)
    chris = await come(visit, "chris", browser=doomed)
    async with firefox() as fiona:
        await fiona.prepare(SMALL_DEVICES)
        await fiona.open(f"{server.base_url}/?user=fiona&device=laptop")
        await an_audio_call_is_accepted_in_kind(chris, fiona)
        await a_screen_leaves_nothing_behind(chris, fiona)
        await a_closed_tab_says_goodbye(chris, fiona)
        await chris.press("btn-hangup")
        await chris.press("ended-done")
        await fiona.open_tab()
        await fiona.open(f"{server.base_url}/?user=fiona&device=laptop")
        await chris.part("direct-switch").check()
        await a_silent_caller_is_not_gone(chris, fiona)
        await a_killed_tab_is_noticed(chris, fiona)
        await chris.press("btn-hangup")
        await chris.press("ended-done")
        await fiona.open_tab()
        await a_guest_knocks_at_a_locked_conference(chris, fiona)
        await a_killed_chromium_is_noticed(doomed, fiona)
        assert await fiona.complaints() == []


async def an_audio_call_is_accepted_in_kind(chris: Person, fiona: Firefox) -> None:
    await look_around(chris)
    await chris.press("call-audio-fiona")
    await fiona.shows("ring-dialog", "Incoming audio call")
    await fiona.press("ring-accept")
    await chris.is_in("open")
    await fiona.is_in("open")
    assert await fiona.evaluate(_MEDIA) == [False, True]
    await fiona.shows("self-avatar")


async def a_screen_leaves_nothing_behind(chris: Person, fiona: Firefox) -> None:
    await fiona.press("btn-camera")
    await sees(chris, "fiona")
    await fiona.press("btn-screen")
    await fiona.shows("presenting", "You are presenting")
    await sees(chris, "fiona", screen=True)
    await fiona.press("presenting-stop")
    await fiona.until(_SPEAKS)
    await fiona.press("btn-hold")
    await fiona.is_in("on-hold")
    assert not await fiona.evaluate(_SPEAKS)
    await fiona.press("btn-hold")
    await fiona.is_in("open")
    await sees(chris, "fiona")
    await expect(tile(chris, "fiona-screen")).to_have_count(0)


async def a_closed_tab_says_goodbye(chris: Person, fiona: Firefox) -> None:
    begun = time.monotonic()
    await fiona.close_tab()
    await expect(tile(chris, "fiona")).to_contain_text("fiona is away", use_inner_text=True)
    assert time.monotonic() < begun + 1


async def a_silent_caller_is_not_gone(chris: Person, fiona: Firefox) -> None:
    await look_around(chris)
    await chris.press("call-audio-fiona")
    await fiona.press("ring-accept")
    await fiona.until("() => window.sbe.client.currentCall?.receiving === 'live'")
    await chris.page.evaluate(_SENDS_NOTHING)
    assert await fiona.evaluate(_STAYS_IDLE) == "idle"


async def a_killed_tab_is_noticed(chris: Person, fiona: Firefox) -> None:
    await chris.page.evaluate(WATCH)
    await fiona.kill_tabs()
    await chris.shows("view-call", "Reconnecting…")
    await _is_quick(await chris.page.evaluate(DELAY))


async def a_guest_knocks_at_a_locked_conference(chris: Person, fiona: Firefox) -> None:
    await chris.press("open-start")
    link = await chris.until("() => document.querySelector('#lonely-link').value")
    await chris.page.evaluate("() => window.sbe.client.currentCall.lock(true)")
    await fiona.open(link)
    await fiona.shows("preview-video")
    await fiona.press("preview-join")
    await fiona.shows("preview-name-error", "Enter your name.")
    await fiona.press("preview-camera")
    await fiona.press("preview-microphone")
    await fiona.press("preview-name")
    await fiona.type("Fiona\n")
    await fiona.shows("preview-waiting", "Waiting for the host to let you in")
    await chris.press("btn-people")
    await chris.part("people-knocks").get_by_role("button", name="Admit").click()
    await fiona.is_in("open")
    assert await fiona.evaluate(_MEDIA) == [False, False]
    await fiona.until(_SEES, "tile-chris")
    await fiona.press("btn-hand")
    await expect(chris.part("people-here").locator("li", has_text="Fiona").locator("[href$='#hand']")).to_be_visible()
    await fiona.until(_CAN_CHAT)
    await chris.until(_CAN_CHAT)
    assert await chris.page.evaluate("window.sbe.client.currentCall.say('See https://example.com/')")
    await fiona.press("btn-chat")
    await fiona.until("() => document.querySelector('#chat-log a')?.href === 'https://example.com/'")


async def a_killed_chromium_is_noticed(doomed: Browser, fiona: Firefox) -> None:
    await fiona.evaluate(WATCH)
    await kill_pages(doomed)
    await fiona.shows("tile-chris", "Reconnecting…")
    await _is_quick(await fiona.evaluate(DELAY))


async def _is_quick(measured: Any) -> None:
    delay, late = measured
    assert delay < 2_000 + late
