"""Floods from strangers and from a member: how much they delay an unrelated call."""

import asyncio
import contextlib
import math
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from media.aiortc_adapter import Certificate
from tests.support.media.by_json import by_json
from tests.support.media.dtls_pair import End
from tests.support.media.node_harness import Listener, World, true
from tests.support.media.synthetic import SyntheticConference

# No test in this module uses the database.
pytestmark = [pytest.mark.once, pytest.mark.deep]

SECONDS = 2.0
# The seconds between two audio packets of the measured call.
PAUSE = 0.005
MOST_ADDED = 0.020

# A program that sends datagrams of one kind to a node, at a given rate and for a given number of seconds.
_FLOOD = """
import os, socket, sys, time
host, port, rate, seconds, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind(("127.0.1.1", 0))
def check(ufrag):
    name, after = f"{ufrag}:abcd".encode(), b"\\0\\x08\\0\\x14" + os.urandom(20)
    body = b"\\0\\6" + len(name).to_bytes(2, "big") + name + bytes(-len(name) % 4) + after
    return b"\\0\\1" + len(body).to_bytes(2, "big") + b"\\x21\\x12\\xa4\\x42" + os.urandom(12) + body
def datagram():
    if kind == "rtp":
        return b"\\x80\\x6f" + os.urandom(100)
    if kind == "dtls":
        return b"\\x16\\xfe\\xff" + bytes(8) + b"\\0\\x50" + os.urandom(80)
    return check(os.urandom(4).hex() if kind == "stun" else kind)
begun, sent = time.monotonic(), 0
while (passed := time.monotonic() - begun) < seconds:
    while sent < passed * rate:
        sender.sendto(datagram(), (host, port))
        sent += 1
    time.sleep(0.001)
"""


async def delay(speaker: Listener, hearer: Listener) -> float:
    """Return the 99.9th percentile of the delay of audio packets, in seconds.

    The delay counts from when a packet was due.
    """
    loop = asyncio.get_running_loop()
    due: dict[bytes, float] = {}
    delays: list[float] = []

    def read() -> None:
        hearer.read()
        for packet in hearer.packets:
            if (at := due.pop(packet[-8:], None)) is not None:
                delays.append(loop.time() - at)
        hearer.packets.clear()

    hearer.pause_reading()
    loop.add_reader(hearer.fd, read)
    begun = loop.time()
    for number in range(int(SECONDS / PAUSE)):
        at = begun + number * PAUSE
        await asyncio.sleep(max(0, at - loop.time()))
        name = secrets.token_bytes(8)
        due[name] = at
        speaker.send([speaker.audio.packet()[:-8] + name])
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while due:
                await asyncio.sleep(0.01)
    hearer.pause_reading()
    hearer.resume_reading()
    assert not due, "packets were lost"
    return sorted(delays)[math.ceil(0.999 * len(delays)) - 1]


@contextmanager
def flood(port: int, kind: str, rate: int) -> Iterator[None]:
    """Flood a node with datagrams from another process, for as long as the context lasts."""
    arguments = ["127.0.0.1", str(port), str(rate), str(SECONDS + 3), kind]
    process = subprocess.Popen([sys.executable, "-c", _FLOOD, *arguments])
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def joined(world: World) -> tuple[Listener, Listener, Listener]:
    """Connect alice and bob in one conference, and mallory in another conference of the same node."""
    alice, bob = await world.join("alice", "bob")
    mallory = Listener("mallory")
    world.peers.append(mallory)
    await SyntheticConference("other", by_json(world.node)).join(mallory)
    return alice, bob, mallory


@pytest.mark.parametrize(("kind", "rate"), [("stun", 7000), ("known ufrag", 7000), ("rtp", 15_000), ("dtls", 5000)])
async def test_a_flood_from_strangers_delays_no_call(world: World, kind: str, rate: int) -> None:
    alice, bob, _ = await joined(world)
    leg = world.node.conferences["other"].participants["mallory"].leg
    assert leg is not None
    ufrag = leg.negotiation.local_credentials.ufrag
    quiet = await delay(alice, bob)
    received, port = world.node.counts().received, world.node.candidates[0][1]
    with flood(port, kind.replace("known ufrag", ufrag), rate):
        await true(lambda: world.node.counts().received > received + 100)
        assert await delay(alice, bob) <= quiet + MOST_ADDED


async def test_a_members_flood_of_client_hellos_delays_no_other_call(world: World) -> None:
    alice, bob, mallory = await joined(world)
    stranger = End("client")
    stranger.transport.start(Certificate().fingerprints)
    while not stranger.sent:
        await asyncio.sleep(0)
    quiet = await delay(alice, bob)
    stop = asyncio.Event()

    async def send() -> None:
        while not stop.is_set():
            for _ in range(10):
                mallory.send_datagram(stranger.sent[0])
            await asyncio.sleep(0.005)

    sending = asyncio.create_task(send())
    assert await delay(alice, bob) <= quiet + MOST_ADDED
    stop.set()
    await sending
    await stranger.transport.close()
