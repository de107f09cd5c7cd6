"""The node's UDP port: one socket for all legs, demultiplexed by the first byte (RFC 7983) and the source address.

It also handles the datagrams that come over TCP (`media.focus.tcp`). For such a datagram, the source address is the
name of its connection.

STUN messages are authenticated by their credentials. All other datagrams are accepted only from an address that has
shown a leg's credentials. This module is the input of the hot loop, and none of its code waits. The work of this module
on a packet does not depend on the number of receivers.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from media import aiortc_adapter as adapter
from media.allowance import Allowance
from media.congestion.acknowledgement import Report
from media.focus.leg import Leg
from media.focus.tcp import TcpPort
from media.forward import fastpath, memory, quick, rtcp, rtp
from media.forward.datagrams import (
    LONGEST_BATCH,
    SLOT,
    SO_TIMESTAMPNS,
    Destination,
    Inbox,
    Outbox,
    address_in_memory,
    address_of,
    is_tcp,
    segmentation_works,
    source_of,
)
from media.forward.departures import Departures
from media.forward.path import Forwarder, is_logged
from media.forward.tracks import Route
from media.transport.ice import Agents

logger = logging.getLogger(__name__)

# How many times datagrams are read before the loop runs other callbacks.
_ROUNDS = 4
# In bytes: enough for a second of a busy conference. The kernel may grant less.
_SOCKET_BUFFER = 8 * 1024 * 1024
# How often in a second the leg that sends from an unknown address is searched. If strangers use this up, legs that have
# moved wait for their next check.
_SEARCHES = 20
# The most bytes of an encrypted packet that is not forwarded: RTCP or a retransmission.
_SCRATCH = 4096
# The node sends a check to each leg's destination every 2.5 s (`media.transport.consent`). If a destination has
# answered no check for this long, another leg may use the address.
_IN_USE_SECONDS = 6.0
_ALL_UNTOUCHED = bytes([memory.UNTOUCHED]) * memory.SLOTS_IN
# Bytes of the fixed headers. A shorter packet is malformed.
_RTP_LEAST = 12
_RTCP_LEAST = 8


class Port:
    """The socket, and the legs by the addresses that they use."""

    def __init__(self, bind: str, port: int, *, tcp_port: int | None = None, fast: bool = True) -> None:
        """Bind the socket, and listen on a TCP port if one is given. Port 0 chooses a free port.

        The fast path is used if it is compiled and `fast` is set.

        :raises OSError: when the address cannot be bound.
        """
        self.tcp = None if tcp_port is None else TcpPort(bind, tcp_port, take=self.take_frames, closed=self._end)
        self._socket = _bound(bind, port)
        self._fd = self._socket.fileno()
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.agents: Agents[Leg] = Agents()
        self.received = self.strangers = self._faults = 0
        self._legs: dict[bytes, Leg] = {}
        self._inbox = Inbox(memory.SLOTS_IN)
        # libsrtp's pointers to the slots, and to the lengths of the datagrams in them.
        self._pointers = [adapter.ffi.cast("void *", each) for each in self._inbox.addresses]
        self._lengths = [adapter.ffi.cast("int *", each) for each in self._inbox.received_addresses]
        self._size: Any = adapter.ffi.new("int *")
        self._scratch: Any = adapter.ffi.new("unsigned char[]", _SCRATCH)
        self._protect, self._protect_rtcp = (
            quick.function(address, *[quick.ADDRESS] * 3) for address in adapter.srtp_protect_addresses()
        )
        self._where = [address_in_memory(each) for each in (self._scratch, self._size)]
        self._routes: list[Route] = []
        self._searches = Allowance(_SEARCHES, _SEARCHES)
        # The time of day in ns when datagrams were last read.
        self._real = 0
        self._takers = ((memory.DECRYPTED, self._take_decrypted), (memory.UNTOUCHED, self._take))
        gso = segmentation_works(self._fd)
        outbox = Outbox(memory.SLOTS_OUT)
        self.forwarder = Forwarder(self._fd, outbox, gso=gso)
        library = fastpath.load() if fast else None
        longest = LONGEST_BATCH if gso else 1
        self._fast = library and fastpath.FastPath(
            library, self._fd, adapter.srtp_addresses(), self._inbox, outbox, longest_batch=longest
        )

    def open(self, now: Callable[[], float]) -> None:
        """Begin to receive, on the running loop. `now` is the clock for arrival times, in seconds."""
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)
        if self.tcp is not None:
            self.tcp.open(now)

    def close(self) -> None:
        """Stop receiving and sending."""
        if self.tcp is not None:
            self.tcp.close()
        self._loop.remove_reader(self._fd)
        self._socket.close()
        if self._fast is not None:
            self._fast.close()

    @property
    def is_fast(self) -> bool:
        """Whether packets take the fast path."""
        return self._fast is not None

    @property
    def sent(self) -> int:
        """How many packets were forwarded, whether the kernel accepted them or not."""
        return self.forwarder.sent + (self._fast.memory.sent if self._fast is not None else 0)

    @property
    def sent_by_python(self) -> int:
        """How many packets were forwarded without the fast path."""
        return self.forwarder.sent

    @property
    def faults(self) -> int:
        """How many datagrams and bursts raised an exception."""
        return self._faults + self.forwarder.faults

    @property
    def unprotected(self) -> int:
        """How many packets could not be encrypted."""
        return self.forwarder.unprotected + (self._fast.memory.unprotected if self._fast is not None else 0)

    @property
    def undelivered(self) -> int:
        """How many messages the kernel did not accept. A GSO batch is one message."""
        return self.forwarder.undelivered + (self._fast.memory.undelivered if self._fast is not None else 0)

    # --- In ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Handle the datagrams that have arrived. A bad datagram never affects the others."""
        now = self._now()
        fast, inbox = self._fast, self._inbox
        for _ in range(_ROUNDS):
            if fast is None:
                count, verdicts = inbox.receive(self._fd), _ALL_UNTOUCHED
                self._real = time.time_ns()
            else:
                count, verdicts = fast.turn(now)
            self.received += count
            # A check may assign an address to another leg. So packets decrypted for the current leg are handled first.
            for wanted, take in self._takers:
                if wanted in verdicts:
                    self._take_each(take, [slot for slot in range(count) if verdicts[slot] == wanted], now)
            self._forward(now)
            if count < inbox.slots:
                return

    def take_frames(self, name: bytes, datagrams: list[bytes]) -> bool:
        """Handle datagrams of a TCP connection. Return whether the connection belongs to a leg now."""
        now, inbox = self._now(), self._inbox
        for start in range(0, len(datagrams), inbox.slots):
            burst = datagrams[start : start + inbox.slots]
            for slot, datagram in enumerate(burst):
                inbox.fill(slot, name, datagram)
                if self._fast is not None:
                    self._fast.memory.arrived[slot] = now
            self.received += len(burst)
            self._take_each(self._take, list(range(len(burst))), now)
            inbox.clear(len(burst))
            self._forward(now)
        return name in self._legs

    def _forward(self, now: float) -> None:
        """Send the packets that have been placed in their tracks."""
        if self._routes:
            self.forwarder.forward(self._routes, now)
            self._routes.clear()
        if self.forwarder.gso_unsupported:
            self._end_gso()
        if self.tcp is not None:
            self.tcp.flush()

    def _take_each(self, take: Callable[[bytes, int, float], None], slots: list[int], now: float) -> None:
        """Call `take` for the datagrams in these slots. A bad datagram never affects the others."""
        for slot in slots:
            name = self._inbox.sources[slot].tobytes()
            try:
                take(name, slot, now)
            except Exception as error:
                self._note_fault(name, error)

    def _take_decrypted(self, name: bytes, slot: int, now: float) -> None:
        """Handle a packet that the fast path has decrypted."""
        self._take_packet(self._legs[name], slot, now)

    def _take(self, name: bytes, slot: int, now: float) -> None:
        """Handle a datagram that the fast path has not handled."""
        start, size = slot * SLOT, self._inbox.length(slot)
        first = self._inbox.view[start] if size else 0
        if 127 < first < 192:
            leg = self._legs.get(name)
            if leg is not None:
                self._take_media(leg, slot, size, now)
            else:
                self.strangers += 1
                moved = self._leg_that_moved(name, slot, size, now)
                if moved is not None:
                    self._reach(name, moved, now, nominated=True)
        elif size:
            self._take_other(first, name, self._inbox.view[start : start + size].tobytes(), now)

    def _note_fault(self, name: bytes, error: Exception) -> None:
        """Count and log a datagram that has raised an exception, which is a bug in this code."""
        self._faults += 1
        if is_logged(self._faults):
            where = (*address_of(name), self._faults)
            logger.error("a datagram from %s port %s was not taken, %d so far", *where, exc_info=error)

    def _take_other(self, first: int, name: bytes, datagram: bytes, now: float) -> None:
        """Handle STUN, and DTLS from a leg's address. Count any other datagram in `strangers`."""
        if first < 4:
            self._take_stun(name, datagram, now)
        elif 19 < first < 64 and (known := self._legs.get(name)) is not None and known.transport is not None:
            known.transport.feed(datagram)
        else:
            self.strangers += 1

    def _take_stun(self, name: bytes, datagram: bytes, now: float) -> None:
        """Handle a connectivity check of a leg, or a leg's answer to a check of the node."""
        known = self._legs.get(name)
        if known is not None and known.agent is not None and known.agent.is_answer(datagram, source_of(name)):
            known.proved(name, now)
            return
        # The source of a connection is not forged. So its checks are read even while its network floods the node.
        is_known = known is not None or is_tcp(name)
        verdict = self.agents.receive(datagram, source_of(name), now, is_known=is_known)
        leg = verdict.agent.owner if verdict.agent is not None else None
        if leg is not None and self._is_in_use(name, leg, now):
            return
        if verdict.reply is not None:
            self.send(name, verdict.reply)
        if leg is not None:
            self._reach(name, leg, now, nominated=verdict.nominated)

    def _reach(self, name: bytes, leg: Leg, now: float, *, nominated: bool) -> None:
        """Record that a leg has sent something authentic from this sockaddr."""
        self._assign(name, leg)
        for gone in leg.reached(name, now, nominated=nominated):
            self._release(gone, leg)

    def _leg_that_moved(self, name: bytes, slot: int, size: int, now: float) -> Leg | None:
        """Return the leg that has sent RTP from an unknown sockaddr; None if the packet is not authentic.

        When a NAT gives a participant another address, the browser does not notice. Its next check would come after up
        to 2.5 s. Media still goes to the new address only after the leg has answered a check there. The packet itself
        is decrypted, so that it cannot be repeated, and then dropped.
        """
        view, start = self._inbox.view, slot * SLOT
        is_rtp = size >= _RTP_LEAST and not 191 < view[start + 1] < 224
        if is_tcp(name) or not is_rtp or not self._searches.take(1, now):
            return None
        _, _, sequence, _, ssrc = rtp.HEADER.unpack_from(view, start)
        for leg in set(self._legs.values()):
            if leg.srtp_rx is not None and ssrc in leg.sources.streams and leg.sources.is_plausible(ssrc, sequence):
                refused = adapter.srtp_unprotect(leg.srtp_rx, self._pointers[slot], self._lengths[slot])
                return None if refused else leg
        return None

    def _is_in_use(self, name: bytes, leg: Leg, now: float) -> bool:
        """Tell whether another leg's media goes to this sockaddr, and that leg answered a check within _IN_USE_SECONDS.

        If so, the caller ignores a check from the sockaddr. A participant may have forged the check's source address,
        to take the address from the other leg. A TCP connection stays with its first leg.
        """
        holder = self._legs.get(name, leg)
        if holder is not leg and is_tcp(name):
            return True
        destination = holder.addresses.destination
        if holder is leg or destination is None or destination.name != name:
            return False
        return now - holder.addresses.seen_at < _IN_USE_SECONDS

    def _take_media(self, leg: Leg, slot: int, size: int, now: float) -> None:
        """Decrypt RTP or RTCP from a leg in place, and handle it, if it is within the leg's quota.

        Only authentic packets are charged to the leg, because anybody can forge its address.
        """
        quota, sources = leg.quota, leg.sources
        if quota.packets_left < 1 or quota.bytes_left < size or leg.srtp_rx is None or size < _RTCP_LEAST:
            quota.excess += 1
            return
        view, start = self._inbox.view, slot * SLOT
        if 191 < view[start + 1] < 224:
            self._take_rtcp(leg, slot, size, now)
        elif size < _RTP_LEAST:
            sources.unknown += 1
        elif not sources.may_meet(ssrc := int.from_bytes(view[start + 8 : start + 12], "big")):
            quota.excess += 1
        elif not leg.may_try(ssrc, int.from_bytes(view[start + 2 : start + 4], "big")) or adapter.srtp_unprotect(
            leg.srtp_rx, self._pointers[slot], self._lengths[slot]
        ):
            quota.fail()
        else:
            quota.packets_left -= 1
            quota.bytes_left -= size
            self._take_packet(leg, slot, now)

    def _take_packet(self, leg: Leg, slot: int, now: float) -> None:
        """Put an authentic RTP packet into the burst of its route."""
        start = slot * SLOT
        packet = self._inbox.view[start : start + self._inbox.length(slot)].tobytes()
        first, second, sequence, timestamp, ssrc = rtp.HEADER.unpack_from(packet)
        elements = 0 if first == 0x80 else rtp.element_ids(packet)
        source = leg.sources.streams.get(ssrc)
        if elements > 0:
            leg.arrivals.hear(packet, elements, self._arrived(slot, now))
        if elements < 0:
            leg.sources.met.add(ssrc)
            leg.sources.unknown += 1
            if source is not None and source.stream.original is None:
                # SRTP has counted this sequence number, so the packet's stream must count it too.
                source.stream.take(sequence, timestamp, now)
            return
        if source is None and (source := leg.meet(ssrc, packet)) is None:
            return
        stream, track = source
        is_repeat = stream.original is not None
        if stream.original is not None:
            restored = _restore(packet, stream.original_types.get(second & 0x7F), stream.original.ssrc)
            if restored is None:
                return
            packet, stream = restored, stream.original
            _, _, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
        number = (stream.take_repeat if is_repeat else stream.take)(sequence, timestamp, now)
        if number is None:
            return
        if now >= stream.asks_at:
            leg.ask(stream, now)
        if track.level_id and elements >> track.level_id & 1:
            track.hear(packet)
        route = track.place(stream, number, timestamp, elements, packet, now)
        if route is not None:
            self._routes.append(route)

    def _arrived(self, slot: int, now: float) -> float:
        """Return when a datagram has arrived: the kernel states how long it has waited."""
        if self._fast is not None:
            return float(self._fast.memory.arrived[slot])
        waited = self._inbox.age(slot, self._real)
        return now - waited if 0 < waited < memory.LONGEST_WAIT else now

    def _end_gso(self) -> None:
        """Stop using GSO for the destinations whose network paths do not support it."""
        unsupported = self.forwarder.gso_unsupported
        for leg in set(self._legs.values()):
            destination = leg.addresses.destination
            if destination is not None and destination.address in unsupported and leg.addresses.gso:
                leg.end_gso()
        unsupported.clear()

    def _take_rtcp(self, leg: Leg, slot: int, size: int, now: float) -> None:
        """Decrypt RTCP from a leg in place, and handle it, if it is within the leg's quota."""
        inbox, start = self._inbox, slot * SLOT
        ssrc = int.from_bytes(inbox.view[start + 4 : start + 8], "big")
        if not leg.quota.affords_rtcp(size) or not leg.sources.may_meet(ssrc):
            leg.quota.excess += 1
        elif not leg.may_try(ssrc) or adapter.srtp_unprotect_rtcp(
            leg.srtp_rx, self._pointers[slot], self._lengths[slot]
        ):
            leg.quota.fail()
        else:
            leg.quota.charge_rtcp(size)
            if ssrc not in leg.sources.streams:
                leg.sources.met.add(ssrc)
            leg.take_rtcp(inbox.view[start : start + inbox.length(slot)].tobytes(), now)

    # --- Out: everything except forwarded packets -------------------------------------------------------------

    def send(self, name: bytes, datagram: bytes) -> None:
        """Send a datagram to a sockaddr. If the kernel does not accept the datagram now, it is lost."""
        if self.tcp is not None and is_tcp(name):
            self.tcp.send(name, datagram)
            return
        try:
            quick.send(self._fd, datagram, name)
        except OSError as error:
            logger.debug("A datagram was not sent: %s", error)

    def send_rtcp(self, leg: Leg, packet: bytes) -> None:
        """Encrypt RTCP for a leg and send it."""
        self._send_encrypted(self._protect_rtcp, leg, packet)

    def send_rtp(self, leg: Leg, packet: bytes) -> None:
        """Encrypt one RTP packet for a leg and send it."""
        self._send_encrypted(self._protect, leg, packet)

    def _send_encrypted(self, protect: Callable[..., int], leg: Leg, packet: bytes) -> None:
        destination = leg.addresses.destination
        if leg.srtp_tx is None or destination is None or len(packet) + adapter.SRTP_TRAILER > _SCRATCH:
            return
        adapter.ffi.memmove(self._scratch, packet, len(packet))
        self._size[0] = len(packet)
        if not protect(adapter.address_of_session(leg.srtp_tx), *self._where):
            self.send(destination.name, bytes(adapter.ffi.buffer(self._scratch, self._size[0])))

    def acknowledge(self, departures: Departures, feedback: bytes) -> Report:
        """Return what transport-wide feedback says about packets that were sent.

        :raises ValueError: when it is malformed.
        """
        if self._fast is not None:
            return self._fast.acknowledge(departures.memory, feedback)
        return Report.of(departures.acknowledge(rtcp.read_transport_feedback(feedback)))

    # --- Addresses --------------------------------------------------------------------------------------------

    def destination(self, name: bytes) -> Destination | None:
        """Return the destination for media to a sockaddr; None if it is that of a closed connection."""
        return self.tcp.destination(name) if self.tcp is not None and is_tcp(name) else Destination.of(name)

    def forget(self, leg: Leg) -> None:
        """Accept no more datagrams from a leg's addresses."""
        for name in leg.addresses.known:
            self._release(name, leg)

    def _assign(self, name: bytes, leg: Leg) -> None:
        """Assign datagrams from this sockaddr to the leg from now on."""
        if self._legs.get(name) is not leg:
            self._legs[name] = leg
            if self._fast is not None:
                self._fast.assign(name, leg.memory)

    def _release(self, name: bytes, leg: Leg) -> None:
        """Stop assigning datagrams from this sockaddr to the leg."""
        if self._legs.get(name) is leg:
            self._end(name)
            if self.tcp is not None:
                self.tcp.end(name)

    def _end(self, name: bytes) -> None:
        """Accept no more datagrams from this sockaddr."""
        del self._legs[name]
        if self._fast is not None:
            self._fast.release(name)


def _restore(packet: bytes, payload_type: int | None, ssrc: int) -> bytes | None:
    """Return the packet inside a retransmission (RTX), or None if there is none."""
    return None if payload_type is None else rtp.unwrap(packet, payload_type=payload_type, ssrc=ssrc)


def _bound(bind: str, port: int) -> socket.socket:
    """Return a non-blocking UDP socket with large buffers."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            bound.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        bound.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if family == socket.AF_INET6:
            # Use one socket for both families. IPv4 addresses then appear as mapped addresses.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind((bind, port))
    except OSError:
        bound.close()
        raise
    return bound
