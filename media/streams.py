"""RTP streams as they arrive: what is missing of them, and what receiver reports say of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

from aiortc.rtp import RtcpReceiverInfo

from media.shared import Shared, ffi

# A jump further than this is no loss but a new beginning: asking for it all again would help nobody.
LARGEST_GAP = 256
# A packet that comes so long after its successors is of no use to anybody.
LATEST = 2 * LARGEST_GAP
# How often, and how long apart, a missing packet is asked for.
TRIES = 8
RETRY_SECONDS = 0.06


@dataclass(eq=False, slots=True)
class Stream:
    """One RTP stream from a leg. The fast path takes those packets of it that follow their predecessors.

    `asks` tells whether missing packets may be asked for (generic NACK was negotiated), `takes_limits` whether its
    sender may be told how fast to send (REMB was). `original` is the stream that this one carries retransmissions of
    (RFC 4588), and `original_types` the payload types that they stand for.
    """

    ssrc: int
    clock_rate: int
    asks: bool = False
    takes_limits: bool = False
    original: "Stream | None" = None
    original_types: dict[int, int] = field(default_factory=dict)

    missing: dict[int, tuple[float, int]] = field(default_factory=dict)
    # The share of packets that has not come, of late: what was lost some reports ago counts less and less.
    lost: float = 0.0
    # The `struct stream` of fastpath.h.
    memory: Any = field(init=False, repr=False)

    expected = Shared[int]()
    received = Shared[int]()
    jitter = Shared[float]()

    _first: int = 0
    _reported: tuple[int, int] = (0, 0)
    _sender_report: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        """Expect whatever comes first."""
        self.memory = ffi.new("struct stream *", {"expected": -1, "clock_rate": self.clock_rate, "asks_at": inf})

    def take(self, sequence: int, timestamp: int, now: float) -> int | None:
        """Note a packet; return its sequence number, counted on beyond 16 bits, or None for one that is of no use.

        Every authentic packet of the stream must come here, so that the two ends of SRTP and this count alike: then no
        number is ever returned twice.
        """
        memory = self.memory
        transit = now * self.clock_rate - timestamp
        if memory.expected < 0:
            self._first = memory.expected = sequence
            memory.transit = transit
        ahead = sequence - memory.expected & 0xFFFF
        if ahead >= 0x8000:
            return self._take_late(sequence)
        if ahead:
            self._skip(ahead, now)
        number: int = memory.expected
        memory.expected += 1
        memory.received += 1
        difference = abs(transit - memory.transit)
        memory.transit = transit
        # A timestamp that jumps (another source on the same SSRC) is no jitter.
        if difference < self.clock_rate:
            memory.jitter += (difference - memory.jitter) / 16
        return number

    def _skip(self, ahead: int, now: float) -> None:
        """Note that packets are missing before the next one."""
        if ahead <= LARGEST_GAP and self.asks:
            for sequence in range(self.expected, self.expected + ahead):
                self.missing[sequence & 0xFFFF] = (now, 0)
            while len(self.missing) > LARGEST_GAP:
                del self.missing[next(iter(self.missing))]
        else:
            self.missing.clear()
        self.expected += ahead
        self._note_when_to_ask()

    def _note_when_to_ask(self) -> None:
        """Let the fast path know when it is to leave a packet to us, so that we ask for what is missing."""
        self.memory.asks_at = min((at for at, _ in self.missing.values()), default=inf)

    def _take_late(self, sequence: int) -> int | None:
        """Note a packet that comes after its successors.

        It may come twice, as it was sent first and as it was asked for: only what is missing is taken. Where nothing
        is asked for a packet comes once, since SRTP takes none twice.
        """
        if self.asks and sequence not in self.missing:
            return None
        self.received += 1
        if self.missing.pop(sequence, None) is not None:
            self._note_when_to_ask()
        late = self.expected - sequence & 0xFFFF
        return self.expected - late if late <= LATEST else None

    def due(self, now: float) -> Iterator[int]:
        """Yield the sequence numbers to ask for now; those asked for in vain often enough are given up."""
        for sequence, (at, tries) in list(self.missing.items()):
            if at > now:
                continue
            if tries >= TRIES:
                del self.missing[sequence]
            else:
                self.missing[sequence] = (now + RETRY_SECONDS, tries + 1)
                yield sequence
        self._note_when_to_ask()

    def take_sender_report(self, ntp_time: int, now: float) -> None:
        """Note when which sender report came."""
        self._sender_report = (ntp_time >> 16 & 0xFFFFFFFF, now)

    def report(self, now: float) -> RtcpReceiverInfo | None:
        """Return what is to be reported since the last time; None before the first packet."""
        if self.expected < 0:
            return None
        expected = self.expected - self._first
        expected_before, received_before = self._reported
        self._reported = (expected, self.received)
        lost_now = (expected - expected_before) - (self.received - received_before)
        share = max(0, lost_now) * 256 // max(1, expected - expected_before)
        self.lost = max(share / 256, 0.7 * self.lost)
        lsr, dlsr = 0, 0
        if self._sender_report is not None:
            lsr, at = self._sender_report
            dlsr = int((now - at) * 65536) & 0xFFFFFFFF
        lost = max(-0x800000, min(0x7FFFFF, expected - self.received))
        return RtcpReceiverInfo(
            ssrc=self.ssrc,
            fraction_lost=min(255, share),
            packets_lost=lost,
            highest_sequence=self.expected - 1 & 0xFFFFFFFF,
            jitter=int(self.jitter),
            lsr=lsr,
            dlsr=dlsr,
        )
