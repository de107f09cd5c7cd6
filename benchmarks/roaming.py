"""Measure for how long a call is interrupted when the network of one participant changes.

    unshare --net python -m benchmarks.roaming [--out file.json] [SCENE …]

The benchmark runs a real `manage.py serve` with its media node, and three pages in Chromium. Carol's Chromium has its
own network namespace inside that of the benchmark, and an Ethernet link to the server (without root, add
`--map-root-user` to `unshare`). Scenes:

- `address`: Carol's machine gets another address, and the old address is gone. Chromium then needs an ICE restart.
- `rebinding`: Carol's NAT gives her media another address, and her browser does not notice.
- `outage`: for 20 s, nothing gets through in either direction, neither media nor signalling.
- `blocked`: Carol joins while no UDP gets through.
- `blocking`: UDP stops getting through in mid-call.
- `turn`: Carol joins while only HTTP and TLS get through, so her media goes through a TURN server. The scene runs
  coturn with the configuration of docs/deployment.md, and fails unless Carol and Bob see each other. Without arguments,
  the benchmark leaves it out where coturn is not installed.

For each scene the benchmark prints the longest interruption of sound, in seconds: at Carol, and at Bob for Carol's
sound. For `outage` it is counted from the end of the outage. The benchmark also prints whether Carol was the same
participant afterwards, in the same peer connection, and which protocol her media used (`relay tls` for TURN over TLS).
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from benchmarks.browsing import MEDIA_PORT, server_and_browser, until
from benchmarks.joining import ARGUMENTS, CHROMIUM, PATIENCE_MS
from benchmarks.turn import PORT as TURN_PORT
from benchmarks.turn import turn_server
from tests.support.journeys.pages import begin_afresh
from tests.support.media.udp_relay import UdpRelay, relayed
from tests.support.services import Server, free_port

SERVER, CAROL, ELSEWHERE = "10.213.1.1", "10.213.1.2", "10.213.1.3"
_OUTAGE_SECONDS = 20
# How long after an event the pages are watched.
_WATCHED_SECONDS = 30
_LINK = """
ip link add v0 type veth peer name v1
ip link set v1 netns {pid}
ip link set v0 addrgenmode none
{inside} ip link set v1 addrgenmode none
ip address add {server}/24 dev v0
ip link set v0 up
{inside} ip link set lo up
{inside} ip address add {carol}/24 dev v1
{inside} ip link set v1 up
{inside} ip route add default via {server}
"""
# A firewall on the way from v0, which drops UDP, and TCP to all ports but some. The rule of priority 0 accepts all that
# comes to this machine, so it moves behind those of the firewall.
_FIREWALL = """
ip rule add pref 10 lookup local
ip rule del pref 0
ip rule add pref 2 iif v0 ipproto udp blackhole
ip rule add pref 2 iif v0 ipproto tcp blackhole
"""
_OPENING = "ip rule add pref 1 iif v0 ipproto tcp dport {port} lookup local"
_REMOVAL = """
ip rule add pref 0 lookup local
ip rule del pref 10
ip rule del pref 2
ip rule del pref 2
"""
# A frame to this address reaches nobody.
_NOBODY = "02:00:00:00:00:01"
# Records, every 50 ms, how many packets of each sound have arrived, and when (time of day in ms).
_WATCH = """() => {
  window.heard = [];
  setInterval(async () => {
    const sounds = {};
    for (const report of (await window.sbe.pc?.getStats() ?? new Map()).values())
      if (report.type === "inbound-rtp" && report.kind === "audio") sounds[report.mid] = report.packetsReceived;
    window.heard.push([Date.now(), sounds]);
  }, 50);
}"""
_STATE = """async () => {
  window.first ??= window.sbe.pc;
  const stats = await window.sbe.pc.getStats();
  const transport = [...stats.values()].find((each) => each.type === "transport");
  const pair = stats.get(transport?.selectedCandidatePairId);
  const call = window.sbe.client.currentCall;
  const nameOf = (local) => local?.relayProtocol ? `relay ${local.relayProtocol}` : local?.protocol;
  return {participant: call?.participant, others: call?.others.length, same: window.first === window.sbe.pc,
    protocol: nameOf(stats.get(pair?.localCandidateId))};
}"""
_SEES_VIDEOS = """async (count) => [...(await window.sbe.pc.getStats()).values()]
  .filter((each) => each.type === "inbound-rtp" && each.framesDecoded > 0).length >= count"""

Scene = Callable[["Stage"], Awaitable[tuple[float, float]]]


def _run(line: str) -> None:
    subprocess.run(line.split(), check=True)


class Stage:
    """The call: Alice and Bob beside the server, and Carol behind a link."""

    def __init__(self, alice: Page, bob: Page, carol: Page, relay: UdpRelay, inside: str) -> None:
        self.alice, self.bob, self.carol = alice, bob, carol
        self.relay, self.inside = relay, inside


@contextlib.contextmanager
def _link() -> Iterator[str]:
    """Make a network that has a link to this one. Yield the prefix for commands that run there.

    Do so before a browser starts, because a browser aborts its requests when an interface appears.
    """
    with contextlib.ExitStack() as stack:
        holder = subprocess.Popen(["unshare", "--net", "sleep", "3600"])
        stack.callback(holder.wait)
        stack.callback(holder.terminate)
        inside = f"nsenter --net=/proc/{holder.pid}/ns/net"
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        for line in _LINK.format(pid=holder.pid, inside=inside, server=SERVER, carol=CAROL).strip().splitlines():
            _run(line)
        stack.callback(_run, "ip link del v0")
        yield inside


@contextlib.contextmanager
def _firewall(*ports: int) -> Iterator[None]:
    """Let nothing from Carol's network through but ICMP and TCP to these ports."""
    openings = [_OPENING.format(port=port) for port in ports]
    for line in [*openings, *_FIREWALL.strip().splitlines()]:
        _run(line)
    yield
    for line in [*_REMOVAL.strip().splitlines(), *(opening.replace(" add ", " del ") for opening in openings)]:
        _run(line)


@contextlib.asynccontextmanager
async def _browser_there(server: Server, inside: str, *more: str) -> AsyncIterator[Browser]:
    """Start Chromium behind the link, where `localhost` is the server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))

    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(await asyncio.start_server(serve, SERVER, server.port))
        program = Path(stack.enter_context(tempfile.TemporaryDirectory()), "chromium")
        program.write_text(f'#!/bin/sh\nexec {inside} {shutil.which(CHROMIUM) or CHROMIUM} "$@"\n')
        program.chmod(0o755)
        driver = await stack.enter_async_context(async_playwright())
        arguments = [*ARGUMENTS, *more, f"--host-resolver-rules=MAP localhost {SERVER}"]
        browser = await driver.chromium.launch(executable_path=program, args=arguments)
        stack.push_async_callback(browser.close)
        yield browser


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _open(browser: Browser, url: str, user: str, script: str = "") -> Page:
    """Open the test page as this user."""
    context = await browser.new_context(
        base_url=url, permissions=["camera", "microphone"], viewport={"width": 640, "height": 480}
    )
    page = await context.new_page()
    await page.add_init_script(begin_afresh(direct=False) + "\n" + script)
    await page.goto(f"/?user={user}&device=laptop")
    await page.wait_for_function("() => window.sbe?.client?.session", timeout=PATIENCE_MS, polling=100)
    return page


async def _meet(alice: Page, bob: Page, carol: Page) -> None:
    """Have Alice call Bob, and then invite Carol. Return when everybody hears the two others."""
    await alice.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await alice.get_by_test_id("call-video-bob").click(timeout=PATIENCE_MS)
    await bob.get_by_test_id("ring-accept").click(timeout=PATIENCE_MS)
    await alice.wait_for_function(
        "() => window.sbe.client.currentCall?.others.length === 1", timeout=PATIENCE_MS, polling=100
    )
    await alice.evaluate("window.sbe.client.currentCall.inviteMore('carol')")
    await carol.get_by_test_id("ring-accept").click(timeout=PATIENCE_MS)
    for page in (alice, bob, carol):
        await page.evaluate(_WATCH)
        heard = "() => Object.values(window.heard.at(-1)?.[1] ?? {}).filter((count) => count > 20).length > 1"
        await page.wait_for_function(heard, timeout=PATIENCE_MS, polling=100)
    await asyncio.sleep(3)


async def _longest_gap(page: Page, since: float) -> float:
    """Return the longest time without a packet of one of the sounds, in seconds. Begin at a time of day."""
    heard: list[tuple[float, dict[str, int]]] = await page.evaluate("window.heard")
    longest = 0.0
    for mid in {mid for _, sounds in heard for mid in sounds}:
        last_at, last = since * 1000, None
        for at, sounds in heard:
            count = sounds.get(mid)
            if at >= since * 1000 and count != last:
                longest, last_at = max(longest, at - last_at), at
            last = count
        longest = max(longest, heard[-1][0] - last_at)
    return round(longest / 1000, 2)


async def _gaps(stage: Stage, since: float) -> tuple[float, float]:
    """Watch for some time; return the longest gaps at Carol and at Bob."""
    await asyncio.sleep(_WATCHED_SECONDS)
    return await _longest_gap(stage.carol, since), await _longest_gap(stage.bob, since)


async def _address(stage: Stage) -> tuple[float, float]:
    since = time.time()
    for line in (
        f"ip address del {CAROL}/24 dev v1",
        f"ip address add {ELSEWHERE}/24 dev v1",
        f"ip route replace default via {SERVER}",
    ):
        _run(f"{stage.inside} {line}")
    return await _gaps(stage, since)


async def _rebinding(stage: Stage) -> tuple[float, float]:
    since = time.time()
    await stage.relay.rebind()
    return await _gaps(stage, since)


async def _outage(stage: Stage) -> tuple[float, float]:
    _run(f"ip neighbour replace {CAROL} lladdr {_NOBODY} dev v0 nud permanent")
    _run(f"{stage.inside} ip neighbour replace {SERVER} lladdr {_NOBODY} dev v1 nud permanent")
    await asyncio.sleep(_OUTAGE_SECONDS)
    _run(f"ip neighbour del {CAROL} dev v0")
    _run(f"{stage.inside} ip neighbour del {SERVER} dev v1")
    return await _gaps(stage, time.time())


async def _blocked(stage: Stage) -> tuple[float, float]:
    return await _gaps(stage, time.time())


async def _blocking(stage: Stage) -> tuple[float, float]:
    since = time.time()
    stage.relay.discards = True
    return await _gaps(stage, since)


async def _turn(stage: Stage) -> tuple[float, float]:
    since = time.time()
    await stage.carol.evaluate("() => window.sbe.client.media.openCamera()")
    await stage.carol.evaluate("() => window.sbe.client.currentCall.addVideo()")
    await until(stage.carol, f"() => ({_SEES_VIDEOS})(1)")
    # Alice's and Carol's.
    await until(stage.bob, f"() => ({_SEES_VIDEOS})(2)")
    return await _gaps(stage, since)


_SCENES: dict[str, Scene] = {
    "address": _address,
    "rebinding": _rebinding,
    "outage": _outage,
    "blocked": _blocked,
    "blocking": _blocking,
    "turn": _turn,
}


async def measure(name: str) -> dict[str, Any]:
    """Play one scene on a server of its own."""
    settings = {"MEDIA_BIND": "0.0.0.0", "MEDIA_ANNOUNCE": SERVER, "MEDIA_TCP_PORT": str(MEDIA_PORT)}
    async with contextlib.AsyncExitStack() as stack:
        inside = stack.enter_context(_link())
        turn = stack.enter_context(turn_server(SERVER, SERVER)) if name == "turn" else None
        settings |= turn.settings if turn else {}
        server, browser = await stack.enter_async_context(server_and_browser(**settings))
        if turn:
            stack.enter_context(_firewall(TURN_PORT, server.port))
        far_browser = await stack.enter_async_context(
            _browser_there(server, inside, *([turn.argument] if turn else []))
        )
        relay = await stack.enter_async_context(UdpRelay(SERVER, free_port(), (SERVER, MEDIA_PORT)))
        relay.discards = name == "blocked"
        is_relayed = name not in {"address", "outage", "turn"}
        alice, bob = [await _open(browser, server.base_url, user) for user in ("alice", "bob")]
        script = relayed(MEDIA_PORT, relay.port) if is_relayed else ""
        carol = await _open(far_browser, f"http://localhost:{server.port}", "carol", script)
        begun_at = time.monotonic()
        await _meet(alice, bob, carol)
        joined = round(time.monotonic() - begun_at, 1)
        before = await carol.evaluate(_STATE)
        at_carol, at_bob = await _SCENES[name](Stage(alice, bob, carol, relay, inside))
        after = await carol.evaluate(_STATE)
    return {
        "joined": joined,
        "carol": at_carol,
        "bob": at_bob,
        "same participant": (before["participant"], before["others"]) == (after["participant"], after["others"]),
        "same connection": after["same"],
        "protocol": f"{before['protocol']}, {after['protocol']}",
    }


async def main() -> None:
    """Play the scenes, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(_SCENES))
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    arguments = parser.parse_args()
    _run("ip link set lo up")
    figures = {}
    print(f"{'scene':10} {'carol (s)':>9} {'bob (s)':>8}  participant  connection  protocol")
    for name in arguments.scenes or [each for each in _SCENES if each != "turn" or shutil.which("turnserver")]:
        figures[name] = each = await measure(name)
        same = ["the same" if each[f"same {what}"] else "another" for what in ("participant", "connection")]
        print(
            f"{name:10} {each['carol']:9} {each['bob']:8}  {same[0]:11}  {same[1]:10}  {each['protocol']}", flush=True
        )
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
