"""RTP streams as they arrive: their missing packets, and the receiver reports about them."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from aiortc.rtp import RtcpReceiverInfo

from media.allowance import Allowance
from media.forward.memory import Shared, ffi
from media.forward.repair import RoundTrip

# A jump of more sequence numbers than this is a restart, not a loss. The skipped packets are not requested.
LARGEST_GAP = 256
# Discard packets that are more than this many sequence numbers late.
LATEST = 2 * LARGEST_GAP
# Of one stream, REQUEST_BURST packets may be requested at once, and REQUEST_RATE per second. A stream that loses more
# cannot be repaired, and each request costs the focus time.
REQUEST_BURST, REQUEST_RATE = 2 * LARGEST_GAP, 500
# A missing packet is given up after TRIES requests, or after USEFUL_SECONDS, when it is too late for a picture.
TRIES = 8
USEFUL_SECONDS = 1.0
# How many sender reports are remembered. A receiver report refers to the last sender report that has reached the
# receiver.
_REPORTS_KEPT = 4


class Missing(NamedTuple):
    """A packet that has not arrived."""

    # When to request it next.
    due_at: float
    # How often it was requested.
    tries: int
    # When it was first missed.
    noticed_at: float
    # When it was last requested.
    asked_at: float


@dataclass(eq=False, slots=True)
class Stream:
    """One RTP stream from a leg. The fast path handles the packets that arrive in order."""

    ssrc: int
    # The rate of the RTP clock, in Hz.
    clock_rate: int
    # Whether missing packets may be requested: generic NACK was negotiated.
    asks: bool = False
    # Whether the sender accepts a limit on its rate: REMB was negotiated.
    takes_limits: bool = False
    # The original stream, if this stream carries retransmissions (RFC 4588).
    original: "Stream | None" = None
    # The payload type of the original packets, by the payload type of their retransmissions.
    original_types: dict[int, int] = field(default_factory=dict)
    # The round trip of the leg.
    round_trip: RoundTrip = field(default_factory=RoundTrip)

    # The missing packets by sequence number (16 bits).
    missing: dict[int, Missing] = field(default_factory=dict)
    # Whether packets are missing that will not be repaired, so that only a key frame helps.
    is_broken: bool = False
    # The sequence number (counted on beyond 16 bits) of the first packet after the last gap that is not requested and
    # thus never filled; -1 if there was no such gap.
    jumped_to: int = -1
    # Whether retransmissions come as a stream of their own. If so, a late packet in this stream is not the answer to a
    # request.
    is_repeated_apart: bool = False
    # The share of packets that was recently lost. Older losses count less with every report.
    lost: float = 0.0
    # The time of day (NTP format) and the timestamp in the last sender report.
    sender_clock: tuple[int, int] | None = None
    # The `struct stream` of fastpath.h.
    memory: Any = field(init=False, repr=False)

    # The next sequence number, counted on beyond 16 bits; negative before the first packet.
    expected = Shared[int]()
    # How many packets have arrived.
    received = Shared[int]()
    # The jitter in units of the RTP clock (RFC 3550 section 6.4.1).
    jitter = Shared[float]()
    # When to request missing packets next; infinite while none is missing.
    asks_at = Shared[float]()

    _first: int = 0
    _requests: Allowance = field(default_factory=lambda: Allowance(REQUEST_RATE, REQUEST_BURST))
    _reported: tuple[int, int] = (0, 0)
    # For each sender report, the middle 32 bits of its NTP time (RFC 3550 section 6.4.1), and when the report came.
    _sender_reports: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_REPORTS_KEPT))

    def __post_init__(self) -> None:
        """Expect no particular sequence number for the first packet."""
        self.memory = ffi.new("struct stream *", {"expected": -1, "clock_rate": self.clock_rate, "asks_at": inf})

    def keep_time(self, clock_rate: int) -> None:
        """Use this clock rate from now on: the source's codec may have changed."""
        if clock_rate != self.clock_rate:
            self.clock_rate = self.memory.clock_rate = clock_rate
            self.jitter = 0.0

    def take(self, sequence: int, timestamp: int, now: float) -> int | None:
        """Record a packet. Return its sequence number, counted on beyond 16 bits.

        Return None for a duplicate, or if the packet is too late. The caller must pass every authentic packet of the
        stream. Otherwise this object's count would differ from SRTP's, and it might return a number twice.
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
        # A timestamp that jumps (another source on the same SSRC) does not count as jitter.
        if difference < self.clock_rate:
            memory.jitter += (difference - memory.jitter) / 16
        return number

    def take_repeat(self, sequence: int, timestamp: int, now: float) -> int | None:
        """Take a retransmitted packet like `take`, if it is still missing. Otherwise return None."""
        if (missing := self.missing.get(sequence)) is None:
            return None
        self._time(missing, now)
        return self.take(sequence, timestamp, now)

    def _skip(self, ahead: int, now: float) -> None:
        """Record a gap: the next `ahead` packets are missing."""
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
        """Stop requesting a packet."""
        del self.missing[sequence]
        self.is_broken = True

    def _note_when_to_ask(self) -> None:
        """Set when to request missing packets next. The fast path leaves packets that come later to Python."""
        self.asks_at = min((each.due_at for each in self.missing.values()), default=inf)

    def _take_late(self, sequence: int, now: float) -> int | None:
        """Record a packet that comes after its successors.

        A packet may come twice: as first sent, and as a retransmission. So only missing packets are accepted. If the
        stream requests no packets, each packet comes once, because SRTP accepts no packet twice.
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
        """Measure the round trip when a requested packet comes. Back off if several requests were made."""
        if missing.tries == 1 or (missing.tries and not self.round_trip.is_measured):
            self.round_trip.measure(now - (missing.asked_at if missing.tries == 1 else missing.noticed_at))
        elif missing.tries:
            self.round_trip.back_off()

    def due(self, now: float) -> Iterator[int]:
        """Yield the sequence numbers to request now, and give up packets that are too late.

        A packet is requested again once an answer has had time to arrive. The wait doubles each time.
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

    def take_sender_report(self, ntp_time: int, timestamp: int, now: float) -> None:
        """Record a sender report: the time of day in NTP format (64 bits), and the stream's timestamp at that time."""
        self.sender_clock = ntp_time, timestamp
        self._sender_reports.append((ntp_time >> 16 & 0xFFFFFFFF, now))

    def reported_at(self, lsr: int) -> float | None:
        """Return the arrival time of the sender report that `lsr` names (RFC 3550 section 6.4.1), if it is known."""
        return next((at for middle, at in self._sender_reports if middle == lsr), None)

    def report(self, now: float) -> RtcpReceiverInfo | None:
        """Return the report on the packets since the last call; None before the first packet."""
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
