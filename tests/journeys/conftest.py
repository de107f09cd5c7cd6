"""Real Chromium pages against a real server: the journeys' fixtures, and what a person can see of a call."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urljoin

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    ViewportSize,
    WebSocketRoute,
    async_playwright,
    expect,
)
from playwright.async_api import Error as PlaywrightError

from tests.chromium import launch_chromium
from tests.replay import facts, replay
from tests.services import Backends, Server

_ARGUMENTS = [
    "--auto-select-desktop-capture-source=Entire screen",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    # The browser's own, around the page.
    "--animation-duration-scale=0",
]
# Cameras and microphones, none of them real; and nobody is asked whether the page may use them. Two of the three
# cameras give a picture: the one between them plays a depth camera.
FAKE_DEVICES = "--use-fake-device-for-media-stream=device-count=3,fps=10"
NO_QUESTIONS = "--use-fake-ui-for-media-stream"
_GRANTED = ("camera", "microphone")
# How long a journey waits for a state. Only a fault or a very slow machine makes it wait that long.
PATIENCE_SECONDS = 60.0
_PATIENCE_MS = int(1000 * PATIENCE_SECONDS)
expect.set_options(timeout=_PATIENCE_MS)
# Deadlines of the service that a slow machine does not miss.
LONG_DEADLINES = {"SBE_RING_SECONDS": "120", "SBE_MODIFICATION_SECONDS": "120", "SBE_MOVE_WINDOW_SECONDS": "60"}

# Pages no larger than the layout of a desk needs, which the processor draws; small pictures from every camera; no echo
# to look for: what more would take of a machine proves nothing.
_VIEWPORT: ViewportSize = {"width": 880, "height": 520}
_SMALL_DEVICES = """(() => {
  const {mediaDevices} = navigator;
  const open = mediaDevices?.getUserMedia.bind(mediaDevices);
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const small = {width: 320, height: 240, frameRate: 10};
  if (open) mediaDevices.getUserMedia = ({audio, video}) =>
    open({audio: audio && {...audio, ...plain}, video: video && {...video, ...small}});
})()"""
# Whether a picture is not black: brighter than 10 of 255.
BRIGHT = """(video) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [32, 24];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 32, 24);
  const {data} = context.getImageData(0, 0, 32, 24);
  let brightness = 0;
  for (let i = 0; i < data.length; i += 4) brightness += (data[i] + data[i + 1] + data[i + 2]) / 3;
  return brightness / (data.length / 4) > 10;
}"""
_IS_BRIGHT = f"""() => {{
  const video = document.querySelector("[data-testid=remote-video]");
  return Boolean(video?.videoWidth) && ({BRIGHT})(video);
}}"""

# How many video frames were decoded.
_COUNT = """async () => {
  let frames = 0;
  if (window.sbe.pc) for (const report of (await window.sbe.pc.getStats()).values())
    if (report.type === "inbound-rtp" && report.kind === "video") frames += report.framesDecoded ?? 0;
  return frames;
}"""

# Resolves when more frames than given are decoded; refuses when they are not in time. Times in ms.
_GROWS = """async ([by, patience]) => {
  const count = COUNT;
  const begun = performance.now();
  let last = window.sbe.pc, first = await count();
  while (performance.now() - begun < patience) {
    if (window.sbe.pc !== last) { last = window.sbe.pc; first = 0; }
    if (await count() >= first + by) return performance.now() - begun;
    // To ask for statistics takes a page longer than to decode a picture.
    await new Promise((wake) => setTimeout(wake, 100));
  }
  throw new Error(`no ${by} more frames in ${patience} ms`);
}""".replace("COUNT", _COUNT)

# Resolves when no frame has been decoded for half a second.
_STOPS = """async (patience) => {
  const count = COUNT;
  const begun = performance.now();
  while (performance.now() - begun < patience) {
    const before = await count();
    await new Promise((wake) => setTimeout(wake, 500));
    if (await count() === before) return true;
  }
  throw new Error(`frames still come after ${patience} ms`);
}""".replace("COUNT", _COUNT)


@dataclass
class Person:
    """A page on which somebody is registered, and what it said to the server and heard from it."""

    page: Page
    username: str
    wire: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    answered_at: str | None = None

    def part(self, testid: str) -> Any:
        """Return the locator of a part of the page."""
        return self.page.get_by_test_id(testid)

    async def press(self, testid: str) -> None:
        """Press a control."""
        await self.part(testid).click(timeout=_PATIENCE_MS)

    async def is_in(self, *states: str) -> None:
        """Wait until the call is in one of the states."""
        await expect(self.part("call-state")).to_have_attribute("data-state", _one_of(states))

    async def sees_video(self, frames: int = 5) -> float:
        """Wait until the far side's video moves and is not black; return how long that took, in ms."""
        taken = float(await self.page.evaluate(_GROWS, [frames, _PATIENCE_MS]))
        # The frames may have been another picture's: of the camera beside a screen, say.
        await self.until(_IS_BRIGHT)
        return taken

    async def sees_no_more_video(self) -> None:
        """Wait until no frame of the far side's video comes."""
        await self.page.evaluate(_STOPS, _PATIENCE_MS)

    async def conference(self) -> dict[str, Any]:
        """Return the conference that this page is in, read afresh."""
        body: dict[str, Any] = await self.page.evaluate(
            """async () => {
              const {client} = window.sbe;
              const answer = await fetch(`${client.enabler}/mediaConferences/${client.currentCall.confId}`,
                {headers: {Authorization: `Bearer ${client.session.token}`}});
              return answer.json();
            }"""
        )
        return body

    async def conference_id(self) -> str:
        """Return the ID of the conference that this page is in."""
        return str(await self.page.evaluate("window.sbe.client.currentCall.confId"))

    async def events(self) -> list[dict[str, Any]]:
        """Return the session's whole log, read afresh."""
        log = await self.page.evaluate(
            """async () => {
              const {session} = window.sbe.client;
              const log = [];
              for (let after = 0; ; ) {
                const answer = await fetch(`${session.events.http}?after=${after}&wait=0`,
                  {headers: {Authorization: `Bearer ${session.token}`}});
                const body = await answer.json();
                if (body.events.length === 0) return log;
                log.push(...body.events);
                after = body.after;
              }
            }"""
        )
        return list(log)

    async def until(self, expression: str, argument: object = None) -> Any:
        """Wait until a JavaScript function of the page returns something that is true, and return it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (value := await self.page.evaluate(expression, argument)):
            assert time.monotonic() < deadline, f"{self.username}: never came true: {expression}"
            await asyncio.sleep(0.1)
        return value

    async def shows(self, part: str, *words: str) -> None:
        """Wait until a part of the page can be seen, and words in it; what it hides does not count."""
        await expect(self.part(part)).to_be_visible()
        for word in words:
            await expect(self.part(part)).to_contain_text(word, use_inner_text=True)

    async def is_told(self, words: str) -> None:
        """Wait until the page says something in its alert area."""
        await expect(self.part("errors")).to_contain_text(words)

    async def sees_the_end(self, *words: str) -> None:
        """Wait until the call is over, and the page says why."""
        await self.is_in("ended")
        await self.shows("ended-overlay", *words)

    async def is_live(self, *transports: str) -> None:
        """Wait until events come, over one of these transports."""
        await expect(self.part("channel-state")).to_have_attribute("data-state", _one_of(transports or ["websocket"]))

    async def asks_first(self, asks: bool = True) -> None:
        """Let the page ask before it accepts what the other side offers, or no longer."""
        await self.page.evaluate("(asks) => { window.sbe.client.askBeforeAccepting = asks; }", asks)

    def heard(self) -> list[int]:
        """Return the numbers of all events that came to this page, over every transport, in order."""
        return [event["seq"] for event in self.wire if "seq" in event]


def _one_of(values: Iterable[str]) -> re.Pattern[str]:
    return re.compile("^(" + "|".join(values) + ")$")


def begin_afresh(*, direct: bool) -> str:
    """Return a script for a new tab in which nothing is stored yet but, if so, that calls are direct.

    It does its work once: what is stored then outlives a reload. (about:blank has no storage.)
    """
    stored = json.dumps({"direct": True} if direct else {})
    return f"""if (location.protocol !== "about:" && !sessionStorage.getItem("journey")) {{
      sessionStorage.setItem("journey", "begun");
      localStorage.setItem("sbe.preferences", '{stored}');
    }}"""


Visit = Callable[..., Awaitable[Person]]
Launch = Callable[..., Awaitable[Browser]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    """Run the driver of the browsers."""
    async with async_playwright() as driver:
        yield driver


async def _launch(playwright: Playwright, *arguments: str, asks: bool = False) -> Browser:
    return await launch_chromium(playwright, *_ARGUMENTS, *arguments, asks=asks)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(playwright: Playwright) -> AsyncIterator[Browser]:
    """Run one Chromium for all journeys."""
    browser = await _launch(playwright, FAKE_DEVICES, NO_QUESTIONS)
    yield browser
    await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def launch(playwright: Playwright) -> AsyncIterator[Launch]:
    """Run another Chromium, with other devices: `await launch(FAKE_DEVICES)`. It asks for permissions."""
    async with AsyncExitStack() as stack:

        async def run(*arguments: str) -> Browser:
            browser = await _launch(playwright, *arguments, asks=True)
            stack.push_async_callback(browser.close)
            return browser

        yield run


@pytest.fixture(scope="session")
def server(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server for all journeys. Nobody stays registered after a test."""
    with Server(backends.sqlite(), tmp_path_factory.mktemp("server"), LONG_DEADLINES) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profiles(chromium: Browser) -> AsyncIterator[list[BrowserContext]]:
    """Keep the browser profiles that visitors have one after the other: their caches are warm."""
    contexts: list[BrowserContext] = []
    yield contexts
    for context in contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(
    chromium: Browser, server: Server, profiles: list[BrowserContext], launch: Launch
) -> AsyncIterator[Visit]:
    """Open the test page as somebody: `await visit("alice", "laptop")`. All sign off with the end of the test.

    Each has a browser profile of its own, which the first, second, ... of the next test takes over (`profiles`), save
    where it has another `browser` or other `permissions`. `at` names another server, `also` the addresses that the page
    may turn to besides; `before` is awaited with the page before it loads anything; `address` and `live` say where to
    go and what to wait for (nothing, when None). With `direct` a call with one person goes from browser to browser,
    else through the focus. `media` is what the page is told to emulate (`color_scheme`, `reduced_motion`): unless told
    otherwise nothing moves that need not, which spares a loaded machine a tenth.

    A page that logs an error, or that leaves the server, fails the test. Browsers of `launch` close later: their pages
    must sign off first.
    """
    async with AsyncExitStack() as stack:
        people: list[Person] = []
        unused = iter(profiles[:])

        async def profile(browser: Browser, permissions: Sequence[str]) -> BrowserContext:
            usual = (browser, permissions) == (chromium, _GRANTED)
            if usual and (known := next(unused, None)):
                return known
            context = await browser.new_context(permissions=permissions)
            if usual:
                profiles.append(context)
                # Its window stays, which is dear to open and to close.
                await context.new_page()
            else:
                stack.push_async_callback(context.close)
            return context

        async def open_page(
            username: str,
            device: str = "laptop",
            *,
            query: str = "",
            address: str | None = None,
            live: str | None = "websocket",
            at: Server = server,
            also: Sequence[str] = (),
            browser: Browser = chromium,
            permissions: Sequence[str] = _GRANTED,
            direct: bool = True,
            before: Callable[[Page], Awaitable[object]] | None = None,
            viewport: ViewportSize = _VIEWPORT,
            **media: Any,
        ) -> Person:
            page = await (await profile(browser, permissions)).new_page()
            stack.push_async_callback(_leave, page)
            await page.set_viewport_size(viewport)
            await page.emulate_media(**{"reduced_motion": "reduce", **media})
            person = Person(page, username)
            people.append(person)
            _listen(person, (at.base_url, *also))
            await page.add_init_script(begin_afresh(direct=direct))
            await page.add_init_script(_SMALL_DEVICES)
            if before:
                await before(page)
            await page.goto(urljoin(at.base_url, address or f"/?user={username}&device={device}{query}"))
            if live:
                await person.is_live(live)
            return person

        yield open_page
        complaints = [complaint for person in people for complaint in person.complaints]
        assert not complaints, complaints


async def _leave(page: Page) -> None:
    """Sign somebody off, where the page and its server can still do that, and close the page."""
    # Not by `unregister`, which tries again and again where a test has taken the server away.
    with contextlib.suppress(PlaywrightError):
        await page.evaluate(
            """async () => {
              const {enabler, session} = window.sbe?.client ?? {};
              const headers = {Authorization: `Bearer ${session?.token}`};
              if (session) await fetch(`${enabler}/sessions/${session.id}`, {method: "DELETE", headers});
            }"""
        )
    await page.close()


def _listen(person: Person, addresses: tuple[str, ...]) -> None:
    """Note what the page hears over its WebSockets, what it complains of, and whether it turns to anyone else."""

    def on_frame(payload: str | bytes) -> None:
        event = json.loads(payload)
        if "seq" in event:
            person.wire.append(event)

    def on_request(request: Any) -> None:
        if not request.url.startswith((*addresses, "blob:", "data:")):
            person.complaints.append(f"request to {request.url}")

    async def on_response(response: Any) -> None:
        if response.request.headers.get("x-conference-action") == "conference-answer" and response.status == 204:
            person.answered_at = await person.page.evaluate("window.sbe?.client.session.id")

    page = person.page
    page.on("response", on_response)
    page.on("websocket", lambda socket: socket.on("framereceived", on_frame))
    page.on("request", on_request)
    page.on("pageerror", lambda error: person.complaints.append(f"{person.username}: {error}"))
    page.on(
        "console",
        lambda message: (
            person.complaints.append(f"{person.username}: {message.text}")
            if message.type == "error"
            and "Failed to load resource" not in message.text
            and "WebSocket" not in message.text
            else None
        ),
    )


class Wire:
    """Stands between a page and its WebSockets: `await visit("alice", before=wire.attach)`."""

    def __init__(self) -> None:
        """Let everything through."""
        self.blocked = False
        self.opened = 0
        self.change: Callable[[str], list[str]] = lambda frame: [frame]
        self._sockets: list[WebSocketRoute] = []

    async def attach(self, page: Page) -> None:
        """Take the page's WebSockets from now on."""
        await page.route_web_socket(re.compile("/events"), self._connect)

    async def _connect(self, socket: WebSocketRoute) -> None:
        if self.blocked:
            return await socket.close(code=1013)
        self.opened += 1
        self._sockets.append(socket)

        def forward(frame: str | bytes) -> None:
            for changed in self.change(str(frame)):
                socket.send(changed)

        socket.connect_to_server().on_message(forward)
        return None

    def say(self, **event: object) -> None:
        """Let the page hear something that the server has not said."""
        for socket in self._sockets:
            socket.send(json.dumps(event))

    async def cut(self) -> None:
        """Break what is connected, and let nothing connect any more until `mend`."""
        self.blocked = True
        while self._sockets:
            await self._sockets.pop().close(code=1013)

    def mend(self) -> None:
        """Let the page connect again."""
        self.blocked = False


async def come_back_soon(page: Page) -> None:
    """Take most of the random part of every pause, as an option of a visit: `before=come_back_soon`."""
    await page.add_init_script("Math.random = () => 0.05")


async def call(caller: Person, callee: Person, *, kind: str = "video") -> None:
    """Let one person call another, who accepts."""
    # The page looks around every few seconds, and when it comes into view: now.
    await caller.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await caller.press(f"call-{kind}-{callee.username}")
    await callee.press("ring-accept")
    await caller.is_in("open")
    await callee.is_in("open")


async def in_a_call(
    visit: Visit,
    name: str,
    *,
    kind: str = "video",
    alice: Mapping[str, Any] = MappingProxyType({}),
    bob: Mapping[str, Any] = MappingProxyType({}),
    **both: Any,
) -> tuple[Person, Person]:
    """Let `alice-<name>` call `bob-<name>`, who accepts. What else is given are options of their visits.

    Every event that their clients hand on is noted, from the first.
    """
    called = await visit(f"bob-{name}", **both, **bob)
    caller = await visit(f"alice-{name}", **both, **alice)
    await count_events(caller, called)
    await call(caller, called, kind=kind)
    return caller, called


async def move(mover: Person) -> None:
    """Let somebody move the call to whichever other device answers first."""
    await mover.press("btn-move")
    await mover.press("move-start")
    await mover.is_in("moving")


async def count_events(*people: Person) -> None:
    """Let the pages note every event that their clients hand on, from the first."""
    for person in people:
        await person.page.evaluate(
            """() => {
              window.heard = [];
              window.sbe.client.on("trace", ({sort, seq}) => { if (sort === "event" && seq) window.heard.push(seq); });
            }"""
        )


async def nothing_lost_or_doubled(*people: Person) -> None:
    """Require that every event was worked off once (`count_events` counts), and that all agree with a fresh GET."""
    for person in people:
        log = await agrees_with_a_fresh_get(person)
        numbers = [event["seq"] for event in log]
        worked_off = await person.page.evaluate("window.heard")
        assert worked_off == numbers, f"{person.username} worked off {worked_off}"


async def agrees_with_a_fresh_get(person: Person) -> list[dict[str, Any]]:
    """Require that somebody's events, replayed, lead to what a fresh GET says, nothing pending; return the events."""
    await expect(person.part("mod-pending")).to_be_hidden()
    conference = await person.conference()
    log = await person.events()
    assert replay(log, conference["id"], answered_at=person.answered_at) == facts(conference)
    assert conference["pendingModifications"] == []
    return log
