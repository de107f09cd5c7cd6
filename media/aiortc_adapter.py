"""The only module that uses private names of aiortc, aioice and pylibsrtp.

The tests in `tests/media/test_aiortc_adapter.py` are the contract with these libraries. They fail when a release
changes anything that this module relies on. Importing this module loads codecs and takes some tenths of a second, so
only a node does it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pylibsrtp
from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)
from aiortc.rtcsctptransport import USERDATA_MAX_LENGTH, Chunk, DataChunk, ForwardTsnChunk, tsn_plus_one
from aiortc.rtp import AnyRtcpPacket, RtcpPacket
from OpenSSL import SSL

from media.credentials import Fingerprint

__all__ = [
    "SRTP_OK",
    "SRTP_TRAILER",
    "Certificate",
    "Dtls",
    "RTCDataChannel",
    "Sctp",
    "Srtp",
    "address_of_session",
    "ffi",
    "parse_rtcp",
    "srtp_addresses",
    "srtp_protect",
    "srtp_protect_addresses",
    "srtp_protect_rtcp",
    "srtp_unprotect",
    "srtp_unprotect_rtcp",
]

logger = logging.getLogger(__name__)

# The functions of libsrtp. Each takes (session, buffer, int * length), changes the buffer in place and returns SRTP_OK
# or an error number. The protect functions need SRTP_TRAILER free bytes in the buffer behind the packet.
_libsrtp = cast(Any, pylibsrtp)
ffi: Final[Any] = _libsrtp.ffi
SRTP_OK: Final[int] = _libsrtp.lib.srtp_err_status_ok
SRTP_TRAILER: Final[int] = pylibsrtp.SRTP_MAX_SRTCP_TRAILER_LEN
srtp_protect: Final[Callable[[Any, Any, Any], int]] = _libsrtp.lib.srtp_protect
srtp_unprotect: Final[Callable[[Any, Any, Any], int]] = _libsrtp.lib.srtp_unprotect
srtp_protect_rtcp: Final[Callable[[Any, Any, Any], int]] = _libsrtp.lib.srtp_protect_rtcp
srtp_unprotect_rtcp: Final[Callable[[Any, Any, Any], int]] = _libsrtp.lib.srtp_unprotect_rtcp


def srtp_addresses() -> tuple[int, int]:
    """Return the addresses in memory of srtp_protect and srtp_unprotect, for C code."""
    return _address("srtp_protect"), _address("srtp_unprotect")


def srtp_protect_addresses() -> tuple[int, int]:
    """Return the addresses in memory of srtp_protect and srtp_protect_rtcp."""
    return _address("srtp_protect"), _address("srtp_protect_rtcp")


def _address(name: str) -> int:
    return int(ffi.cast("uintptr_t", ffi.addressof(_libsrtp.lib, name)))


def address_of_session(handle: Any) -> int:
    """Return the address in memory of an SRTP session."""
    return int(ffi.cast("uintptr_t", handle))


# RFC 6347 section 4.1: type, version, epoch, sequence number, length.
_RECORD_HEADER = 13
_MTU = 1200


@dataclass(frozen=True)
class Srtp:
    """The two SRTP sessions of a connected transport, as libsrtp's functions take them.

    The handles `tx` and `rx` are valid only while this object exists. Keep the object as long as you use a handle.
    """

    tx: Any
    rx: Any
    profile: str
    sessions: tuple[pylibsrtp.Session, pylibsrtp.Session] = field(repr=False)


class _RtcCertificate(RTCCertificate):
    """aiortc's certificate. It forbids renegotiation, because each handshake takes a millisecond of the loop's time."""

    def _create_ssl_context(self, srtp_profiles: Any) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_options(SSL.OP_NO_RENEGOTIATION)
        return context


class Certificate:
    """A node's certificate. Every session description from the node contains the certificate's fingerprints."""

    def __init__(self) -> None:
        self.rtc: RTCCertificate = _RtcCertificate.generateCertificate()
        self.fingerprint: str = next(f.value for f in self.rtc.getFingerprints() if f.algorithm == "sha-256")

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """The fingerprints for the a=fingerprint lines of an SDP."""
        return (Fingerprint("sha-256", self.fingerprint),)


class _Datagrams:
    """The part of an ICE transport that RTCDtlsTransport needs."""

    role = "controlled"
    state = "completed"

    def __init__(self, receive: Callable[[], Awaitable[bytes]], send: Callable[[bytes], None]) -> None:
        self._recv = receive
        self._send_now = send

    async def _send(self, data: bytes) -> None:
        self._send_now(data)


class Dtls(RTCDtlsTransport):
    """aiortc's DTLS. The caller receives and sends the datagrams.

    - `receive` is awaited for the next datagram, which is never empty. `receive` raises ConnectionError at the end.
    - `send` is called with each outgoing datagram.
    - `on_data` is awaited with each message of application data, but only after the other side's fingerprint is
      verified. `on_data` must not raise.
    - `on_closed` is called when either side ends the connection. `on_closed` must not raise.
    """

    def __init__(
        self,
        certificate: Certificate,
        role: str,
        receive: Callable[[], Awaitable[bytes]],
        send: Callable[[bytes], None],
        on_data: Callable[[bytes], Awaitable[None]],
        on_closed: Callable[[], None],
    ) -> None:
        super().__init__(cast(Any, _Datagrams(receive, send)), [certificate.rtc])
        self._set_role(role)
        self._out = send
        self._on_data = on_data
        self._on_closed = on_closed
        self._register_data_receiver(self)
        self.on("statechange", self._state_changed)

    async def handshake(self, fingerprints: Iterable[Fingerprint]) -> bool:
        """Connect with a peer whose certificate has one of these fingerprints. Return whether that succeeded."""
        parameters = RTCDtlsParameters([RTCDtlsFingerprint(each.algorithm, each.value) for each in fingerprints])
        if not parameters.fingerprints:
            return False
        try:
            await self.start(parameters)
        except Exception:
            # For hostile input, OpenSSL and cryptography raise errors that aiortc does not handle.
            logger.debug("The DTLS handshake failed", exc_info=True)
            return False
        if self._task is None:
            return False
        self._task.add_done_callback(_retrieve)
        return True

    @property
    def srtp(self) -> Srtp:
        """The SRTP sessions, once connected."""
        profile = self._ssl.get_selected_srtp_profile().decode() if self._ssl else ""
        tx, rx = self._tx_srtp, self._rx_srtp
        return Srtp(tx._srtp[0], rx._srtp[0], profile, (tx, rx))

    def send_data(self, data: bytes) -> bool:
        """Send a message of application data. Return whether it could be sent."""
        if self.state != "connected" or self._ssl is None:
            return False
        try:
            self._ssl.send(data)
        except SSL.Error:
            return False
        self.flush()
        return True

    async def finish(self) -> None:
        """Send close-notify if there is a connection, and end all tasks."""
        task = self._task
        if self.state == "failed" and self.encrypted and self._ssl:
            # The handshake succeeded, but with a wrong certificate. Tell this peer that the connection ends.
            try:
                self._ssl.shutdown()
            except SSL.Error:
                logger.debug("No close-notify could be sent", exc_info=True)
            self.flush()
        await self.stop()
        # `stop` has cancelled the task, but aiortc may lose the cancellation. This call also makes `receive` raise.
        self._on_closed()
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait([task])
        self.remove_all_listeners()

    def forget(self) -> None:
        """Break the reference cycles, so that memory is freed at once. Call this method after `finish`."""
        self._out = self._on_data = self._on_closed = cast(Any, _nothing)
        self._transport = cast(Any, None)
        self._data_receiver = None

    def flush(self) -> None:
        """Send everything that OpenSSL has written, in datagrams of whole records."""
        if self._ssl is None:
            return
        written = bytearray()
        while True:
            try:
                written += self._ssl.bio_read(65536)
            except SSL.Error:
                break
        for datagram in _datagrams(bytes(written)):
            self._out(datagram)

    # aiortc calls these methods.

    async def _write_ssl(self) -> None:
        # aiortc's own method reads at most 1500 bytes and may cut a record in two.
        self.flush()

    async def _recv_next(self) -> None:
        await super()._recv_next()
        # aiortc's own method reads one record. A datagram may hold several records, and the others would wait forever.
        while self.state == "connected" and self._ssl is not None:
            try:
                data = self._ssl.recv(65536)
            except SSL.ZeroReturnError:
                raise ConnectionError from None
            except SSL.Error:
                return
            await self._handle_data(data)

    async def _handle_data(self, data: bytes) -> None:
        # aiortc may deliver data before the fingerprint is verified. Such data is not authentic, so drop it.
        if self.state == "connected":
            await self._on_data(data)

    def _state_changed(self) -> None:
        if self.state == "closed":
            self._on_closed()


class _Carrier:
    """The part of a DTLS transport that RTCSctpTransport needs."""

    state = "connected"

    def __init__(self, role: str, send: Callable[[bytes], object]) -> None:
        self._role = role
        self._send_now = send

    def _register_data_receiver(self, receiver: object) -> None:
        pass

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass

    async def _send_data(self, data: bytes) -> None:
        self._send_now(data)


# The most bytes of pieces (DATA chunks) in a packet: one piece of the largest size with its header.
_MOST_BUNDLED = 16 + USERDATA_MAX_LENGTH


class Sctp(RTCSctpTransport):
    """aiortc's SCTP over any carrier, with bounds that it lacks.

    `send` is called with each outgoing packet and must not raise. The event "datachannel" is emitted for each channel
    that the other side opens. Nothing here waits for the network, so each task that aiortc starts ends one turn of the
    loop after its start.
    """

    # Limits of the received data that this end holds: bytes, pieces of incomplete messages, and pieces after a gap.
    WINDOW = 256 * 1024
    MAX_PIECES = 1024
    MAX_MISORDERED = 256
    # The stream numbers of both ends are below this.
    MAX_STREAMS = 64

    def __init__(self, role: str, send: Callable[[bytes], object]) -> None:
        super().__init__(cast(Any, _Carrier(role, send)))
        self._held = 0
        # Pieces that share the next packet. The packet is sent when the outermost step ends (`_bundling`).
        self._bundle: list[bytes] = []
        self._steps = 0
        self._advertised_rwnd = self.WINDOW
        self._inbound_streams_max = self.MAX_STREAMS
        self._outbound_streams_count = self.MAX_STREAMS

    async def connect(self, port: int, max_message_size: int) -> None:
        """Open the association with the other side's port.

        :param max_message_size: the most bytes of a message that the other side accepts; 0 means no limit.
        """
        await self._guarded(self.start(RTCSctpCapabilities(maxMessageSize=max_message_size), port))

    async def receive(self, packet: bytes) -> None:
        """Handle a packet. The caller must have checked it: aiortc loops forever over some malformed packets."""
        await self._guarded(self._handle_data(packet))
        # A sender may probe a full window with a little data. This sender has sent more than a probe.
        if self.pieces > self.MAX_PIECES or self._advertised_rwnd < -self.WINDOW:
            logger.info("The other side of a data channel sends more than its window allows")
            await self.finish()

    async def _receive_forward_tsn_chunk(self, chunk: ForwardTsnChunk) -> None:
        """Handle a FORWARD-TSN (RFC 3758). aiortc reads all pieces of a stream each time that the chunk names it.

        Some stacks name a stream once for each message, so this keeps only the last entry of each stream.
        """
        chunk.streams = [*dict(chunk.streams).items()]
        await super()._receive_forward_tsn_chunk(chunk)

    def expects(self, tsn: int) -> bool:
        """Tell whether there is room for the piece with this TSN (transmission sequence number)."""
        return len(self._sack_misordered) < self.MAX_MISORDERED or tsn == tsn_plus_one(self._last_received_tsn or 0)

    @property
    def is_full(self) -> bool:
        """Whether messages that wait to be relayed fill the window. If so, the caller drops new packets.

        The sender then repeats them.
        """
        return self._held > 0 and self._advertised_rwnd <= 0

    @property
    def pieces(self) -> int:
        """How many pieces of incomplete messages have arrived."""
        return sum(len(stream.reassembly) for stream in self._inbound_streams.values())

    @property
    def misordered(self) -> int:
        """How many pieces have arrived before their predecessors."""
        return len(self._sack_misordered)

    @property
    def streams(self) -> tuple[int, ...]:
        """The other side's streams that have been used."""
        return tuple(self._inbound_streams)

    @property
    def open_channels(self) -> int:
        """How many channels there are, including those that are about to close."""
        return len(self._data_channels)

    @property
    def timers(self) -> int:
        """How many timers of the association run."""
        handles = (self._t1_handle, self._t2_handle, self._t3_handle, self._reconfig_handle)
        return sum(handle is not None for handle in handles)

    @property
    def held(self) -> int:
        """How many bytes of the receive window are taken by messages that wait to be relayed."""
        return self._held

    def hold(self, size: int) -> None:
        """Reserve bytes of the receive window for messages that wait to be relayed (RFC 9260 section 6.2)."""
        self._held += size
        self._advertised_rwnd -= size

    def release(self, size: int) -> bool:
        """Give bytes back to the window. Return whether the caller should announce the window to the other side."""
        was = self._advertised_rwnd
        self._held -= size
        self._advertised_rwnd += size
        return was < self.WINDOW // 4 <= self._advertised_rwnd or (not self._held and was < self.WINDOW // 2)

    async def announce_window(self) -> None:
        """Tell the other side how much it may send."""
        if self._association_state == self.State.ESTABLISHED:
            await self._guarded(self._send_sack())

    @property
    def unacknowledged(self) -> int:
        """How many pieces have been sent, and are not covered by the other side's cumulative acknowledgement."""
        return len(self._sent_queue)

    @property
    def outstanding(self) -> int:
        """An upper bound, in bytes, for the data that the other side has not acknowledged."""
        waiting = sum(channel.bufferedAmount for channel in self._data_channels.values())
        pieces = len(self._outbound_queue) + len(self._sent_queue) + len(self._data_channel_queue)
        return waiting + pieces * USERDATA_MAX_LENGTH

    async def finish(self) -> None:
        """Abort the association."""
        await self._guarded(self.stop())

    async def _guarded(self, step: Awaitable[None]) -> None:
        """Await a step of aiortc, which may raise any exception for unusual input."""
        try:
            await step
        except Exception:
            logger.debug("A step of SCTP failed", exc_info=True)

    # aiortc runs these methods as tasks, and nothing else would retrieve their exceptions.

    async def _transmit(self) -> None:
        await self._bundling(super()._transmit())

    async def _transmit_reconfig(self) -> None:
        await self._guarded(super()._transmit_reconfig())

    async def _data_channel_flush(self) -> None:
        await self._bundling(super()._data_channel_flush())

    # aiortc sends each piece in a packet of its own. Here, short messages share a packet (RFC 9260 section 6.10).

    async def _bundling(self, step: Awaitable[None]) -> None:
        """Await a step. When the outermost step ends, send the pieces that the steps have made."""
        self._steps += 1
        await self._guarded(step)
        self._steps -= 1
        if not self._steps:
            await self._guarded(self._send_bundle())

    async def _send_chunk(self, chunk: Chunk) -> None:
        if not (self._steps and isinstance(chunk, DataChunk)):
            await super()._send_chunk(chunk)
            return
        piece = bytes(chunk)
        if sum(map(len, self._bundle)) + len(piece) > _MOST_BUNDLED:
            await self._send_bundle()
        self._bundle.append(piece)

    async def _send_bundle(self) -> None:
        pieces, self._bundle = b"".join(self._bundle), []
        if pieces:
            await super()._send_chunk(cast(Chunk, pieces))


def _datagrams(written: bytes) -> Iterator[bytes]:
    """Split the output of OpenSSL into datagrams of whole records."""
    start = end = 0
    while end < len(written):
        header = written[end : end + _RECORD_HEADER]
        size = _RECORD_HEADER + int.from_bytes(header[11:13], "big")
        if end > start and end + size - start > _MTU:
            yield written[start:end]
            start = end
        end += size
    if start < len(written):
        yield written[start:]


def _nothing(*_: object) -> None:
    """Do nothing."""


def _retrieve(task: "asyncio.Future[None]") -> None:
    """Retrieve a task's exception. Otherwise the loop would log it again, after aiortc has logged it."""
    if not task.cancelled():
        task.exception()


def parse_rtcp(data: bytes) -> list[AnyRtcpPacket]:
    """Return the packets of a compound RTCP packet.

    :raises ValueError: when the packet is malformed in any way.
    """
    try:
        return RtcpPacket.parse(data)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError("This is no RTCP") from error
