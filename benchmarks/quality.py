"""Measure a call of three when the connection of one receiver becomes narrow, and wide again.

    unshare --net python -m benchmarks.quality [--kbit 500] [--seconds 15] [--out file.json]

The benchmark runs a real `manage.py serve` with its media node, and three pages in Chromium with fake cameras of
1280 x 720 and 20 frames a second. It needs its own network namespace (without root, add `--map-root-user` to
`unshare`). All three get the video of the others. After a while, everything that the node sends to Carol goes through a
narrow pipe with a queue of 300 ms (`tc`, htb). Later the pipe is removed.

For each phase, the benchmark prints what Bob and Carol received:

- kbit/s and frames per second of each video, and its width at the end of the phase;
- the share of time in which a picture was frozen, and the share of sound that was concealed.

The first two seconds of the narrow phase are a phase of their own. For the wide phase, the benchmark also prints after
how many seconds both videos of Carol had their full width again.
"""

import argparse
import asyncio
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from benchmarks.browsing import server_and_browser, until
from benchmarks.joining import PATIENCE_MS
from tests.support.journeys.pages import begin_afresh
from tests.support.services import Server

_QUEUE_MS = 300
_FULL_WIDTH = 1280
# Each page gets this many videos.
_VIDEOS = 2
_REACTION_SECONDS = 2
_PIPE = """
tc qdisc add dev lo root handle 1: htb default 10
tc class add dev lo parent 1: classid 1:10 htb rate 1gbit quantum 60000
tc class add dev lo parent 1: classid 1:20 htb rate {kbit}kbit burst 3kb
tc qdisc add dev lo parent 1:20 handle 20: bfifo limit {octets}
tc filter add dev lo protocol ip parent 1: prio 1 u32 match ip dport {port} 0xffff flowid 1:20
"""
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
_PORT = """async () => {
  const stats = await window.sbe.pc.getStats();
  for (const report of stats.values())
    if (report.type === "candidate-pair" && report.nominated) return stats.get(report.localCandidateId).port;
}"""


async def _open(browser: Browser, server: Server, user: str) -> Page:
    """Open the test page as this user."""
    context = await browser.new_context(
        base_url=server.base_url, permissions=["camera", "microphone"], viewport={"width": 640, "height": 480}
    )
    page = await context.new_page()
    await page.add_init_script(begin_afresh(direct=False))
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


def _run(lines: str) -> None:
    for line in lines.strip().splitlines():
        subprocess.run(line.split(), check=True)


def _difference(before: Any, now: Any, seconds: float) -> dict[str, Any]:
    """Return the figures of one page for a phase."""
    videos = [
        {
            "kbit": round(8 * (octets - before["videos"][mid][0]) / seconds / 1000),
            "fps": round((frames - before["videos"][mid][1]) / seconds, 1),
            "frozen": round(100 * (frozen - before["videos"][mid][2]) / seconds, 1),
            "width": width,
        }
        for mid, (octets, frames, frozen, width) in now["videos"].items()
        if mid in before["videos"]
    ]
    samples, concealed = (b - a for a, b in zip(before["sound"], now["sound"], strict=True))
    return {"videos": videos, "concealed": round(100 * concealed / max(1, samples), 1)}


async def _phase(name: str, pages: Sequence[Page], seconds: float) -> dict[str, Any]:
    """Wait for the end of a phase, and print what these pages received in it."""
    before = [await page.evaluate(_SEEN) for page in pages]
    await asyncio.sleep(seconds)
    now = [await page.evaluate(_SEEN) for page in pages]
    both = zip(("bob", "carol"), before, now, strict=True)
    figures = {user: _difference(earlier, later, seconds) for user, earlier, later in both}
    for user, each in figures.items():
        shown = "   ".join(
            "{kbit:5} kbit/s {fps:5} fps {frozen:5} % frozen {width:5} wide".format(**v) for v in each["videos"]
        )
        print(f"{name:10} {user:6} {shown}   {each['concealed']} % of sound concealed", flush=True)
    return figures


async def _until_wide(page: Page, seconds: float) -> float | None:
    """Return after how many seconds both videos have their full width; None if that takes longer than `seconds`."""
    loop = asyncio.get_running_loop()
    begun_at = loop.time()
    while loop.time() - begun_at < seconds:
        videos = (await page.evaluate(_SEEN))["videos"].values()
        if len(videos) == _VIDEOS and all(width >= _FULL_WIDTH for *_, width in videos):
            return round(loop.time() - begun_at, 1)
        await asyncio.sleep(0.2)
    return None


async def measure(pages: Sequence[Page], kbit: int, seconds: int) -> dict[str, Any]:
    """Measure all phases for Bob and Carol."""
    carol = pages[1]
    figures: dict[str, Any] = {"rise": await _until_wide(carol, seconds)}
    print(f"Carol's videos had their full width after {figures['rise']} s")
    figures["free"] = await _phase("free", pages, seconds)
    port = await carol.evaluate(_PORT)
    _run(_PIPE.format(kbit=kbit, port=port, octets=kbit * _QUEUE_MS // 8))
    figures["reaction"] = await _phase("reaction", pages, _REACTION_SECONDS)
    figures["narrow"] = await _phase("narrow", pages, seconds)
    _run("tc qdisc del dev lo root")
    figures["return"] = await _until_wide(carol, seconds)
    print(f"Carol's videos had their full width again after {figures['return']} s")
    figures["wide"] = await _phase("wide", pages, seconds)
    return figures


async def main() -> None:
    """Start the server and the browser, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kbit", type=int, default=500, help="rate of the pipe, in kbit/s")
    parser.add_argument("--seconds", type=int, default=15, help="length of each phase")
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    arguments = parser.parse_args()
    async with server_and_browser() as (server, browser):
        alice, bob, carol = [await _open(browser, server, user) for user in ("alice", "bob", "carol")]
        await _meet(alice, bob, carol)
        figures = await measure((bob, carol), arguments.kbit, arguments.seconds)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
