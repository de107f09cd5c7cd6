"""Many datagrams per system call: `recvmmsg` and `sendmmsg` over buffers that are allocated once.

Entering the kernel and waking up cost more than forwarding a packet. So the hot path reads a burst with one call, and
sends the result with one call. Several packets of one size for one receiver are sent as a GSO batch (generic
segmentation offload, udp(7)). A GSO batch is one message that the kernel cuts into datagrams as its last step. A batch
costs a fraction of the same datagrams in separate messages.

cffi calls libc in ABI mode, so no compiler is needed. This module works on 64-bit, little-endian Linux.
"""

import errno
import os
import socket
import struct
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cffi import FFI

# Bytes of a slot, which holds one datagram. They are enough for an Ethernet frame, the bytes that SRTP adds, and a
# reserve.
SLOT = 2048
# At most this many bytes of a datagram are read. The rest of the slot is for the bytes that encryption adds. A longer
# datagram is truncated, so it is not authentic.
LARGEST = SLOT - 192
# The most packets of a GSO batch. The kernel's limit is 64 segments and 65,507 bytes.
LONGEST_BATCH = 32

NAME_SIZE = 28  # bytes of a struct sockaddr_in6, which is larger than sockaddr_in
# In the name of a TCP connection, its number and this bit replace the last bytes of the sockaddr. In sockaddrs of
# datagrams, these bytes hold the number of a network interface, or zeros.
_SERIAL_AT, _TCP = 24, 1 << 31
_HEADER = 64  # bytes of a struct mmsghdr
_UDP_SEGMENT = 103
# The socket option with which the kernel states when each datagram has arrived (socket(7)), and the type of the control
# message that states it. Its data is a struct timespec of the time of day.
SO_TIMESTAMPNS = 35

ffi = FFI()
ffi.cdef(
    """
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr { void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
                    void *msg_control; size_t msg_controllen; int msg_flags; };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    struct arrival { size_t length; int level; int type; int64_t seconds; int64_t nanoseconds; };
    int recvmmsg(int sockfd, struct mmsghdr *msgvec, unsigned int vlen, int flags, void *timeout);
    int sendmmsg(int sockfd, struct mmsghdr *msgvec, unsigned int vlen, int flags);
    """
)
libc: Any = ffi.dlopen(None)
_NULL, _DONTWAIT = ffi.NULL, int(socket.MSG_DONTWAIT)

# These errors mean that the socket accepts nothing now. After any other error, the next datagram may still be sent,
# because only one destination is affected.
_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
# These errors mean that the network path does not support GSO batches. Either the path's device does not compute
# checksums (many tunnels, before Linux 6.11), or the datagrams are larger than the path's MTU. Sent one by one, the
# datagrams may still arrive.
_GSO_UNSUPPORTED = frozenset({errno.EIO, errno.EINVAL, errno.EMSGSIZE})


class _Batch:
    """Slots for datagrams, and the kernel's headers that describe them.

    The views give access to this memory as arrays of numbers. Indexing them is several times faster than reading a
    field of a cffi struct.
    """

    def __init__(self, slots: int) -> None:
        assert ffi.sizeof("struct mmsghdr") == _HEADER  # noqa: S101 - what the indices below rely on
        self.slots = slots
        self._buffers = ffi.new("unsigned char[]", slots * SLOT)
        self._iovecs = ffi.new("struct iovec[]", slots)
        self._headers = ffi.new("struct mmsghdr[]", slots)
        self.view = memoryview(ffi.buffer(self._buffers))
        # The length of slot i is at [2 * i + 1].
        self.lengths = memoryview(ffi.buffer(self._iovecs)).cast("B").cast("Q")
        # Message i begins at [8 * i]: name + 0, iovec + 2, number of iovecs + 3, control message + 4, its length + 5.
        self.fields = memoryview(ffi.buffer(self._headers)).cast("B").cast("Q")
        # Message i begins at [16 * i]: length of the name + 2, length received + 14.
        self.words = memoryview(ffi.buffer(self._headers)).cast("B").cast("I")
        self.addresses = [address_in_memory(self._buffers + i * SLOT) for i in range(slots)]
        # The addresses of the slots' lengths. The byte order is little-endian, so libsrtp can use each length as an
        # `int`.
        self.length_addresses = [address_in_memory(self._iovecs + i) + 8 for i in range(slots)]
        self.header_address, self.iovec_address = address_in_memory(self._headers), address_in_memory(self._iovecs)
        for i in range(slots):
            self._iovecs[i].iov_base = self._buffers + i * SLOT
            self._iovecs[i].iov_len = SLOT
            self._headers[i].msg_hdr.msg_iov = self._iovecs + i
            self._headers[i].msg_hdr.msg_iovlen = 1
            self._headers[i].msg_hdr.msg_namelen = NAME_SIZE


class Inbox(_Batch):
    """Datagrams as they arrive at sockets of one address family."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        # For each slot, the address of the length of the received datagram. libsrtp uses the length as an `int`, and
        # changes it when it decrypts.
        self.received_addresses = [address_in_memory(self._headers + i) + 56 for i in range(slots)]
        self._names = ffi.new("unsigned char[]", slots * NAME_SIZE)
        self._controls = ffi.new("struct arrival[]", slots)
        view = memoryview(ffi.buffer(self._names))
        # For each slot, the sockaddr that its datagram came from. An IPv4 sockaddr is padded with zeros.
        self.sources = [view[start : start + NAME_SIZE] for start in range(0, slots * NAME_SIZE, NAME_SIZE)]
        for i in range(slots):
            self._headers[i].msg_hdr.msg_name = self._names + i * NAME_SIZE
            self._headers[i].msg_hdr.msg_control = self._controls + i
            self._iovecs[i].iov_len = LARGEST
        self._room_for_controls = array("Q", [ffi.sizeof("struct arrival")]) * slots

    def receive(self, fd: int) -> int:
        """Fill slots with the datagrams that wait at a non-blocking socket; return their number."""
        self.fields[5::8] = self._room_for_controls
        count: int = libc.recvmmsg(fd, self._headers, self.slots, _DONTWAIT, _NULL)
        return count if count > 0 else 0

    def fill(self, slot: int, name: bytes, datagram: bytes) -> None:
        """Put a datagram from elsewhere into a slot, until `clear`. How long it has waited is unknown."""
        self.sources[slot][:] = name
        self.view[slot * SLOT : slot * SLOT + len(datagram)] = datagram
        self.words[16 * slot + 14] = len(datagram)
        self.fields[8 * slot + 5] = 0

    def clear(self, slots: int) -> None:
        """Clear the names in the first slots. The kernel overwrites only the first 16 bytes with an IPv4 sockaddr."""
        for name in self.sources[:slots]:
            name[:] = bytes(NAME_SIZE)

    def age(self, slot: int, now: int) -> float:
        """Return for how many seconds a datagram has waited, given the time of day in ns. 0 if that is unknown."""
        control = self._controls[slot]
        if self.fields[8 * slot + 5] < ffi.sizeof("struct arrival") or control.type != SO_TIMESTAMPNS:
            return 0.0
        return float(now - control.seconds * 1_000_000_000 - control.nanoseconds) / 1e9

    def length(self, slot: int) -> int:
        """Return the length of a datagram."""
        return self.words[16 * slot + 14]


class Outbox(_Batch):
    """Datagrams to send. The hot path writes directly into the slots.

    `gso_unsupported` collects the sockaddrs (by their addresses in memory) whose network paths refused a GSO batch.
    """

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self.undelivered = 0
        self.gso_unsupported: set[int] = set()
        self._iovec_addresses = array("Q", range(self.iovec_address, self.iovec_address + 16 * slots, 16))
        # For each size of a GSO batch's datagrams: the control message with this size, and the address of that message.
        self._segments: dict[int, tuple[Any, int]] = {}

    def lay(self, message: int, names: "array[int]", *, first: int, step: int, count: int, size: int) -> None:
        """Make one message for each sockaddr. Several slots make a GSO batch.

        :param message: the index of the first message.
        :param names: the memory addresses of the sockaddrs. A message to address 0 is not delivered.
        :param first: the first slot of the first message.
        :param step: how many slots later the next message begins.
        :param count: the number of slots of each message.
        :param size: the bytes in each slot of a GSO batch; the last slot may have fewer.
        """
        many = len(names)
        fields, begin, end = self.fields, 8 * message, 8 * (message + many)
        fields[begin:end:8] = names
        fields[begin + 2 : end : 8] = self._iovec_addresses[first : first + step * many : step]
        fields[begin + 3 : end : 8] = _repeated(count, many)
        fields[begin + 4 : end : 8] = _repeated(self._segment(size) if count > 1 else 0, many)
        fields[begin + 5 : end : 8] = _repeated(24 if count > 1 else 0, many)

    def _segment(self, size: int) -> int:
        """Return the address of a control message: struct cmsghdr with the 16-bit size of the segments (udp(7))."""
        known = self._segments.get(size)
        if known is None:
            made = ffi.new("unsigned char[]", _SEGMENT.pack(18, socket.IPPROTO_UDP, _UDP_SEGMENT, size))
            known = self._segments[size] = (made, address_in_memory(made))
        return known[1]

    def send(self, fd: int, count: int) -> None:
        """Send the first `count` messages. Those that the kernel does not accept now are dropped, as on a full link."""
        sent = 0
        while sent < count:
            done = libc.sendmmsg(fd, self._headers + sent, count - sent, _DONTWAIT)
            if done > 0:
                sent += done
            elif ffi.errno in _FULL:
                self.undelivered += count - sent
                return
            elif ffi.errno in _GSO_UNSUPPORTED and self.fields[8 * sent + 5]:
                self._send_singly(fd, sent)
                sent += 1
            elif ffi.errno != errno.EINTR:
                self.undelivered += 1
                sent += 1

    def _send_singly(self, fd: int, message: int) -> None:
        """Send the datagrams of a GSO batch one by one."""
        fields, at = self.fields, 8 * message
        self.gso_unsupported.add(fields[at])
        first, count = fields[at + 2], fields[at + 3]
        fields[at + 3] = 1
        fields[at + 4] = fields[at + 5] = 0
        for iovec in range(first, first + 16 * count, 16):
            fields[at + 2] = iovec
            if libc.sendmmsg(fd, self._headers + message, 1, _DONTWAIT) != 1:
                self.undelivered += 1


_SEGMENT = struct.Struct("@QiiH6x")


@lru_cache(maxsize=1024)
def _repeated(value: int, many: int) -> "array[int]":
    return array("Q", (value,)) * many


@dataclass(frozen=True, eq=False)
class Destination:
    """Where datagrams go: a sockaddr that does not move in memory, and its address in memory.

    For a TCP connection, `memory` is its `struct send_queue` instead.
    """

    name: bytes
    memory: object
    address: int
    is_tcp: bool = False

    @classmethod
    def of(cls, name: bytes) -> "Destination":
        """Return the destination for a sockaddr of NAME_SIZE bytes, which is the `msg_namelen` of every message."""
        memory = ffi.new("unsigned char[]", name)
        return cls(name, memory, address_in_memory(memory))


def address_in_memory(pointer: Any) -> int:
    """Return the address of a cffi pointer as a number."""
    return int(ffi.cast("uintptr_t", pointer))


def segmentation_works(fd: int) -> bool:
    """Tell whether the kernel can cut GSO batches of this socket into datagrams."""
    with socket.socket(fileno=os.dup(fd)) as probe:
        try:
            probe.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
        except OSError:
            return False
    return True


def sockaddr(host: str, port: int) -> bytes:
    """Return the sockaddr of an IPv4 or IPv6 address, padded to NAME_SIZE bytes."""
    if ":" in host:
        family, address = socket.AF_INET6, bytes(4) + socket.inet_pton(socket.AF_INET6, host) + bytes(4)
    else:
        family, address = socket.AF_INET, socket.inet_aton(host)
    return (int(family).to_bytes(2, "little") + port.to_bytes(2, "big") + address).ljust(NAME_SIZE, b"\0")


def connection_name(host: str, port: int, serial: int) -> bytes:
    """Return the name of a TCP connection: its sockaddr with a number, so that no other name is equal."""
    return sockaddr(host.partition("%")[0], port)[:_SERIAL_AT] + (serial | _TCP).to_bytes(4, "little")


def is_tcp(name: bytes) -> bool:
    """Tell whether a name is that of a TCP connection."""
    return name[-1] > 127


def source_of(name: bytes) -> tuple[Any, ...]:
    """Return the host and port of a sockaddr, and for a TCP connection also its number."""
    return (*address_of(name), name[_SERIAL_AT:]) if is_tcp(name) else address_of(name)


def address_of(name: bytes) -> tuple[str, int]:
    """Return the host and port of a sockaddr. An IPv4 address on an IPv6 socket is returned as IPv4."""
    port = int.from_bytes(name[2:4], "big")
    if int.from_bytes(name[:2], "little") == socket.AF_INET:
        return socket.inet_ntoa(name[4:8]), port
    if name[8:20] == bytes(10) + b"\xff\xff":
        return socket.inet_ntoa(name[20:24]), port
    return socket.inet_ntop(socket.AF_INET6, name[8:24]), port
