"""Killing pages in a call, and when the page of the other side says that nothing arrives any more."""

import os
import signal

from playwright.async_api import Browser

# Notes when the page first says that nothing arrives, and how late the page's own timers were until then.
WATCH = """() => {
  const stage = document.querySelector("#stage");
  const says = () => stage.dataset.trouble === "silent" || document.querySelector(".tile[data-state=silent]") !== null;
  const watched = window.watched = {said: null, late: 0};
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    if (watched.said === null) watched.late = Math.max(watched.late, now - last - 100);
    last = now;
  }, 100);
  const attributeFilter = ["data-trouble", "data-state"];
  new MutationObserver(() => {
    if (says()) watched.said ??= performance.now();
  }).observe(stage, {subtree: true, childList: true, attributes: true, attributeFilter});
}"""
# How long after the last packet the page said so, and how late its timers were, in ms.
DELAY = """async () => {
  const {said, late} = window.watched;
  const reports = [...(await window.sbe.pc.getStats()).values()].filter(({type}) => type === "inbound-rtp");
  const last = Math.max(...reports.map(({lastPacketReceivedTimestamp}) => lastPacketReceivedTimestamp ?? 0));
  return [performance.timeOrigin + said - last, late];
}"""


async def kill_pages(browser: Browser) -> None:
    """Kill the processes of a browser's pages, so that none of them can say goodbye."""
    session = await browser.new_browser_cdp_session()
    processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
    for process in processes:
        if process["type"] == "renderer":
            os.kill(process["id"], signal.SIGKILL)
