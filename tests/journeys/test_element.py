"""The element <sbe-call>, and applications that are not on the enabler's origin."""

import asyncio
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.journeys.people import BRIGHT, Person, Visit
from tests.support.services import Server, wait_until

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

_RECORD = """(() => {
  window.dispatched = [];
  for (const type of ["sbe-ringing", "sbe-call", "sbe-ended", "sbe-error"])
    document.addEventListener(type, ({detail}) => window.dispatched.push(
      [type, detail.state ?? detail.reason ?? detail.invitation?.username ?? String(detail.error)].join(" ")));
})()"""
# Whether the first other participant is shown, in a picture that moves and is not black.
_SEES = f"""async () => {{
  const video = document.querySelector("sbe-call").shadowRoot.querySelector(".grid video");
  if (!video?.videoWidth || !({BRIGHT})(video)) return false;
  const before = video.currentTime;
  await new Promise((wake) => setTimeout(wake, 200));
  return video.currentTime > before;
}}"""
# Whether sound arrives at the element.
_HEARS = """async () => {
  const {leg} = document.querySelector("sbe-call").client.currentCall;
  for (const report of (await leg.pc.getStats()).values())
    if (report.type === "inbound-rtp" && report.kind === "audio" && report.totalAudioEnergy > 1e-4) return true;
  return false;
}"""


async def _element(visit: Visit, user: str, to: str, **options: Any) -> Person:
    """Open the example page of the element."""

    async def before(page: Page) -> None:
        await page.add_init_script(_RECORD)

    person = await visit(user, address=f"/static/element.html?user={user}&to={to}", live=None, before=before, **options)
    await expect(_button(person, f"Call {to}")).to_be_visible()
    await person.until("() => document.querySelector('sbe-call').client.channelState === 'websocket'")
    return person


def _button(person: Person, name: str) -> Any:
    return person.page.get_by_role("button", name=name, exact=True)


async def _says(person: Person, text: str) -> None:
    # A text is also in an element for screen readers alone, which comes first.
    await expect(person.page.locator("sbe-call").get_by_text(text, exact=True).last).to_be_visible()


async def test_two_elements_call_each_other(visit: Visit, server: Server) -> None:
    alice = await _element(visit, "alice-element", "bob-element", viewport={"width": 1000, "height": 640})
    bob = await _element(visit, "bob-element", "alice-element", viewport={"width": 390, "height": 780})
    await _button(alice, "Call bob-element").click()
    await _says(bob, "alice-element is calling")
    await _says(bob, "Video call")
    await _button(bob, "Accept").click()
    for person in (alice, bob):
        await person.until(_SEES)
        await person.until(_HEARS)

    # The keyboard works the controls, whose names say what they do.
    await _button(alice, "Mute").focus()
    await alice.page.keyboard.press("Enter")
    await expect(_button(alice, "Unmute")).to_be_focused()
    await _button(alice, "Hold").click()
    await _says(bob, "alice-element put the call on hold")
    await _says(alice, "You put the call on hold")
    await _button(alice, "Resume").click()
    await bob.until(_SEES)
    await _button(bob, "Turn camera off").click()
    await expect(alice.page.locator("sbe-call .grid video")).to_be_hidden()

    await _button(bob, "Hang up").click()
    await _says(alice, "The other side hung up.")
    await expect(_button(alice, "Call bob-element")).to_be_visible()
    # The page knows the state of the session and of the call from the element's events alone.
    assert await bob.page.evaluate("dispatched") == [
        "sbe-call idle",
        "sbe-ringing alice-element",
        "sbe-call ringing",
        "sbe-call calling",
        "sbe-call open",
        "sbe-call held",
        "sbe-call open",
        "sbe-call ended",
        "sbe-ended here",
    ]


async def test_an_element_that_is_removed_ends_its_call_and_its_session(visit: Visit, server: Server) -> None:
    alice = await _element(visit, "alice-removed", "bob-removed")
    bob = await _element(visit, "bob-removed", "alice-removed")
    await alice.page.evaluate("document.querySelector('sbe-call').call()")
    await _button(bob, "Accept").click()
    await alice.until(_SEES)
    # Moving the element within the page changes nothing.
    await alice.page.evaluate("document.body.prepend(document.querySelector('sbe-call'))")
    await alice.until(_SEES)
    kept: dict[str, Any] = await alice.page.evaluate(
        """() => {
          const element = document.querySelector("sbe-call");
          const {microphone, camera} = element.client.media;
          window.tracks = [microphone, camera];
          element.remove();
          return element.session;
        }"""
    )
    await _says(bob, "The other side hung up.")
    await alice.until("() => tracks.every(({readyState}) => readyState === 'ended')")

    def status() -> int:
        headers = {"Authorization": f"Bearer {kept['token']}"}
        return httpx.get(f"{server.base_url}/sessions/{kept['id']}", headers=headers).status_code

    await asyncio.to_thread(wait_until, lambda: status() == HTTPStatus.UNAUTHORIZED, "the session has ended")


_USE = """async ([enabler, session]) => {
  const {SbeClient} = await import("/static/sbe/sbe-client.js");
  window.client = new SbeClient({enabler});
  const over = new Promise((resolve) => client.on("notice", ({code}) => resolve(code)));
  await client.use(session);
  await Promise.allSettled([client.rejoin(), client.startConference({}), client.startConference({})]);
  return over;
}"""


@pytest.mark.parametrize("with_web_socket", [True, False])
async def test_a_forgotten_setting_of_allowed_origins_is_named_once(
    chromium: Browser, server: Server, with_web_socket: bool
) -> None:
    elsewhere = server.base_url.replace("127.0.0.1", "localhost")
    session = httpx.post(
        f"{server.base_url}/sessions",
        headers={"Authorization": f"Api-Key {server.api_key}"},
        json={"username": f"far-{with_web_socket}"},
    ).json()
    context = await chromium.new_context()
    page = await context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    if not with_web_socket:
        await page.add_init_script("window.WebSocket = class { constructor() { throw new Error('blocked'); } }")
    await page.goto(f"{elsewhere}/static/sbe/sbe-client.js")
    await page.evaluate(
        f"([enabler, session]) => {{ window.done = ({_USE})([enabler, session]); }}", [server.base_url, session]
    )
    told = [text for text in errors if "SBE_ALLOWED_ORIGINS" in text]
    for _ in range(200):
        if told := [text for text in errors if "SBE_ALLOWED_ORIGINS" in text]:
            break
        await asyncio.sleep(0.05)
    assert len(told) == 1
    assert elsewhere in told[0]
    assert server.base_url in told[0]
    if with_web_socket:
        assert await page.evaluate("done") == "session-over"
    await context.close()
    assert len([text for text in errors if "SBE_ALLOWED_ORIGINS" in text]) == 1
