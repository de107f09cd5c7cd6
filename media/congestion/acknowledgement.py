"""What a receiver reports about one packet."""

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
