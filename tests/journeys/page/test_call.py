"""The controls of a call, and the user's view of it."""

import html
import re
from collections.abc import Awaitable, Callable

import httpx
import pytest
from playwright.async_api import expect

from tests.support.journeys.people import Person, Visit, call, in_a_call
from tests.support.services import Server, manage

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

# The energy of the sound that the other side sent within a second. The fake microphone beeps once a second.
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


async def test_an_audio_call_can_be_muted_and_get_a_camera(visit: Visit) -> None:
    alice, bob = await visit("alice-audio"), await visit("bob-audio")
    await alice.press("call-audio-bob-audio")
    await bob.shows("ring-dialog", "Incoming audio call")
    await expect(bob.part("ring-camera")).to_be_hidden()
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

    # Bob wants to be asked first. Removing a picture needs no consent, so Bob sees its removal at once.
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


async def test_changing_devices_keeps_the_call_and_a_stopped_camera_is_shown(visit: Visit) -> None:
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

    # Here the client does not announce that its camera was closed. The page must not show a frozen picture as live.
    await alice.page.evaluate("window.sbe.client.media.close('camera')")
    await expect(bob.page.locator("#placeholder")).to_contain_text("The camera is off")


async def test_a_user_can_be_asked_first_and_reload_during_the_call(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "ask", kind="audio")
    await bob.press("btn-settings")
    await bob.part("ask-switch").check()
    await bob.press("settings-close")
    await alice.press("btn-camera")
    await alice.shows("mod-pending", "Waiting for bob-ask to accept")
    await bob.shows("mod-dialog", "alice-ask wants to turn on video")
    await expect(bob.page.locator("#mod-countdown")).to_contain_text("Expires in")
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

    # An answered call rings no more after a reload: the dialog would cover the button.
    await alice.press("ended-done")
    await call(alice, bob, kind="audio")
    await bob.page.reload()
    await bob.shows("rejoin", "You are in a call with alice-ask")
    await expect(bob.part("ring-dialog")).to_be_hidden()
    await bob.press("rejoin-join")
    await bob.is_in("open")


async def test_the_timeline_and_the_chart_show_the_call(visit: Visit) -> None:
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
    titles = [(row["title"], row.get("state")) for row in rows if row["sort"] != "channel"]
    titles = [row for row in titles if not row[0].startswith("GET")]
    assert titles[1:] == [
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


async def test_a_move_without_another_device_or_with_a_declining_one_is_reported(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "move")
    await alice.press("btn-move")
    await alice.shows("move-dialog", "You have no other device here yet.")
    await expect(alice.part("move-start")).to_be_disabled()
    link = await alice.page.locator("#move-link").input_value()
    await alice.until("() => document.querySelector('#move-code').naturalWidth > 0")
    await alice.page.keyboard.press("Escape")
    await expect(alice.part("btn-move")).to_be_focused()
    await bob.sees_video()

    await alice.press("btn-move")
    phone = await visit("alice-move", address=link)
    await alice.shows(
        "move-dialog", "computer", "scan the code", "If none answers in time, the call ends for both of you."
    )
    await alice.press("move-start")
    await alice.shows("moved-overlay", "Ringing computer")
    await phone.press("ring-decline")
    await alice.sees_the_end("You declined on your other device, so the call ended.")
    await bob.sees_the_end("alice-move declined on the other device.")


async def _removed_by_the_host(server: Server, alice: Person, bob: Person) -> str:
    conference = await alice.conference()
    (participant,) = (
        participant for participant in conference["participants"] if participant["username"] == bob.username
    )
    token = await alice.page.evaluate("window.sbe.client.session.token")
    address = f"{server.base_url}/mediaConferences/{conference['id']}/participants/{participant['id']}"
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
    return "The support desk ended the call."


@pytest.mark.parametrize("end", [_removed_by_the_host, pytest.param(_ended_by_support, marks=pytest.mark.deep)])
async def test_a_conference_that_ends_elsewhere_ends_on_the_page(
    visit: Visit, server: Server, end: Callable[[Server, Person, Person], Awaitable[str]]
) -> None:
    alice, bob = await in_a_call(visit, end.__name__)
    await bob.sees_video()
    words = await end(server, alice, bob)
    await bob.sees_the_end("Call ended", words, "It lasted 0:")
    await alice.is_in("ended")
    await expect(alice.page.locator("#ended-text")).not_to_be_empty()
    assert await bob.page.evaluate("window.sbe.client.media.camera") is None
