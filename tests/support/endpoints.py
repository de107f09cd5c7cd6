"""A session that uses real servers over real sockets."""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from tests.support.conformance import require_declared
from tests.support.descriptions import answer, describe, offer
from tests.support.services import Server

PATIENCE = 15.0
# Servers under test have no rate limits.
UNLIMITED = {
    "SBE_REQUESTS_PER_MINUTE": "1000000",
    "SBE_OFFERS_PER_MINUTE": "1000000",
    "SBE_CHANGES_PER_MINUTE": "1000000",
    "SBE_CHANGES_AT_ONCE": "1000000",
    "SBE_INVITATIONS_PER_PAIR": "1000000",
    "SBE_SDP_CHARACTERS_PER_MINUTE": "2000000000",
    "SBE_UNKNOWN_TOKENS_PER_MINUTE": "1000000",
    "SBE_CONNECTIONS_PER_ADDRESS": "1000000",
}
# Some tests open many connections of one session.
UNLIMITED["SBE_READERS_PER_SESSION"] = "1000"

Event = dict[str, Any]


def new_name(name: str) -> str:
    """Return a unique username, for tests that share a server."""
    return f"{name}-{secrets.token_hex(4)}"


class Endpoint:
    """A session on one server, registered by `Endpoints`."""

    def __init__(self, server: Server, session: dict[str, Any], client: httpx.AsyncClient) -> None:
        """Use a registered session."""
        self.server, self.session, self._client = server, session, client
        self.id, self.token, self.username = session["id"], session["token"], session["username"]
        self._versions = 10

    def elsewhere(self, server: Server) -> "Endpoint":
        """Return the same session on another server."""
        return Endpoint(server, self.session, self._client)

    # --- REST ---------------------------------------------------------------------------------------------

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a request. Keyword arguments are headers, with `_` for `-`."""
        named = {"authorization": f"Bearer {self.token}"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._client.request(method, self.server.base_url + path, json=body, headers=named)

    async def call(self, to: str, **headers: str) -> httpx.Response:
        """Start a peer call."""
        return await self.request("POST", "/mediaConferences", {"to": [to], "topology": "peer", **offer()}, **headers)

    async def put(self, conference: str, action: str, body: Any, **headers: str) -> httpx.Response:
        """Send an action of a conference."""
        return await self.request("PUT", f"/mediaConferences/{conference}", body, x_conference_action=action, **headers)

    async def answer(self, conference: str, **headers: str) -> httpx.Response:
        """Answer an invitation."""
        return await self.put(conference, "conference-answer", answer(), **headers)

    async def modify(self, conference: str, *, characters: int = 0, **headers: str) -> httpx.Response:
        """Offer a modification whose SDP has at least this many characters."""
        self._versions += 1
        sdp = describe(version=self._versions)
        while len(sdp) < characters:
            sdp += f"a=x-padding:{'x' * min(4000, characters)}\r\n"
        return await self.put(conference, "initiate-conference-mod", {"type": "offer", "sdp": sdp}, **headers)

    async def accept(self, conference: str, modification: str) -> httpx.Response:
        """Accept a modification."""
        body = {"modId": modification, **answer()}
        return await self.put(conference, "accept-conference-mod", body)

    async def withdraw(self, conference: str, modification: str) -> httpx.Response:
        """Reject or cancel a modification."""
        return await self.put(conference, "rejectCancel-conference-mod", {"modId": modification})

    async def delete(self, conference: str) -> httpx.Response:
        """Leave or decline a conference."""
        return await self.request("DELETE", f"/mediaConferences/{conference}")

    # --- The event channel --------------------------------------------------------------------------------

    @property
    def events_path(self) -> str:
        """Return the path of the event channel."""
        return f"/sessions/{self.id}/events"

    def socket(self, after: int | str | None = None, **options: Any) -> websockets.connect:
        """Open the event channel over WebSocket: `async with endpoint.socket(after=3) as socket`."""
        query = "" if after is None else f"?after={after}"
        return connect(self.server, self.events_path + query, token=self.token, **options)

    async def poll(self, after: int = 0, wait: int = 0, **headers: str) -> httpx.Response:
        """Poll the event channel."""
        return await self.request("GET", f"{self.events_path}?after={after}&wait={wait}", **headers)

    async def log(self) -> list[Event]:
        """Return the whole log."""
        events: list[Event] = []
        while batch := (await self.poll(after=len(events))).json()["events"]:
            events += batch
        for event in events:
            require_declared(event)
        return events

    async def wait_for_event(self, type_: str, number: int = 1) -> Event:
        """Wait until the log has this many events of a type, and return the last of them."""
        after, seen = 0, 0
        # The server may still have to start.
        async with asyncio.timeout(2 * PATIENCE):
            while True:
                answer_ = (await self.poll(after=after, wait=10)).json()
                after = answer_["after"]
                for event in answer_["events"]:
                    seen += event["type"] == type_
                    if seen == number:
                        return dict(event)


class Endpoints:
    """Registers endpoints, and closes their connections at the end."""

    def __init__(self) -> None:
        """Make a client without a bound on simultaneous connections."""
        limits = httpx.Limits(max_connections=None)
        # No connection is encrypted. Reading the usual certificates would take longer than most tests.
        self._client = httpx.AsyncClient(trust_env=False, verify=False, timeout=2 * PATIENCE, limits=limits)

    async def __aenter__(self) -> Self:
        """Return the endpoints."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def register(self, server: Server, username: str, device: str = "laptop", **identity: str) -> Endpoint:
        """Register a session on a server."""
        registered = await self._client.post(
            f"{server.base_url}/sessions",
            json={"username": username, "device": device, **identity},
            headers={"authorization": f"Api-Key {server.api_key}"},
        )
        assert registered.status_code == 201, registered.text
        return Endpoint(server, registered.json(), self._client)

    async def call(self, server: Server) -> tuple[Endpoint, Endpoint, str]:
        """Register two endpoints of new users and open a conference between them; return them and its confId."""
        alice, bob = [await self.register(server, new_name(name)) for name in ("alice", "bob")]
        conference = (await alice.call(bob.username)).json()["id"]
        answered = await bob.answer(conference)
        assert answered.status_code == 204, answered.text
        return alice, bob, conference


def connect(server: Server, path: str, *, token: str | None, **options: Any) -> websockets.connect:
    """Open a WebSocket as a browser would: the token goes in a subprotocol."""
    subprotocols = ["sbe.v1"] if token is None else ["sbe.v1", f"bearer.{token}"]
    return websockets.connect(
        f"ws://127.0.0.1:{server.port}{path}",
        **{
            "subprotocols": [websockets.Subprotocol(each) for each in subprotocols],
            "compression": None,
            "proxy": None,
            **options,
        },
    )


async def next_event(socket: ClientConnection) -> Event:
    """Return the next event on a WebSocket, answering the heartbeats before it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            text = await socket.recv()
            event: Event = json.loads(text)
            if event["type"] != "heartbeat":
                require_declared(event)
                return event
            await socket.send(text)


async def events_until(socket: ClientConnection, seq: int) -> list[Event]:
    """Return the events on a WebSocket up to the one with this number."""
    events = [await next_event(socket)]
    while events[-1]["seq"] < seq:
        events.append(await next_event(socket))
    return events


async def close_code(socket: ClientConnection) -> int | None:
    """Read a WebSocket until it closes, without answering heartbeats; return its close code."""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code


async def until(true: Callable[[], Awaitable[bool]], what: str, *, seconds: float = PATIENCE) -> None:
    """Wait for a condition that is checked by a request, every 20 ms.

    :raises TimeoutError: when it does not become true in time; the text names the condition.
    """
    deadline = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.02)
