"""The output of the hot loop: from packets placed in their tracks to encrypted datagrams.

Most of the time is spent in the kernel. libsrtp encrypts in place, in the buffer that the kernel reads. So each packet
costs one copy and one call of libsrtp per receiver. Everything else is done for all receivers of a burst at once. `map`
calls libsrtp, so the interpreter itself only makes the copy for each receiver.
"""

import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat

from media import aiortc_adapter as adapter
from media.forward.datagrams import LONGEST_BATCH, SLOT, Outbox
from media.forward.departures import Departures
from media.forward.memory import FULL, LARGEST_SEGMENT, SLOTS_OUT
from media.forward.pictures import shifted
from media.forward.rtp import HEADER, HEADER_SIZE, number_place, primary, translate_extensions, with_number
from media.forward.sendqueue import put, queue_at
from media.forward.tracks import Receivers, Route

logger = logging.getLogger(__name__)

_ALONE = ((0, 1),)


class Forwarder:
    """Sends each route's burst of packets through one socket."""

    def __init__(self, fd: int, outbox: Outbox, *, gso: bool) -> None:
        """Send through a socket.

        :param outbox: an outbox with SLOTS_OUT slots. No slot is in use before or after a call of `forward`.
        :param gso: whether the kernel supports GSO batches at this socket.
        """
        self._fd = fd
        self._longest = LONGEST_BATCH if gso else 1
        self._box = outbox
        cast = adapter.ffi.cast
        # libsrtp's pointers to the slots, and to their lengths.
        self._pointers = [cast("void *", each) for each in self._box.addresses]
        self._lengths = [cast("int *", each) for each in self._box.length_addresses]
        self._slots = self._messages = 0
        self.sent = self.unprotected = 0
        self._now = 0.0
        # How many bursts raised an exception.
        self.faults = 0

    @property
    def undelivered(self) -> int:
        """How many messages the kernel did not accept. A GSO batch is one message."""
        return self._box.undelivered

    @property
    def gso_unsupported(self) -> set[int]:
        """The sockaddrs (by address in memory) whose network paths do not support GSO. The caller clears the set."""
        return self._box.gso_unsupported

    def forward(self, routes: Iterable[Route], now: float) -> None:
        """Send the bursts of these routes, and empty the bursts. Never raises."""
        self._now = now
        for route in routes:
            try:
                self._forward(route)
            except Exception:
                # A bad packet of one participant must not affect others. Continue with the other routes.
                self.faults += 1
                if is_logged(self.faults):
                    logger.exception("track %s: a burst was not forwarded, %d so far", route.track.ssrc, self.faults)
            route.burst.clear()
        self._flush()

    def _forward(self, route: Route) -> None:
        """Write a route's burst for its variants, and encrypt it for each receiver."""
        burst, ssrc, pack = route.burst, route.track.ssrc, HEADER.pack
        # Drop packets that the outbox cannot hold.
        del burst[SLOTS_OUT:]
        route.track.packets += len(burst)
        for type_, distance, ids, foreign, receivers, number_ids, shift, inner in route.variants:
            packets, places = [], []
            for sequence, timestamp, elements, content in burst:
                place = number_place(content, number_ids.source) if elements >> number_ids.source & 1 else 0
                if inner:
                    content = primary(content, inner)
                if elements & foreign:
                    content = translate_extensions(content, ids)
                if shift.picture or shift.base:
                    content = shifted(content, shift.picture, shift.base)
                if number_ids.receiver:
                    content, place = with_number(content, place, number_ids.receiver)
                    places.append(place)
                timestamp = timestamp + shift.timestamp & 0xFFFFFFFF
                header = pack(content[0], content[1] & 0x80 | type_, sequence + distance & 0xFFFF, timestamp, ssrc)
                packets.append(header + content[HEADER_SIZE:])
            room = SLOTS_OUT // len(packets)
            if len(receivers.handles) <= room:
                self._send(packets, places, receivers)
            else:
                for begin in range(0, len(receivers.handles), room):
                    self._send(packets, places, receivers.part(begin, begin + room))

    def _send(self, packets: list[bytes], places: list[int], receivers: Receivers) -> None:
        """Encrypt packets for each receiver. Packets of one size go to a receiver as one GSO batch.

        :param places: where each packet has its transport-wide number, if the receivers get numbers.
        """
        handles, step = receivers.handles, len(packets)
        if self._slots + step * len(handles) > SLOTS_OUT:
            self._flush()
        box, first = self._box, self._slots
        end = first + step * len(handles)
        view, sizes = box.view, array("Q", map(len, packets))
        for offset, packet in enumerate(packets):
            size = sizes[offset]
            for start in range((first + offset) * SLOT, end * SLOT, step * SLOT):
                view[start : start + size] = packet
        if places:
            self._number(first, sizes, places, receivers.departures)
        box.lengths[2 * first + 1 : 2 * end : 2] = sizes * len(handles)
        each = handles if step == 1 else chain.from_iterable(map(repeat, handles, repeat(step)))
        failures = list(map(adapter.srtp_protect, each, self._pointers[first:end], self._lengths[first:end]))
        names = self._names_without(receivers, failures) if any(failures) else receivers.names
        self.sent += len(failures)
        self._slots = end
        if receivers.tcp:
            self._queue(names, first, step)
            return
        longest = self._longest if receivers.gso and max(sizes) <= LARGEST_SEGMENT else 1
        for offset, count in _ALONE if step == 1 else _batches(sizes, longest):
            size = box.lengths[2 * (first + offset) + 1]
            box.lay(self._messages, names, first=first + offset, step=step, count=count, size=size)
            self._messages += len(names)
        if self._messages >= FULL:
            self._flush()

    def _queue(self, names: "array[int]", first: int, step: int) -> None:
        """Add the packets in these slots to the queues of receivers that use TCP."""
        box = self._box
        for index, name in enumerate(names):
            for slot in range(first + index * step, first + (index + 1) * step) if name else ():
                put(queue_at(name), box.view[slot * SLOT : slot * SLOT + box.lengths[2 * slot + 1]])

    def _number(self, first: int, sizes: "array[int]", places: list[int], all_departures: Sequence[Departures]) -> None:
        """Write transport-wide numbers into the packets, which are in successive slots from `first` on."""
        start = first * SLOT
        for departures in all_departures:
            for size, place in zip(sizes, places, strict=True):
                number = departures.note(size, self._now)
                self._box.view[start + place : start + place + 2] = number.to_bytes(2, "big")
                start += SLOT

    def _names_without(self, receivers: Receivers, failures: list[int]) -> "array[int]":
        """Return the addresses of the receivers' sockaddrs, but 0 for each receiver for which encryption failed.

        Such a receiver gets no packet of this burst.
        """
        step = len(failures) // len(receivers.handles)
        self.unprotected += sum(map(bool, failures))
        return array(
            "Q", (0 if any(failures[i * step : (i + 1) * step]) else name for i, name in enumerate(receivers.names))
        )

    def _flush(self) -> None:
        """Send the messages that are ready."""
        if self._messages:
            self._box.send(self._fd, self._messages)
        self._slots = self._messages = 0


def is_logged(count: int) -> bool:
    """Tell whether to log the fault with this number. To bound the log, only numbers 1, 2, 4, 8 … are logged."""
    return count & (count - 1) == 0


def _batches(sizes: "array[int]", longest: int) -> Iterator[tuple[int, int]]:
    """Yield the start of each GSO batch and its number of packets. Only the last packet of a batch may be shorter."""
    begin = 0
    for i in range(1, len(sizes)):
        if i - begin == longest or sizes[i - 1] < sizes[begin] or sizes[i] > sizes[begin]:
            yield begin, i - begin
            begin = i
    yield begin, len(sizes) - begin
