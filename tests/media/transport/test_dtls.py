import asyncio
import contextlib
import datetime
import random
import socket
import sys
import time
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from media.aiortc_adapter import Certificate, _datagrams
from media.credentials import Fingerprint
from media.transport import dtls as module
from media.transport.dtls import MAX_DATAGRAM, MAX_WAITING, MOST_RECORDS, Handshakes, State
from tests.support.media.dtls_pair import SECONDS, End, close, connected, join, mutate, pair, watched_loop
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
async def nothing_reaches_the_loop() -> AsyncIterator[None]:
    async with watched_loop():
        yield


def record(size: int, kind: int = 22, epoch: int = 0) -> bytes:
    """Return a record of this many zeros."""
    return bytes([kind]) + b"\xfe\xfd" + epoch.to_bytes(2, "big") + bytes(6) + size.to_bytes(2, "big") + bytes(size)


def bundles(client: End, count: int, records: int) -> list[bytes]:
    """Return datagrams that each hold this many records of application data. The client does not send them."""
    client.deliver = lambda datagram: None
    before = len(client.sent)
    for _ in range(count * records):
        client.transport.send_data(b"x")
    sent = client.sent[before:]
    return [b"".join(sent[at : at + records]) for at in range(0, len(sent), records)]


def start(server: End, client: End) -> None:
    server.transport.start(client.certificate.fingerprints)
    client.transport.start(server.certificate.fingerprints)


async def test_two_ends_connect_and_pass_data_both_ways() -> None:
    server, client = await connected()
    assert server.states == client.states == [State.CONNECTING, State.CONNECTED]
    assert server.transport.send_data(b"from the server")
    assert client.transport.send_data(b"from the client")
    assert await asyncio.wait_for(client.data.get(), SECONDS) == b"from the server"
    assert await asyncio.wait_for(server.data.get(), SECONDS) == b"from the client"
    assert server.transport.srtp
    await close(server, client)


async def test_datagrams_that_arrive_before_the_start_are_not_lost() -> None:
    server, client = pair()
    client.transport.start(server.certificate.fingerprints)
    while not client.sent:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    server.transport.start(client.certificate.fingerprints)
    await server.reach(State.CONNECTED)
    await client.reach(State.CONNECTED)
    # The client sent only its hello and its last flight. Nothing had to be sent again.
    assert len(client.sent) == 2
    await close(server, client)


@pytest.mark.parametrize(
    "fingerprints",
    [
        pytest.param(Certificate().fingerprints, id="of another certificate"),
        pytest.param((), id="none"),
        pytest.param((Fingerprint("md5", "00:11"),), id="of no good algorithm"),
        pytest.param((Fingerprint("sha-256", ""),), id="empty"),
    ],
)
async def test_a_stranger_is_refused(fingerprints: tuple[Fingerprint, ...]) -> None:
    server, client = pair()
    server.transport.start(fingerprints)
    client.transport.start(server.certificate.fingerprints)
    await server.reach(State.FAILED)
    assert server.transport.srtp is None
    assert not server.transport.send_data(b"x")
    assert State.CONNECTED not in server.states
    assert server.data.empty()
    await close(server, client)
    assert server.states == [State.CONNECTING, State.FAILED]


async def test_a_stranger_whose_handshake_succeeded_learns_of_the_refusal() -> None:
    server, client = pair()
    server.transport.start(Certificate().fingerprints)
    client.transport.start(server.certificate.fingerprints)
    await client.reach(State.CLOSED)
    await close(server, client)


async def test_one_right_fingerprint_does_not_excuse_a_wrong_one() -> None:
    server, client = pair()
    server.transport.start((*client.certificate.fingerprints, *Certificate().fingerprints))
    client.transport.start(server.certificate.fingerprints)
    await server.reach(State.FAILED)
    await close(server, client)


async def test_data_from_before_the_fingerprint_was_compared_is_not_believed() -> None:
    server, client = pair()
    server.transport.start(client.certificate.fingerprints)
    await server.transport.dtls._handle_data(b"early")
    assert server.data.empty()
    await close(server, client)


async def test_the_other_side_learns_of_the_end() -> None:
    server, client = await connected()
    await close(server)
    await client.reach(State.CLOSED)
    assert server.states[-1] is State.CLOSED
    assert not client.transport.send_data(b"x")
    await close(client)
    assert client.states == [State.CONNECTING, State.CONNECTED, State.CLOSED]


async def test_it_can_be_closed_in_any_state_and_more_than_once() -> None:
    new, waiting = End("server"), End("server")
    waiting.transport.start(new.certificate.fingerprints)
    halfway, silent = End("server"), End("client")
    silent.deliver = halfway.transport.feed
    start(halfway, silent)
    while not halfway.sent:
        await asyncio.sleep(0)
    server, client = await connected()
    ends = (new, waiting, halfway, silent, server, client)
    await close(*ends, *ends)
    assert all(end.transport.state is State.CLOSED for end in ends)
    assert all(end.states.count(State.CLOSED) == 1 for end in ends)
    for end in ends:
        end.transport.feed(client.sent[0])
        end.transport.start(client.certificate.fingerprints)
    assert all(end.transport.state is State.CLOSED for end in ends)


@pytest.mark.parametrize("turns", range(6))
async def test_a_datagram_does_not_hold_up_the_end_of_a_handshake(turns: int) -> None:
    # A cancellation would be lost if the awaited datagram had just arrived.
    server, client = End("server"), End("client")
    client.deliver = server.transport.feed
    start(server, client)
    while not server.sent:
        await asyncio.sleep(0)
    server.transport.feed(client.sent[0])
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.shield(server.transport.close()), 2)
    await close(client)


async def test_datagrams_do_not_hold_up_the_deadline_of_a_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HANDSHAKE_RECORDS", sys.maxsize)
    monkeypatch.setattr(module, "MAX_HANDSHAKE_BYTES", sys.maxsize)
    server, client = End("server", handshake_seconds=0.1), End("client")
    client.deliver = server.transport.feed
    start(server, client)
    async with asyncio.timeout(2):
        while server.transport.state is not State.FAILED:
            server.transport.feed(client.sent[0] if client.sent else b"")
            await asyncio.sleep(0)
    await close(server, client)


async def test_the_receiver_of_data_may_close_the_transport() -> None:
    server, client = await connected()

    async def hang_up(_: bytes) -> None:
        await server.transport.close()

    server.transport.on_data = hang_up
    client.transport.send_data(b"bye")
    await client.reach(State.CLOSED)
    await close(server, client)


async def test_a_handshake_that_stops_halfway_fails_in_time() -> None:
    server, client = End("server", handshake_seconds=0.05), End("client")
    client.deliver = server.transport.feed
    start(server, client)
    await server.reach(State.FAILED)
    await close(server, client)


async def test_the_time_begins_with_the_first_datagram() -> None:
    server, client = pair(handshake_seconds=0.2)
    server.transport.start(client.certificate.fingerprints)
    await asyncio.sleep(0.3)
    assert server.transport.state is State.CONNECTING
    client.transport.start(server.certificate.fingerprints)
    await server.reach(State.CONNECTED)
    await close(server, client)


async def test_half_open_handshakes_are_limited_and_cost_nobody_else_a_leg() -> None:
    handshakes = Handshakes(4)
    flood = [End("server", handshakes=handshakes, handshake_seconds=0.1) for _ in range(20)]
    hello, nobody = End("client"), Certificate()
    hello.transport.start(nobody.fingerprints)
    while not hello.sent:
        await asyncio.sleep(0)
    for each in flood:
        each.transport.start(nobody.fingerprints)
        each.transport.feed(hello.sent[0])
    server, client = pair(handshakes=handshakes)
    start(server, client)
    most = 0
    while server.transport.state is State.CONNECTING:
        await asyncio.sleep(0.01)
        most = max(most, handshakes.open)
    assert most == 4
    assert server.transport.state is State.CONNECTED
    for each in flood:
        await each.reach(State.FAILED)
    assert handshakes.open == 0
    await close(server, client, hello, *flood)


async def test_stalled_handshakes_of_one_origin_hold_up_no_other() -> None:
    handshakes = Handshakes(limit=8, share=2)
    hello, nobody = End("client"), Certificate()
    hello.transport.start(nobody.fingerprints)
    while not hello.sent:
        await asyncio.sleep(0)
    flood = [End("server", handshakes=handshakes) for _ in range(20)]
    for number, each in enumerate(flood):
        each.transport.start(nobody.fingerprints, "mallory", number // 10)
        each.transport.feed(hello.sent[0])
    server, client = pair(handshakes=handshakes)
    server.transport.start(client.certificate.fingerprints, "alice", "home")
    client.transport.start(server.certificate.fingerprints)
    await server.reach(State.CONNECTED)
    # Half of the turns go to handshakes in the order in which they began.
    assert handshakes.open == 4
    await close(server, client, hello, *flood)
    assert handshakes.open == 0


async def test_a_handshake_that_does_not_get_its_turn_in_time_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0.02)
    handshakes = Handshakes(1)
    client = End("client")
    first, second = (End("server", handshakes=handshakes) for _ in range(2))

    def both(datagram: bytes) -> None:
        first.transport.feed(datagram)
        second.transport.feed(datagram)

    client.deliver = both
    start(first, client)
    while not handshakes.open:
        await asyncio.sleep(0)
    second.transport.start(client.certificate.fingerprints)
    await second.reach(State.FAILED)
    assert first.transport.state is State.CONNECTING
    await close(first, second, client)
    assert handshakes.open == 0


async def test_garbage_does_not_disturb_a_handshake() -> None:
    chance = random.Random(6347)
    server, client = pair()
    server.transport.start(client.certificate.fingerprints)
    for _ in range(20_000):
        server.transport.feed(chance.randbytes(chance.randrange(1600)))
    # Unauthenticated alerts: handshake_failure, close_notify.
    for alert in (b"\x02\x28", b"\x01\x00"):
        server.transport.feed(b"\x15\xfe\xfd" + bytes(9) + b"\x02" + alert)
    client.transport.start(server.certificate.fingerprints)
    await server.reach(State.CONNECTED)
    await client.reach(State.CONNECTED)
    assert server.transport.dropped > 19_000
    await close(server, client)


async def test_mutated_handshakes_break_nothing_but_themselves() -> None:
    chance = random.Random(5764)
    server, client = await connected()
    flights = list(client.sent)
    started = time.process_time()
    for _ in range(300):
        victim = End("server", handshake_seconds=0.02)
        victim.transport.start(client.certificate.fingerprints)
        for _ in range(3):
            victim.transport.feed(mutate(chance.choice(flights), chance))
            await asyncio.sleep(0)
        assert victim.transport.state is not State.CONNECTED
        await close(victim)
    assert time.process_time() - started < 30 * slowness()
    client.transport.send_data(b"still here")
    assert await asyncio.wait_for(server.data.get(), SECONDS) == b"still here"
    await close(server, client)


async def test_forged_and_replayed_records_do_not_disturb_a_connection() -> None:
    chance = random.Random(9147)
    server, client = await connected()
    client.transport.send_data(b"first")
    assert await asyncio.wait_for(server.data.get(), SECONDS) == b"first"
    records = list(client.sent)
    for _ in range(60):
        for _ in range(10):
            record = chance.choice(records)
            server.transport.feed(mutate(record, chance) if chance.random() < 0.8 else record)
        await asyncio.sleep(0)
    client.transport.send_data(b"second")
    assert await asyncio.wait_for(server.data.get(), SECONDS) == b"second"
    assert server.transport.state is State.CONNECTED
    await close(server, client)


async def test_a_handshake_is_not_repeated_for_the_other_side() -> None:
    hostile = Certificate()
    hostile.rtc = RTCCertificate(key=hostile.rtc._key, cert=hostile.rtc._cert)
    server, client = End("server", hostile), End("client")
    join(server, client)
    start(server, client)
    await server.reach(State.CONNECTED)
    await client.reach(State.CONNECTED)
    theirs, ours = server.transport.dtls, client.transport.dtls
    assert theirs._ssl is not None
    assert ours._ssl is not None
    theirs._ssl.renegotiate()
    with contextlib.suppress(SSL.Error):
        theirs._ssl.do_handshake()
    sent = len(client.sent)
    theirs.flush()
    async with asyncio.timeout(SECONDS):
        while len(client.sent) == sent:
            await asyncio.sleep(0)
    assert ours._ssl.total_renegotiations() == 0
    assert client.transport.state is State.CONNECTED
    await close(server, client)


async def test_datagrams_that_are_too_large_or_too_many_are_dropped() -> None:
    server, client = pair()
    for size in (0, 1, 12, 13, MAX_DATAGRAM, MAX_DATAGRAM + 1, 60_000):
        server.transport.feed(record(max(size - 13, 0))[:size])
    assert server.transport.dropped == 6
    for _ in range(1000):
        server.transport.feed(record(50))
    assert server.transport.waiting == MAX_WAITING
    await close(server, client)
    assert server.transport.waiting == 0


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(record(20) + b"\x16", id="a record and a byte"),
        pytest.param(record(20) + record(20)[:-1], id="a record that is cut off"),
        pytest.param(record(20) + record(0) + record(20), id="an empty record"),
        pytest.param(record(20) + bytes(40), id="a record and zeros"),
        pytest.param(record(1) * (MOST_RECORDS + 1), id="too many records"),
    ],
)
async def test_datagrams_that_do_not_consist_of_records_are_dropped(datagram: bytes) -> None:
    server, client = pair()
    server.transport.feed(datagram)
    assert (server.transport.waiting, server.transport.dropped) == (0, 1)
    server.transport.feed(record(1) * MOST_RECORDS)
    assert server.transport.waiting == 1
    await close(server, client)


async def test_an_alert_that_hides_behind_another_record_does_not_disturb_a_handshake() -> None:
    server, client = pair()
    server.transport.start(client.certificate.fingerprints)
    handshake_failure = b"\x15\xfe\xfd" + bytes(9) + b"\x02\x02\x28"
    server.transport.feed(record(1, epoch=7) + handshake_failure)
    client.transport.start(server.certificate.fingerprints)
    await server.reach(State.CONNECTED)
    await client.reach(State.CONNECTED)
    assert server.transport.dropped == 1
    await close(server, client)


async def test_records_count_towards_the_budget_of_a_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HANDSHAKE_RECORDS", 40)
    server, client = pair()
    for _ in range(20):
        server.transport.feed(record(20) * 10)
    assert server.transport.waiting == 4
    await close(server, client)


async def test_a_handshake_has_a_budget() -> None:
    server, client = pair()
    server.transport.start(client.certificate.fingerprints)
    read = 0
    for _ in range(1000):
        # OpenSSL ignores records of a later epoch.
        server.transport.feed(record(50, epoch=7))
        if server.transport.waiting:
            read += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert server.transport.dropped >= 1000 - module.MAX_HANDSHAKE_RECORDS
    assert read > 0
    await close(server, client)


async def test_a_connection_that_floods_is_slowed_down_and_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RATE", 100)
    server, client = await connected()
    for number in range(1000):
        client.transport.send_data(b"%d" % number)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert server.data.qsize() < 500
    assert server.transport.dropped > 500
    assert server.transport.state is State.CONNECTED
    await close(server, client)


async def test_records_count_and_not_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RATE", 100)
    server, client = await connected()
    for datagram in bundles(client, 100, 10):
        server.transport.feed(datagram)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 100 <= server.data.qsize() < 500
    assert server.transport.dropped > 50
    await close(server, client)


async def test_other_tasks_run_between_datagrams_of_many_records() -> None:
    server, client = await connected()
    datagrams = bundles(client, 40, 10)
    for datagram in datagrams:
        server.transport.feed(datagram)
    most = read = 0
    while read < 400:
        await asyncio.sleep(0)
        read, before = server.data.qsize(), read
        most = max(most, read - before)
    assert most < module.BATCH + 10
    await close(server, client)


async def test_several_records_of_one_datagram_are_all_read() -> None:
    server, client = await connected()
    client.deliver = lambda datagram: None
    before = len(client.sent)
    for message in (b"one", b"two", b"three"):
        client.transport.send_data(message)
    server.transport.feed(b"".join(client.sent[before:]))
    got = [await asyncio.wait_for(server.data.get(), SECONDS) for _ in range(3)]
    assert got == [b"one", b"two", b"three"]
    await close(server, client)


async def test_flights_larger_than_a_packet_are_cut_between_records() -> None:
    server, client = End("server", _large()), End("client", _large())
    join(server, client)
    start(server, client)
    await server.reach(State.CONNECTED)
    await client.reach(State.CONNECTED)
    for end in (server, client):
        assert sum(map(len, end.sent)) > 4000
        assert max(map(len, end.sent)) <= 1200
    assert len(client.sent) < 10
    await close(server, client)


def _large() -> Certificate:
    """Return a certificate of four kilobytes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "large")])
    now = datetime.datetime.now(datetime.UTC)
    later = now + datetime.timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.DNSName(f"host{i}.example.org") for i in range(200)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, later)
    made = builder.add_extension(names, critical=False)
    certificate = Certificate()
    certificate.rtc = RTCCertificate(key, made.sign(key, hashes.SHA256()))
    certificate.fingerprint = next(f.value for f in certificate.rtc.getFingerprints() if f.algorithm == "sha-256")
    return certificate


def test_records_are_never_cut() -> None:
    records = [record(size) for size in (700, 400, 300, 1400, 5)]
    datagrams = list(_datagrams(b"".join(records)))
    assert datagrams == [records[0] + records[1], records[2], records[3], records[4]]
    assert b"".join(_datagrams(b"\x16\xfe")) == b"\x16\xfe"


async def test_a_lost_flight_is_sent_again() -> None:
    server, client = pair()
    through = server.deliver
    lost: list[bytes] = []

    def lose_one(datagram: bytes) -> None:
        if lost:
            through(datagram)
        else:
            lost.append(datagram)

    server.deliver = lose_one
    start(server, client)
    await server.reach(State.CONNECTED)
    await client.reach(State.CONNECTED)
    assert lost
    await close(server, client)


class Socket:
    """A UDP socket on loopback, with the methods that aiortc's own transport needs."""

    role, state = "controlling", "completed"

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)

    def connect(self, other: "Socket") -> None:
        self.socket.connect(other.socket.getsockname())

    async def _recv(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, 2048)

    async def _send(self, data: bytes) -> None:
        self.send(data)

    def send(self, data: bytes) -> None:
        self.socket.send(data)


async def test_aiortcs_own_transport_connects_over_udp() -> None:
    ours, theirs = Socket(), Socket()
    ours.connect(theirs)
    theirs.connect(ours)
    server = End("server")
    server.deliver = ours.send
    loop = asyncio.get_running_loop()
    loop.add_reader(ours.socket, lambda: server.transport.feed(ours.socket.recv(2048)))
    certificate = RTCCertificate.generateCertificate()
    client = RTCDtlsTransport(theirs, [certificate])  # type: ignore[arg-type]
    client._set_role("client")
    server.transport.start([Fingerprint(each.algorithm, each.value) for each in certificate.getFingerprints()])
    fingerprints = [RTCDtlsFingerprint(each.algorithm, each.value) for each in server.certificate.fingerprints]
    await asyncio.wait_for(client.start(RTCDtlsParameters(fingerprints)), SECONDS)
    await server.reach(State.CONNECTED)
    assert client.state == "connected"
    await client._send_data(b"over the wire")
    assert await asyncio.wait_for(server.data.get(), SECONDS) == b"over the wire"
    packet = bytes.fromhex("8060000100000abc0000cafe") + bytes(100)
    await client._send_rtp(packet)
    assert server.transport.srtp
    task = client._task
    await client.stop()
    assert task
    await asyncio.wait([task])
    await server.reach(State.CLOSED)
    loop.remove_reader(ours.socket)
    ours.socket.close()
    theirs.socket.close()
    await close(server)
