"""Measure how attacks from one conference delay the packets of an unrelated call on the same media node.

    python -m benchmarks.neighbour [--out file.json] [--members 40] [--seconds 5] [crowd holds sources]

A node runs in a separate process on one core, as in `benchmarks.large`. One side of the call sends a packet every 5 ms.
For each attack, the benchmark prints delays in milliseconds, minus the median delay on an idle node. These are the
99.9th percentile, the maximum, and the 99.9th percentile without an attack. The benchmark also prints the most
processor time that the loop used between two waits.

- `crowd`: `--members` participants join one conference at once.
- `holds`: for 15 seconds a member of a conference of `--members` holds and resumes, each time as soon as all others
  have answered. All members send audio.
- `sources`: for `--seconds` a member sends 2,000 packets a second, each with a new SSRC.
"""

import argparse
import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.large import Neighbours, Server, call_on, conference_of, newcomers, serving
from tests.support.media.synthetic import Peer

# The callee answers no checks during the attack. After 30 seconds without an answer, the node would report the callee
# as lost, so the attack is shorter.
_HOLDS_SECONDS = 15.0
_AUDIO_SECONDS = 0.02


# The part of the generator before its first `yield` prepares the attack. The rest is the attack itself.
Attack = AsyncIterator[None]


async def _crowd(server: Server, options: argparse.Namespace) -> Attack:
    """All members join at once."""
    conference, peers = newcomers(server, options.members)
    yield
    await asyncio.gather(*(conference.join(peer, settle=False) for peer in peers))
    await conference.update()
    await conference.settle()


async def _holds(server: Server, options: argparse.Namespace) -> Attack:
    """One member holds and resumes repeatedly."""
    conference, peers = await conference_of(server, options.members)
    talking = asyncio.create_task(_talk(peers))
    yield
    end = time.perf_counter() + _HOLDS_SECONDS
    while time.perf_counter() < end:
        for state, kind in (("on-hold", "hold"), ("accepted", "resume")):
            await conference.set_state(peers[0], state, kind)
            await conference.settle()
    talking.cancel()
    await asyncio.wait([talking])


async def _talk(peers: list[Peer]) -> None:
    """Send audio from all peers until cancelled."""
    due = time.perf_counter()
    while True:
        for peer in peers:
            peer.send([peer.sources[0].packet()])
        due = max(due + _AUDIO_SECONDS, time.perf_counter())
        await asyncio.sleep(due - time.perf_counter())


async def _sources(server: Server, options: argparse.Namespace) -> Attack:
    """One member changes its SSRC with each packet."""
    _, peers = await conference_of(server, options.members)
    yield
    source = peers[0].sources[1]
    due = end = time.perf_counter()
    end += options.seconds
    while due < end:
        peers[0].send([replace(source, ssrc=secrets.randbits(32)).packet() for _ in range(20)])
        due += 0.01
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


_ATTACKS = {"crowd": _crowd, "holds": _holds, "sources": _sources}


async def _measure(server: Server, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a call while one attack runs; return the row."""
    _, caller, callee = await call_on(server)
    attack = _ATTACKS[name](server, options)
    await anext(attack)
    neighbours = Neighbours(caller, callee)
    running = asyncio.create_task(neighbours.run())
    await asyncio.sleep(options.seconds)
    usual, idle_p999 = neighbours.delays(0.5, 0.999)
    await server.meter()
    begun_at = time.perf_counter()
    await anext(attack, None)
    seconds = time.perf_counter() - begun_at
    stretches = await server.meter()
    p999, most = neighbours.delays(0.999, 0.999999)
    running.cancel()
    await asyncio.wait([running])
    return {
        "attack": name,
        "members": options.members,
        "seconds": round(seconds, 1),
        "neighbour_delay_ms_p999": round(p999 - usual, 1),
        "neighbour_delay_ms_max": round(most - usual, 1),
        "idle_delay_ms_p999": round(idle_p999 - usual, 1),
        "loop_ms_longest": round(stretches["longest"], 1),
        "loop_busy": round(stretches["total"] / 1000 / seconds, 2),
    }


async def _run(options: argparse.Namespace) -> None:
    rows = []
    for name in options.attacks or _ATTACKS:
        async with serving() as server:
            rows.append(await _measure(server, name, options))
        print(" ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("attacks", nargs="*", metavar="attack", help=", ".join(_ATTACKS))
    parser.add_argument("--members", type=int, default=40, help="number of members of the attacking conference")
    parser.add_argument("--seconds", type=float, default=5, help="length of the idle time, and of `sources`")
    parser.add_argument("--out", type=Path, help="write the rows to this file as JSON")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
