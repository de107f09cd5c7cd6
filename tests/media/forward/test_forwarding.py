"""The forwarder sends each receiver its packets. A fault affects only the burst that contains it."""

import socket
from array import array
from collections.abc import Iterator

import pytest
from pylibsrtp import Policy, Session

from media.forward.datagrams import SLOT, Destination, Outbox, sockaddr
from media.forward.memory import SLOTS_OUT
from media.forward.path import Forwarder
from media.forward.rtp import HEADER
from media.forward.tracks import Packet, Receivers, Route, Track, Variant

# No test in this module uses the database.
pytestmark = pytest.mark.once

KEY = bytes(range(44))


def session(direction: int) -> Session:
    """Return one end of an SRTP session. Both ends use the same key."""
    return Session(Policy(key=KEY, ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_256_GCM))


class Bench:
    """A forwarder and its only receiving socket."""

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        self.forwarder = Forwarder(sender.fileno(), Outbox(SLOTS_OUT), gso=True)
        self._receiver = receiver
        self._destination = Destination.of(sockaddr(*receiver.getsockname()))
        self._sessions: list[Session] = []

    def route(self, ssrc: int, burst: list[Packet], *, receivers: int = 1) -> Route:
        """Return a route of a track with this SSRC. All its receivers share the one socket."""
        sessions = [session(Policy.SSRC_ANY_OUTBOUND) for _ in range(receivers)]
        self._sessions += sessions
        names = array("Q", [self._destination.address] * receivers)
        to = Receivers(tuple(each._srtp[0] for each in sessions), names)
        return Route(Track("alice", "video", "video", ssrc, 2, 90000), [Variant(96, 0, {}, 0xFFFF, to)], burst)

    def received(self) -> list[tuple[int, int]]:
        """Receive the packets that have arrived. Return the SSRC and sequence number of each."""
        inward = session(Policy.SSRC_ANY_INBOUND)
        got: list[tuple[int, int]] = []
        while True:
            try:
                packet = inward.unprotect(self._receiver.recv(2 * SLOT))
            except BlockingIOError:
                return got
            _, _, sequence, _, ssrc = HEADER.unpack_from(packet)
            got.append((ssrc, sequence))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A forwarder that sends to a real socket."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        for each in (sender, receiver):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        yield Bench(sender, receiver)


def placed(sequence: int, *, size: int = 200) -> Packet:
    """Return a packet of `size` bytes."""
    return Packet(sequence, 0, 0, HEADER.pack(0x80, 96, sequence, 0, 7) + bytes(size - 12))


def broken(sequence: int) -> Packet:
    """Return a packet with a header extension that needs translation but is malformed."""
    return Packet(sequence, 0, 1 << 3, HEADER.pack(0x90, 96, sequence, 0, 7) + b"\xbe\xde\xff\xff")


def test_fault_in_one_burst_affects_no_other_burst(bench: Bench) -> None:
    routes = [bench.route(1, [placed(1)]), bench.route(2, [placed(1), broken(2)]), bench.route(3, [placed(1)])]
    bench.forwarder.forward(routes, 0.0)
    assert bench.received() == [(1, 1), (3, 1)]
    assert [route.burst for route in routes] == [[], [], []]
    assert bench.forwarder.faults == 1


def test_burst_larger_than_the_buffer_is_cut_and_the_next_goes_out_whole(bench: Bench) -> None:
    route = bench.route(1, [placed(number) for number in range(600)])
    bench.forwarder.forward([route], 0.0)
    assert bench.received() == [(1, number) for number in range(512)]
    route.burst.append(placed(600))
    bench.forwarder.forward([route], 0.0)
    assert bench.received() == [(1, 600)]
