"""Measure how fast a user joins: from the test page's PUT `conference-answer` to the first video frame.

    python -m benchmarks.joining [--out file.json] [--runs 20]

The benchmark runs a real `manage.py serve` with its media node, and Chromium with fake cameras, all on this machine.
One user stays in an open conference. In each run another user opens the conference's link on a fresh page, presses
"join", and leaves after the first frame.

- Join: from the PUT until the page has decoded the first video frame of the other side.
- Answer: from the PUT until the page applies the focus's answer. During this time, two pages with video keep both cores
  busy.
- Own share (the server's part): from the PUT until the event with the focus's answer arrives. A light client measures
  this time after the pages have closed. The client sends a browser's offer, but no media.
"""

import argparse
import asyncio
import contextlib
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from playwright.async_api import Browser, Page, async_playwright

from benchmarks.signalling import register
from tests.support.services import ROOT, Backends, Server

PATIENCE_MS = 20_000
CHROMIUM = "/usr/bin/chromium"
OFFER = ROOT / "tests/support/samples/browsers/chromium-audio-video.sdp"
ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
]
# Records when the PUT is sent, the answer applied, and the first frame decoded, in ms of the page's clock.
_STOPWATCH = """(() => {
  const watch = (window.stopwatch = {});
  const send = window.fetch;
  window.fetch = (url, options) => {
    const action = new Headers(options?.headers).get("x-conference-action");
    if (action === "conference-answer") watch.sent = performance.now();
    return send(url, options);
  };
  const decoded = async (pc) => {
    for (const report of (await pc.getStats()).values())
      if (report.type === "inbound-rtp" && report.kind === "video" && report.framesDecoded > 0) return true;
    return false;
  };
  const apply = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
    if (description?.type === "answer" && watch.sent && !watch.answered) {
      watch.answered = performance.now();
      (async () => {
        while (!(await decoded(this))) await new Promise((wake) => setTimeout(wake, 5));
        watch.seen = performance.now();
      })();
    }
    return apply.apply(this, arguments);
  };
})()"""


async def _open(browser: Browser, server: Server, query: str) -> Page:
    """Open the test page with the stopwatch script."""
    context = await browser.new_context(
        base_url=server.base_url, permissions=["camera", "microphone"], viewport={"width": 800, "height": 600}
    )
    page = await context.new_page()
    await page.add_init_script(_STOPWATCH)
    await page.goto(f"/?{query}")
    return page


async def measure(browser: Browser, server: Server, runs: int) -> list[tuple[float, float]]:
    """Have users join one after the other; return (join, answer) of each in ms."""
    host = await _open(browser, server, "user=host&device=laptop")
    await host.get_by_test_id("open-start").click(timeout=PATIENCE_MS)
    link = await host.wait_for_selector("#lonely-link", timeout=PATIENCE_MS)
    assert link is not None
    conference = re.sub(r"^.*[?&]join=", "", await link.input_value())
    times = []
    for run in range(runs):
        guest = await _open(browser, server, f"user=guest{run}&device=laptop&join={conference}")
        await guest.get_by_test_id("join-video").click(timeout=PATIENCE_MS)
        await guest.wait_for_function("() => window.stopwatch.seen", timeout=PATIENCE_MS)
        watch = await guest.evaluate("window.stopwatch")
        times.append((watch["seen"] - watch["sent"], watch["answered"] - watch["sent"]))
        print(f"{run + 1:3}: first frame after {times[-1][0]:6.0f} ms, the answer after {times[-1][1]:5.1f} ms")
        await guest.get_by_test_id("btn-hangup").click(timeout=PATIENCE_MS)
        await guest.context.close()
    return times


async def _in_chromium(server: Server, runs: int) -> list[tuple[float, float]]:
    """Start a Chromium and measure with it."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            return await measure(browser, server, runs)
        finally:
            await browser.close()


async def measure_own_share(server: Server, runs: int) -> list[float]:
    """Have light clients join an open conference one after the other; return how long each answer took, in ms."""
    offer = {"type": "offer", "sdp": OFFER.read_text()}
    times = []
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_MS / 1000) as client:
        host = await register(client, server, "light-host")
        started = await client.post(
            f"{server.base_url}/mediaConferences",
            json={"to": [], "topology": "focus", "access": "open", **offer},
            headers={"authorization": f"Bearer {host.session['token']}"},
        )
        path = f"/mediaConferences/{started.raise_for_status().json()['id']}"
        for run in range(runs):
            guest = await register(client, server, f"light-guest{run}")
            sent_at = time.perf_counter()
            _, (arrived_at, _) = await asyncio.gather(
                guest.http.put(path, "conference-answer", offer), guest.next_event("mod-accepted")
            )
            times.append(1000 * (arrived_at - sent_at))
            token = {"authorization": f"Bearer {guest.session['token']}"}
            (await client.delete(server.base_url + path, headers=token)).raise_for_status()
            await guest.close()
        await host.close()
    return times


async def main() -> None:
    """Measure, print the medians, and write them to the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write the medians to this file as JSON")
    parser.add_argument("--runs", type=int, default=20, help="number of joins")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.closing(Backends(Path(name))) as backends,
        Server(backends.sqlite(), Path(name) / "server", {"SBE_LOG_LEVEL": "WARNING"}, anew=True) as server,
    ):
        times = await _in_chromium(server, arguments.runs)
        shares = await measure_own_share(server, arguments.runs)
    joins, answers = zip(*times, strict=True)
    figures = {
        "join_ms_p50": statistics.median(joins),
        "answer_ms_p50": statistics.median(answers),
        "enabler_ms_p50": statistics.median(shares),
    }
    first, answer, share = figures.values()
    print(f"medians of {len(times)}: first frame {first:.0f} ms, answer {answer:.1f} ms, own share {share:.1f} ms")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
