"""The hot loop's way out: from packets placed in their tracks to encrypted datagrams.

Measured as system time this is mostly the kernel's; of what is left, libsrtp encrypts in place, in the very buffer
that the kernel reads. So for each receiver there is one copy, one call of libsrtp and three numbers to write.
"""

from collections.abc import Iterable
from typing import Any

from media import aiortc_adapter as adapter
from media.datagrams import LONGEST_TRAIN, SLOT, Outbox
from media.router import Route, Target
from media.rtp import HEADER, HEADER_SIZE, translate_extensions

_SLOTS = 512
# Singles go out when so many are ready: by then the system call is shared by enough, and nobody waits for long.
_FULL = 64


class Forwarder:
    """Sends what routes have collected through one socket."""

    def __init__(self, fd: int, *, trains: bool) -> None:
        """Send through the socket; `trains` tells whether its kernel cuts trains into datagrams."""
        self._fd = fd
        self._trains = trains
        self._singles = Outbox(_SLOTS)
        self._convoys = Outbox(_SLOTS)
        self._pointers = {box: _pointers(box) for box in (self._singles, self._convoys)}
        self._ready = 0
        self.sent = 0
        self.unprotected = 0

    @property
    def undelivered(self) -> int:
        """How many messages the kernel did not take."""
        return self._singles.undelivered + self._convoys.undelivered

    def forward(self, routes: Iterable[Route]) -> None:
        """Send the bursts of these routes, and forget them."""
        for route in routes:
            burst, track = route.burst, route.track
            track.packets += len(burst)
            for payload_type, distance, ids, targets in route.variants:
                packets = []
                for sequence, first, second, timestamp, packet in burst:
                    if first & 0x10 and ids is not None:
                        packet = translate_extensions(packet, ids)
                    header = HEADER.pack(
                        first, second & 0x80 | payload_type, sequence + distance & 0xFFFF, timestamp, track.ssrc
                    )
                    packets.append(header + packet[HEADER_SIZE:])
                if len(packets) == 1 or not self._trains:
                    for packet in packets:
                        self._send_single(packet, targets)
                else:
                    self._send_trains(packets, targets)
            burst.clear()
        self._flush()

    def _send_single(self, packet: bytes, targets: tuple[Target, ...]) -> None:
        """Encrypt one packet for each target."""
        box = self._singles
        view, lengths, fields = box.view, box.lengths, box.fields
        pointers, length_pointers = self._pointers[box]
        protect = adapter.srtp_protect
        size, slot = len(packet), self._ready
        for handle, address in targets:
            if slot == _SLOTS:
                self._ready = slot
                self._flush()
                slot = 0
            start = slot * SLOT
            view[start : start + size] = packet
            lengths[2 * slot + 1] = size
            fields[8 * slot] = address
            if protect(handle, pointers[slot], length_pointers[slot]):
                self.unprotected += 1
            else:
                slot += 1
        self._ready = slot
        if slot >= _FULL:
            self._flush()

    def _flush(self) -> None:
        """Send the singles that are ready."""
        if self._ready:
            self._singles.send(self._fd, self._ready)
            self.sent += self._ready
            self._ready = 0

    def _send_trains(self, packets: list[bytes], targets: tuple[Target, ...]) -> None:
        """Encrypt several packets of a track for each target, and send each target those of one size as one train."""
        trains = _trains(packets)
        box = self._convoys
        view, lengths = box.view, box.lengths
        pointers, length_pointers = self._pointers[box]
        protect = adapter.srtp_protect
        slot = messages = 0
        for handle, address in targets:
            if slot + len(packets) > _SLOTS:
                box.send(self._fd, messages)
                slot = messages = 0
            begin, failed = slot, 0
            for packet in packets:
                start = slot * SLOT
                view[start : start + len(packet)] = packet
                lengths[2 * slot + 1] = len(packet)
                failed |= protect(handle, pointers[slot], length_pointers[slot])
                slot += 1
            if failed:
                self.unprotected += len(packets)
                slot = begin
                continue
            self.sent += len(packets)
            for offset, count in trains:
                box.lay_train(messages, address, begin + offset, count, lengths[2 * (begin + offset) + 1])
                messages += 1
        if messages:
            box.send(self._fd, messages)


def _trains(packets: list[bytes]) -> list[tuple[int, int]]:
    """Return where trains begin and how many packets each has: all of one size, but the last may be shorter."""
    trains: list[tuple[int, int]] = []
    begin = 0
    for i in range(1, len(packets) + 1):
        ends = i == len(packets) or i - begin == LONGEST_TRAIN or len(packets[i - 1]) < len(packets[begin])
        if ends or len(packets[i]) > len(packets[begin]):
            trains.append((begin, i - begin))
            begin = i
    return trains


def _pointers(box: Outbox) -> tuple[list[Any], list[Any]]:
    """Return libsrtp's pointers to the slots of an outbox, and to their lengths."""
    cast = adapter.ffi.cast
    return [cast("void *", each) for each in box.addresses], [cast("int *", each) for each in box.length_addresses]
