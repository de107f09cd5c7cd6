"""Measure the signalling: rounds of initiate-mod → mod-received → accept → mod-accepted.

    python -m benchmarks.signalling [--out file.json] [--seconds 20] [--rounds 10000] [--only-idle]

The benchmark starts real `manage.py serve` processes. It uses them over HTTP keep-alive connections and WebSockets.

- Latency: rounds begin at a fixed rate, as users would make them, even if earlier rounds are still running. The latency
  is the time from sending a PUT to the arrival of its event at the other side, for both PUTs of a round.
- Throughput: each of several calls begins its next round when its previous round is done. The result is the number of
  rounds finished per second. A single refusal or error ends the measurement.
- Yardstick: PUTs to one plain view of the framework (`benchmarks.yardstick`), as large and as frequent as those of the
  rounds. They are made before and after the rounds on SQLite. Ratios to the yardstick can be compared between machines.
- Memory: the server's resident set after a thousand rounds, and after all rounds.
- Idle channels: the cost of 1,000 and of 5,000 WebSockets that only answer heartbeats (`benchmarks.idle`).
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import psutil
import websockets

from benchmarks.idle import measure_idle
from benchmarks.slowest import VARIABLES, Lateness, Timed, print_slowest
from tests.support.descriptions import describe
from tests.support.services import Backend, Backends, Server, free_port, wait_until

_CALLS = 16
_RATE = 20.0  # rounds per second
_PATIENCE = 10.0  # seconds
_IDLE_CHANNELS = (1000, 5000)
_WARM_UP_ROUNDS = 200
_OFFER_BYTES = 1400  # about the size of `tests.support.descriptions.describe()`
_VARIABLES = {
    "SBE_REQUESTS_PER_MINUTE": "1000000",
    "SBE_OFFERS_PER_MINUTE": "1000000",
    "SBE_CONNECTIONS_PER_ADDRESS": "1000000",
    "SBE_SESSION_SECONDS": "86400",
    "SBE_LOG_LEVEL": "WARNING",
    **VARIABLES,
}


class Connection:
    """One HTTP/1.1 connection that is kept alive. It is minimal, so that it adds little to the measured times."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host, self._port, self._token = host, port, token

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()

    async def put(self, path: str, action: str, body: Mapping[str, object], correlator: str = "-") -> None:
        """Send one action.

        :raises RuntimeError: when the response is not 204.
        """
        data = json.dumps(body).encode()
        head = (
            f"PUT {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nx-conference-action: {action}\r\n"
            f"x-correlator: {correlator}\r\n\r\n"
        )
        self._writer.write(head.encode() + data)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 204"):
            raise RuntimeError(f"{action}: {answer[:200]!r} {await self._reader.read(500)!r}")


class Yardstick:
    """A separate process that serves one plain view of the framework. PUTs to it are timed like those of calls."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()

    def __enter__(self) -> Self:
        """Start the process and wait until it listens."""
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.yardstick.settings",
            "SBE_YARDSTICK_DIRECTORY": str(self._directory),
        }
        daphne = [
            sys.executable,
            "-m",
            "daphne",
            "-v",
            "0",
            "-p",
            str(self._port),
            "benchmarks.yardstick.asgi:application",
        ]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *daphne], env=environment, stdout=subprocess.DEVNULL
        )
        wait_until(self._listens, "the yardstick listens")
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the process."""
        self._process.terminate()
        self._process.wait(_PATIENCE)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False

    async def measure(self, seconds: float) -> dict[str, float]:
        """Make PUTs at the rate of the calls, and then at full speed. There is one connection for each call."""
        async with contextlib.AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(Connection("127.0.0.1", self._port, "")) for _ in range(_CALLS)
            ]
            times = sorted(1000 * taken for taken in await self._at_rate(connections, seconds))
            end = time.perf_counter() + seconds / 2
            done = await asyncio.gather(*(self._until(end, each, number) for number, each in enumerate(connections)))
        return {
            "yardstick_ms_p50": statistics.median(times),
            "yardstick_ms_p99": times[int(len(times) * 0.99)],
            "yardstick_max_per_s": sum(done) / (seconds / 2),
        }

    async def _at_rate(self, connections: list[Connection], seconds: float) -> list[float]:
        """Make PUTs at the rate of the calls, two for each round; return how long each PUT took, in seconds."""
        begin = time.perf_counter()
        running = set()
        locks = [asyncio.Lock() for _ in connections]

        async def put(number: int) -> float:
            async with locks[number % _CALLS]:
                sent_at = time.perf_counter()
                await self._put(connections[number % _CALLS], number)
                return time.perf_counter() - sent_at

        for number in range(int(seconds * _RATE * 2)):
            await asyncio.sleep(max(0.0, begin + number / (2 * _RATE) - time.perf_counter()))
            running.add(asyncio.create_task(put(number)))
        return await asyncio.gather(*running)

    async def _until(self, end: float, connection: Connection, number: int) -> int:
        done = 0
        while time.perf_counter() < end:
            await self._put(connection, 60 * number)
            done += 1
        return done

    async def _put(self, connection: Connection, number: int) -> None:
        await connection.put(f"/rows/{number}", "", {"value": "v" * _OFFER_BYTES})


@dataclass
class Side:
    """One side of a call: its session, its connection and its WebSocket. `arrivals` holds events with their times."""

    session: dict[str, Any]
    http: Connection
    socket: Any
    arrivals: asyncio.Queue[tuple[float, dict[str, Any]]] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        """Start listening."""
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Close both connections."""
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self.http.__aexit__()
        await self.socket.close()

    async def _listen(self) -> None:
        """Record events as they arrive, and answer heartbeats."""
        async for text in self.socket:
            if text.startswith('{"type": "heartbeat"'):
                await self.socket.send(text)
            else:
                self.arrivals.put_nowait((time.perf_counter(), json.loads(text)))

    async def next_event(self, type_: str) -> tuple[float, dict[str, Any]]:
        """Return the next event and the time of its arrival.

        :raises RuntimeError: when the event is not of this type.
        """
        arrived_at, event = await asyncio.wait_for(self.arrivals.get(), _PATIENCE)
        if event["type"] != type_:
            raise RuntimeError(f"{event['type']} arrived instead of {type_}")
        return arrived_at, event


async def register(client: httpx.AsyncClient, server: Server, username: str) -> Side:
    """Register a session and open its event channel."""
    answer = await client.post(
        f"{server.base_url}/sessions",
        json={"username": username},
        headers={"authorization": f"Api-Key {server.api_key}"},
    )
    session = answer.raise_for_status().json()
    protocols = [websockets.Subprotocol("sbe.v1"), websockets.Subprotocol(f"bearer.{session['token']}")]
    socket = await websockets.connect(
        session["events"]["webSocket"] + "?after=0", subprotocols=protocols, compression=None, proxy=None
    )
    address = urlsplit(server.base_url)
    http = await Connection(address.hostname or "", address.port or 80, session["token"]).__aenter__()
    return Side(session, http, socket)


@dataclass
class Call:
    """A conference of two participants, and the events of its rounds."""

    conference: str
    alice: Side
    bob: Side
    events: list[Timed] = field(default_factory=list)
    versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(3))

    async def round(self) -> None:
        """Modify the conference once: Alice offers and Bob answers."""
        version = next(self.versions)
        path = f"/mediaConferences/{self.conference}"
        offer = {"type": "offer", "sdp": describe(version=version)}
        mod = await self._timed("initiate-conference-mod", self.alice, self.bob, "mod-received", path, offer)
        answer = {"type": "answer", "sdp": describe(version=version, session=777, setup="active"), "modId": mod}
        await self._timed("accept-conference-mod", self.bob, self.alice, "mod-accepted", path, answer)

    async def _timed(self, action: str, sender: Side, receiver: Side, type_: str, path: str, body: Any) -> str:
        """Send one action and wait for its response and its event. Record the time; return the modification's ID."""
        correlator = f"{self.conference}.{len(self.events)}"
        sent_at = time.perf_counter()
        _, (arrived_at, event) = await asyncio.gather(
            sender.http.put(path, action, body, correlator), receiver.next_event(type_)
        )
        self.events.append(Timed(correlator, sent_at, arrived_at))
        return str(event["modId"])


class Load:
    """Calls. If more than one server runs, the two sides of a call use different servers."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers = servers
        self.calls: list[Call] = []

    async def __aenter__(self) -> Self:
        async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE) as client:
            for number in range(_CALLS):
                self.calls.append(await self._open_call(client, number))
        return self

    async def __aexit__(self, *error: object) -> None:
        for side in [side for call in self.calls for side in (call.alice, call.bob)]:
            await side.close()

    async def _open_call(self, client: httpx.AsyncClient, number: int) -> Call:
        """Register two sides and connect them in a call."""
        alice = await register(client, self._servers[number % len(self._servers)], f"alice{number}")
        bob = await register(client, self._servers[(number + 1) % len(self._servers)], f"bob{number}")
        started = await client.post(
            f"{self._servers[0].base_url}/mediaConferences",
            json={"to": [f"bob{number}"], "topology": "peer", "type": "offer", "sdp": describe()},
            headers={"authorization": f"Bearer {alice.session['token']}"},
        )
        conference = started.raise_for_status().json()["id"]
        await bob.next_event("invitation-received")
        answer = {"type": "answer", "sdp": describe(session=777, setup="active")}
        await bob.http.put(f"/mediaConferences/{conference}", "conference-answer", answer)
        await alice.next_event("session-open")
        return Call(conference, alice, bob)

    async def at_rate(self, seconds: float) -> list[Timed]:
        """Make rounds at the fixed rate and return their events."""
        earlier = [len(call.events) for call in self.calls]
        free = list(self.calls)
        running: set[asyncio.Task[None]] = set()

        async def run(call: Call) -> None:
            await call.round()
            free.append(call)

        begin = time.perf_counter()
        for number in range(int(seconds * _RATE)):
            await asyncio.sleep(max(0.0, begin + number / _RATE - time.perf_counter()))
            if not free:
                raise RuntimeError(f"{_CALLS} calls are not enough for {_RATE:.0f} rounds/s: the server is too slow")
            running.add(asyncio.create_task(run(free.pop(0))))
        await asyncio.gather(*running)
        return [event for call, number in zip(self.calls, earlier, strict=True) for event in call.events[number:]]

    async def at_full_speed(self, more: Callable[[int], bool]) -> float:
        """Begin rounds in all calls as long as `more(rounds begun)` returns true; return the rounds per second."""
        begun = itertools.count()

        async def run(call: Call) -> None:
            while more(next(begun)):
                await call.round()

        begin = time.perf_counter()
        await asyncio.gather(*map(run, self.calls))
        return (next(begun) - len(self.calls)) / (time.perf_counter() - begin)


async def measure_sqlite(server: Server, *, seconds: float, rounds: int) -> dict[str, float]:
    """Measure the latency, throughput and memory of one process on SQLite."""
    async with Load([server]) as load:
        await load.at_full_speed(lambda begun: begun < _WARM_UP_ROUNDS)
        figures = await _measure_events(server, load, seconds)
        if not rounds:
            return figures
        early = await load.at_full_speed(lambda begun: begun < 1000)
        rss_early = _rss_mib(server)
        rate = await load.at_full_speed(lambda begun: begun < rounds - 1000)
    return {
        **figures,
        "sqlite_max_rounds_per_s": max(early, rate),
        "rss_mib_early": rss_early,
        "rss_mib": _rss_mib(server),
    }


async def _measure_events(server: Server, load: Load, seconds: float) -> dict[str, float]:
    """Measure the latency of events at the fixed rate, and print where the slowest events waited."""
    lateness = Lateness()
    async with lateness.watch():
        events = await load.at_rate(seconds)
    print_slowest(events, server.log(), lateness)
    times = sorted(event.milliseconds for event in events)
    return {"event_ms_p50": statistics.median(times), "event_ms_p99": times[int(len(times) * 0.99)]}


async def measure_postgres(servers: list[Server], *, seconds: float) -> dict[str, float]:
    """Measure the throughput of several processes on PostgreSQL and Redis."""
    async with Load(servers) as load:
        await load.at_full_speed(lambda begun: begun < _WARM_UP_ROUNDS)
        end = time.perf_counter() + seconds
        return {"postgres_max_rounds_per_s": await load.at_full_speed(lambda _: time.perf_counter() < end)}


def _rss_mib(server: Server) -> float:
    return float(psutil.Process(server.pid).memory_info().rss) / 2**20


def _with_servers(
    backend: Backend, number: int, measure: Callable[[list[Server]], Awaitable[dict[str, float]]]
) -> dict[str, float]:
    """Start servers on one backend, measure, and stop them."""
    directory = Path(tempfile.mkdtemp(prefix="sbe-bench-"))
    servers = [Server(backend, directory, _VARIABLES, anew=True) for _ in range(number)]
    try:
        for server in servers:
            server.start()

        async def run() -> dict[str, float]:
            return await measure(servers)

        figures = asyncio.run(run())
        _print(figures)
        return figures
    finally:
        for server in servers:
            server.stop()


def _measure_yardstick(seconds: float) -> dict[str, float]:
    """Start the yardstick, measure it, and stop it."""
    with Yardstick(Path(tempfile.mkdtemp(prefix="sbe-bench-"))) as yardstick:
        return asyncio.run(yardstick.measure(seconds))


def _measure_rounds(backends: Backends, seconds: float, rounds: int) -> dict[str, float]:
    """Measure SQLite between two measurements of the yardstick, then PostgreSQL and Redis."""
    before = _measure_yardstick(seconds)
    figures = _with_servers(
        backends.sqlite(), 1, lambda servers: measure_sqlite(servers[0], seconds=seconds, rounds=rounds)
    )
    after = _measure_yardstick(seconds)
    figures |= {name: (before[name] + after[name]) / 2 for name in before}
    figures |= _ratios(figures)
    _print({name: figures[name] for name in figures if "yardstick" in name or "_to_" in name})
    return figures | _with_servers(backends.grown(), 2, lambda servers: measure_postgres(servers, seconds=seconds))


def _ratios(figures: Mapping[str, float]) -> dict[str, float]:
    """Return ratios to compare between machines: to the yardstick's figures, and of 99th percentiles to medians."""
    return {
        "event_to_yardstick_p50": figures["event_ms_p50"] / figures["yardstick_ms_p50"],
        "event_p99_to_p50": figures["event_ms_p99"] / figures["event_ms_p50"],
        "yardstick_p99_to_p50": figures["yardstick_ms_p99"] / figures["yardstick_ms_p50"],
        # A round is two PUTs.
        "puts_to_yardstick_puts": 2 * figures["sqlite_max_rounds_per_s"] / figures["yardstick_max_per_s"],
    }


def _print(figures: Mapping[str, float]) -> None:
    for name, value in figures.items():
        print(f"{name:28} {value:10.2f}", flush=True)


def main() -> int:
    """Run all measurements, print the figures, and write them to the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="write the figures to this file as JSON")
    parser.add_argument("--seconds", type=float, default=20, help="how long each timed part lasts")
    parser.add_argument("--rounds", type=int, default=10_000, help="rounds before the memory is read")
    parser.add_argument("--only-idle", action="store_true", help="measure the idle channels and nothing else")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as directory:
        backends = Backends(Path(directory))
        try:
            figures = {} if options.only_idle else _measure_rounds(backends, options.seconds, options.rounds)
            figures |= _with_servers(backends.sqlite(), 1, lambda servers: measure_idle(servers[0], _IDLE_CHANNELS))
        finally:
            backends.close()
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
