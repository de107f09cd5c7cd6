"""Measure a call of three over bad networks.

    unshare --net python -m benchmarks.quality [PROFILE …] [--seconds 20] [--runs 3] [--out file.json]

The benchmark runs a real `manage.py serve` with its media node, and three pages in Chromium with fake cameras of
1280 x 720 and 20 frames a second. Everybody gets the video of the others. Carol's browser is in a network namespace of
its own, and all media to and from her passes through a link that the benchmark impairs (`benchmarks.link`). The
benchmark itself needs a namespace, too (without root, add `--map-root-user` to `unshare`).

A profile is a new call, and consists of phases. For each phase, the benchmark prints what Bob and Carol received:

- kbit/s, frames per second, and the share of time in which the picture was frozen, in the worse of both videos, and the
  width of the smaller one at the end;
- the share of sound that was concealed;
- of the link to Carol: the share of its rate that was used, and the mean wait in its queue.

The first three seconds after a change are a phase of their own. After all runs, the benchmark prints the medians.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from playwright.async_api import Browser, Page

from benchmarks.browsing import server_and_browsers, until
from benchmarks.joining import PATIENCE_MS
from benchmarks.link import Link
from tests.support.journeys.pages import begin_afresh
from tests.support.services import Server

_FULL_WIDTH = 1280
# Each page gets this many videos.
_VIDEOS = 2
_REACTION_SECONDS = 3
_SAMPLE_SECONDS = 0.02
# For each video that a page receives: octets, decoded frames, seconds frozen, and width. And of all sound: the samples
# received, and those concealed.
_SEEN = """async () => {
  const videos = {}, sound = [0, 0];
  for (const report of (await window.sbe.pc?.getStats() ?? new Map()).values()) {
    if (report.type !== "inbound-rtp") continue;
    if (report.kind === "video")
      videos[report.mid] = ["bytesReceived", "framesDecoded", "totalFreezesDuration", "frameWidth"]
        .map((name) => report[name] ?? 0);
    else {
      sound[0] += report.totalSamplesReceived ?? 0;
      sound[1] += report.concealedSamples ?? 0;
    }
  }
  return {videos, sound};
}"""

# The pages are small, to save time, so their tiles need only small pictures. They do not tell their sizes to the focus.
_NO_SIZES = """(() => {
  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (label, ...rest) {
    if (label !== "sbe-tiles") return create.call(this, label, ...rest);
    return Object.assign(new EventTarget(), { readyState: "open", send() {}, close() {} });
  };
})()"""

Change = Mapping[str, float]


class Phase(NamedTuple):
    """A change of the link to Carol (`down`) and from her (`up`). `is_short` stands for the first seconds only."""

    name: str
    down: Change = {}
    up: Change = {}


# In seconds, one way.
_FAR = 0.03, 0.04
PROFILES: Mapping[str, Sequence[Phase]] = {
    "clean": [Phase("clean")],
    "loss": [Phase("5 % lost", {"loss": 0.05, "delay": _FAR[0]}, {"delay": _FAR[0]})],
    "bursts": [Phase("10 % lost in bursts", {"loss": 0.1, "burst": 4, "delay": _FAR[1]}, {"delay": _FAR[1]})],
    "narrow": [Phase("3 Mbit/s", {"rate": 3_000_000}), Phase("500 kbit/s", {"rate": 500_000}), Phase("free")],
    "thin": [Phase("free before"), Phase("150 kbit/s", {"rate": 150_000}), Phase("free")],
    "uplink": [Phase("300 kbit/s from her", {}, {"rate": 300_000})],
}


@dataclass(frozen=True)
class Figures:
    """What one user received in a phase."""

    kbit: float
    fps: float
    frozen: float
    width: float
    concealed: float

    def __str__(self) -> str:
        """Return the figures as text."""
        return (
            f"{self.kbit:6.0f} kbit/s {self.fps:5.1f} fps {self.frozen:5.1f} % frozen {self.width:5.0f} wide "
            f"{self.concealed:5.1f} % concealed"
        )


@dataclass(frozen=True)
class Result:
    """What a phase has come to."""

    phase: str
    bob: Figures
    carol: Figures
    # Of the link to Carol: the share of its rate that was used (0 without a limit), and the mean wait in ms.
    used: float
    queue: float
    # After how many seconds Carol's videos had their full width; infinite if they never had it.
    wide_after: float


async def _open(browser: Browser, server: Server, user: str) -> Page:
    """Open the test page as this user."""
    context = await browser.new_context(
        base_url=server.base_url, permissions=["camera", "microphone"], viewport={"width": 640, "height": 480}
    )
    page = await context.new_page()
    await page.add_init_script(begin_afresh(direct=False))
    await page.add_init_script(_NO_SIZES)
    await page.goto(f"/?user={user}&device=laptop")
    await page.wait_for_function("() => window.sbe?.client?.session", timeout=PATIENCE_MS)
    return page


async def _meet(alice: Page, bob: Page, carol: Page) -> None:
    """Have Alice call Bob, and then invite Carol. Return when everybody gets two videos."""
    await alice.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await alice.get_by_test_id("call-video-bob").click(timeout=PATIENCE_MS)
    await bob.get_by_test_id("ring-accept").click(timeout=PATIENCE_MS)
    await alice.wait_for_function("() => window.sbe.client.currentCall?.others.length === 1", timeout=PATIENCE_MS)
    await alice.evaluate("window.sbe.client.currentCall.inviteMore('carol')")
    await carol.get_by_test_id("ring-accept").click(timeout=PATIENCE_MS)
    for page in (alice, bob, carol):
        frames = f"Object.values((await ({_SEEN})()).videos).map(([, frames]) => frames)"
        await until(page, f"async () => {frames}.filter(Boolean).length === {_VIDEOS}")


def _difference(before: Any, now: Any, seconds: float) -> Figures:
    """Return the figures of one page for a phase."""
    pairs = [(before["videos"][mid], now["videos"][mid]) for mid in now["videos"] if mid in before["videos"]]
    samples, concealed = (b - a for a, b in zip(before["sound"], now["sound"], strict=True))
    return Figures(
        kbit=min(8 * (after[0] - earlier[0]) / seconds / 1000 for earlier, after in pairs),
        fps=min((after[1] - earlier[1]) / seconds for earlier, after in pairs),
        frozen=max(100 * (after[2] - earlier[2]) / seconds for earlier, after in pairs),
        width=min(after[3] for _, after in pairs),
        concealed=100 * concealed / max(1, samples),
    )


async def _until_wide(page: Page) -> float:
    """Return after how many seconds both videos have their full width. It is cancelled if that takes too long."""
    begun_at = time.monotonic()
    while any(width < _FULL_WIDTH for *_, width in (await page.evaluate(_SEEN))["videos"].values()):
        await asyncio.sleep(0.1)
    return time.monotonic() - begun_at


async def _measure(name: str, link: Link, pages: Sequence[Page], seconds: float) -> Result:
    """Measure for this many seconds, and print the result."""
    before = [await page.evaluate(_SEEN) for page in pages]
    octets, begun_at, waits = link.down.octets, time.monotonic(), []
    wide = asyncio.create_task(_until_wide(pages[1]))
    while time.monotonic() - begun_at < seconds:
        waits.append(link.down.path.waiting(time.monotonic()))
        await asyncio.sleep(_SAMPLE_SECONDS)
    passed = time.monotonic() - begun_at
    bits, rate = 8 * (link.down.octets - octets), link.down.path.rate
    now = [await page.evaluate(_SEEN) for page in pages]
    bob, carol = (_difference(earlier, later, passed) for earlier, later in zip(before, now, strict=True))
    is_wide = wide.done() or wide.cancel() is None
    after = wide.result() if is_wide else float("inf")
    used = 100 * bits / passed / rate if rate else 0.0
    return Result(name, bob, carol, used, 1000 * statistics.fmean(waits), after)


def _show(result: Result) -> None:
    print(f"{result.phase:22} Bob   {result.bob}")
    wide = f", full width after {result.wide_after:.1f} s" if result.wide_after < float("inf") else ""
    print(f"{'':22} Carol {result.carol}, {result.used:.0f} % used, queue {result.queue:.0f} ms{wide}", flush=True)


async def run(profile: str, link: Link, browsers: Sequence[Browser], server: Server, seconds: float) -> list[Result]:
    """Make a call and measure all phases of a profile."""
    link.down.change()
    link.up.change()
    everybody = zip(browsers, ("alice", "bob", "carol"), strict=True)
    alice, bob, carol = [await _open(browser, server, user) for browser, user in everybody]
    results = []
    try:
        await _meet(alice, bob, carol)
        results.append(await _measure(f"{profile}: begin", link, (bob, carol), seconds / 2))
        for name, down, up in PROFILES[profile]:
            link.down.change(**down)
            link.up.change(**up)
            results.append(await _measure(f"{name}, at first", link, (bob, carol), _REACTION_SECONDS))
            results.append(await _measure(name, link, (bob, carol), seconds))
    finally:
        for page in (alice, bob, carol):
            await page.context.close()
    for result in results:
        _show(result)
    return results


def _median(results: Sequence[Result]) -> Result:
    """Return the median of each figure of a phase."""

    def figures(each: Sequence[Figures]) -> Figures:
        return Figures(*(statistics.median(getattr(one, field.name) for one in each) for field in fields(Figures)))

    return Result(
        results[0].phase,
        figures([each.bob for each in results]),
        figures([each.carol for each in results]),
        statistics.median(each.used for each in results),
        statistics.median(each.queue for each in results),
        statistics.median(each.wide_after for each in results),
    )


async def main() -> None:
    """Start the server and the browsers, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("profiles", nargs="*", default=[*PROFILES], metavar="PROFILE", help=", ".join(PROFILES))
    parser.add_argument("--seconds", type=float, default=20, help="length of each phase")
    parser.add_argument("--runs", type=int, default=3, help="how often each profile is measured")
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    arguments = parser.parse_args()
    medians: dict[str, list[Result]] = {}
    async with server_and_browsers() as (server, link, browsers):
        for profile in arguments.profiles:
            runs = [await run(profile, link, browsers, server, arguments.seconds) for _ in range(arguments.runs)]
            medians[profile] = [_median(phase) for phase in zip(*runs, strict=True)]
    print("\nMedians")
    for results in medians.values():
        for result in results:
            _show(result)
    if arguments.out is not None:
        shown = {profile: [asdict(result) for result in results] for profile, results in medians.items()}
        arguments.out.write_text(json.dumps(shown, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
