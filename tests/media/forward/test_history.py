"""A history returns the packets that were kept, or nothing: never other bytes."""

import random

import pytest

from media.forward.history import Arena, History, Kept
from media.forward.memory import ARENA_SIZE, HISTORY

# No test in this module uses the database.
pytestmark = pytest.mark.once


def test_histories_that_share_an_arena_return_only_their_own_packets() -> None:
    chance, arena = random.Random(1), Arena()
    histories = [History(arena) for _ in range(3)]
    # Each packet with its history, in the order in which the arena got them.
    kept: list[tuple[History, Kept]] = []
    for sequence in range(1000):
        history = chance.choice(histories)
        packet = Kept(sequence, sequence * 90, chance.randbytes(chance.choice([12, 700, 1200, 1500])))
        history.keep(*packet)
        kept.append((history, packet))
    assert all(history.get(packet.sequence) in (packet, None) for history, packet in kept)
    assert all(
        other.get(packet.sequence) is None for history, packet in kept for other in histories if other != history
    )
    # The arena holds the newest packets, except for the gap at the ring's end.
    size = 0
    for history, packet in reversed(kept[-HISTORY:]):
        size += len(packet.packet)
        assert size > ARENA_SIZE - 1500 or history.get(packet.sequence) == packet
