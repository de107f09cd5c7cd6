"""Measure how much time one join or leave of a large conference costs the event loop that forwards media.

    python -m benchmarks.large [--out file.json] [--sizes 10,20,40,80] [--rounds 3]

A node runs in a separate process on one core; the participants run on the other cores. N - 1 participants are in one
conference, with Chromium's list of codecs, and send nothing. One more participant joins and leaves `--rounds` times.
Two neighbours are in a call on the same node, and one of them sends a packet every 5 ms.

- Loop time: processor time of the loop's thread between waits for the network, minus the time of an idle loop with the
  same neighbours. `loop_ms_longest` is the most processor time between two waits.
- Neighbour's delay: the time from making a packet until the kernel of the receiver has it. The figure is the 99.9th
  percentile minus the median delay on an idle node. `idle_delay_ms_p999` is the same figure without joins: the delay
  that the machine itself adds.
- Offer: the largest offer that the focus makes during the joins and leaves, in bytes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import selectors
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.forwarding import Side, Stopwatch
from media.focus.node import Node, Settings, prepare_interpreter
from media.reports import Connection, Notice, Sample, Verdict
from tests.support.media.by_json import by_json
from tests.support.media.synthetic import Peer, SyntheticConference
from tests.support.samples import SAMPLES

SIZES = (10, 20, 40, 80)
_PERIOD_SECONDS = 0.005
_IDLE_SECONDS = 5.0
_PATIENCE_SECONDS = 120.0
_LINE_LIMIT = 64 * 1024 * 1024
_OFFER = SAMPLES["chromium-audio-video"].replace("\r\n", "\n")


class _Reports:
    """Ignores the node's reports, except lost legs."""

    def leg_lost(self, conference: str, participant: str, leg: str) -> None:
        """Print that a leg is lost, which should not happen."""
        print("lost:", conference, participant, leg, file=sys.stderr)

    def speaker_changed(self, conference: str, participant: str) -> None:
        """Ignore the speaker."""

    def connection_changed(self, conference: str, participant: str, connection: Connection) -> None:
        """Ignore the quality of connections."""

    def connection_judged(self, conference: str, participant: str, verdict: Verdict, since: float) -> None:
        """Ignore the records of connections."""

    def sampled(self, conference: str, samples: list[Sample]) -> None:
        """Ignore samples of quality."""

    def noticed(self, conference: str, participant: str, notice: Notice) -> None:
        """Ignore notices."""


# --- The node's process -------------------------------------------------------------------------------------


class Meter(selectors.EpollSelector):
    """A selector that measures the work between two waits, in seconds of the thread's processor time."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.longest = self.longest_wall = 0.0
        self._since = (time.thread_time(), time.perf_counter())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Record the work since the last wait, and wait again."""
        worked, passed = time.thread_time() - self._since[0], time.perf_counter() - self._since[1]
        self.total += worked
        self.longest, self.longest_wall = max(self.longest, worked), max(self.longest_wall, passed)
        events = super().select(timeout)
        self._since = (time.thread_time(), time.perf_counter())
        return events

    def read(self) -> dict[str, float]:
        """Return the total work and the longest work between two waits since the last call, in milliseconds."""
        figures = {"total": self.total, "longest": self.longest, "longest_wall": self.longest_wall}
        self.total = self.longest = self.longest_wall = 0.0
        return {name: 1000 * seconds for name, seconds in figures.items()}


async def _serve(meter: Meter) -> None:
    """Run a node until standard input ends. Tasks and results are lines of JSON."""
    prepare_interpreter()
    node = Node(Settings(), _Reports())
    await node.start()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = await loop.run_in_executor(None, json.loads, line)
        if "meter" in task:
            result: Mapping[str, Any] = meter.read()
        else:
            result = await by_json(node)(task["conference"], task["kind"], task["payload"])
        await loop.run_in_executor(None, _print, dict(result))
    await node.stop()


def _print(result: dict[str, Any]) -> None:
    """Write a result, with each offer on a separate line. Encoding all at once would hold the interpreter lock long."""
    offers = result.pop("offers", [])
    print(json.dumps({"result": result, "offers": len(offers)}))
    for offer in offers:
        print(json.dumps(offer))
    sys.stdout.flush()


def _run_server() -> None:
    meter = Meter()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(meter)) as runner:
        runner.run(_serve(meter))


class Server:
    """A node in another process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.offer_bytes = 0

    async def execute(self, conference: str, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a task to the node and return the result."""
        result = await self._ask({"conference": conference, "kind": kind, "payload": payload})
        self.offer_bytes = max([self.offer_bytes, *(len(offer["sdp"]) for offer in result.get("offers", ()))])
        return result

    async def meter(self) -> Mapping[str, float]:
        """Return the times of the node's `Meter` since the last call, in milliseconds."""
        return await self._ask({"meter": True})

    async def _ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._process.stdin is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            head = await self._line()
            offers = [await self._line() for _ in range(head["offers"])]
        return {**head["result"], **({"offers": offers} if offers else {})}

    async def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE_SECONDS)
        if not line:
            raise RuntimeError("the node has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """Run a node on the last core. Until the end of the block, this process uses only the other cores."""
    cores = os.sched_getaffinity(0)
    core = max(cores)
    os.sched_setaffinity(0, cores - {core} or cores)
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "benchmarks.large", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=_LINE_LIMIT,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        yield Server(process)
    finally:
        os.sched_setaffinity(0, cores)
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 10)


# --- Participants -------------------------------------------------------------------------------------------


class Browser(Peer):
    """A synthetic participant whose offer lists Chromium's codecs and extensions."""

    def __init__(self, id_: str) -> None:
        super().__init__(id_)
        for section, text in zip(self.sections, _OFFER.split("m=")[1:], strict=False):
            head, *attributes = text.strip().splitlines()
            section.formats = head.split(" ", 3)[3]
            section.attributes = [each for each in attributes if each.startswith(_KEPT)]


_KEPT = ("a=rtpmap", "a=fmtp", "a=rtcp-fb", "a=extmap:")


class Neighbours:
    """A call between two participants. One of them sends a packet every 5 ms."""

    def __init__(self, caller: Peer, callee: Peer) -> None:
        self._caller, self._callee = caller, callee
        callee.pause_reading()
        self._watch = Stopwatch([Side(caller, callee)])

    async def run(self) -> None:
        """Send and read until cancelled."""
        due = time.perf_counter()
        while True:
            self._caller.send([self._caller.sources[1].packet()])
            due = max(due + _PERIOD_SECONDS, time.perf_counter())
            await asyncio.sleep(due - time.perf_counter())
            self._watch(self._callee)

    def delays(self, *percentiles: float) -> list[float]:
        """Return these percentiles (0 to 1) of the delays since the last call, in milliseconds."""
        delays = [self._watch.percentile(each) or 0.0 for each in percentiles]
        self._watch.milliseconds.clear()
        return delays


def newcomers(server: Server, number: int) -> tuple[SyntheticConference, list[Peer]]:
    """Return an empty conference, and this many peers that can join it."""
    return SyntheticConference(secrets.token_hex(4), server.execute), [
        Browser(secrets.token_hex(16)) for _ in range(number)
    ]


async def conference_of(server: Server, number: int) -> tuple[SyntheticConference, list[Peer]]:
    """Return a conference and its members."""
    conference, peers = newcomers(server, number)
    for peer in peers:
        await conference.join(peer, settle=False)
    await conference.update()
    await conference.settle()
    return conference, peers


async def call_on(server: Server) -> tuple[SyntheticConference, Peer, Peer]:
    """Return a call, its caller and its callee."""
    call = SyntheticConference(secrets.token_hex(4), server.execute)
    caller, callee = Peer("caller"), Peer("callee")
    for peer in (caller, callee):
        await call.join(peer)
    return call, caller, callee


async def _measure(server: Server, count: int, rounds: int) -> dict[str, Any]:
    """Measure while another participant joins and leaves a conference of N - 1."""
    conference, peers = await conference_of(server, count - 1)
    call, caller, callee = await call_on(server)
    neighbours = Neighbours(caller, callee)
    sending = asyncio.create_task(neighbours.run())
    await server.meter()
    await asyncio.sleep(_IDLE_SECONDS)
    idle, (usual, idle_delay) = await server.meter(), neighbours.delays(0.5, 0.999)
    server.offer_bytes = 0
    figures: dict[str, list[Mapping[str, float]]] = {"join": [], "leave": []}
    for _ in range(rounds):
        last = Browser(secrets.token_hex(16))
        for name, work in (("join", conference.join), ("leave", conference.leave)):
            begin = time.perf_counter()
            await work(last)
            await conference.settle()
            passed = time.perf_counter() - begin
            spent = dict(await server.meter())
            spent["total"] -= idle["total"] * passed / _IDLE_SECONDS
            figures[name].append({**spent, "passed": 1000 * passed})
    (delay,) = neighbours.delays(0.999)
    sending.cancel()
    await asyncio.wait([sending])
    for peer in peers:
        await conference.leave(peer)
    for peer in (caller, callee):
        await call.leave(peer)
    medians = {
        f"{name}_ms_{figure}": round(median(each[figure] for each in each_round), 1)
        for name, each_round in figures.items()
        for figure in ("total", "longest", "longest_wall", "passed")
    }
    return {
        "n": count,
        "loop_ms_total": max(medians["join_ms_total"], medians["leave_ms_total"]),
        "loop_ms_longest": max(medians["join_ms_longest"], medians["leave_ms_longest"]),
        "neighbour_delay_ms_p999": round(delay - usual, 1),
        "idle_delay_ms_p999": round(idle_delay - usual, 1),
        "offer_bytes": server.offer_bytes,
        **medians,
    }


async def _run(options: argparse.Namespace) -> None:
    rows = []
    for count in options.sizes:
        async with serving() as server:
            rows.append(await _measure(server, count, options.rounds))
        print(" ".join(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
    if options.out:
        Path(options.out).write_text(json.dumps(rows, indent=1) + "\n")


def _sizes(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="conference sizes, separated by commas")
    parser.add_argument("--rounds", type=int, default=3, help="joins and leaves for each size")
    parser.add_argument("--out", help="write the rows to this file as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _run_server()
    else:
        asyncio.run(_run(options))


if __name__ == "__main__":
    main()
