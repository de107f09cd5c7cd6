"""What a person can do with the test page, sees on it and is told by it, besides the seven flows."""

import asyncio
import html
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.support.journeys.inspector import Inspector
from tests.support.journeys.pages import FAKE_DEVICES, NO_QUESTIONS
from tests.support.journeys.people import Launch, Person, Visit, call, in_a_call, move
from tests.support.services import Backends, Server, manage

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

# How much sound came from the far side within a second: the fake microphone beeps once a second.
_LOUDNESS = """async () => {
  const energy = async () => {
    for (const report of (await window.sbe.pc.getStats()).values())
      if (report.type === "inbound-rtp" && report.kind === "audio") return report.totalAudioEnergy ?? 0;
    return 0;
  };
  const before = await energy();
  await new Promise((wake) => setTimeout(wake, 1100));
  return (await energy()) - before;
}"""
_IS_LOUD = f"async () => (await ({_LOUDNESS})()) > 1e-4"
_IS_QUIET = f"async () => (await ({_LOUDNESS})()) < 1e-6"
_FOCUSED = "() => document.activeElement?.dataset.testid || document.activeElement?.id || ''"
_SHORT_RINGS = {"SBE_RING_SECONDS": "3"}


@pytest.fixture(scope="module")
def hasty(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server on which nothing rings for long."""
    with Server(backends.sqlite(), tmp_path_factory.mktemp("hasty"), _SHORT_RINGS) as running:
        yield running


# --- Registering, and who is here ---------------------------------------------------------------------------


async def test_registering_by_the_form_and_signing_off(visit: Visit) -> None:
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


async def test_who_comes_and_goes_is_seen_in_the_list(visit: Visit) -> None:
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


async def test_a_half_made_click_survives_a_change_of_the_list(visit: Visit) -> None:
    alice, bob = await visit("alice-click"), await visit("bob-click")
    await alice.part("call-audio-bob-click").hover(timeout=10_000)
    await alice.page.mouse.down()
    await visit("bob-click", "phone")
    await expect(alice.part("person-bob-click")).to_contain_text("phone")
    await alice.page.mouse.up()
    await bob.shows("ring-dialog", "alice-click")


# --- Calls that come to nothing -----------------------------------------------------------------------------


async def test_dialling_a_number_declining_and_giving_up(visit: Visit) -> None:
    alice, bob = await visit("alice-dial"), await visit("bob-dial", query="&vtn=%2B15550177")
    sent: list[Any] = []
    alice.page.on("request", lambda request: sent.append(request.post_data) if request.method == "POST" else None)
    await alice.part("dial-input").fill("+1 (555) 0177")
    await alice.part("dial-input").press("Enter")
    await bob.shows("ring-dialog", "alice-dial")
    assert json.loads(sent[-1])["to"] == ["tel:+15550177"]
    await bob.press("ring-decline")
    await alice.sees_the_end("No call", "+15550177 declined.")

    await alice.press("ended-again")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await expect(alice.part("btn-hangup")).to_contain_text("Cancel")
    await alice.press("btn-hangup")
    await alice.sees_the_end("You gave up before it was answered.")
    await expect(bob.part("ring-dialog")).to_be_hidden()
    await bob.is_told("You missed a call from alice")

    await alice.press("ended-done")
    await alice.part("dial-input").fill("tel:nobody")
    await alice.press("dial-submit")
    await alice.is_told("Write a number as 'tel:+'")
    await expect(alice.part("dial-input")).to_be_visible()
    assert await alice.page.evaluate("window.sbe.client.media.microphone") is None


async def test_nobody_answers(visit: Visit, hasty: Server) -> None:
    bob, phone, alice = [await visit(*who, at=hasty) for who in (("bob",), ("alice", "phone"), ("alice",))]
    await phone.part("dial-input").fill("nobody-here")
    await phone.press("dial-submit")
    await alice.press("call-audio-bob")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await alice.sees_the_end("No call", "bob did not answer.")
    await expect(bob.part("ring-dialog")).to_be_hidden()
    await bob.is_told("You missed a call from alice")
    await phone.sees_the_end("No call", "nobody-here did not answer.")

    await phone.press("ended-done")
    await alice.press("ended-done")
    await call(alice, bob, kind="audio")
    await move(alice)
    await alice.shows("moved-overlay", "Ringing phone", "If no device answers in ")
    await phone.shows("ring-dialog", "Continue the call on this device")
    await bob.shows("hold-overlay", "alice is moving to another device")
    await alice.sees_the_end("None of your other devices answered")
    await bob.sees_the_end("alice did not answer on the other device.")
    await expect(phone.part("ring-dialog")).to_be_hidden()


# --- In a call ----------------------------------------------------------------------------------------------


async def test_audio_call_mute_and_camera(visit: Visit) -> None:
    alice, bob = await visit("alice-audio"), await visit("bob-audio")
    await alice.press("call-audio-bob-audio")
    await bob.shows("ring-dialog", "Incoming call")
    await expect(bob.part("ring-accept-audio")).to_be_hidden()
    await bob.press("ring-accept")
    await alice.is_in("open")
    await expect(bob.page.locator("#placeholder")).to_contain_text("Audio call")
    assert "m=video" not in await alice.page.evaluate("window.sbe.pc.localDescription.sdp")

    await bob.until(_IS_LOUD)
    await alice.press("btn-mic")
    await expect(alice.part("btn-mic")).to_have_attribute("aria-label", "Unmute mic")
    assert await alice.page.evaluate("window.sbe.client.media.microphone.enabled") is False
    await bob.until(_IS_QUIET)
    await alice.press("btn-mic")
    await bob.until(_IS_LOUD)

    await alice.press("btn-camera")
    await bob.sees_video()
    await expect(alice.part("local-video")).to_be_visible()
    assert "m=video" in await alice.page.evaluate("window.sbe.pc.localDescription.sdp")
    await alice.press("btn-hold")
    await bob.shows("hold-overlay", "alice-audio put you on hold", "alice-audio can still hear you.")
    await alice.shows("hold-overlay", "bob-audio cannot see or hear you.")
    await alice.press("btn-hold")
    await bob.sees_video()

    # Bob would rather be asked; that a picture goes away is not for him to decide, and he sees it at once.
    await bob.asks_first()
    await alice.press("btn-camera")
    await expect(alice.part("local-video")).to_be_hidden()
    assert await alice.page.evaluate("window.sbe.client.media.camera") is None
    await bob.until("() => window.sbe.client.currentCall.leg.remote.camera === null")
    await expect(bob.page.locator("#placeholder")).to_contain_text("Audio call")
    await bob.sees_no_more_video()
    await alice.press("btn-camera")
    await bob.press("mod-accept")
    await bob.sees_video()


async def test_another_camera_and_microphone_keep_the_call_and_none_is_shown(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "devices")
    await bob.sees_video()
    events = len(await bob.events())
    await bob.page.evaluate("window.before = window.sbe.pc")
    await alice.press("btn-settings")
    camera, microphone = alice.part("select-camera"), alice.part("select-microphone")
    await expect(camera.locator("option")).to_have_text(
        [re.compile("default$"), *(re.compile(f"^fake_device_{number}$") for number in range(3))]
    )
    await expect(microphone.locator("option").nth(2)).to_have_text("Fake Audio Input 2")
    await expect(alice.part("select-speaker").locator("option")).to_have_count(3)
    await camera.select_option(label="fake_device_2")
    await alice.until("() => window.sbe.client.media.camera?.label === 'fake_device_2'")
    await microphone.select_option(label="Fake Audio Input 2")
    await alice.until("() => window.sbe.client.media.microphone?.label === 'Fake Audio Input 2'")
    await alice.page.keyboard.press("Escape")
    await expect(alice.part("settings-dialog")).to_be_hidden()
    await expect(alice.part("btn-settings")).to_be_focused()
    await bob.sees_video(frames=20)
    await bob.until(_IS_LOUD)
    assert await bob.page.evaluate("window.before === window.sbe.pc")
    assert len(await bob.events()) == events

    # Of a camera that was closed a client says nothing. A picture that stands still is not shown as live.
    await alice.page.evaluate("window.sbe.client.media.close('camera')")
    await expect(bob.page.locator("#placeholder")).to_contain_text("The camera is off")


async def test_being_asked_first_and_a_reload_in_the_call(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "ask", kind="audio")
    await bob.press("btn-settings")
    await bob.part("ask-switch").check()
    await bob.press("settings-close")
    await alice.press("btn-camera")
    await alice.shows("mod-pending", "Waiting for bob-ask to accept")
    await bob.shows("mod-dialog", "alice-ask wants to turn on video")
    await expect(bob.page.locator("#mod-countdown")).to_contain_text("Runs out in")
    await expect(bob.part("mod-accept")).to_be_focused()
    await bob.press("mod-reject")
    await alice.is_told("bob-ask rejected the change. Everything stays as it was.")
    await expect(alice.part("local-video")).to_be_hidden()
    await alice.press("btn-camera")
    await bob.press("mod-accept")
    await bob.sees_video()
    await expect(bob.part("mod-dialog")).to_be_hidden()

    await bob.page.reload()
    await bob.shows("rejoin", "You are in a call with alice-ask")
    await alice.is_in("open")
    await bob.press("rejoin-join")
    await bob.is_in("open")
    await bob.sees_video()
    await alice.sees_video()
    await bob.press("btn-settings")
    await expect(bob.part("ask-switch")).to_be_checked()
    await bob.press("settings-close")
    await bob.page.reload()
    await bob.press("rejoin-leave")
    await alice.sees_the_end("Call ended", "bob-ask hung up.")


async def test_timeline_and_chart(visit: Visit) -> None:
    alice, _ = await in_a_call(visit, "time")
    await alice.press("btn-hold")
    await alice.is_in("on-hold")
    await alice.press("overlay-resume")
    await alice.is_in("open")
    await alice.press("btn-timeline")
    await expect(alice.part("btn-timeline")).to_have_attribute("aria-expanded", "true")
    rows = await alice.page.evaluate(
        """() => [...document.querySelectorAll("[data-testid=timeline-item]")].map(({dataset}) => ({...dataset}))"""
    )
    told = [(row["title"], row.get("state")) for row in rows if row["sort"] != "channel"]
    told = [row for row in told if not row[0].startswith("GET")]
    assert told[1:] == [
        ("POST /mediaConferences", "invitation-sent"),
        ("session-open", "session-open"),
        ("initiate-conference-hold", "mod-sent"),
        ("mod-accepted", "hold"),
        ("participant-on-hold", "on-hold"),
        ("initiate-conference-resume", "mod-sent"),
        ("mod-accepted", "resume"),
        ("participant-resumed", "accepted"),
    ]
    mod_ids = [row["modId"] for row in rows if row["title"] in {"initiate-conference-hold", "mod-accepted"}]
    assert mod_ids[0] == mod_ids[1] != mod_ids[2]

    item = alice.page.locator("[data-testid=timeline-item][data-title=initiate-conference-hold]")
    await item.locator("summary").click()
    await expect(item.get_by_test_id("timeline-sdp")).to_contain_text("a=recvonly")
    await item.get_by_test_id("timeline-compare").click()
    changes = item.get_by_test_id("timeline-sdp")
    await expect(changes.locator("[data-change=added]").filter(has_text="a=recvonly")).not_to_have_count(0)
    await expect(changes.locator("[data-change=removed]").filter(has_text="a=sendrecv")).not_to_have_count(0)
    await expect(changes.locator("[data-change=same]").filter(has_text="a=ice-ufrag")).to_have_count(0)

    chart = alice.part("stats-chart")
    await expect(chart.locator("#spark-bitrate .spark-value")).to_have_text(re.compile(r"^[1-9][\d.]* [kM]b/s$"))
    await expect(chart.locator("#spark-loss .spark-value")).to_have_text(re.compile(r"^\d+\.\d %$"))
    await expect(chart.locator("#spark-rtt .spark-value")).to_have_text(re.compile(r"^\d+ ms$"))
    await expect(chart.locator("#spark-bitrate path.line")).not_to_have_count(0)
    await alice.page.keyboard.press("Escape")
    await expect(alice.part("timeline-drawer")).to_be_hidden()
    await expect(alice.part("btn-timeline")).to_be_focused()


async def test_move_without_another_device_and_to_one_that_declines(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "move")
    await alice.press("btn-move")
    await alice.shows("move-dialog", "You have no other device here yet.")
    await expect(alice.part("move-start")).to_be_disabled()
    link = await alice.page.locator("#move-link").input_value()
    await alice.page.keyboard.press("Escape")
    await expect(alice.part("btn-move")).to_be_focused()
    await bob.sees_video()

    await alice.press("btn-move")
    phone = await visit("alice-move", address=link)
    await alice.shows("move-dialog", "phone", "If none answers in time, the call ends for both of you.")
    await alice.press("move-start")
    await alice.shows("moved-overlay", "Ringing phone")
    await phone.press("ring-decline")
    await alice.sees_the_end("You declined on your other device, so the call ended.")
    await bob.sees_the_end("alice-move declined on the other device.")


async def test_another_call_comes_in_during_a_call(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "two")
    carol = await visit("carol-two")
    await carol.press("call-video-alice-two")
    await alice.shows("ring-dialog", "Accepting ends the call you are in.")
    await alice.press("ring-decline")
    await carol.sees_the_end("alice-two declined.")
    await alice.is_in("open")
    await carol.press("ended-again")
    await alice.press("ring-accept")
    await bob.sees_the_end("alice-two hung up.")
    await carol.is_in("open")
    await carol.sees_video()


@pytest.mark.parametrize("topology", ["peer", pytest.param("focus", marks=pytest.mark.deep)])
async def test_of_two_crossing_calls_that_both_accept_one_survives(visit: Visit, topology: str) -> None:
    alice, bob = await visit(f"alice-cross-{topology}"), await visit(f"bob-cross-{topology}")
    await asyncio.gather(*(_place(*pair, topology) for pair in ((alice, bob), (bob, alice))))
    await alice.shows("ring-dialog", bob.username)
    await bob.shows("ring-dialog", alice.username)
    await asyncio.gather(_accept(alice), _accept(bob))
    for person in (alice, bob):
        await person.is_in("open")
        await person.until("() => window.sbe.pc?.connectionState === 'connected'")
        await expect(person.part("ring-dialog")).to_be_hidden()
        await expect(person.page.locator(".toast.bad")).to_have_count(0)
    assert await alice.conference_id() == await bob.conference_id()


async def _accept(person: Person) -> None:
    """Accept at once; whoever is slower finds that nothing rings any more."""
    await person.page.evaluate(
        """() => {
          if (document.getElementById("ring-dialog").open) document.getElementById("ring-accept").click();
        }"""
    )


async def _place(caller: Person, callee: Person, topology: str) -> None:
    """Press the button that calls, also where an invitation has just covered it; focus calls come from the client."""
    await expect(caller.part(f"call-video-{callee.username}")).to_be_visible()
    await caller.page.evaluate(
        """async ([to, topology]) => {
          const { client } = window.sbe;
          await client.media.openMicrophone();
          await client.media.openCamera();
          await client.startConference({ to: [to], topology });
        }""",
        [callee.username, topology],
    )


# --- Ended by others ----------------------------------------------------------------------------------------


async def _removed_by_the_host(server: Server, alice: Person, bob: Person) -> str:
    conference = await alice.conference()
    (seat,) = (seat for seat in conference["participants"] if seat["username"] == bob.username)
    token = await alice.page.evaluate("window.sbe.client.session.token")
    address = f"{server.base_url}/mediaConferences/{conference['id']}/participants/{seat['id']}"
    answer = httpx.delete(address, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 204, answer.text
    return "You were removed from the call."


async def _ended_by_support(server: Server, alice: Person, bob: Person) -> str:
    conference = await alice.conference_id()
    login = {"DJANGO_SUPERUSER_USERNAME": "desk", "DJANGO_SUPERUSER_PASSWORD": "secret", "DJANGO_SUPERUSER_EMAIL": ""}
    manage("createsuperuser", "--noinput", variables={**server.backend.variables, **login})
    with httpx.Client(base_url=server.base_url, follow_redirects=True) as desk:

        def post(path: str, **fields: str) -> httpx.Response:
            page = desk.get(path)
            (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[:1])
            return desk.post(path, data={"csrfmiddlewaretoken": token, **fields}, headers={"Referer": str(page.url)})

        post("/admin/login/", username="desk", password="secret")
        done = post(
            "/admin/conferences/conference/", action="end_conference", _selected_action=conference, confirmed="yes"
        )
    assert "1 ended." in html.unescape(done.text)
    return "The support desk ended it."


@pytest.mark.parametrize("end", [_removed_by_the_host, pytest.param(_ended_by_support, marks=pytest.mark.deep)])
async def test_a_conference_ended_elsewhere(
    visit: Visit, server: Server, end: Callable[[Server, Person, Person], Awaitable[str]]
) -> None:
    alice, bob = await in_a_call(visit, end.__name__)
    await bob.sees_video()
    words = await end(server, alice, bob)
    await bob.sees_the_end("Call ended", words, "It lasted 0:")
    await alice.is_in("ended")
    await expect(alice.page.locator("#ended-text")).not_to_be_empty()
    assert await bob.page.evaluate("window.sbe.client.media.camera") is None


# --- Devices that cannot be had -----------------------------------------------------------------------------


async def test_a_camera_that_is_refused(visit: Visit, launch: Launch) -> None:
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


# The journey above goes through the same dialog.
@pytest.mark.deep
async def test_no_devices_at_all(visit: Visit, launch: Launch) -> None:
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
    await expect(alice.part("btn-mic")).to_be_disabled()
    await alice.press("btn-hold")
    await alice.is_in("on-hold")
    await alice.press("btn-hold")
    await alice.sees_video()


# --- Without a mouse, without eyes, without motion ----------------------------------------------------------


async def _tab_to(person: Person, testid: str) -> None:
    """Press Tab until a control has the focus."""
    passed = []
    for _ in range(40):
        if (focused := await person.page.evaluate(_FOCUSED)) == testid:
            return
        passed.append(focused)
        await person.page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {testid}: {passed}")


async def test_a_whole_call_by_keyboard_and_what_is_announced(visit: Visit) -> None:
    alice, bob = await visit("alice-keys"), await visit("bob-keys")
    keys, announcer = alice.page.keyboard, alice.page.locator("#announcer")
    await expect(alice.part("call-video-bob-keys")).to_be_visible()
    # Whoever else is here is passed over by typing: their rows have controls as well.
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
    await keys.press("e")
    await alice.is_in("open")
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


async def test_nothing_moves_for_those_who_want_it_so(visit: Visit) -> None:
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
