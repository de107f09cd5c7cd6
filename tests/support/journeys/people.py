"""The actions of a user on a test page, and what the user sees of a call."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.support.conformance import require_declared
from tests.support.replay import facts, replay

# How long a journey waits for a state. Only a fault or a very slow machine makes it wait that long.
PATIENCE_SECONDS = 60.0
_PATIENCE_MS = int(1000 * PATIENCE_SECONDS)
expect.set_options(timeout=_PATIENCE_MS)

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

# Resolves with the time that passed until this many more frames were decoded; rejects after `patience`. Times in ms.
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
    """A page on which a user is registered, and the messages between the page and the server."""

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
        # The counted frames may belong to a picture that is not shown here, for example to a camera beside a screen.
        await self.until(_IS_BRIGHT)
        return taken

    async def sees_no_more_video(self) -> None:
        """Wait until no frames of the far side's video arrive."""
        await self.page.evaluate(_STOPS, _PATIENCE_MS)

    async def conference(self) -> dict[str, Any]:
        """Read and return the conference that this page is in."""
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
        """Read and return the session's whole log."""
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
        for event in log:
            require_declared(event)
        return list(log)

    async def until(self, expression: str, argument: object = None) -> Any:
        """Wait until a JavaScript function of the page returns a true value; return that value."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (value := await self.page.evaluate(expression, argument)):
            assert time.monotonic() < deadline, f"{self.username}: never came true: {expression}"
            await asyncio.sleep(0.1)
        return value

    async def shows(self, part: str, *words: str) -> None:
        """Wait until a part of the page is visible with this text. Hidden text does not count."""
        await expect(self.part(part)).to_be_visible()
        for word in words:
            await expect(self.part(part)).to_contain_text(word, use_inner_text=True)

    async def is_told(self, words: str) -> None:
        """Wait until the page shows this text in its alert area."""
        await expect(self.part("errors")).to_contain_text(words)

    async def sees_the_end(self, *words: str) -> None:
        """Wait until the call has ended and the page shows the reason."""
        await self.is_in("ended")
        await self.shows("ended-overlay", *words)

    async def is_live(self, *transports: str) -> None:
        """Wait until events arrive over one of these transports."""
        await expect(self.part("channel-state")).to_have_attribute("data-state", _one_of(transports or ["websocket"]))

    async def asks_first(self, asks: bool = True) -> None:
        """Make the page ask before it accepts the other side's offers, or stop asking."""
        await self.page.evaluate("(asks) => { window.sbe.client.askBeforeAccepting = asks; }", asks)

    def heard(self) -> list[int]:
        """Return the numbers of all events that this page has received over all transports, in order."""
        return [event["seq"] for event in self.wire if "seq" in event]


def _one_of(values: Iterable[str]) -> re.Pattern[str]:
    return re.compile("^(" + "|".join(values) + ")$")


Visit = Callable[..., Awaitable[Person]]
Launch = Callable[..., Awaitable[Browser]]


async def call(caller: Person, callee: Person, *, kind: str = "video") -> None:
    """Start a call between two users."""
    # The page refreshes its list every few seconds, and when it becomes visible. This makes it do so now.
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
    """Start a call from `alice-<name>` to `bob-<name>`. Other arguments are options of their visits.

    All events that their clients deliver are recorded from the beginning.
    """
    called = await visit(f"bob-{name}", **both, **bob)
    caller = await visit(f"alice-{name}", **both, **alice)
    await count_events(caller, called)
    await call(caller, called, kind=kind)
    return caller, called


async def move(mover: Person) -> None:
    """Begin to move the user's call. The first of the user's other devices to answer takes it."""
    await mover.press("btn-move")
    await mover.press("move-start")
    await mover.is_in("moving")


async def count_events(*people: Person) -> None:
    """Make the pages record all events that their clients deliver, from the beginning."""
    for person in people:
        await person.page.evaluate(
            """() => {
              window.heard = [];
              window.sbe.client.on("trace", ({sort, seq}) => { if (sort === "event" && seq) window.heard.push(seq); });
            }"""
        )


async def nothing_lost_or_repeated(*people: Person) -> None:
    """Require that every event was delivered once (see `count_events`), and that the events agree with a fresh GET."""
    for person in people:
        log = await agrees_with_a_fresh_get(person)
        numbers = [event["seq"] for event in log]
        worked_off = await person.page.evaluate("window.heard")
        assert worked_off == numbers, f"{person.username} worked off {worked_off}"


async def agrees_with_a_fresh_get(person: Person) -> list[dict[str, Any]]:
    """Require that a user's replayed events give what a fresh GET shows, with nothing pending; return the events."""
    await expect(person.part("mod-pending")).to_be_hidden()
    conference = await person.conference()
    log = await person.events()
    assert replay(log, conference["id"], answered_at=person.answered_at) == facts(conference)
    assert conference["pendingModifications"] == []
    return log
