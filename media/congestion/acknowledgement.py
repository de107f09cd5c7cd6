"""What a receiver reports about the packets that were sent to it."""

from collections.abc import Sequence
from typing import NamedTuple


class Acknowledgement(NamedTuple):
    """A packet that was sent to a receiver, and when it arrived there."""

    # In seconds of the sender's clock.
    sent_at: float
    # In seconds of the receiver's clock; None if the packet did not arrive. Only differences have a meaning.
    arrived_at: float | None
    # In bytes, with the headers that count as load.
    size: int
    # The probe to which the packet belongs; 0 for an ordinary packet.
    probe: int = 0


class Report(NamedTuple):
    """What one feedback reports: the packets that arrived, in the order of sending, and how many were lost.

    A receiver reports hundreds of packets a second. So each list has one value of every packet that arrived, and is
    handled as a whole. The values are those of `Acknowledgement`.
    """

    sent_at: Sequence[float]
    arrived_at: Sequence[float]
    sizes: Sequence[int]
    probes: Sequence[int]
    lost: int

    @property
    def reported(self) -> int:
        """How many packets the feedback reports, as arrived or as lost."""
        return len(self.sizes) + self.lost

    @classmethod
    def of(cls, packets: Sequence[Acknowledgement]) -> "Report":
        """Return the report on these packets, which are in the order of sending."""
        arrived = [(sent, at, size, probe) for sent, at, size, probe in packets if at is not None]
        sent_at, arrived_at, sizes, probes = zip(*arrived, strict=True) if arrived else ((), (), (), ())
        return cls(sent_at, arrived_at, sizes, probes, len(packets) - len(arrived))
