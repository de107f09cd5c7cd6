"""Measure the forwarding: the processor time per packet, and the delay.

    python -m benchmarks.forwarding [--out file.json] [--sizes 8,16,24] [--conferences 1] [--seconds 5] [--smooth]
                                    [--memory] [--python] [--no-layered]

A node runs in a separate process on one core, and N synthetic participants on another. Each participant sends 50 audio
packets of 100 bytes and 150 video packets of 1,160 bytes a second, with the header extensions that browsers send. It
receives the packets of all others.

Video has the pattern of an encoder: 30 frames a second of five packets. The packets of a frame are sent at once, as
Chromium's pacer sends frames of this size. The participants' frames and audio packets are not synchronised. With
`--smooth` the 150 packets are spread evenly instead. By default both patterns are measured, in separate columns.

The columns "layered" are about participants that also use simulcast and transport-wide feedback
(`benchmarks/layered.py`). They are measured in the same turns, as soon as all receivers get the largest layers.
"Layered ratio" is their cost of a packet divided by that of the others. "Of largest" is the share of the packets of
audio and of the largest layers that arrived. If it is below 1, receivers got smaller layers, so the ratio cannot be
compared.

The node uses its compiled fast path. Without it, or with `--python`, Python alone forwards.

- µs per packet: processor time of the forwarding process, user and system, divided by the packets that arrived.
- Delivered: the share of the expected packets that arrived.
- Delay: from making a packet (its RTP timestamp) to its arrival at the receiver's socket (the kernel's timestamp). The
  delay includes the sender's time to encrypt and send, some tens of microseconds for a frame. Janus writes its own RTP
  timestamps, so its delay is not measured.
- Others busy: the share of a core that all other processes used during the measurement. The figures are valid only if
  this share is close to 0.
- Memory (only with `--memory`, which measures nothing else): the memory of a leg, and the growth of the node's memory
  after many joins and leaves.

If Debian's `janus` is installed and a network namespace can be made, Janus is measured as well. The node, Janus and the
participants then run in the namespace, because Janus ignores the loopback interface. Packets still take the kernel's
loopback path there. Janus runs on the node's core, and the participants use its VideoRoom. Janus is measured with one
event loop, and then as shipped (one thread per peer connection).

The speed of a shared machine varies from minute to minute. So this node and Janus with one loop take turns, three times
for each size. Each reported figure is the median of its three turns, and the ratio is the median of the three ratios.
The smooth pattern and Janus as shipped are measured once.
"""

import argparse
import asyncio
import contextlib
import heapq
import itertools
import json
import logging
import os
import random
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import httpx
import psutil

from benchmarks.layered import LayeredPeer
from media.focus.node import Node, Settings
from media.forward.datagrams import SLOT, Inbox, ffi
from media.reports import Connection, Notice, Sample, Verdict
from tests.support.media.by_json import by_json
from tests.support.media.synthetic import VIDEO, Peer, Source, SyntheticConference

SIZES = (8, 16, 24)
_ADDRESS = "10.213.0.1"  # the servers' address inside the namespace
_WARM_UP_SECONDS = 2.0
# Receivers begin with the smallest layer. They get the largest one after some warm-ups: this share of its packets.
_MOST_WARM_UPS, _SETTLED = 8, 0.98
_DELAY_SECONDS = 4.0
_STRAGGLERS_SECONDS = 0.3
_READ_SECONDS = 0.001
_PATIENCE_SECONDS = 30.0
_AUDIO_RATE, _FRAME_RATE, _FRAME_PACKETS = 50.0, 30.0, 5
# The search for the first N with loss: the step between sizes, the largest N, and the share that counts as loss.
_STEP, _MOST, _LOSS = 4, 48, 0.001
_TURNS = 3
_LINE_LIMIT = 64 * 1024 * 1024


# --- The forwarding process ---------------------------------------------------------------------------------


class _Reports:
    """Ignores the node's reports, except lost legs."""

    def leg_lost(self, conference: str, participant: str, leg: str) -> None:
        """Print that a leg is lost, which should not happen."""
        print("lost:", conference, participant, leg, file=sys.stderr)

    def speaker_changed(self, conference: str, participant: str) -> None:
        """Ignore the speaker."""

    def connection_changed(self, conference: str, participant: str, connection: Connection) -> None:
        """Ignore broken connections: the missing packets reveal them."""

    def connection_judged(self, conference: str, participant: str, verdict: Verdict, since: float) -> None:
        """Ignore the records of connections."""

    def sampled(self, conference: str, samples: list[Sample]) -> None:
        """Ignore samples of quality."""

    def noticed(self, conference: str, participant: str, notice: Notice) -> None:
        """Ignore notices."""


async def serve(address: str, *, fast: bool) -> None:
    """Run a node until standard input ends. Tasks and results are lines of JSON."""
    node = Node(Settings(bind=address, fast=fast), _Reports())
    await node.start()
    lines = asyncio.StreamReader(limit=_LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async for line in lines:
        task = json.loads(line)
        if "counters" in task:
            result: Mapping[str, Any] = node.counts().reported()
        else:
            result = await by_json(node)(task["conference"], task["kind"], task["payload"])
        print(json.dumps(result), flush=True)
    await node.stop()


def _run_server(address: str, *, fast: bool) -> None:
    logging.basicConfig(level=logging.WARNING)
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(address, fast=fast))


# --- What is measured ---------------------------------------------------------------------------------------


@dataclass
class Side:
    """A participant: its connections for sending and for receiving, which may be one and the same."""

    sending: Peer
    receiving: Peer


class Subject(Protocol):
    """A forwarding server under measurement, pinned to one core that nothing else uses."""

    pid: int

    async def join(self, count: int) -> list[Side]:
        """Have this many participants join one conference, and connect them all with each other."""

    async def leave(self, sides: list[Side]) -> None:
        """End the conference."""


class Ours:
    """A node in another process."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.pid = process.pid
        self._process, self._address = process, address
        self._turn = asyncio.Lock()
        self._conferences: dict[Peer, SyntheticConference] = {}

    async def execute(self, conference: str, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a task to the node and return the result."""
        return await self._ask({"conference": conference, "kind": kind, "payload": payload})

    async def counters(self) -> Mapping[str, int]:
        """Return the node's counters."""
        return await self._ask({"counters": True})

    async def _ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            line = await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE_SECONDS)
        if not line:
            raise RuntimeError("the node has ended")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    async def join(self, count: int, kind: type[Peer] = Peer) -> list[Side]:
        """Have all participants join. When all have joined, each accepts the offers of the focus."""
        conference = SyntheticConference(secrets.token_hex(4), self.execute)
        peers = [kind(f"p{number}", address=self._address) for number in range(count)]
        for peer in peers:
            await conference.join(peer, settle=False)
            self._conferences[peer] = conference
        await conference.update()
        await conference.settle()
        return [Side(peer, peer) for peer in peers]

    async def leave(self, sides: list[Side]) -> None:
        """Have all participants leave."""
        for side in sides:
            await self._conferences.pop(side.sending).leave(side.sending)


@contextlib.asynccontextmanager
async def ours(address: str, core: int, *, fast: bool) -> AsyncIterator[Ours]:
    """Run a node on a core."""
    command = [sys.executable, "-m", "benchmarks.forwarding", "--serve", address, *([] if fast else ["--python"])]
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, limit=_LINE_LIMIT, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    try:
        subject = Ours(process, address)
        if fast and not (await subject.counters())["fastPath"]:
            _say("The fast path is not compiled (python -m media.forward.fastpath), so Python alone forwards.")
        yield subject
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await _end(process)


class Janus:
    """Debian's Janus with its VideoRoom, over its HTTP API. A participant has two connections, one per direction."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, client: httpx.AsyncClient) -> None:
        self.pid = process.pid
        self._address, self._client = address, client
        self._session = 0
        self._events: dict[str, asyncio.Future[Mapping[str, Any]]] = {}

    async def begin(self) -> None:
        """Open a session of Janus's API, as soon as Janus listens."""
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                self._session = int((await self._post("", {"janus": "create"}))["data"]["id"])
                return
            await asyncio.sleep(0.05)
        raise RuntimeError("Janus does not answer")

    async def join(self, count: int) -> list[Side]:
        """Have all participants publish, and then subscribe to all others."""
        polling = asyncio.create_task(self._poll())
        room = random.randint(1, 10**6)
        handle = await self._attach()
        await self._message(handle, {"request": "create", "room": room, "publishers": 100, "videocodec": "vp8"})
        publishers = [Peer(f"p{number}", address=self._address, receives=False) for number in range(count)]
        for number, peer in enumerate(publishers, 1):
            body = {"request": "joinandconfigure", "room": room, "ptype": "publisher", "id": number}
            event = await self._message(await self._attach(), body, {"type": "offer", "sdp": peer.offer("active")})
            await peer.connect(event["jsep"]["sdp"])
        sides = [Side(peer, Peer(f"{peer.id}-in", address=self._address, sends=False)) for peer in publishers]
        for number, side in enumerate(sides, 1):
            handle = await self._attach()
            feeds = [{"feed": other} for other in range(1, count + 1) if other != number]
            body = {"request": "join", "room": room, "ptype": "subscriber", "streams": feeds}
            offer = (await self._message(handle, body))["jsep"]["sdp"]
            answer = {"type": "answer", "sdp": side.receiving.answer(offer)}
            await self._message(handle, {"request": "start", "room": room}, answer)
            await side.receiving.connect(offer)
        polling.cancel()
        return sides

    async def leave(self, sides: list[Side]) -> None:
        """End all connections and the session of Janus's API, and open a new session."""
        for side in sides:
            await side.sending.close()
            await side.receiving.close()
        await self._post(f"/{self._session}", {"janus": "destroy"})
        await self.begin()

    async def _attach(self) -> int:
        attach = {"janus": "attach", "plugin": "janus.plugin.videoroom"}
        return int((await self._post(f"/{self._session}", attach))["data"]["id"])

    async def _message(
        self, handle: int, body: Mapping[str, Any], jsep: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        """Send a message to the plugin and return its answer."""
        transaction = secrets.token_hex(8)
        answer = self._events[transaction] = asyncio.get_running_loop().create_future()
        message = {"janus": "message", "transaction": transaction, "body": body, **({"jsep": jsep} if jsep else {})}
        event = await self._post(f"/{self._session}/{handle}", message)
        if event["janus"] == "ack":
            event = await asyncio.wait_for(answer, _PATIENCE_SECONDS)
        if "error" in event or "error" in event.get("plugindata", {}).get("data", {}):
            raise RuntimeError(f"Janus: {event}")
        return event

    async def _poll(self) -> None:
        """Receive events. Complete each waiting `_message` with the event that answers it."""
        while True:
            events = (await self._client.get(f"/janus/{self._session}?maxev=20")).json()
            for event in events if isinstance(events, list) else [events]:
                waiting = self._events.pop(event.get("transaction", ""), None)
                if waiting is not None:
                    waiting.set_result(event)

    async def _post(self, path: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = await self._client.post(f"/janus{path}", json={"transaction": secrets.token_hex(8), **message})
        result: Mapping[str, Any] = answer.raise_for_status().json()
        return result


@contextlib.asynccontextmanager
async def janus(address: str, core: int, *, event_loops: int) -> AsyncIterator[Janus]:
    """Run Janus on a core with this many event loops; 0 means one thread per peer connection, as shipped."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree("/etc/janus", folder, dirs_exist_ok=True)
        settings = Path(folder, "janus.jcfg").read_text()
        settings = settings.replace("general: {", f"general: {{\n\tevent_loops = {event_loops}", 1)
        Path(folder, "janus.jcfg").write_text(settings)
        process = await asyncio.create_subprocess_exec(
            *["janus", "-o", "-d", "3", "-F", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        try:
            base = "http://127.0.0.1:8088"
            async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=_PATIENCE_SECONDS) as client:
                subject = Janus(process, address, client)
                await subject.begin()
                yield subject
        finally:
            process.terminate()
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


# --- Load -------------------------------------------------------------------------------------------------


@dataclass(order=True)
class _Event:
    """The next packets of a source: when they are due, and their period, in seconds."""

    due: float
    order: int
    peer: Peer = field(compare=False)
    # Each source, with the number of its packets that are sent at once.
    sources: list[tuple[Source, int]] = field(compare=False)
    period: float = field(compare=False)


# Reads the datagrams that have arrived at a peer; returns their number.
Reader = Callable[[Peer], int]


@dataclass
class Outcome:
    """The result of a few seconds of load."""

    sent: int
    received: int
    expected: int
    server_seconds: float
    # Shares of one core. `others_share` is the share of everything else on the machine, and should be close to 0.
    client_share: float
    others_share: float

    @property
    def us_per_packet(self) -> float:
        return 1e6 * self.server_seconds / max(1, self.received)

    @property
    def delivered(self) -> float:
        return self.received / max(1, self.expected)


class Load:
    """Sends the participants' packets in real time. `run` blocks the event loop.

    Each packet should arrive at `receivers` receivers. Of several layers, only the last one is expected to arrive.
    """

    def __init__(self, sides: list[Side], *, receivers: int, smooth: bool) -> None:
        self._receivers = receivers
        self._sides = sides
        self._events: list[_Event] = []
        order = itertools.count()
        for side in sides:
            audio, layers = _sources(side.sending)
            # An encoder finishes the layers of a frame together.
            video = [([(layer, 1)], 1 / (_FRAME_RATE * packets)) for layer, packets in layers]
            if not smooth:
                video = [(layers, 1 / _FRAME_RATE)]
            for sources, period in [([(audio, 1)], 1 / _AUDIO_RATE), *video]:
                self._events.append(_Event(period * random.random(), next(order), side.sending, sources, period))

    async def run(self, pid: int, seconds: float, *, read: Reader = Peer.read) -> Outcome:
        """Send for this many seconds; return the outcome. `read` reads the datagrams that have arrived at a peer."""
        for side in self._sides:
            side.receiving.pause_reading()
            read(side.receiving)
            side.receiving.received = 0
        cpu, own, busy, began = _cpu_seconds(pid), time.process_time(), _busy_seconds(), time.perf_counter()
        sent, expected = await self._send(seconds, read)
        elapsed = time.perf_counter() - began
        own, busy = time.process_time() - own, _busy_seconds() - busy
        others = max(0.0, busy - own - (_cpu_seconds(pid) - cpu))
        last_at = time.perf_counter()
        while time.perf_counter() - last_at < _STRAGGLERS_SECONDS:
            if sum(read(side.receiving) for side in self._sides):
                last_at = time.perf_counter()
            await asyncio.sleep(0.005)
        received = sum(side.receiving.received for side in self._sides)
        cpu = _cpu_seconds(pid) - cpu
        for side in self._sides:
            side.receiving.resume_reading()
        return Outcome(sent, received, expected, cpu, own / elapsed, others / elapsed)

    async def _send(self, seconds: float, read: Reader) -> tuple[int, int]:
        """Send each packet when it is due; return how many were sent, and how many should arrive."""
        begin = time.perf_counter()
        events = [_Event(begin + each.due, *_rest(each)) for each in self._events]
        heapq.heapify(events)
        sent, expected, read_at, yield_at = 0, 0, begin, begin
        while (now := time.perf_counter()) < begin + seconds:
            if now >= read_at:
                for side in self._sides:
                    read(side.receiving)
                read_at = now + _READ_SECONDS
            if now >= yield_at:
                # Let the peers answer consent checks.
                await asyncio.sleep(0)
                yield_at = now + 0.02
            event = events[0]
            if event.due > now:
                time.sleep(max(0.0, min(event.due, read_at) - time.perf_counter()))
                continue
            sent += event.peer.send(_packets(event))
            expected += event.sources[-1][1] * self._receivers
            event.due += event.period
            heapq.heapreplace(events, event)
        return sent, expected


def _rest(event: _Event) -> tuple[int, Peer, list[tuple[Source, int]], float]:
    return event.order, event.peer, event.sources, event.period


def _packets(event: _Event) -> list[bytes]:
    return [source.packet(last=not left) for source, count in event.sources for left in range(count - 1, -1, -1)]


def _sources(peer: Peer) -> tuple[Source, list[tuple[Source, int]]]:
    """Return a peer's audio, and each layer of its video with the packets of a frame, the smallest layer first."""
    if isinstance(peer, LayeredPeer):
        return peer.microphone, list(peer.layers)
    audio, video = peer.sources[:2]
    return audio, [(video, _FRAME_PACKETS)]


def _cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, user and system, with all its threads (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def _busy_seconds() -> float:
    """Return the processor time that the whole machine has used, including the time that its host has stolen."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


class Stopwatch:
    """Reads datagrams that arrive at peers, and records the delay of video packets in milliseconds.

    To keep the measurement cheap, it reads the kernel's time of arrival only for every eighth slot of a batch.
    """

    _EVERY = 8
    _CONTROL = struct.Struct("@Qiiqq")  # struct cmsghdr with a struct timespec

    def __init__(self, sides: list[Side]) -> None:
        self.milliseconds: list[float] = []
        self._inbox = Inbox(64)
        self._slots = range(0, 64, self._EVERY)
        self._controls = [ffi.new("unsigned char[]", 64) for _ in self._slots]
        self._views = [memoryview(ffi.buffer(each)) for each in self._controls]
        for slot, control in zip(self._slots, self._controls, strict=True):
            self._inbox.fields[8 * slot + 4] = int(ffi.cast("uintptr_t", control))
        for side in sides:
            with socket.socket(fileno=os.dup(side.receiving.fd)) as same:
                same.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def __call__(self, peer: Peer) -> int:
        """Read the datagrams that have arrived at a peer; return their number."""
        inbox, total = self._inbox, 0
        while True:
            for slot in self._slots:
                inbox.fields[8 * slot + 5] = 64
            count = inbox.receive(peer.fd)
            total += count
            for slot, view in zip(self._slots, self._views, strict=True):
                if slot < count and inbox.view[slot * SLOT + 1] & 0x7F == VIDEO:
                    self._note(inbox.view[slot * SLOT : slot * SLOT + 12], view)
            if count < inbox.slots:
                return total

    def _note(self, header: memoryview, control: memoryview) -> None:
        _, _, type_, seconds, nanoseconds = self._CONTROL.unpack_from(control)
        arrived_at = (seconds * 10**9 + nanoseconds) * 90000 // 10**9
        sent_at = int.from_bytes(header[4:8], "big")
        ticks = (arrived_at - sent_at + 2**31 & 0xFFFFFFFF) - 2**31
        if type_ == _SO_TIMESTAMPNS and abs(ticks) < 90000 * 10:
            self.milliseconds.append(ticks / 90)

    def percentile(self, share: float) -> float | None:
        """Return this percentile (0 to 1) of the delays, in milliseconds; None if no delay was recorded."""
        ordered = sorted(self.milliseconds)
        return ordered[int(len(ordered) * share)] if ordered else None


_SO_TIMESTAMPNS = 35


async def measure(subject: Subject, count: int, options: argparse.Namespace, *, smooth: bool) -> dict[str, Any]:
    """Measure the cost of a packet and the share delivered, with this many participants in each conference."""
    sides = [side for _ in range(options.conferences) for side in await subject.join(count)]
    load = Load(sides, receivers=count - 1, smooth=smooth)
    await load.run(subject.pid, _WARM_UP_SECONDS)
    outcome = await load.run(subject.pid, options.seconds)
    figures: dict[str, Any] = {
        "us_per_packet": round(outcome.us_per_packet, 2),
        "delivered": round(outcome.delivered, 5),
        "clients_busy": round(outcome.client_share, 2),
        "others_busy": round(outcome.others_share, 2),
    }
    if isinstance(subject, Ours):
        stopwatch = Stopwatch(sides)
        await load.run(subject.pid, _DELAY_SECONDS, read=stopwatch)
        figures["delay_ms_p50"] = _rounded(stopwatch.percentile(0.5))
        figures["delay_ms_p999"] = _rounded(stopwatch.percentile(0.999))
    await subject.leave(sides)
    return figures


async def measure_layered(subject: Ours, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the cost of a packet with simulcast and transport-wide feedback, once all get the largest layers."""
    sides = [side for _ in range(options.conferences) for side in await subject.join(count, LayeredPeer)]
    load = Load(sides, receivers=count - 1, smooth=options.smooth)
    for _ in range(_MOST_WARM_UPS):
        if (await load.run(subject.pid, _WARM_UP_SECONDS)).delivered >= _SETTLED:
            break
    outcome = await load.run(subject.pid, options.seconds)
    await subject.leave(sides)
    return {
        "layered_us_per_packet": round(outcome.us_per_packet, 2),
        "layered_delivered": round(outcome.delivered, 5),
        "layered_clients_busy": round(outcome.client_share, 2),
        "layered_others_busy": round(outcome.others_share, 2),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


async def search(subject: Ours, begin: int, *, smooth: bool) -> int | None:
    """Return the first size, in steps of _STEP, that loses more than _LOSS of the packets; None if no size does."""
    for count in range(begin, _MOST + 1, _STEP):
        sides = await subject.join(count)
        load = Load(sides, receivers=count - 1, smooth=smooth)
        await load.run(subject.pid, 1.0)
        outcome = await load.run(subject.pid, 3.0)
        await subject.leave(sides)
        _say(f"N = {count}: {outcome.delivered:.4%} delivered, clients {outcome.client_share:.0%} busy")
        if outcome.delivered < 1 - _LOSS:
            return count
    return None


# --- Memory -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    """The memory, descriptors and threads of a process."""

    mib: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Footprint":
        """Return the footprint of a process now."""
        process = psutil.Process(pid)
        return cls(process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())

    def __str__(self) -> str:
        return f"{self.mib:.1f} MiB, {self.descriptors} descriptors, {self.threads} threads"


async def measure_memory(subject: Ours, *, size: int, cycles: int) -> dict[str, float]:
    """Measure the memory per leg with full histories for this many legs, and the growth after many joins and leaves."""
    await _fill(subject, 2)
    before = Footprint.of(subject.pid)
    _say(f"empty: {before}")
    sides = await subject.join(size)
    # Longer than the time that a history covers, so that all histories are full.
    await Load(sides, receivers=size - 1, smooth=False).run(subject.pid, 6.0)
    full = Footprint.of(subject.pid)
    _say(f"{size} legs: {full}: {(full.mib - before.mib) / size:.2f} MiB a leg")
    await subject.leave(sides)
    marks = []
    for cycle in range(1, cycles + 1):
        await _fill(subject, 3)
        if cycle in (cycles // 4, cycles):
            marks.append(Footprint.of(subject.pid))
            _say(f"after {cycle} conferences of 3: {marks[-1]}")
    early, late = marks
    return {
        "mib_per_leg": round((full.mib - before.mib) / size, 3),
        "mib_early": round(early.mib, 1),
        "mib_late": round(late.mib, 1),
        "descriptors_more": late.descriptors - before.descriptors,
        "threads_more": late.threads - before.threads,
    }


async def _fill(subject: Ours, size: int) -> None:
    """Make a small conference, send a few packets, and end it."""
    sides = await subject.join(size)
    for _ in range(20):
        for side in sides:
            side.sending.send([source.packet() for source in side.sending.sources])
        await asyncio.sleep(0)
    await subject.leave(sides)


# --- The program ------------------------------------------------------------------------------------------


_COLUMNS = {
    "n": "N",
    "us_per_packet": "ours µs",
    "smooth_us_per_packet": "smooth µs",
    "layered_us_per_packet": "layered µs",
    "layered_ratio": "layered ratio",
    "layered_delivered": "of largest",
    "janus_us_per_packet": "Janus 1 loop",
    "ratio": "ratio",
    "janus_shipped_us_per_packet": "as shipped",
    "delivered": "delivered",
    "delay_ms_p50": "p50 ms",
    "delay_ms_p999": "p99.9 ms",
    "others_busy": "others busy",
}


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure this node, and Janus if it is available; return a row for each size."""
    server_core, client_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {client_core})
    rows: list[dict[str, Any]] = [{"n": size} for size in options.sizes]
    async with ours(options.address, server_core, fast=options.fast) as subject, contextlib.AsyncExitStack() as stack:
        if options.memory:
            return [dict(await measure_memory(subject, size=max(options.sizes), cycles=200))]
        rival = None
        if options.janus:
            rival = await stack.enter_async_context(janus(options.address, server_core, event_loops=1))
        for row in rows:
            row |= await _take_turns(subject, rival, row["n"], options)
            if options.both and not options.smooth:
                even = await measure(subject, row["n"], options, smooth=True)
                row |= {f"smooth_{name}": value for name, value in even.items()}
            _say(json.dumps(row))
    if options.janus:
        async with janus(options.address, server_core, event_loops=0) as rival:
            for row in rows:
                figures = await measure(rival, row["n"], options, smooth=options.smooth)
                row |= {f"janus_shipped_{name}": value for name, value in figures.items()}
                _say(f"Janus as shipped, N = {row['n']}: {json.dumps(figures)}")
    if options.search:
        async with ours(options.address, server_core, fast=options.fast) as subject:
            first = await search(subject, max(options.sizes), smooth=options.smooth)
        found = f"first at N = {first}, in steps of {_STEP}" if first else f"never up to N = {_MOST}"
        print(f"One core loses more than {_LOSS:.1%} of the packets: {found}.")
    return rows


async def _take_turns(subject: Ours, rival: Janus | None, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure both servers in turn, _TURNS times; return the medians of all figures and of the ratio."""
    turns: list[dict[str, Any]] = []
    for _ in range(options.turns):
        turn = await measure(subject, count, options, smooth=options.smooth)
        if options.layered:
            turn |= await measure_layered(subject, count, options)
            turn["layered_ratio"] = round(turn["layered_us_per_packet"] / turn["us_per_packet"], 2)
        if rival is not None:
            theirs = await measure(rival, count, options, smooth=options.smooth)
            turn |= {f"janus_{name}": value for name, value in theirs.items()}
            turn["ratio"] = round(turn["us_per_packet"] / theirs["us_per_packet"], 2)
        turns.append(turn)
        _say(f"N = {count}: {json.dumps(turn)}")
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


def _print_table(rows: list[dict[str, Any]]) -> None:
    names = [name for name in _COLUMNS if any(name in row for row in rows)]
    print("".join(f"{_COLUMNS[name]:>14}" for name in names))
    for row in rows:
        print("".join(f"{row[name] if row.get(name) is not None else '-':>14}" for name in names))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _in_namespace(command: list[str]) -> int | None:
    """Run a command in a new network namespace with an address; return its status, or None if that is impossible."""
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        return None
    prepare = (
        "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v1 up && ip link set v0 up &&"
        f' ip address add {_ADDRESS}/24 dev v0 && exec "$@"'
    )
    return subprocess.run([*unshare, "sh", "-c", prepare, "sh", *command], check=False).returncode


def _sizes(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="write the rows to this file as JSON")
    parser.add_argument("--sizes", type=_sizes, default=list(SIZES), help="conference sizes, separated by commas")
    parser.add_argument("--conferences", type=int, default=1, help="conferences of each size at once")
    parser.add_argument("--seconds", type=float, default=5, help="how long each measurement lasts")
    parser.add_argument("--smooth", action="store_true", help="spread video packets evenly")
    parser.add_argument(
        "--one-pattern", dest="both", action="store_false", help="measure only one pattern of video packets"
    )
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--python", dest="fast", action="store_false", help="forward in Python alone")
    parser.add_argument(
        "--no-layered", dest="layered", action="store_false", help="leave out simulcast and transport-wide feedback"
    )
    parser.add_argument("--turns", type=int, default=_TURNS, help="how often each size is measured")
    parser.add_argument("--no-janus", dest="janus", action="store_false", help="leave Janus out")
    parser.add_argument(
        "--no-search", dest="search", action="store_false", help="do not search for the first size with loss"
    )
    parser.add_argument("--address", default="127.0.0.1", help=argparse.SUPPRESS)
    parser.add_argument("--serve", metavar="ADDRESS", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Measure, print a table, and write the rows to the file; return the exit status."""
    options = _parse()
    if options.serve:
        _run_server(options.serve, fast=options.fast)
        return 0
    if len(os.sched_getaffinity(0)) < 2:
        print("This benchmark needs two cores: one to forward, one for the participants.")
        return 2
    inside = options.address == _ADDRESS
    if options.memory:
        options.janus = False
    elif options.janus and not inside:
        options.janus = False
        if shutil.which("janus") is None:
            print("Janus is not installed, so only this node is measured.")
        else:
            again = [sys.executable, "-m", "benchmarks.forwarding", "--address", _ADDRESS, *sys.argv[1:]]
            result = _in_namespace(again)
            if result is not None:
                return result
            print("Janus needs a network namespace, which cannot be made here. Only this node is measured.")
    rows = asyncio.run(run(options))
    _print_table(rows) if not options.memory else print(json.dumps(rows[0], indent=2))
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
