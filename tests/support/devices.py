"""A device in tests: a session that sends requests and reads its own log."""

import itertools
import json
from dataclasses import dataclass, field, replace
from typing import Any

from django.test import Client
from rest_framework_api_key.models import APIKey

from conferences.models import Modification, Participant
from events.models import Event, Session
from events.offers import complete
from tests.support.conformance import require_declared
from tests.support.descriptions import answer, describe, mirror, offer

_peer_connections = itertools.count(1)


def gateway_key() -> str:
    """Return a fresh API key."""
    _, key = APIKey.objects.create_key(name="test")
    return str(key)


@dataclass
class Device:
    """One registered endpoint. `seen` is the number of the last event that a test has read.

    With a focus, the device has one peer connection. The versions of its descriptions increase.
    """

    id: str
    token: str
    username: str
    client: Client = field(default_factory=Client)
    seen: int = 0
    peer_connection: int = field(default_factory=lambda: next(_peer_connections))
    version: int = 0

    @classmethod
    def register(cls, username: str, device: str = "laptop", **identity: str) -> "Device":
        """Register an endpoint through the API."""
        response = Client().post(
            "/sessions",
            {"username": username, "device": device, **identity},
            content_type="application/json",
            headers={"authorization": f"Api-Key {gateway_key()}"},
        )
        assert response.status_code == 201, response.content
        body = response.json()
        return cls(id=body["id"], token=body["token"], username=username)

    def __deepcopy__(self, memo: object) -> "Device":
        """Return the same device with a separate HTTP connection."""
        return replace(self, client=Client())

    @property
    def row(self) -> Session:
        """The session's row."""
        return Session.objects.get(pk=self.id)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request. Keyword arguments are headers, with `_` for `-`."""
        content_type = headers.pop("content_type", "application/json")
        data = json.dumps(body) if isinstance(body, dict | list) else (body or "")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(
            method,
            path,
            data,
            content_type=content_type,
            headers={"authorization": f"Bearer {self.token}", **named},
        )

    def call(self, to: str, **fields: Any) -> Any:
        """Start a conference of topology `peer`."""
        return self.request("POST", "/mediaConferences", {"to": [to], "topology": "peer", **offer(), **fields})

    def gather(self, *to: str, **fields: Any) -> Any:
        """Start a conference of topology `focus`, unless the fields say otherwise."""
        return self.request("POST", "/mediaConferences", {"to": list(to), **self.offer(), **fields})

    def put(self, conference: str, action: str, body: Any = None, **headers: str) -> Any:
        """Send an action of a conference."""
        path = f"/mediaConferences/{conference}"
        return self.request("PUT", path, body, x_conference_action=action, **headers)

    def answer(self, conference: str, body: Any = None) -> Any:
        """Answer an invitation."""
        return self.put(conference, "conference-answer", body or answer())

    def accept(self, conference: str, mod: str, body: Any = None) -> Any:
        """Accept a modification."""
        return self.put(conference, "accept-conference-mod", {"modId": mod, **(body or answer())})

    def withdraw(self, conference: str, mod: str) -> Any:
        """Reject or cancel a modification."""
        return self.put(conference, "rejectCancel-conference-mod", {"modId": mod})

    def delete(self, conference: str, **headers: str) -> Any:
        """Leave, decline or end a conference, or begin a move."""
        return self.request("DELETE", f"/mediaConferences/{conference}", **headers)

    def offer(self, direction: str = "sendrecv", kinds: tuple[str, ...] = ("audio", "video")) -> dict[str, str]:
        """Return the next offer of this device's peer connection."""
        self.version += 1
        text = describe(direction, kinds=kinds, session=self.peer_connection, version=self.version)
        return {"type": "offer", "sdp": text}

    def join(self, conference: str) -> Any:
        """Answer an invitation, or join an open conference, with a new peer connection."""
        self.peer_connection, self.version = next(_peer_connections), 0
        invitations = [event for event in self.log() if event["confId"] == conference and "reason" in event]
        if invitations and "description" in invitations[-1]:
            return self.answer(conference, self.mirror(invitations[-1]))
        return self.answer(conference, self.offer())

    def mirror(self, event: dict[str, Any]) -> dict[str, str]:
        """Return an answer that accepts everything an event offers, as far as this device's hold allows."""
        self.version += 1
        holds = Participant.objects.filter(conference=event["confId"], session=self.id, state="on-hold").exists()
        text = mirror(event["description"]["sdp"], holds=holds, session=self.peer_connection, version=self.version)
        return {"type": "answer", "sdp": text}

    def offers(self, conference: str) -> list[dict[str, Any]]:
        """Return the events of the offers that wait for this device, oldest first."""
        pending = Modification.objects.pending().filter(conference=conference, offered_to__session=self.id)
        if not (mods := set(pending.values_list("pk", flat=True))):
            return []
        return [event for event in self.log() if event["type"] == "mod-received" and event["modId"] in mods]

    def follow(self, conference: str) -> list[dict[str, Any]]:
        """Accept every offer, including those that result from accepting; return their events."""
        followed = []
        while waiting := self.offers(conference):
            for event in waiting:
                response = self.accept(conference, event["modId"], self.mirror(event))
                assert response.status_code == 204, response.content
                followed.append(event)
        return followed

    def participant(self, conference: str) -> dict[str, Any]:
        """Return the newest participant of this device."""
        participants = [
            participant for participant in self.get(conference)["participants"] if participant["sessionId"] == self.id
        ]
        return dict(participants[-1])

    def get(self, conference: str) -> dict[str, Any]:
        """Return the conference as this device sees it."""
        response = self.request("GET", f"/mediaConferences/{conference}")
        assert response.status_code == 200, response.content
        body: dict[str, Any] = response.json()
        return body

    def log(self) -> list[dict[str, Any]]:
        """Return the whole log."""
        events = [json.loads(complete(wire)) for wire in Event.objects.of(self.id).values_list("wire", flat=True)]
        for event in events:
            require_declared(event)
        return events

    def news(self) -> list[dict[str, Any]]:
        """Return the events since the last call."""
        new = [event for event in self.log() if event["seq"] > self.seen]
        self.seen += len(new)
        return new

    def news_types(self) -> list[str]:
        """Return the types of the events since the last call."""
        return [event["type"] for event in self.news()]


@dataclass
class Call:
    """A conference of two devices, whose events so far have been read."""

    id: str
    alice: Device
    bob: Device
    topology: str = "peer"

    @property
    def has_focus(self) -> bool:
        """Whether the two negotiate with a focus instead of with each other."""
        return self.topology == "focus"

    def follow(self) -> None:
        """Accept all waiting offers on both devices, and read their events."""
        while self.alice.follow(self.id) + self.bob.follow(self.id):
            pass
        self.alice.news(), self.bob.news()


def open_call(alice: Device, bob: Device, topology: str = "peer") -> Call:
    """Start a call of alice that bob answers."""
    response = alice.call(bob.username) if topology == "peer" else alice.gather(bob.username)
    assert response.status_code == 201, response.content
    call = Call(response.json()["id"], alice, bob, topology)
    response = bob.answer(call.id) if topology == "peer" else bob.join(call.id)
    assert response.status_code == 204, response.content
    if call.has_focus:
        call.follow()
    alice.news(), bob.news()
    return call


def hold(call: Call, action: str = "initiate-conference-hold") -> str:
    """Put alice on hold, and have bob accept; return the modification's ID."""
    held = call.alice.offer("recvonly") if call.has_focus else offer("recvonly", version=3)
    response = call.alice.put(call.id, action, held)
    assert response.status_code == 204, response.content
    mod: str = response["x-mod-id"]
    if call.has_focus:
        call.follow()
    else:
        response = call.bob.accept(call.id, mod, answer("sendonly", version=3))
        assert response.status_code == 204, response.content
    call.alice.news(), call.bob.news()
    return mod


def register(*usernames: str) -> tuple[Device, ...]:
    """Register a device for each user, with the user's phone number."""
    numbers = {"bob": {"vtn": "+15550101"}}
    return tuple(Device.register(username, **numbers.get(username, {})) for username in usernames)
