"""Fixtures for the tests of the conference resource: devices, calls and a focus."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache, wraps
from types import ModuleType
from typing import Any

import pytest
from django.db import connection

from conferences import scrubbing, sdp
from media.sdp import description
from tests.conftest import forget_the_cache
from tests.support.clock import Clock, stop_clock
from tests.support.devices import Call, Device, gateway_key, open_call, register
from tests.support.focus import ScriptedNode, scripted_node
from tests.support.scenes import BeginWith, Build, SavedScene, Scene, restored


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the clock of the counters, so that no test crosses the end of a minute."""
    return stop_clock(monkeypatch)


# These functions take time in proportion to an SDP's length. They must not run while other requests wait for a lock.
_READERS = (description.parse, description.read, scrubbing.scrub, scrubbing.scrub_event, sdp.validate)
_OURS = ("conferences.", "events.", "media.", "sbe_enabler.")


def _outside_transactions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that it fails inside any transaction except the test's own."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        opened = [block for block in connection.atomic_blocks if not getattr(block, "_from_testcase", False)]
        assert not opened, f"{function.__name__} was called in a transaction"
        return function(*args, **kwargs)

    return guarded


@lru_cache(maxsize=1)
def _readers_known_to(number_of_modules: int) -> list[tuple[ModuleType, Callable[..., Any]]]:
    """Return pairs: one of our modules, and a function of `_READERS` in this module. Only imports change the result."""
    ours = [module for name, module in sys.modules.items() if name.startswith(_OURS)]
    return [(module, reader) for module in ours for reader in _READERS if vars(module).get(reader.__name__) is reader]


@pytest.fixture(autouse=True)
def _no_sdp_is_read_in_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test whose operation reads an SDP in a transaction, where other requests may wait for a lock."""
    for module, reader in _readers_known_to(len(sys.modules)):
        monkeypatch.setattr(module, reader.__name__, _outside_transactions(reader))


@pytest.fixture(scope="session")
def saved_scenes() -> dict[str, SavedScene]:
    """The scenes that `begin_with` has built, by name."""
    return {}


@pytest.fixture
def begin_with(saved_scenes: dict[str, SavedScene]) -> Iterator[BeginWith]:
    """Begin with a scene: `begin_with("three", build, focus=True)`. Different scenes need different names."""
    with ExitStack() as stack:

        def begin(name: str, build: Build, *, focus: bool) -> Scene:
            is_known = name in saved_scenes
            scene = stack.enter_context(restored(saved_scenes, name, build, focus=focus))
            if not is_known:
                # The requests that built the scene have used up some of the rate limits.
                forget_the_cache()
            return scene

        yield begin


@pytest.fixture
def scene(request: pytest.FixtureRequest, begin_with: BeginWith, topology: str) -> Scene | None:
    """The state in which a test with the fixture `call` begins. Modules with other scenes override this fixture."""
    if "call" not in request.fixturenames:
        return None

    def build() -> tuple[str, tuple[Device, ...]]:
        alice, bob = register("alice", "bob")
        return open_call(alice, bob, topology).id, (alice, bob)

    focus = "node" in request.fixturenames or topology == "focus"
    return begin_with(f"call, {topology}{', beside a focus' * focus}", build, focus=focus)


@pytest.fixture
def device(scene: Scene | None) -> Callable[[str], Device]:
    """Return a function that finds a user's device in the scene, or registers one."""

    def find(username: str) -> Device:
        known = scene.devices.get(username) if scene else None
        return known or register(username)[0]

    return find


@pytest.fixture
def alice(device: Callable[[str], Device]) -> Device:
    return device("alice")


@pytest.fixture
def bob(device: Callable[[str], Device]) -> Device:
    return device("bob")


@pytest.fixture
def carol(device: Callable[[str], Device]) -> Device:
    """A device that is not in the calls of alice and bob."""
    return device("carol")


@pytest.fixture
def node(scene: Scene | None) -> Iterator[ScriptedNode]:
    """A focus that carries out each task as soon as it is committed."""
    if scene:
        assert scene.node is not None, "this scene has no focus"
        yield scene.node
        return
    with scripted_node() as node:
        yield node


@pytest.fixture
def topology() -> str:
    """The topology of `call`. Modules that test both topologies override this fixture."""
    return "peer"


@pytest.fixture
def call(scene: Scene, alice: Device, bob: Device, topology: str) -> Call:
    return Call(scene.conference, alice, bob, topology)


@pytest.fixture
def ringing(alice: Device, bob: Device) -> Call:
    """A call that bob has not answered yet."""
    conference = alice.call("bob").json()["id"]
    alice.news(), bob.news()
    return Call(conference, alice, bob)


@pytest.fixture
def key() -> str:
    """An API key."""
    return gateway_key()
