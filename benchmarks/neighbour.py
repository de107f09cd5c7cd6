"""What one conference can do to an unrelated call on the same media node: attacks, and the call's delay meanwhile.

    python -m benchmarks.neighbour [--out file.json] [--members 40] [--seconds 5] [crowd holds sources]

A node in a process of its own on one core, as in `benchmarks.large`. Of the call, one sends a packet every 5 ms. For
each attack: the delay in milliseconds above the median of an idle node, at the 99.9th percentile and at most, the same
while nothing happens, and the longest stretch of work of the node's loop.

- `crowd`: so many members join one conference at once.
- `holds`: for 15 seconds a member of a full conference holds and resumes as soon as everybody has answered. All members
  send sound.
- `sources`: for `--seconds` a member sends 2,000 packets a second, each with an SSRC of its own.
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

# The call's callee answers no checks of the node meanwhile, which takes it for lost after 30.
_HOLDS_SECONDS = 15.0
_AUDIO_SECONDS = 0.02


# What it needs is there at its first step; after that it attacks.
Attack = AsyncIterator[None]


async def _crowd(server: Server, options: argparse.Namespace) -> Attack:
    """Let all join at once."""
    room, peers = newcomers(server, options.members)
    yield
    await asyncio.gather(*(room.join(peer, settle=False) for peer in peers))
    await room.update()
    await room.settle()


async def _holds(server: Server, options: argparse.Namespace) -> Attack:
    """Let one member hold and resume again and again."""
    room, peers = await conference_of(server, options.members)
    talking = asyncio.create_task(_talk(peers))
    yield
    end = time.perf_counter() + _HOLDS_SECONDS
    while time.perf_counter() < end:
        for state, kind in (("on-hold", "hold"), ("accepted", "resume")):
            await room.set_state(peers[0], state, kind)
            await room.settle()
    talking.cancel()
    await asyncio.wait([talking])


async def _talk(peers: list[Peer]) -> None:
    """Let all send sound until cancelled."""
    due = time.perf_counter()
    while True:
        for peer in peers:
            peer.send([peer.sources[0].packet()])
        due = max(due + _AUDIO_SECONDS, time.perf_counter())
        await asyncio.sleep(due - time.perf_counter())


async def _sources(server: Server, options: argparse.Namespace) -> Attack:
    """Let one member change its SSRC with each packet."""
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
    """Let one attack run beside a call."""
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
    parser.add_argument("--members", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--out", type=Path)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
