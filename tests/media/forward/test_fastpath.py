"""The fast path treats packets exactly as Python does, touches only its own memory, and may be missing."""

import asyncio
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from media.focus.node import Settings
from media.focus.sources import SILENT_SOURCE_SECONDS
from media.forward import fastpath
from media.forward.memory import HISTORY, ffi
from media.forward.rtp import HEADER, number_place
from media.forward.streams import Missing
from tests.support.depth import DEEP, examples
from tests.support.media.node_harness import SECONDS, Listener, World, around, in_order
from tests.support.media.synthetic import AUDIO, PCMU, RED, VIDEO
from tests.support.namespace import in_a_network_of_its_own
from tests.support.services import ROOT

# No test in this module uses the database.
pytestmark = pytest.mark.once

# The first byte of a packet, and the bytes that follow the fixed header: the usual cases and rare ones.
_EXTENSIONS = {
    "none": (0x80, b""),
    "level": (0x90, b"\xbe\xde\0\1\x10\x28\0\0"),
    "delay and mid": (0x90, b"\xbe\xde\0\2\x52\1\2\3\x41o1\0"),
    "unknown and level": (0x90, b"\xbe\xde\0\2\x71\xaa\xbb\x10\x05\0\0\0"),
    "silence": (0x90, b"\xbe\xde\0\1\x10\x7f\0\0"),
    "an ID that must not be": (0x90, b"\xbe\xde\0\2\x01\xaa\xbb\x10\x05\0\0\0"),
    "level twice": (0x90, b"\xbe\xde\0\1\x10\x05\x10\x50"),
    "two bytes": (0x90, b"\x10\0\0\1\1\1\x28\0"),
    "the end before the end": (0x90, b"\xbe\xde\0\2\xf0\0\0\0\x10\x28\0\0"),
    "an empty one": (0x90, b"\xbe\xde\0\0"),
    "an element that is too long": (0x90, b"\xbe\xde\0\1\x1f\0\0\0"),
    "a contributing source": (0x81, b"\0\0\0\7"),
    "padding": (0xA0, b""),
}
_NUMBERED = {
    "number": (0x90, b"\xbe\xde\0\2\x31\x00\x09\x10\x28\0\0\0"),
    "a number far ahead": (0x90, b"\xbe\xde\0\1\x31\x20\x00\0"),
    "number twice": (0x90, b"\xbe\xde\0\2\x31\x00\x0a\x31\x00\x0b\0\0"),
    "a number that is too long": (0x90, b"\xbe\xde\0\1\x32\1\2\3"),
    "a number in two bytes": (0x90, b"\x10\0\0\1\3\2\0\1"),
    "no extension that anybody reads": (0x90, b"\xab\xcd\0\1\x31\0\1\0"),
}
_CROWDED = {
    "as many elements as possible": (0x90, b"\xbe\xde\0\x10" + b"\x10\x28" * 32),
    "too many elements": (0x90, b"\xbe\xde\0\x11" + b"\x10\x28" * 33 + b"\0\0"),
    "too many runs of padding": (0x90, b"\xbe\xde\0\x19" + b"\x10\x28\0\0" * 25),
    "the end after too many": (0x90, b"\xbe\xde\0\x11" + b"\x10\x28" * 32 + b"\xf0\0\0\0"),
}


def _numbered_otherwise(name: str, **options: Any) -> Listener:
    """Return a peer whose payload types and extension IDs differ from those of the other peers."""
    peer = Listener(name, **options)
    renumbered = [("extmap:3 ", "extmap:7 "), (":111", ":109"), (":96", ":120"), ("apt=96", "apt=120"), (":97", ":121")]
    renumbered += [("extmap:1 ", "extmap:6 "), ("extmap:5 ", "extmap:1 ")]
    for section in peer.sections:
        section.formats = section.formats.replace("111", "109").replace("96", "120").replace("97", "121")
        for old, new in renumbered:
            section.attributes = [each.replace(old, new) for each in section.attributes]
    return peer


def _red(chance: random.Random, inner: int = AUDIO) -> bytes:
    """Return the headers and redundant blocks of a RED packet (RFC 2198 section 3), as browsers send them."""
    lengths = [chance.choice([0, 1, 80, 600]) for _ in range(chance.choice([0, 1, 1, 1, 2]))]
    headers = b"".join((0x80 | inner).to_bytes(1, "big") + (960 << 10 | each).to_bytes(3, "big") for each in lengths)
    return headers + bytes([inner]) + chance.randbytes(sum(lengths))


def _unusual_red(chance: random.Random) -> bytes:
    """Return the beginning of a RED packet with another codec inside, or of one that is malformed."""
    return chance.choice([_red(chance, AUDIO + 1), b"", b"\xef\0\0\x50", b"\xef\xff\xff\xff" * 200, bytes([AUDIO])])


# Before this burst the first camera is silent for long enough that the second replaces it.
SWITCH = 225


class Script:
    """Alice's packets, the same for each node: bursts, each with its order of arrival. Some packets are lost.

    Alice has a microphone and two cameras in one media section. The second camera replaces the first at burst SWITCH.
    Now and then a packet of the camera that is not in use arrives as well, and is not forwarded. The microphone has the
    codecs `audio`, and uses the first one.
    """

    def __init__(
        self,
        seed: int,
        *,
        shuffled: bool,
        audio: tuple[int, ...] = (AUDIO,),
        extensions: Mapping[str, tuple[int, bytes]] = _EXTENSIONS,
    ) -> None:
        chance = random.Random(seed)
        self.audio, self._extensions = audio, extensions
        self.bursts: list[tuple[list[tuple[int, bytes]], list[int]]] = []
        self._numbers = [chance.randrange(0x8000) for _ in range(3)]
        self._timestamps = [chance.randrange(2**32) for _ in range(3)]
        for number in range(450):
            camera = 1 + ((number >= SWITCH) != (chance.random() < 0.05))
            burst = [self._packet(chance, chance.choice([0, camera])) for _ in range(chance.randint(1, 8))]
            order = [each for each, _ in enumerate(burst) if chance.random() < 0.98]
            if shuffled and chance.random() < 0.2:
                chance.shuffle(order)
            self.bursts.append((burst, order))

    def _packet(self, chance: random.Random, which: int) -> tuple[int, bytes]:
        """Return the index of the sending source, and its packet without the SSRC."""
        step = 1 if chance.random() < 0.99 else chance.choice([2, 5, 300, 5000])
        self._timestamps[which] += 960 if chance.random() < 0.99 else chance.randrange(2**32)
        usual = "delay and mid" if which else "level"
        name = chance.choice([usual] * 40 + list(self._extensions))
        first, extension = self._extensions[name]
        # An unusual packet makes no step of more than NEAR. After such a step, the fast path could refuse the rest of
        # the burst, because Python has not taken the packet yet.
        self._numbers[which] += step if name == usual else min(step, 300)
        second = (VIDEO if which else self.audio[0]) | chance.randrange(2) << 7
        header = HEADER.pack(first, second, self._numbers[which] & 0xFFFF, self._timestamps[which] & 0xFFFFFFFF, 0)
        payload = chance.randbytes(chance.choice([1, 80, 600, 1100, 1100, 1100]))
        if second & 0x7F == RED:
            payload = chance.choice([_red, _red, _red, _unusual_red])(chance) + payload[:80]
        return which, header + extension + payload + b"\1"


async def _play(world: World, script: Script, number_id: int, own_number_id: int) -> None:
    """Send alice's script to bob, carol and dave. Carol numbers payload types and extensions differently.

    :param number_id: bob's and carol's ID of the header extension with transport-wide numbers; 0 without it.
    :param own_number_id: that of alice.
    """
    options: dict[str, Any] = {"audio": script.audio}
    alice, carol = (
        Listener("alice", number_id=own_number_id, **options),
        _numbered_otherwise("carol", number_id=number_id, **options),
    )
    other_camera = alice.video.ssrc + 1
    for peer in (alice, carol):
        world.peers.append(peer)
        await world.conference.join(peer)
    await world.join("bob", number_id=number_id, **options)
    await world.join("dave", **options)
    if RED in script.audio:
        # Dave gets the redundancy, and the others do not.
        world.leg("dave").downlink.redundant.add(world.track("alice", "audio"))
        world.node.conferences["room"].routing.connect(world.leg("dave"), world.track("alice", "audio"))
    ssrcs = [alice.audio.ssrc, alice.video.ssrc, other_camera]
    clock, tracks = world.clock, [world.track("alice", label) for label in ("audio", "video")]
    clock.fixed, chance = 100.0, random.Random(0)
    # Stop the ticks, because they would happen at different moments in the two worlds.
    world.stop_ticking()
    leg = world.leg("alice")
    leg.quota.packets_left, leg.quota.bytes_left, leg.quota.failures_left = 10_000, 10_000_000, 2
    for track in tracks:
        track.loudness = 0.0
        track.sinks[world.leg("dave").id].distance = 1024
        track.lay_routes()
    for number, (burst, order) in enumerate(script.bursts):
        clock.fixed += chance.choice([0.001, 0.02, 0.07])
        if number == SWITCH:
            leg.sources.tick(clock.fixed)
            clock.fixed += SILENT_SOURCE_SECONDS
        # Do the work of a tick.
        leg.sources.tick(clock.fixed)
        if number % 10 == 9:
            leg.quota.failures_left = 2
        if number % 150 == 120:
            tracks[1].close()
        if number % 150 == 130:
            tracks[1].open()
        datagrams = [
            alice.outward.protect(packet[:8] + ssrcs[which].to_bytes(4, "big") + packet[12:]) for which, packet in burst
        ]
        expected = world.node.counts().received + len(order)
        for each in order:
            forged = chance.random() < 0.01
            alice.send_datagram(datagrams[each][:-1] + bytes([datagrams[each][-1] ^ forged]))
        async with asyncio.timeout(SECONDS):
            while world.node.counts().received < expected:
                await asyncio.sleep(0)
        assert number != SWITCH - 1 or (
            alice.video.ssrc in leg.sources.streams and other_camera not in leg.sources.streams
        )
    assert other_camera in leg.sources.streams
    assert alice.video.ssrc not in leg.sources.streams


@dataclass
class Outcome:
    """The result of a script: the packets that each peer got, the state of alice's leg, and the counts of the node."""

    # By receiver and kind, in order. Audio and video may be interleaved in any way.
    got: dict[tuple[str, str], list[bytes]]
    leg: tuple[int, int, int, int, int, int]
    streams: list[tuple[bytes, dict[int, Missing]]]
    tracks: list[list[float]]
    kept: list[tuple[int, int, bytes] | None]
    # The transport-wide numbers that alice's packets had, and those that bob's and carol's packets have, in order.
    arrivals: tuple[int, list[bool]]
    numbers: list[list[int]]
    sent: int
    unprotected: int
    sent_by_python: int


def _without_ssrc(packet: bytes) -> bytes:
    """Return a packet without its SSRC, which is random."""
    return packet[:8] + packet[12:]


def _number_at(packet: bytes, number_id: int) -> int:
    return number_place(packet, number_id) if number_id and packet[0] & 0x10 else 0


def _unnumbered(packet: bytes, number_id: int) -> bytes:
    """Return a packet without its SSRC and its transport-wide number.

    Numbers differ, because the fast path forwards the packets of a burst that it can handle before the others.
    """
    place = _number_at(packet, number_id)
    return _without_ssrc(packet[:place] + b"##" + packet[place + 2 :] if place else packet)


_OF_TRACKS = ["level_id", "last_sequence", "last_timestamp", "last_at", "heard_at", "sequence_shift", "timestamp_shift"]
_OF_TRACKS += ["resumes", "packets", "octets", "loudness"]


def _carols(peer: Listener) -> int:
    """Return the ID of the header extension with transport-wide numbers in packets to a peer. Carol's is another."""
    return 7 if peer.number_id and peer.id == "carol" else peer.number_id


def _outcome(world: World) -> Outcome:
    for peer in world.peers:
        peer.read()
    leg = world.leg("alice")
    tracks = [world.track("alice", label) for label in ("audio", "video")]
    kept = [tracks[1].kept(tracks[1].last_sequence - back & 0xFFFF) for back in range(HISTORY)]
    return Outcome(
        got={
            (peer.id, kind): [_unnumbered(each, id_) for each in peer.packets if each[1] & 0x7F in kinds]
            for peer in world.peers
            for id_ in [_carols(peer)]
            for kind, kinds in {"audio": (AUDIO, PCMU, RED, 109), "video": (VIDEO, 120)}.items()
        },
        leg=(
            leg.quota.packets_left,
            leg.quota.bytes_left,
            leg.quota.failures_left,
            leg.quota.excess,
            leg.quota.unauthentic,
            leg.sources.unknown,
        ),
        streams=[(bytes(ffi.buffer(stream.memory)), stream.missing) for stream, _ in leg.sources.streams.values()],
        tracks=[[getattr(track, name) for name in _OF_TRACKS] for track in tracks],
        kept=[each and (each.sequence, each.timestamp, _without_ssrc(each.packet)) for each in kept],
        arrivals=(leg.arrivals.newest, [at >= 0 for at in leg.arrivals.memory.at]),
        numbers=[
            sorted(
                int.from_bytes(packet[place : place + 2], "big")
                for packet in peer.packets
                if (place := _number_at(packet, _carols(peer)))
            )
            for peer in world.peers[1:]
        ],
        sent=world.node.counts().sent,
        unprotected=world.node.counts().unprotected,
        sent_by_python=world.node.counts().sent_by_python,
    )


async def _both(script: Script, number_id: int = 0, own_number_id: int = 0) -> tuple[Outcome, Outcome]:
    """Play a script to a node with the fast path, and to one without it. Return both outcomes.

    The IDs are those of `_play`.
    """
    outcomes = []
    for fast in (True, False):
        async with around(Settings(fast=fast)) as world:
            await _play(world, script, number_id, own_number_id)
            outcomes.append(_outcome(world))
    return outcomes[0], outcomes[1]


@pytest.mark.parametrize("seed", range(examples(1, deep=6)))
async def test_it_does_to_packets_what_python_does(seed: int) -> None:
    compiled, interpreted = await _both(Script(seed, shuffled=False))
    # The test would prove nothing if the fast path left nearly all packets to Python.
    assert compiled.sent_by_python < 0.8 * compiled.sent
    assert len(compiled.got["bob", "video"]) > 500
    assert replace(compiled, sent_by_python=0) == replace(interpreted, sent_by_python=0)


@pytest.mark.parametrize("own_number_id", [3, 0])
async def test_it_numbers_packets_as_python_does(own_number_id: int) -> None:
    extensions = _EXTENSIONS | _NUMBERED
    compiled, interpreted = await _both(Script(0, shuffled=False, extensions=extensions), 3, own_number_id)
    assert compiled.sent_by_python < 0.8 * compiled.sent
    assert replace(compiled, sent_by_python=0) == replace(interpreted, sent_by_python=0)
    assert [numbers == list(range(len(numbers))) for numbers in compiled.numbers] == [True] * 3
    assert [len(numbers) > 1000 for numbers in compiled.numbers] == [True, True, False]
    assert (compiled.arrivals[0] > 0) == bool(own_number_id)


async def test_it_refuses_crowded_extensions_as_python_does() -> None:
    compiled, interpreted = await _both(Script(0, shuffled=False, extensions=_EXTENSIONS | _CROWDED))
    assert replace(compiled, sent_by_python=0) == replace(interpreted, sent_by_python=0)


async def test_it_forwards_pcmu_as_python_does() -> None:
    compiled, interpreted = await _both(Script(0, shuffled=False, audio=(PCMU,)))
    assert len(compiled.got["bob", "audio"]) > 300
    assert compiled.got["bob", "audio"] == interpreted.got["bob", "audio"]
    assert compiled.sent_by_python < 0.8 * compiled.sent
    assert replace(compiled, sent_by_python=0) == replace(interpreted, sent_by_python=0)


@pytest.mark.parametrize("number_id", [0, 3])
async def test_it_removes_redundancy_as_python_does(number_id: int) -> None:
    compiled, interpreted = await _both(Script(0, shuffled=False, audio=(RED, AUDIO)), number_id)
    assert compiled.sent_by_python < 0.8 * compiled.sent
    assert replace(compiled, sent_by_python=0) == replace(interpreted, sent_by_python=0)
    types = {name: {packet[1] & 0x7F for packet in compiled.got[name, "audio"]} for name in ("bob", "carol", "dave")}
    assert types == {"bob": {AUDIO}, "carol": {109}, "dave": {RED}}


@pytest.mark.parametrize("seed", range(examples(1, deep=2)))
async def test_it_passes_on_what_arrives_in_disorder_as_python_does(seed: int) -> None:
    compiled, interpreted = await _both(Script(seed, shuffled=True))
    # The fast path forwards the packets of a burst that are in order before the others. So fewer packets count as
    # missing for a moment.
    in_some_order = [{of: sorted(got) for of, got in outcome.got.items()} for outcome in (compiled, interpreted)]
    assert in_some_order[0] == in_some_order[1]
    assert compiled.kept == interpreted.kept
    assert compiled.leg == interpreted.leg


async def test_burst_for_more_than_there_is_room_for_reaches_all(world: World) -> None:
    alice, *others = await world.join("alice", *(f"p{number}" for number in range(12)))
    for _ in range(2):
        alice.film(50)
        for other in others:
            assert in_order(await other.gets(50))


async def test_packet_that_cannot_be_encrypted_for_one_receiver_reaches_the_others(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    track = world.track("alice", "video")
    alice.video.sequence = 10_000
    alice.film(20)
    for other in (bob, carol):
        await other.gets(20)
    # The new `distance` gives bob's packets old sequence numbers, which encryption refuses.
    track.sinks[world.leg("bob").id].distance = -5000
    track.lay_routes()
    alice.film(5)
    assert in_order(await carol.gets(5))
    assert world.node.counts().unprotected == 5
    track.sinks[world.leg("bob").id].distance = 0
    track.lay_routes()
    alice.film(5)
    for other in (bob, carol):
        assert in_order(await other.gets(5))


@in_a_network_of_its_own
async def test_bursts_go_singly_where_the_route_does_not_support_gso() -> None:
    def set_mtu(size: int) -> None:
        subprocess.run(["ip", "link", "set", "lo", "mtu", str(size)], check=True)

    for fast in (True, False):
        set_mtu(1400)
        async with around(Settings(fast=fast)) as world:
            alice, bob, carol = await world.join("alice", "bob", "carol")
            # Python always handles the first packet of a stream.
            alice.film(1)
            for other in (bob, carol):
                await other.gets(1)
            # Packets that exceed the receivers' MTU do not cost these receivers their GSO batches.
            alice.send([alice.video.packet() + bytes(280) for _ in range(4)])
            for other in (bob, carol):
                assert len(await other.gets(4)) == 4
            assert [world.leg(peer.id).addresses.gso for peer in (bob, carol)] == [True, True]
            set_mtu(1000)
            for _ in range(5):
                alice.film(10)
                for other in (bob, carol):
                    assert len(await other.gets(10)) == 10
            assert [world.leg(peer.id).addresses.gso for peer in (bob, carol)] == [False, False]
            assert world.node.counts().undelivered == 0


# --- Compiling --------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set another folder for the compiled library. The folder is empty."""
    monkeypatch.setattr(fastpath, "library_path", fastpath.library_path_of(tmp_path))
    return tmp_path


def test_without_a_compiled_library_there_is_no_fast_path(elsewhere: Path) -> None:
    assert fastpath.load() is None


def test_a_library_that_cannot_be_loaded_is_logged_and_not_used(
    elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fastpath.library_path.write_text("of another kind of machine")
    assert fastpath.load() is None
    assert "cannot be loaded" in caplog.text


def test_compiled_library_is_found_and_replaces_older_ones(elsewhere: Path) -> None:
    old = elsewhere / f"_fastpath-0123456789ab-{platform.machine()}.so"
    others = elsewhere / "_fastpath-0123456789ab-m68k.so"
    for each in (old, others):
        each.write_text("of another source")
    made = fastpath.compile_library()
    assert set(elsewhere.iterdir()) == {made, others}
    assert fastpath.load() is not None
    before = made.stat()
    assert fastpath.compile_library() == made
    assert made.stat() == before


_COMPLAINS = f"{sys.executable} -c raise(SystemExit('no_such_header'))"


@pytest.mark.parametrize(
    ("compiler", "said"), [("/nowhere/cc", "nowhere"), ("false", ""), (_COMPLAINS, "no_such_header")]
)
def test_compiler_that_fails_is_quoted_and_leaves_nothing(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, said: str
) -> None:
    monkeypatch.setattr(fastpath, "compilers", lambda: [compiler.split(" ")])
    with pytest.raises(RuntimeError, match=rf"fastpath\.c was not compiled: .*{said}"):
        fastpath.compile_library()
    assert list(elsewhere.iterdir()) == []


def test_the_next_compiler_is_tried(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc -pipe")
    assert fastpath.compile_library().exists()


@pytest.mark.parametrize("why", ["no compiler", "nowhere to put it"])
def test_failure_to_compile_is_reported_without_an_error(tmp_path: Path, why: str) -> None:
    shutil.copytree(ROOT / "media", tmp_path / "media", ignore=shutil.ignore_patterns("_fastpath-*", "__pycache__"))
    environment = {
        "PATH": str(tmp_path) if why == "no compiler" else os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "media.forward.fastpath"]
    if why != "no compiler":
        # Use a read-only mount in a separate namespace, because file permissions do not stop root.
        command = [
            "unshare",
            "-rm",
            "sh",
            "-c",
            'mount --bind -o ro "$0" "$0" && cd "$0" && exec "$@"',
            str(tmp_path),
            *command,
        ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "forwards in Python" in done.stderr
    assert list((tmp_path / "media").rglob("_fastpath-*")) == []


# --- Memory -----------------------------------------------------------------------------------------------------------


# The sample of tests: one script in disorder, and the cases that the fast path must leave to Python.
_SAMPLE = "disorder_as_python_does[0] or burst_for_more or cannot_be_encrypted"


@pytest.mark.timeout(900)
def test_it_touches_no_memory_but_its_own(tmp_path: Path) -> None:
    """Run some of these tests with each memory access checked. A deep run includes all of them and the node's tests.

    Compiler warnings are errors.
    """
    library = tmp_path / "fastpath.so"
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wconversion", "-Wpedantic", "-Werror"]
    subprocess.run(["gcc", *fastpath.FLAGS, *flags, "-o", str(library), str(fastpath.SOURCE)], check=True)
    runtimes = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",
        # Python's own allocator would pool memory. With `malloc` each piece has its own bounds.
        "PYTHONMALLOC": "malloc",
        "SANITIZED_LIBRARY": str(library),
    }
    tests = ["tests/media/node"] * DEEP + [str(Path(__file__).relative_to(ROOT))]
    which = "not python] and not compile and not touches"
    if not DEEP:
        which += f" and ({_SAMPLE})"
    options = ["-q", "-p", "no:cacheprovider", "--capture=sys", "-k", which]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
