"""Datagrams on a TCP connection: each follows its length in two bytes (RFC 4571). This module uses no socket."""

_PREFIX = 2


def framed(datagram: bytes) -> bytes:
    """Return the frame of a datagram."""
    return len(datagram).to_bytes(_PREFIX, "big") + datagram


class Deframer:
    """Cuts the bytes of one connection into datagrams. It keeps at most one incomplete frame."""

    def __init__(self, largest: int) -> None:
        """Accept datagrams of at most this many bytes."""
        self._largest = largest
        self._rest = b""

    @property
    def kept(self) -> int:
        """How many bytes of an incomplete frame are kept."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes that have arrived. Return the datagrams that are complete now; a null frame is an empty one.

        :raises ValueError: when a frame is too long. The connection cannot be used any more.
        """
        data, at = self._rest + data, 0
        datagrams: list[bytes] = []
        while len(data) - at >= _PREFIX:
            size = int.from_bytes(data[at : at + _PREFIX], "big")
            if size > self._largest:
                raise ValueError("A frame is too long")
            if len(data) - at < _PREFIX + size:
                break
            datagrams.append(data[at + _PREFIX : at + _PREFIX + size])
            at += _PREFIX + size
        self._rest = data[at:]
        return datagrams
