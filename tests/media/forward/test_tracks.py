"""A track stays one stream for its receivers through holds, new sources and pauses."""

import random
from typing import Any

import pytest

from media.aiortc_adapter import ffi
from media.forward.history import Arena, History
from media.forward.memory import HISTORY
from media.forward.rtp import HEADER
from media.forward.streams import Stream
from media.forward.tracks import KEY_FRAME_SECONDS, LATEST_START, LONGEST_JUMP, Sink, Track

# No test in this module uses the database.
pytestmark = pytest.mark.once


def track(kind: str = "video") -> Track:
    """Return a track without receivers."""
    history = History(Arena()) if kind == "video" else None
    return Track("alice", kind, kind, ssrc=1, rtx_ssrc=2, clock_rate=90000, history=history)


def sink(
    of: Track,
    *,
    handle: str = "bob",
    payload_types: dict[int, int] | None = None,
    extensions: dict[int, int] | None = None,
) -> Sink:
    """Return a sink of this track. `handle` is the name for a fake SRTP session of the receiver's leg."""
    types = {96: 100} if payload_types is None else payload_types
    return Sink(of, session(handle), 4096, types, extensions or {}, {100: 101})


def session(name: str) -> Any:
    """Return a fake handle of a leg's SRTP session."""
    return ffi.cast("void *", int.from_bytes(name.encode()[:8], "big"))


def source(ssrc: int = 77) -> Stream:
    """Return a stream that feeds a track."""
    return Stream(ssrc=ssrc, clock_rate=90000)


def send(to: Track, stream: Stream, sequence: int, timestamp: int, now: float = 0.0) -> tuple[int, int] | None:
    """Deliver a packet to the track. Return the forwarded packet's (sequence, timestamp), or None."""
    packet = HEADER.pack(0x80, 96, sequence, timestamp, stream.ssrc) + b"media"
    number = stream.take(sequence, timestamp, now)
    if number is None:
        return None
    to.place(stream, number, timestamp, 0, packet, now)
    route = to.routes.get(96)
    if route is None or not route.burst:
        return None
    (placed,) = route.burst
    route.burst.clear()
    return placed.sequence & 0xFFFF, placed.timestamp


def shared() -> tuple[Track, Stream]:
    """Return a track with the receivers bob and carol, and its source. One packet has arrived."""
    made, stream = track(), source()
    for name in ("bob", "carol"):
        made.attach(name, sink(made, handle=name))
    send(made, stream, 100, 0)
    return made, stream


def test_first_packet_goes_out_as_it_came() -> None:
    made = track()
    made.attach("bob", sink(made))
    assert send(made, source(), 500, 9000) == (500, 9000)


@pytest.mark.parametrize(("sequence", "seen"), [(0, 0), (0x7FFF, 0x7FFF), (0x8000, 0x4000), (0xFFFF, 0xBFFF)])
def test_no_track_begins_just_before_a_new_round_of_numbers(sequence: int, seen: int) -> None:
    made, stream = track(), source()
    made.attach("bob", sink(made))
    assert send(made, stream, sequence, 0) == (seen, 0)
    assert send(made, stream, sequence + 1 & 0xFFFF, 0) == (seen + 1, 0)


@pytest.mark.parametrize("left", [1, LATEST_START, LATEST_START + 1])
def test_a_receiver_that_joins_just_before_a_wrap_begins_after_it(left: int) -> None:
    made, stream = shared()
    go_on(made, stream, 0xFFFF - 100 - left + 1)
    assert made.last_sequence & 0xFFFF == 0x10000 - left
    made.attach("dave", sink(made, handle="dave"))
    assert distances(made) == ([0, LATEST_START] if left <= LATEST_START else [0])
    first = made.last_sequence + 1 + made.sinks["dave"].distance & 0xFFFF
    assert 0x10000 - first >= LATEST_START


def test_hold_leaves_no_gap() -> None:
    made, stream = shared()
    go_on(made, stream, 65533 - 100)
    send(made, stream, 65534, 9000)
    made.close()
    assert send(made, stream, 65535, 12000) is None
    made.open()
    assert send(made, stream, 30, 99000) == (65535, 99000)
    assert send(made, stream, 31, 102000) == (0, 102000)


def test_new_source_continues_numbers_and_time() -> None:
    made = track()
    made.attach("bob", sink(made))
    send(made, source(77), 500, 9000, now=1.0)
    sequence, timestamp = send(made, source(78), 7, 123456, now=2.0) or (0, 0)
    assert (sequence, timestamp) == (501, 9000 + 90000)
    assert made.key_frame_wanted


def test_late_packet_keeps_its_place() -> None:
    made, stream = track(), source()
    made.attach("bob", sink(made))
    send(made, stream, 10, 0)
    send(made, stream, 12, 0)
    assert send(made, stream, 11, 0) == (11, 0)
    assert made.last_sequence & 0xFFFF == 12


def test_packet_from_before_a_hold_that_comes_after_it_has_no_number_left() -> None:
    made, stream = track(), source()
    made.attach("bob", sink(made))
    sent = [send(made, stream, sequence, 0) for sequence in (100, 101)]
    made.close()
    made.open()
    sent += [send(made, stream, sequence, 0) for sequence in (202, 201, 200, 204, 203)]
    assert [each and each[0] for each in sent] == [100, 101, 102, None, None, 104, 103]
    kept = made.kept(101)
    assert kept is not None
    assert HEADER.unpack_from(kept.packet)[2] == 101


def test_two_sources_in_turn_never_share_a_number() -> None:
    made = track()
    made.attach("bob", sink(made))
    one, other = source(77), source(78)
    send(made, one, 100, 0)
    sent = [
        send(made, stream, sequence, 0)
        for stream, sequence in ((one, 101), (other, 50), (other, 49), (one, 100), (other, 48), (other, 47))
    ]
    assert [each and each[0] for each in sent] == [101, 102, None, 103, 104, None]


def test_late_packet_goes_to_those_only_that_had_the_track_at_that_number() -> None:
    made, stream = shared()
    made.detach("bob")
    go_on(made, stream, LONGEST_JUMP)
    newest = made.last_sequence & 0xFFFF
    made.last_sequence += 1
    made.attach("bob", sink(made))
    packet = HEADER.pack(0x80, 96, newest + 1, 0, 77) + b"media"
    assert send(made, stream, newest + 2, 0) == (newest + 2, 0)
    route = made.place(stream, newest + 1, 0, 0, packet, 0.0)
    assert route is not None
    assert [list(variant.receivers.handles) for variant in route.variants] == [[session("carol")]]
    assert [placed.sequence & 0xFFFF for placed in route.burst] == [newest + 1]
    assert send(made, stream, newest + 3, 0) == (newest + 3, 0)


def test_a_pause_changes_no_number_that_a_receiver_has_seen() -> None:
    made, stream = track(), source()
    first = sink(made)
    made.attach("bob", first)
    send(made, stream, 0, 0)
    made.packets, made.octets, first.rtx_sequence = 7, 700, 50
    made.detach("bob")
    made.packets, made.octets = 9, 900
    send(made, stream, 1, 0)
    again = sink(made)
    made.attach("bob", again)
    assert again.rtx_sequence == 50
    assert (made.packets - again.packets_before, made.octets - again.octets_before) == (7, 700)


def go_on(of: Track, stream: Stream, count: int) -> None:
    """Deliver the next `count` packets in order."""
    for number in range(of.last_sequence + 1, of.last_sequence + 1 + count):
        send(of, stream, number & 0xFFFF, 0)


def distances(of: Track) -> list[int]:
    """Return, for each variant, the difference between its sequence numbers and the track's."""
    return [variant.distance for variant in of.routes[96].variants]


def test_receiver_that_paused_for_long_sees_no_jump() -> None:
    made, stream = shared()
    made.detach("bob")
    go_on(made, stream, LONGEST_JUMP)
    made.attach("bob", sink(made))
    assert distances(made) == [0, -LONGEST_JUMP]


def test_receiver_that_paused_for_a_moment_shares_its_variant_again() -> None:
    made, stream = shared()
    made.detach("bob")
    go_on(made, stream, LONGEST_JUMP - 1)
    made.attach("bob", sink(made))
    assert distances(made) == [0]


def test_pauses_one_after_the_other_make_no_jump_either() -> None:
    made, stream = shared()
    for _ in range(3):
        made.detach("bob")
        go_on(made, stream, LONGEST_JUMP - 1)
        made.attach("bob", sink(made))
    assert distances(made) == [0, -3 * (LONGEST_JUMP - 1)]


def test_leg_that_has_left_leaves_nothing_behind() -> None:
    made = track()
    made.attach("bob", sink(made))
    made.detach("bob", for_good=True)
    assert made.paused == {}
    assert made.routes == {}


def test_receivers_alike_share_a_variant() -> None:
    made = track()
    for name in ("bob", "carol"):
        made.attach(name, sink(made, handle=name))
    made.attach("dave", sink(made, handle="dave", payload_types={96: 120}))
    variants = made.routes[96].variants
    assert sorted((each.payload_type, len(each.receivers.handles)) for each in variants) == [(100, 2), (120, 1)]


def test_receiver_that_cannot_take_a_payload_type_gets_none_of_it() -> None:
    made = track()
    made.attach("bob", sink(made, payload_types={98: 99}))
    assert send(made, source(), 1, 0) is None
    assert set(made.routes) == {98}


def test_jump_is_seen_as_a_loss_that_encryption_can_follow() -> None:
    made, stream = track(), source()
    made.attach("bob", sink(made))
    arrived = (100, 0x7000, 0x6FFF, 0x7001, 0xF001, 0xF000, 0xF002)
    sent = [send(made, stream, sequence, 0) for sequence in arrived]
    assert [each and each[0] for each in sent] == [100, 356, None, 357, 613, None, 614]


def test_packets_that_nobody_can_take_have_no_numbers() -> None:
    made, stream = track(), source()
    made.attach("bob", sink(made))
    send(made, stream, 100, 0)
    packet = HEADER.pack(0x80, 35, 0, 0, 77) + b"media"
    for sequence in (0x7000, 0xE000):
        number = stream.take(sequence, 0, 0.0)
        assert number is not None
        assert made.place(stream, number, 0, 0, packet, 0.0) is None
    assert send(made, stream, 0xE001, 0) == (101, 0)
    assert send(made, stream, 0xDFFF, 0) is None


def test_packets_are_kept_for_a_while() -> None:
    made, stream = track(), source()
    made.attach("bob", sink(made))
    for sequence in range(HISTORY + 10):
        send(made, stream, sequence, 0)
    assert made.kept(5) is None
    placed = made.kept(HISTORY + 5)
    assert placed is not None
    assert placed[0] & 0xFFFF == HISTORY + 5


def test_key_frames_are_asked_for_in_moderation() -> None:
    made = track()
    made.attach("bob", sink(made))
    send(made, source(), 1, 0)
    assert made.wants_key_frame(10.0)
    assert not made.wants_key_frame(10.0)
    made.key_frame_wanted = True
    assert not made.wants_key_frame(10.0 + KEY_FRAME_SECONDS / 2)
    assert made.wants_key_frame(10.0 + KEY_FRAME_SECONDS)


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_only_video_has_key_frames(kind: str) -> None:
    made = track(kind)
    made.attach("bob", sink(made))
    send(made, source(), 1, 0)
    assert made.wants_key_frame(1.0) is (kind == "video")


def test_a_packet_that_one_receiver_cannot_take_costs_nobody_a_number() -> None:
    made, stream = track(), source()
    made.attach("bob", sink(made, payload_types={96: 100, 35: 101}))
    made.attach("carol", sink(made, payload_types={96: 100}))
    assert send(made, stream, 100, 0) == (100, 0)
    packet = HEADER.pack(0x80, 35, 0, 0, 77) + b"media"
    for sequence in range(101, 201):
        number = stream.take(sequence, 0, 0.0)
        assert number is not None
        assert made.place(stream, number, 0, 0, packet, 0.0) is None
    assert send(made, stream, 201, 0) == (101, 0)


def test_a_receiver_that_can_take_nothing_for_long_goes_on_with_the_next_number() -> None:
    made, stream = shared()
    last = made.last_sequence
    made.attach("bob", sink(made, payload_types={}))
    go_on(made, stream, LONGEST_JUMP + 10)
    assert made.last_sequence == last + LONGEST_JUMP + 10
    made.attach("bob", sink(made))
    assert made.last_sequence + made.sinks["bob"].distance == last


def test_a_packet_that_would_look_different_now_is_not_sent_again() -> None:
    made, _ = shared()
    before = made.sinks["bob"].begins
    made.attach("bob", sink(made))
    assert made.sinks["bob"].begins == before
    for changed in (sink(made, payload_types={96: 101}), sink(made, extensions={1: 2})):
        made.attach("bob", changed)
        assert changed.begins == made.last_sequence + 1
        changed.begins = before


def described(made: Track) -> dict[int, list[Any]]:
    """Return the variants and receivers of each route. Python's view and the fast path's must be the same."""
    python: dict[int, list[Any]] = {}
    for type_, route in made.routes.items():
        python[type_] = sorted(
            (
                variant.payload_type,
                variant.distance,
                sorted(variant.ids.items()),
                to.gso,
                sorted(zip(map(int_of, to.handles), to.names, strict=True)),
            )
            for variant in route.variants
            for to in [variant.receivers]
        )
    shared = {}
    for i in range(made.memory.routes):
        route = made.memory.route[i]
        shared[route.payload_type] = sorted(
            (
                each.payload_type,
                each.distance,
                [(id_, each.ids[id_]) for id_ in range(15) if each.ids[id_]],
                each.gso,
                sorted((each.sessions[j], each.names[j]) for j in range(each.receivers)),
            )
            for each in (route.variant[k] for k in range(route.variants))
        )
    assert python == shared
    return python


def int_of(handle: Any) -> int:
    return int(ffi.cast("uintptr_t", handle))


WAYS: tuple[tuple[dict[int, int], dict[int, int]], ...] = (
    ({96: 100, 98: 102}, {1: 1}),
    ({96: 100, 98: 102}, {1: 3}),
    ({96: 97, 98: 99}, {1: 1}),
    ({96: 100}, {}),
    ({96: 100, 98: 102, 39: 40}, {1: 1}),
    ({}, {}),
)


@pytest.mark.parametrize("seed", range(20))
def test_routes_that_change_in_place_are_as_if_laid_anew(seed: int) -> None:
    chance = random.Random(seed)
    made, stream = track(), source()
    for number in range(120):
        name = f"leg{chance.randrange(8)}"
        if chance.random() < 0.3:
            made.detach(name, for_good=chance.random() < 0.5)
        else:
            # Most receivers are alike, as in a conference where all use the same browser.
            types, ids = WAYS[0] if chance.random() < 0.7 else chance.choice(WAYS)
            made.attach(name, sink(made, handle=name, payload_types=types, extensions=ids))
        if chance.random() < 0.3:
            packet = HEADER.pack(0x80, 96, number, 0, 77) + b"media"
            made.place(stream, number, 0, 0, packet, 0.0)
        if chance.random() < 0.5:
            for route in made.routes.values():
                route.burst.clear()
        anew = track()
        anew.sinks.update(made.sinks)
        anew.lay_routes()
        assert described(made) == described(anew)
