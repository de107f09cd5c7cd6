"""RTP streams as they arrive: what is missing of them, and what receiver reports say of them."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from aiortc.rtp import RtcpReceiverInfo

from media.allowance import Allowance
from media.forward.memory import Shared, ffi
from media.forward.repair import RoundTrip

# A jump further than this is no loss but a new beginning: asking for it all again would help nobody.
LARGEST_GAP = 256
# A packet that comes so long after its successors is of no use to anybody.
LATEST = 2 * LARGEST_GAP
# What may be asked for of one stream: a burst of two such gaps, then so many packets a second. Who loses more has no
# picture that could be repaired, and each request costs the focus time.
REQUEST_BURST, REQUEST_RATE = 2 * LARGEST_GAP, 500
# A missing packet is given up after this many requests, or after this many seconds: then it is too late for a picture.
TRIES = 8
USEFUL_SECONDS = 1.0
# Sender reports that a receiver's report may refer to: it names the last one that has reached it.
_REPORTS_KEPT = 4


class Missing(NamedTuple):
    """A packet that has not come: when to ask for it next, how often that was done, and since when it is missing."""

    due_at: float
    tries: int
    noticed_at: float
    asked_at: float


@dataclass(eq=False, slots=True)
class Stream:
    """One RTP stream from a leg. The fast path takes those packets of it that follow their predecessors.

    `asks` tells whether missing packets may be asked for (generic NACK was negotiated), `takes_limits` whether its
    sender may be told how fast to send (REMB was). `original` is the stream that this one carries retransmissions of
    (RFC 4588), and `original_types` the payload types that they stand for. `round_trip` is the leg's.
    """

    ssrc: int
    clock_rate: int
    asks: bool = False
    takes_limits: bool = False
    original: "Stream | None" = None
    original_types: dict[int, int] = field(default_factory=dict)
    round_trip: RoundTrip = field(default_factory=RoundTrip)

    missing: dict[int, Missing] = field(default_factory=dict)
    # Packets are missing that will not be repaired: only a key frame helps.
    is_broken: bool = False
    # The packet after the last gap of which nothing is asked for, counted on beyond 16 bits: that gap is never filled.
    jumped_to: int = -1
    # Retransmissions come as a stream of their own, so what comes late by itself answers no request.
    is_repeated_apart: bool = False
    # The share of packets that has not come, of late: what was lost some reports ago counts less and less.
    lost: float = 0.0
    # The `struct stream` of fastpath.h.
    memory: Any = field(init=False, repr=False)

    expected = Shared[int]()
    received = Shared[int]()
    jitter = Shared[float]()
    # When to ask for missing packets next; infinity where none is missing.
    asks_at = Shared[float]()

    _first: int = 0
    _requests: Allowance = field(default_factory=lambda: Allowance(REQUEST_RATE, REQUEST_BURST))
    _reported: tuple[int, int] = (0, 0)
    # The middle of each report's NTP time (RFC 3550 section 6.4.1), and when it came.
    _sender_reports: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_REPORTS_KEPT))

    def __post_init__(self) -> None:
        """Expect whatever comes first."""
        self.memory = ffi.new("struct stream *", {"expected": -1, "clock_rate": self.clock_rate, "asks_at": inf})

    def keep_time(self, clock_rate: int) -> None:
        """Count time at this rate from now on: the source's codec may have changed."""
        if clock_rate != self.clock_rate:
            self.clock_rate = self.memory.clock_rate = clock_rate
            self.jitter = 0.0

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
            return self._take_late(sequence, now)
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

    def take_repeat(self, sequence: int, timestamp: int, now: float) -> int | None:
        """Take a packet from the stream of retransmissions like `take`, where it is missing: the others came before."""
        if (missing := self.missing.get(sequence)) is None:
            return None
        self._time(missing, now)
        return self.take(sequence, timestamp, now)

    def _skip(self, ahead: int, now: float) -> None:
        """Note that packets are missing before the next one."""
        if ahead <= LARGEST_GAP and self.asks and self._requests.take(ahead, now):
            for sequence in range(self.expected, self.expected + ahead):
                self.missing[sequence & 0xFFFF] = Missing(now, 0, now, now)
            while len(self.missing) > LARGEST_GAP:
                self._give_up(next(iter(self.missing)))
        else:
            self.missing.clear()
            self.is_broken = self.asks
            self.jumped_to = self.expected + ahead if self.asks else -1
        self.expected += ahead
        self._note_when_to_ask()

    def _give_up(self, sequence: int) -> None:
        """Do without a packet."""
        del self.missing[sequence]
        self.is_broken = True

    def _note_when_to_ask(self) -> None:
        """Let the fast path know when it is to leave a packet to us, so that we ask for what is missing."""
        self.asks_at = min((each.due_at for each in self.missing.values()), default=inf)

    def _take_late(self, sequence: int, now: float) -> int | None:
        """Note a packet that comes after its successors.

        It may come twice, as it was sent first and as it was asked for: only what is missing is taken. Where nothing
        is asked for a packet comes once, since SRTP takes none twice.
        """
        if self.asks and sequence not in self.missing:
            return None
        self.received += 1
        if (missing := self.missing.pop(sequence, None)) is not None:
            if not self.is_repeated_apart:
                self._time(missing, now)
            self._note_when_to_ask()
        late = self.expected - sequence & 0xFFFF
        return self.expected - late if late <= LATEST else None

    def _time(self, missing: Missing, now: float) -> None:
        """Learn the round trip from the answer to a request; which of several it answers, nobody knows."""
        if missing.tries == 1 or (missing.tries and not self.round_trip.is_measured):
            self.round_trip.measure(now - (missing.asked_at if missing.tries == 1 else missing.noticed_at))
        elif missing.tries:
            self.round_trip.back_off()

    def due(self, now: float) -> Iterator[int]:
        """Yield the sequence numbers to ask for now, each twice as long after the last time; give up what is too late.

        Nothing is asked for again before an answer can have come.
        """
        for sequence, missing in list(self.missing.items()):
            if missing.due_at > now:
                continue
            if missing.tries >= TRIES or now - missing.noticed_at > USEFUL_SECONDS:
                self._give_up(sequence)
            else:
                again_at = now + self.round_trip.patience * 2**missing.tries
                self.missing[sequence] = Missing(again_at, missing.tries + 1, missing.noticed_at, now)
                yield sequence
        self._note_when_to_ask()

    def take_sender_report(self, ntp_time: int, now: float) -> None:
        """Note when which sender report came."""
        self._sender_reports.append((ntp_time >> 16 & 0xFFFFFFFF, now))

    def reported_at(self, lsr: int) -> float | None:
        """Return when the sender report came that a receiver's report names (RFC 3550 section 6.4.1), where known."""
        return next((at for middle, at in self._sender_reports if middle == lsr), None)

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
        if self._sender_reports:
            lsr, at = self._sender_reports[-1]
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
