"""Bursts of datagrams through real sockets, singly and in GSO batches."""

import errno
import socket
from array import array
from collections.abc import Iterator

import pytest

from media import aiortc_adapter as adapter
from media.forward import datagrams
from media.forward.datagrams import SLOT, Destination, Inbox, Outbox, address_of, segmentation_works, sockaddr
from tests.support.media.tunnels import Tunnel

# No test in this module uses the database.
pytestmark = pytest.mark.once


@pytest.fixture(params=[("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"])
def sockets(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two bound UDP sockets on loopback."""
    host, family = request.param
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        for each in (one, other):
            each.bind((host, 0))
            each.setblocking(False)
        yield one, other


def fill(outbox: Outbox, slot: int, datagram: bytes) -> None:
    """Write a datagram into a slot."""
    outbox.view[slot * SLOT : slot * SLOT + len(datagram)] = datagram
    outbox.lengths[2 * slot + 1] = len(datagram)


def received(inbox: Inbox, sock: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    """Receive the datagrams that wait in a socket. Return each with its source."""
    return [
        (inbox.view[i * SLOT : i * SLOT + inbox.length(i)].tobytes(), address_of(inbox.sources[i].tobytes()))
        for i in range(inbox.receive(sock.fileno()))
    ]


def test_burst_arrives_with_its_source(sockets: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = sockets
    outbox, inbox = Outbox(4), Inbox(4)
    destination = Destination.of(sockaddr(*receiver.getsockname()[:2]))
    for slot, datagram in enumerate([b"one", b"two", b"three"]):
        fill(outbox, slot, datagram)
        outbox.fields[8 * slot] = destination.address
    outbox.send(sender.fileno(), 3)
    where = sender.getsockname()[:2]
    assert received(inbox, receiver) == [(b"one", where), (b"two", where), (b"three", where)]
    assert inbox.receive(receiver.fileno()) == 0


def test_slots_can_be_used_again(sockets: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = sockets
    inbox = Inbox(2)
    for size in (3, 1200, 5):
        sender.sendto(bytes(size), receiver.getsockname())
        assert [len(datagram) for datagram, _ in received(inbox, receiver)] == [size]


def test_slots_leave_room_for_what_encryption_adds(sockets: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = sockets
    inbox = Inbox(2)
    sender.sendto(bytes(SLOT), receiver.getsockname())
    ((datagram, _),) = received(inbox, receiver)
    assert 1500 <= len(datagram) <= SLOT - adapter.SRTP_TRAILER


def test_gso_batch_arrives_as_datagrams(sockets: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = sockets
    if not segmentation_works(sender.fileno()):
        pytest.fail("this kernel does not support GSO: Linux 4.18 or newer is needed")
    outbox, inbox = Outbox(8), Inbox(8)
    destination = Destination.of(sockaddr(*receiver.getsockname()[:2]))
    sent = [bytes([i]) * 1000 for i in range(3)] + [b"short"]
    for slot, datagram in enumerate(sent):
        fill(outbox, 2 + slot, datagram)
    outbox.lay(0, array("Q", [destination.address]), first=2, step=4, count=4, size=1000)
    outbox.send(sender.fileno(), 1)
    assert [datagram for datagram, _ in received(inbox, receiver)] == sent


def test_one_destination_out_of_reach_does_not_hold_up_the_others(sockets: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = sockets
    outbox, inbox = Outbox(4), Inbox(4)
    nowhere = Destination.of(bytes(28))
    here = Destination.of(sockaddr(*receiver.getsockname()[:2]))
    for slot, destination in enumerate([here, nowhere, here]):
        fill(outbox, slot, b"media")
        outbox.fields[8 * slot] = destination.address
    outbox.send(sender.fileno(), 3)
    assert len(received(inbox, receiver)) == 2
    assert outbox.undelivered == 1


@pytest.mark.parametrize("fault", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_gso_batch_that_cannot_be_cut_goes_singly(
    sockets: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    sender, receiver = sockets
    monkeypatch.setattr(datagrams, "libc", Tunnel(fault))
    outbox, inbox = Outbox(8), Inbox(8)
    destination = Destination.of(sockaddr(*receiver.getsockname()[:2]))
    sent = [bytes([i]) * 1000 for i in range(3)] + [b"short", b"alone"]
    for slot, datagram in enumerate(sent):
        fill(outbox, slot, datagram)
    outbox.lay(0, array("Q", [destination.address]), first=0, step=4, count=4, size=1000)
    outbox.lay(1, array("Q", [destination.address]), first=4, step=1, count=1, size=5)
    outbox.send(sender.fileno(), 2)
    assert [datagram for datagram, _ in received(inbox, receiver)] == sent
    assert outbox.gso_unsupported == {destination.address}
    assert outbox.undelivered == 0


@pytest.mark.parametrize("address", [("192.0.2.7", 9), ("2001:db8::1", 65535)])
def test_address_survives_its_sockaddr(address: tuple[str, int]) -> None:
    assert address_of(sockaddr(*address)) == address


def test_mapped_address_is_reported_as_ipv4() -> None:
    assert address_of(sockaddr("::ffff:192.0.2.7", 5)) == ("192.0.2.7", 5)
