"""The hot loop's way out: from packets placed in their tracks to encrypted datagrams.

Measured as system time this is mostly the kernel's; of what is left, libsrtp encrypts in place, in the very buffer
that the kernel reads. So for each receiver there is one copy and one call of libsrtp. All else is written for all
receivers of a burst at once, and their calls are made by `map`: the interpreter takes no step for a receiver but the
one that copies.
"""

import logging
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

from media import aiortc_adapter as adapter
from media.forward.datagrams import LONGEST_BATCH, SLOT, Outbox
from media.forward.memory import FULL, LARGEST_SEGMENT, SLOTS_OUT
from media.forward.rtp import HEADER, HEADER_SIZE, translate_extensions
from media.forward.tracks import Receivers, Route

logger = logging.getLogger(__name__)

_ALONE = ((0, 1),)


class Forwarder:
    """Sends what routes have collected through one socket."""

    def __init__(self, fd: int, outbox: Outbox, *, gso: bool) -> None:
        """Send through the socket; `gso` tells whether its kernel cuts GSO batches into datagrams.

        The outbox has SLOTS_OUT slots, of which none is in use before and after each call.
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
        # Bursts that were met with an exception.
        self.stumbles = 0

    @property
    def undelivered(self) -> int:
        """How many messages the kernel did not take."""
        return self._box.undelivered

    @property
    def gso_unsupported(self) -> set[int]:
        """The names (addresses in memory) whose routes do not support GSO. Whoever has handled them removes them."""
        return self._box.gso_unsupported

    def forward(self, routes: Iterable[Route]) -> None:
        """Send the bursts of these routes, and forget them, whatever becomes of them. Never raises."""
        for route in routes:
            try:
                self._forward(route)
            except Exception:
                # What one participant sends is never another's loss: the other routes go on.
                self.stumbles += 1
                if is_told(self.stumbles):
                    logger.exception("track %s: a burst was not forwarded, %d so far", route.track.ssrc, self.stumbles)
            route.burst.clear()
        self._flush()

    def _forward(self, route: Route) -> None:
        """Write a route's burst for its variants, and encrypt it for each receiver."""
        burst, ssrc, pack = route.burst, route.track.ssrc, HEADER.pack
        # More than the buffer holds never arrives at once.
        del burst[SLOTS_OUT:]
        route.track.packets += len(burst)
        for type_, distance, ids, foreign, receivers in route.variants:
            packets = []
            for sequence, first, second, timestamp, elements, content in burst:
                if elements & foreign:
                    content = translate_extensions(content, ids)
                header = pack(first, second & 0x80 | type_, sequence + distance & 0xFFFF, timestamp, ssrc)
                packets.append(header + content[HEADER_SIZE:])
            room = SLOTS_OUT // len(packets)
            if len(receivers.handles) <= room:
                self._send(packets, receivers)
            else:
                for begin in range(0, len(receivers.handles), room):
                    self._send(packets, receivers.part(begin, begin + room))

    def _send(self, packets: list[bytes], receivers: Receivers) -> None:
        """Encrypt packets for each receiver, and send each those of one size as one GSO batch."""
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
        box.lengths[2 * first + 1 : 2 * end : 2] = sizes * len(handles)
        each = handles if step == 1 else chain.from_iterable(map(repeat, handles, repeat(step)))
        failures = list(map(adapter.srtp_protect, each, self._pointers[first:end], self._lengths[first:end]))
        names = self._names_without(receivers, failures) if any(failures) else receivers.names
        longest = self._longest if receivers.gso and max(sizes) <= LARGEST_SEGMENT else 1
        for offset, count in _ALONE if step == 1 else _batches(sizes, longest):
            size = box.lengths[2 * (first + offset) + 1]
            box.lay(self._messages, names, first=first + offset, step=step, count=count, size=size)
            self._messages += len(names)
        self.sent += len(failures)
        self._slots = end
        if self._messages >= FULL:
            self._flush()

    def _names_without(self, receivers: Receivers, failures: list[int]) -> "array[int]":
        """Return where to send when some packets could not be encrypted: their receivers get nothing of this burst."""
        step = len(failures) // len(receivers.handles)
        self.unprotected += sum(map(bool, failures))
        return array(
            "Q", (0 if any(failures[i * step : (i + 1) * step]) else name for i, name in enumerate(receivers.names))
        )

    def _flush(self) -> None:
        """Send what is ready."""
        if self._messages:
            self._box.send(self._fd, self._messages)
        self._slots = self._messages = 0


def is_told(count: int) -> bool:
    """Tell whether the fault of this number is logged: the first, the second, the fourth … so that no log overflows."""
    return count & (count - 1) == 0


def _batches(sizes: "array[int]", longest: int) -> Iterator[tuple[int, int]]:
    """Yield where GSO batches begin and how many packets each has: all of one size, but the last may be shorter."""
    begin = 0
    for i in range(1, len(sizes)):
        if i - begin == longest or sizes[i - 1] < sizes[begin] or sizes[i] > sizes[begin]:
            yield begin, i - begin
            begin = i
    yield begin, len(sizes) - begin
