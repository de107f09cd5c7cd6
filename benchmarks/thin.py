"""Measure the video of a call when its connections suddenly become slow.

    unshare --net python -m benchmarks.thin [--kbit 700] [--seconds 60]

The benchmark runs a real `manage.py serve` with its media node, and two pages in Chromium with fake cameras of 20
frames a second. It needs its own network namespace (without root, add `--map-root-user` to `unshare`). After ten
seconds, all packets of the node go through one narrow pipe with a short queue (`tc`, htb). Every ten seconds the
benchmark prints, for each page:

- frames decoded per second,
- packets lost,
- seconds in which the picture was frozen,
- the percentage of retransmissions among the video packets that arrived.

The benchmark also prints how much the node sent into the pipe, including the packets that the pipe dropped.
"""

import argparse
import asyncio
import json
import subprocess
from collections.abc import Sequence
from typing import Any

from playwright.async_api import Browser, Page

from benchmarks.browsing import MEDIA_PORT, server_and_browser, until
from benchmarks.joining import PATIENCE_MS
from tests.support.services import Server

_STEP_SECONDS = 10
_PACKETS_QUEUED = 40
_PIPE = """
tc qdisc add dev lo root handle 1: htb default 10
tc class add dev lo parent 1: classid 1:10 htb rate 1gbit
tc class add dev lo parent 1: classid 1:20 htb rate {kbit}kbit burst 10kb
tc qdisc add dev lo parent 1:20 handle 20: pfifo limit {queued}
tc filter add dev lo protocol ip parent 1: prio 1 u32 match ip sport {port} 0xffff flowid 1:20
"""
_SEEN = """async () => {
  for (const report of (await window.sbe.pc?.getStats() ?? new Map()).values())
    if (report.type === "inbound-rtp" && report.kind === "video")
      return ["framesDecoded", "packetsLost", "totalFreezesDuration", "packetsReceived", "retransmittedPacketsReceived"]
        .map((name) => report[name] ?? 0);
  return [0, 0, 0, 0, 0];
}"""


async def _open(browser: Browser, server: Server, user: str) -> Page:
    """Open the test page as this user."""
    context = await browser.new_context(base_url=server.base_url, permissions=["camera", "microphone"])
    page = await context.new_page()
    await page.goto(f"/?user={user}&device=laptop")
    return page


async def _meet(alice: Page, bob: Page) -> None:
    """Have Alice call Bob through the focus. Return when both users see video."""
    await bob.wait_for_function("() => window.sbe.client.session", timeout=PATIENCE_MS)
    await alice.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await alice.get_by_test_id("call-video-bob").click(timeout=PATIENCE_MS)
    await bob.get_by_test_id("ring-accept").click(timeout=PATIENCE_MS)
    for page in (alice, bob):
        await until(page, f"async () => (await ({_SEEN})())[0] > 0")


def _narrow(kbit: int) -> None:
    """Send all packets of the node through a pipe of this rate."""
    for line in _PIPE.format(kbit=kbit, queued=_PACKETS_QUEUED, port=MEDIA_PORT).strip().splitlines():
        subprocess.run(line.split(), check=True)


def _offered_bits() -> float:
    """Return how many bits were sent into the pipe. A dropped packet is assumed to have the mean size."""
    shown = subprocess.run(["tc", "-s", "-j", "qdisc", "show", "dev", "lo"], check=True, capture_output=True).stdout
    pipe: dict[str, float] = next((each for each in json.loads(shown) if each["kind"] == "pfifo"), {})
    if not pipe.get("packets"):
        return 0.0
    return 8 * pipe["bytes"] * (1 + pipe["drops"] / pipe["packets"])


async def measure(alice: Page, bob: Page, kbit: int, seconds: int) -> None:
    """Print the figures of both pages every ten seconds."""
    print("second  frames/s       lost           frozen (s)    repeats (%)   of alice and bob; sent (kbit/s)")
    before: list[Any] = [await page.evaluate(_SEEN) for page in (alice, bob)]
    offered = 0.0
    for second in range(0, seconds, _STEP_SECONDS):
        if second == _STEP_SECONDS:
            _narrow(kbit)
        await asyncio.sleep(_STEP_SECONDS)
        now: list[Any] = [await page.evaluate(_SEEN) for page in (alice, bob)]
        total = _offered_bits()
        steps = [[a - b for a, b in zip(*each, strict=True)] for each in zip(now, before, strict=True)]
        print(f"{second:6}  {_row(steps)}  {(total - offered) / _STEP_SECONDS / 1000:6.0f}", flush=True)
        before, offered = now, total


def _row(steps: Sequence[Sequence[float]]) -> str:
    """Return the figures of both pages as text."""
    figures = [
        (frames / _STEP_SECONDS, lost, frozen, 100 * repeats / (packets or 1))
        for frames, lost, frozen, packets, repeats in steps
    ]
    widths = ("5.1f", "5.0f", "5.1f", "5.1f")
    pairs = zip(widths, zip(*figures, strict=True), strict=True)
    return "    ".join(f"{one:{width}} {other:{width}}" for width, (one, other) in pairs)


async def main() -> None:
    """Start the server and the browser, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kbit", type=int, default=700, help="rate of the pipe, in kbit/s")
    parser.add_argument("--seconds", type=int, default=60, help="how long it measures")
    arguments = parser.parse_args()
    async with server_and_browser() as (server, browser):
        alice, bob = await _open(browser, server, "alice"), await _open(browser, server, "bob")
        await _meet(alice, bob)
        await measure(alice, bob, arguments.kbit, arguments.seconds)


if __name__ == "__main__":
    asyncio.run(main())
