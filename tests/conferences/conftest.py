"""Devices and calls that the tests of the conference resource share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from django.utils import timezone

from tests.devices import Call, Device, KeptCall, gateway_key, open_call
from tests.focus import ScriptedNode, scripted_node


@dataclass
class Clock:
    """The clock by which requests are counted. It stands still, in the middle of a minute."""

    at: datetime = field(default_factory=lambda: timezone.now().replace(second=30))

    def now(self) -> datetime:
        return self.at


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let the counters' clock stand still, so that no test crosses the end of a minute."""
    clock = Clock()
    monkeypatch.setattr("conferences.counters.clock", clock)
    return clock


@pytest.fixture
def alice() -> Device:
    return Device.register("alice")


@pytest.fixture
def bob() -> Device:
    return Device.register("bob", vtn="+15550101")


@pytest.fixture
def carol() -> Device:
    """A stranger to the calls of alice and bob."""
    return Device.register("carol")


@pytest.fixture
def node() -> Iterator[ScriptedNode]:
    """A focus that does what it is asked as soon as that is committed."""
    with scripted_node() as node:
        yield node


@pytest.fixture
def topology() -> str:
    """The topology of `call`; modules that test both have a fixture of their own."""
    return "peer"


@pytest.fixture
def call(alice: Device, bob: Device, topology: str) -> Call:
    return open_call(alice, bob, topology)


@pytest.fixture(scope="session")
def kept_calls() -> list[KeptCall]:
    """The calls of `kept_call`. The last one is in use."""
    return []


@pytest.fixture
def kept_call(kept_calls: list[KeptCall]) -> Call:
    """A call as rows: a `call` for modules in which it is no more than where to begin."""
    if kept_calls and not kept_calls[-1].is_old:
        return kept_calls[-1].write()
    kept_calls.append(KeptCall())
    return kept_calls[-1].call()


@pytest.fixture
def ringing(alice: Device, bob: Device) -> Call:
    """A call that bob has not answered."""
    conference = alice.call("bob").json()["id"]
    alice.news(), bob.news()
    return Call(conference, alice, bob)


@pytest.fixture
def key() -> str:
    """An API key."""
    return gateway_key()
