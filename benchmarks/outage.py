"""Make PostgreSQL, Redis and a media node fail while calls run, and check that no call or event is lost.

    python -m benchmarks.outage [--scale 1.0] [--out file.json]

The benchmark runs two web processes, three media nodes, PostgreSQL and Redis, all on loopback. The processes reach both
databases through relays. A stopped relay refuses connections; a hanging relay accepts everything and forwards nothing.
PostgreSQL is stopped for 20 s and hangs for 20 s, Redis is stopped for 60 s, and one media node is killed. With a pause
after each failure, this takes five minutes. `--scale` multiplies these times, but a pause lasts at least 15 s.

During all failures, six conferences of two members stay open, with real connections to their nodes. Three pairs of
users call each other repeatedly. A refused request is retried with the same `Idempotency-Key`. The benchmark fails
when

- a conference leaves a media node that is alive, or stays on the node that was killed;
- the events that a session received have a gap, or differ from the session's log at the end;
- one of the six conferences ends or loses a member, or one of its modifications expires;
- no call is finished during a failure and the pause after it;
- any request is answered with 500, or a web process logs an internal error.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import websockets

from tests.support.descriptions import answer, describe, offer
from tests.support.endpoints import connect
from tests.support.media.synthetic import Peer
from tests.support.relay import Relay
from tests.support.services import Backend, Backends, Server, free_port, spawned, wait_until

_CONFERENCES = 6
_PAIRS = 3
_PATIENCE_SECONDS = 120.0
_RETRY_SECONDS = 0.5
_NEWS_SECONDS = 10.0
# The pause after each failure, in seconds. A shorter pause would not show that calls continue.
_PAUSE_SECONDS, _SHORTEST_PAUSE_SECONDS = 38.0, 15.0
# Temporary refusals: the request is repeated with the same `Idempotency-Key`.
_LATER = {429, 502, 503}
_VARIABLES = {
    "SBE_REQUESTS_PER_MINUTE": "1000000",
    "SBE_OFFERS_PER_MINUTE": "1000000",
    "SBE_CONNECTIONS_PER_ADDRESS": "1000000",
    "SBE_SESSION_SECONDS": "86400",
    "SBE_RING_SECONDS": "120",
    "SBE_MODIFICATION_SECONDS": "120",
    "SBE_HEARTBEAT_SECONDS": "5",
    "SBE_MEDIA_NODE": "0",
}


@dataclass
class Cluster:
    """All processes, and the relays between them and their databases."""

    servers: list[Server]
    nodes: dict[int, "subprocess.Popen[bytes]"]
    database: Relay
    redis: Relay
    database_url: str

    def placements(self) -> dict[str, int]:
        """Return the media port of each live focus conference's node; -1 if unknown. The query bypasses the relay."""
        query = (
            "SELECT c.id, n.announce FROM conferences_conference c LEFT JOIN media_medianode n ON n.id = c.media_node"
            " WHERE c.topology = 'focus' AND c.ended_at IS NULL"
        )
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(query).fetchall()
        return {name: int(announce.split()[-1]) if announce else -1 for name, announce in rows}


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Run all processes until the end of the block."""
    with ExitStack() as stack:
        backends = Backends(directory)
        stack.callback(backends.close)
        backend = backends.grown()
        url, redis_url = backend.variables["DATABASE_URL"], backend.variables["REDIS_URL"]
        database, redis = [stack.enter_context(Relay(urlsplit(each).port or 0)) for each in (url, redis_url)]
        variables = {
            **backend.variables,
            **_VARIABLES,
            "DATABASE_URL": url.replace(f":{urlsplit(url).port}/", f":{database.port}/"),
            "REDIS_URL": redis_url.replace(f":{urlsplit(redis_url).port}/", f":{redis.port}/"),
        }
        nodes = {}
        for _ in range(3):
            port = free_port()
            nodes[port] = stack.enter_context(media_node(directory, variables, port))
        servers = [
            stack.enter_context(Server(Backend(variables, backend.api_key), directory, anew=True)) for _ in range(2)
        ]
        wait_until(
            lambda: (
                len(httpx.get(f"{servers[0].base_url}/healthz", trust_env=False).json()["mediaNodes"]) == len(nodes)
            ),
            "all media nodes are alive",
        )
        yield Cluster(servers, nodes, database, redis, url)


def media_node(
    directory: Path, variables: dict[str, str], port: int
) -> contextlib.AbstractContextManager["subprocess.Popen[bytes]"]:
    """Run `manage.py medianode` on a port."""
    own = {**variables, "MEDIA_PORT": str(port), "SBE_STATE_DIR": str(directory)}
    log = directory / f"node-{port}.log"
    return spawned(log, "manage.py", "medianode", variables=own, ends_with=signal.SIGTERM)


class Member:
    """One session: its requests, its event channel, and its connection to the focus."""

    def __init__(self, world: "World", session: dict[str, Any]) -> None:
        """Start following the event channel."""
        self.id, self.token, self.username = session["id"], session["token"], session["username"]
        self.events: list[dict[str, Any]] = []
        self.gaps: list[str] = []
        self.peer: Peer | None = None
        self._world = world
        self._news = asyncio.Condition()
        self._servers = itertools.cycle(world.cluster.servers)
        self._follower = asyncio.create_task(self._follow())

    async def insist(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a request to the servers in turn until it is served or permanently refused."""
        named = {"authorization": f"Bearer {self.token}", "idempotency-key": secrets.token_hex(8)}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._world.insist(self._servers, method, path, body, named)

    async def put(self, conference: str, action: str, body: Any) -> httpx.Response:
        """Repeat an action of a conference until it is served or permanently refused."""
        return await self.insist("PUT", f"/mediaConferences/{conference}", body, x_conference_action=action)

    async def event(self, type_: str, conference: str) -> dict[str, Any]:
        """Wait until an event of this type in this conference has arrived; return the newest."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.events if each["type"] == type_ and each["confId"] == conference]

        async with asyncio.timeout(_PATIENCE_SECONDS), self._news:
            await self._news.wait_for(lambda: bool(found()))
        return found()[-1]

    async def received(self, number: int) -> list[dict[str, Any]]:
        """Wait up to _NEWS_SECONDS for this many events. Return all events received so far."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NEWS_SECONDS), self._news:
                await self._news.wait_for(lambda: len(self.events) >= number)
        return self.events

    async def close(self) -> None:
        """Stop following the event channel, and close the media connection."""
        self._follower.cancel()
        await asyncio.gather(self._follower, return_exceptions=True)
        if self.peer is not None:
            await self.peer.close()

    async def _follow(self) -> None:
        while True:
            server = next(self._servers)
            path = f"/sessions/{self.id}/events?after={len(self.events)}"
            with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
                async with connect(server, path, token=self.token, open_timeout=10, ping_interval=None) as socket:
                    async for text in socket:
                        event = json.loads(text)
                        if event["type"] == "heartbeat":
                            await socket.send(text)
                        else:
                            await self._take(event)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _take(self, event: dict[str, Any]) -> None:
        """Record an event. A repeated event is not an error: delivery is at least once."""
        seq = event.get("seq")
        if seq is None:
            if event["type"] == "gap":
                self.gaps.append(str(event))
            return
        if seq <= len(self.events):
            return
        if seq > len(self.events) + 1:
            self.gaps.append(f"{len(self.events)} -> {seq}")
        async with self._news:
            self.events.append(event)
            self._news.notify_all()
        if event["type"] == "mod-received" and event["from"].get("participant") == "focus":
            self._world.start(self._accept(event))
        if event["type"] == "mod-accepted" and self.peer is not None and not self.peer.connected.is_set():
            self._world.start(self.peer.connect(event["description"]["sdp"]))

    async def _accept(self, event: dict[str, Any]) -> None:
        """Accept an offer of the focus, with a new connection if the offer requires one."""
        sdp, former = event["description"]["sdp"], self.peer
        if former is None:
            return
        if event["restart"]:
            self.peer = Peer(former.id)
            await former.close()
        peer = self.peer
        assert peer is not None
        body = {"modId": event["modId"], "type": "answer", "sdp": peer.answer(sdp)}
        response = await self.put(event["confId"], "accept-conference-mod", body)
        if event["restart"] and response.is_success:
            await peer.connect(sdp)


@dataclass
class World:
    """The users, their requests' statuses, and the faults that were found."""

    cluster: Cluster
    client: httpx.AsyncClient
    members: list[Member] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    faults: list[str] = field(default_factory=list)
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    def start(self, work: Any) -> None:
        """Run a coroutine in the background. If it raises, record a fault."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.faults.append(f"{task.get_coro()}: {error!r}")

    async def close(self) -> None:
        """Cancel the background tasks and close all members."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(member.close() for member in self.members))

    async def insist(
        self, servers: Iterator[Server], method: str, path: str, body: Any, headers: dict[str, str]
    ) -> httpx.Response:
        """Repeat a request until it is served or permanently refused."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                url = next(servers).base_url + path
                try:
                    response = await self.client.request(method, url, json=body, headers=headers)
                except httpx.TransportError as error:
                    self.statuses[type(error).__name__] += 1
                else:
                    self.statuses[str(response.status_code)] += 1
                    if response.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                        self.faults.append(f"500: {method} {path}")
                    if response.status_code not in _LATER:
                        return response
                await asyncio.sleep(_RETRY_SECONDS)

    async def register(self, name: str) -> Member:
        """Register a new user."""
        server = self.cluster.servers[len(self.members) % 2]
        headers = {"authorization": f"Api-Key {server.api_key}"}
        body = {"username": f"{name}-{secrets.token_hex(4)}", "device": "laptop"}
        response = await self.insist(itertools.cycle([server]), "POST", "/sessions", body, headers)
        self.members.append(Member(self, response.json()))
        return self.members[-1]

    async def open_conference(self) -> str:
        """Open a focus conference of two members that stays open; return its ID."""
        host, guest = [await self.register(name) for name in ("host", "guest")]
        host.peer, guest.peer = Peer(host.username), Peer(guest.username)
        body = {"to": [guest.username], "type": "offer", "sdp": host.peer.offer()}
        conference = str((await host.insist("POST", "/mediaConferences", body)).json()["id"])
        await guest.event("invitation-received", conference)
        await guest.put(conference, "conference-answer", {"type": "offer", "sdp": guest.peer.offer()})
        for member in (host, guest):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await member.peer.connected.wait()  # type: ignore[union-attr]
        return conference

    async def call_again_and_again(self) -> None:
        """Have two users call, modify the call and hang up repeatedly, until cancelled."""
        alice, bob = [await self.register(name) for name in ("alice", "bob")]
        for version in itertools.count(10):
            body = {"to": [bob.username], "topology": "peer", **offer()}
            conference = (await alice.insist("POST", "/mediaConferences", body)).json()["id"]
            await bob.event("invitation-received", conference)
            await bob.put(conference, "conference-answer", answer())
            await alice.event("session-open", conference)
            change = {"type": "offer", "sdp": describe(version=version)}
            await alice.put(conference, "initiate-conference-mod", change)
            received = await bob.event("mod-received", conference)
            await bob.put(conference, "accept-conference-mod", {"modId": received["modId"], **answer()})
            await alice.event("mod-accepted", conference)
            await alice.insist("DELETE", f"/mediaConferences/{conference}")
            await bob.event("session-terminated", conference)
            self.calls += 1

    async def log_of(self, member: Member) -> list[dict[str, Any]]:
        """Return a session's whole log, by long poll."""
        events: list[dict[str, Any]] = []
        while True:
            response = await member.insist("GET", f"/sessions/{member.id}/events?after={len(events)}&wait=0")
            if not (batch := response.json()["events"]):
                return events
            events += batch


class Watch:
    """Records each conference that moves to another node."""

    def __init__(self, cluster: Cluster) -> None:
        """Start with the present node of each conference."""
        self._cluster = cluster
        self.homes = cluster.placements()
        self.moves: list[tuple[str, int, int]] = []

    async def keep(self) -> None:
        """Look for moved conferences twice a second, until cancelled."""
        while True:
            now = await asyncio.to_thread(self._cluster.placements)
            for name, port in now.items():
                if name in self.homes and self.homes[name] != port:
                    self.moves.append((name, self.homes[name], port))
            self.homes |= now
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def people(running: Cluster) -> AsyncIterator[World]:
    """Yield a world without users. The end of the block closes the members that have registered."""
    timeout = httpx.Timeout(15, connect=5)
    async with AsyncExitStack() as stack:
        client = httpx.AsyncClient(trust_env=False, verify=False, timeout=timeout, limits=httpx.Limits())
        world = World(running, await stack.enter_async_context(client))
        stack.push_async_callback(world.close)
        yield world


async def run(running: Cluster, scale: float) -> dict[str, Any]:
    """Make everything fail in turn; return the figures, with all `faults`."""
    async with people(running) as world:
        conferences = [await world.open_conference() for _ in range(_CONFERENCES)]
        for _ in range(_PAIRS):
            world.start(world.call_again_and_again())
        watch = Watch(running)
        world.start(watch.keep())
        calls = await fail_in_turn(world, scale)
        if watch.moves:
            world.faults.append(f"left live nodes: {watch.moves}")
        took = await kill_a_node(world, watch)
        await asyncio.sleep(_pause(scale))
        calls["in all"] = world.calls
        await check(world, conferences)
        return {"calls": calls, "statuses": dict(world.statuses), "moved_seconds": took, "faults": world.faults}


async def fail_in_turn(world: World, scale: float) -> dict[str, int]:
    """Make the databases fail in turn; return the number of calls finished during each failure and its pause."""
    database, redis = world.cluster.database, world.cluster.redis
    calls = {}
    for name, begin, end, seconds in (
        ("nothing fails", None, None, 10.0),
        ("PostgreSQL stopped", database.stop, database.start, 20.0),
        ("PostgreSQL hangs", database.hang, database.go_on, 20.0),
        ("Redis stopped", redis.stop, redis.start, 60.0),
    ):
        before = world.calls
        if begin is not None and end is not None:
            begin()
            await asyncio.sleep(seconds * scale)
            end()
        await asyncio.sleep(_pause(scale))
        calls[name] = world.calls - before
        print(f"{name}: {calls[name]} calls finished, {dict(world.statuses)}", flush=True)
        if not calls[name]:
            world.faults.append(f"no call was finished during: {name}")
    return calls


def _pause(scale: float) -> float:
    """Return the length of the pause after each failure, in seconds."""
    return max(_PAUSE_SECONDS * scale, _SHORTEST_PAUSE_SECONDS)


async def kill_a_node(world: World, watch: Watch) -> float:
    """Kill the node with the most conferences; return how many seconds passed until all of them had moved."""
    victim = Counter(watch.homes.values()).most_common(1)[0][0]
    stays = {name: port for name, port in watch.homes.items() if port != victim}
    world.cluster.nodes[victim].kill()
    began_at = time.monotonic()
    async with asyncio.timeout(60):
        while victim in watch.homes.values() or -1 in watch.homes.values():
            await asyncio.sleep(0.2)
    took = time.monotonic() - began_at
    moved = {name for name, port in stays.items() if watch.homes[name] != port}
    if moved:
        world.faults.append(f"left live nodes: {moved}")
    print(f"one node killed: its conferences had moved after {took:.1f} s", flush=True)
    return took


async def check(world: World, conferences: list[str]) -> None:
    """Compare all received events with the logs, and check that the conferences are complete."""
    for member in world.members:
        await asyncio.sleep(0)
        log = await world.log_of(member)
        # Calls continue, so events newer than this log may have arrived too. All events of this log must have arrived.
        received = (await member.received(len(log)))[: len(log)]
        if member.gaps or [event["seq"] for event in received] != list(range(1, len(received) + 1)):
            world.faults.append(f"{member.username}: gaps {member.gaps}")
        if received != log:
            world.faults.append(f"{member.username}: {len(received)} of {len(log)} events")
        world.faults += [f"left: {event}" for event in log if event["confId"] in conferences and _is_loss(event)]
    for server in world.cluster.servers:
        if "Internal Server Error" in server.log():
            world.faults.append(f"port {server.port} logged an internal error")


def _is_loss(event: dict[str, Any]) -> bool:
    return event["type"] in {"participant-left", "session-terminated", "mod-expired"}


def main() -> int:
    """Run, print the figures and write them to the file; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="factor for all times")
    parser.add_argument("--out", type=Path, help="write the figures to this file as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, cluster(Path(directory)) as running:
        figures = asyncio.run(run(running, arguments.scale))
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
