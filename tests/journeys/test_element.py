"""The element <sbe-call>, and applications that are not on the enabler's origin."""

import asyncio
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.endpoints import Endpoints
from tests.support.journeys.people import BRIGHT, PATIENCE_SECONDS, Person, Visit
from tests.support.services import ROOT, Server, wait_until

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

_RECORD = """(() => {
  window.dispatched = [];
  for (const type of ["sbe-ringing", "sbe-call", "sbe-ended", "sbe-error"])
    document.addEventListener(type, ({detail}) => window.dispatched.push(
      [type, detail.state ?? detail.reason ?? detail.invitation?.username ?? String(detail.error)].join(" ")));
  window.notes = 0;
  const {createOscillator} = AudioContext.prototype;
  AudioContext.prototype.createOscillator = function () {
    window.notes += 1;
    return createOscillator.call(this);
  };
})()"""
# Blocks every inline style of the page. A blocked style is an error in the console, which fails the test.
_STRICT = """new MutationObserver((_, observer) => {
  if (!document.head) return;
  observer.disconnect();
  const policy = {httpEquiv: "Content-Security-Policy", content: "style-src 'none'; object-src 'none'"};
  document.head.append(Object.assign(document.createElement("meta"), policy));
}).observe(document, {childList: true, subtree: true})"""
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
        await page.add_init_script(_STRICT)

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
    await expect(bob.page.locator("sbe-call .grid .avatar")).to_be_visible()
    await expect(bob.page.locator("sbe-call .grid video")).to_be_hidden()
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

    # Alice's session ends at the enabler. The application returns a new one, and she can be called again.
    ended = await alice.page.evaluate("document.querySelector('sbe-call').session.id")
    headers = {"Authorization": f"Api-Key {server.api_key}"}
    await asyncio.to_thread(httpx.delete, f"{server.base_url}/sessions/{ended}", headers=headers)
    await alice.until(f"() => !['{ended}', undefined].includes(document.querySelector('sbe-call').client.session?.id)")
    await _button(bob, "Call alice-element").click()
    await _says(alice, "bob-element is calling")
    await alice.until("() => notes > 0")
    await _button(alice, "Decline").click()
    await _says(bob, "The call was declined.")

    # Alice closes her page during a call.
    await _button(bob, "Call alice-element").click()
    await _button(alice, "Accept").click()
    await bob.until(_SEES)
    await alice.page.goto("about:blank")
    await _says(bob, "alice-element is away")


async def _admits_a_knock(host: Person, server: Server) -> None:
    """Let the host of a locked conference, which the application has started, admit somebody. Then end it."""
    conference = await host.page.evaluate(
        """async () => {
          const {client} = document.querySelector("sbe-call");
          await client.startConference({access: "open"});
          await client.currentCall.lock(true);
          return client.currentCall.confId;
        }"""
    )
    await _says(host, "Nobody else is here yet")
    async with Endpoints() as endpoints:
        carol = await endpoints.register(server, "carol-knocks")
        knock = await carol.request("POST", f"/mediaConferences/{conference}/knocks")
        assert knock.status_code == HTTPStatus.CREATED
        await _says(host, "carol-knocks asks to join")
        await _button(host, "Admit").click()
        await expect(_button(host, "Admit")).to_be_hidden()
        assert await host.page.evaluate("document.querySelector('sbe-call').client.currentCall.knocks.length") == 0
    await host.page.evaluate("document.querySelector('sbe-call').hangUp()")


async def test_an_element_that_is_removed_ends_its_call_and_its_session(visit: Visit, server: Server) -> None:
    alice = await _element(visit, "alice-removed", "bob-removed")
    bob = await _element(visit, "bob-removed", "alice-removed")
    await _admits_a_knock(alice, server)
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


class _Application(SimpleHTTPRequestHandler):
    """A back end that requires a login cookie, and serves the client's modules."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(ROOT / "templates"))

    def do_GET(self) -> None:
        if self.path != "/app/sessions":
            return super().do_GET()
        self.send_response(
            HTTPStatus.OK if "login=alice" in self.headers.get("Cookie", "") else HTTPStatus.UNAUTHORIZED
        )
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"sessions": []}')
        return None

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


async def test_the_login_cookie_goes_to_a_dev_server_that_is_given_as_an_object(chromium: Browser) -> None:
    application = ThreadingHTTPServer(("127.0.0.1", 0), _Application)
    Thread(target=application.serve_forever, args=[0.02]).start()
    context = await chromium.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"http://127.0.0.1:{application.server_port}/static/sbe/sbe-client.js")
        results = await page.evaluate(
            """async () => {
              const {SbeClient} = await import("/static/sbe/sbe-client.js");
              document.cookie = "login=alice; path=/";
              const ask = (devServer) => new SbeClient({devServer}).people().catch(({status}) => status);
              return Promise.all([ask({url: "/app"}), ask({url: "/app", credentials: "omit"}), ask("/app")]);
            }"""
        )
        assert results == [[], 401, 401]
    finally:
        await context.close()
        application.shutdown()
        application.server_close()


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
    said = asyncio.Event()

    def on_console(message: Any) -> None:
        if message.type == "error":
            errors.append(message.text)
            if "SBE_ALLOWED_ORIGINS" in message.text:
                said.set()

    page.on("console", on_console)
    if not with_web_socket:
        await page.add_init_script("window.WebSocket = class { constructor() { throw new Error('blocked'); } }")
    await page.goto(f"{elsewhere}/static/sbe/sbe-client.js")
    await page.evaluate(
        f"([enabler, session]) => {{ window.done = ({_USE})([enabler, session]); }}", [server.base_url, session]
    )

    def told() -> list[str]:
        return [text for text in errors if "SBE_ALLOWED_ORIGINS" in text]

    await asyncio.wait_for(said.wait(), PATIENCE_SECONDS)
    (text,) = told()
    assert elsewhere in text
    assert server.base_url in text
    if with_web_socket:
        assert await page.evaluate("done") == "session-over"
    await context.close()
    assert len(told()) == 1
