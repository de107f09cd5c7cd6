"""The private names of aiortc, aioice and pylibsrtp. If a test fails, a release has changed these names."""

import inspect
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pylibsrtp
import pytest
from aioice import stun
from aiortc import RTCCertificate, RTCDataChannel, RTCDtlsTransport, RTCSctpTransport
from aiortc.rtcdtlstransport import SRTP_PROFILES
from packaging.requirements import Requirement

from media import aiortc_adapter as adapter
from tests.support.media.dtls_pair import close, connected

pytestmark = pytest.mark.once

RTP = bytes.fromhex("8060000100000abc0000cafe") + bytes(range(100))
RTCP = bytes.fromhex("80c900010000cafe")


def in_place(function: Any, session: Any, packet: bytes) -> tuple[int, bytes]:
    """Call one of libsrtp's functions as the forwarding loop does. Return the status and the resulting packet."""
    buffer = adapter.ffi.new("unsigned char[2048]")
    length = adapter.ffi.new("int *", len(packet))
    adapter.ffi.memmove(buffer, packet, len(packet))
    status = function(session, buffer, length)
    return status, bytes(adapter.ffi.buffer(buffer, length[0]))


def test_the_installed_releases_are_of_the_ranges_that_the_project_states() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    stated = {each.name: each for each in map(Requirement, project["dependencies"])}
    for name in ("aiortc", "aioice", "pylibsrtp"):
        assert version(name) in stated[name].specifier
        assert any(each.operator == "<" for each in stated[name].specifier)


@pytest.mark.parametrize("name", ["srtp_protect", "srtp_unprotect", "srtp_protect_rtcp", "srtp_unprotect_rtcp"])
def test_libsrtp_takes_session_packet_and_length(name: str) -> None:
    signature = "<ctype 'srtp_err_status_t(*)(struct srtp_ctx_t_ *, void *, int *)'>"
    assert str(adapter.ffi.typeof(getattr(adapter, name))) == signature
    # The function is a builtin, without a Python wrapper.
    assert inspect.isbuiltin(getattr(adapter, name))
    assert adapter.SRTP_OK == 0


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (RTCDtlsTransport, "__init__", ["self", "transport", "certificates"]),
        (RTCCertificate, "_create_ssl_context", ["self", "srtp_profiles"]),
        (RTCDtlsTransport, "start", ["self", "remoteParameters"]),
        (RTCDtlsTransport, "stop", ["self"]),
        (RTCDtlsTransport, "_set_role", ["self", "role"]),
        (RTCDtlsTransport, "_recv_next", ["self"]),
        (RTCDtlsTransport, "_write_ssl", ["self"]),
        (RTCDtlsTransport, "_register_data_receiver", ["self", "receiver"]),
        (RTCCertificate, "getFingerprints", ["self"]),
        (RTCSctpTransport, "__init__", ["self", "transport", "port"]),
        (RTCSctpTransport, "start", ["self", "remoteCaps", "remotePort"]),
        (RTCSctpTransport, "stop", ["self"]),
        (RTCSctpTransport, "_handle_data", ["self", "data"]),
        (RTCSctpTransport, "_transmit", ["self"]),
        (RTCSctpTransport, "_transmit_reconfig", ["self"]),
        (RTCSctpTransport, "_data_channel_flush", ["self"]),
        (RTCDataChannel, "send", ["self", "data"]),
        (pylibsrtp.Session, "__init__", ["self", "policy"]),
        (stun, "parse_message", ["data"]),
        (stun, "message_integrity", ["data", "key"]),
        (stun, "message_fingerprint", ["data"]),
        (stun, "set_body_length", ["data", "length"]),
        (stun, "padding_length", ["length"]),
        (stun, "pack_error_code", ["value"]),
        (stun.Message, "check_message_integrity", ["self", "key"]),
    ],
)
def test_private_functions_take_the_arguments_that_we_pass(owner: Any, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


async def test_attributes_that_are_read_exist() -> None:
    server, client = await connected()
    dtls = server.transport.dtls
    for name in ("_ssl", "_tx_srtp", "_rx_srtp", "_task", "_data_receiver", "encrypted"):
        assert getattr(dtls, name), name
    for name in ("bio_read", "recv", "send", "shutdown", "get_selected_srtp_profile"):
        assert callable(getattr(dtls._ssl, name)), name
    sctp = adapter.Sctp("server", lambda packet: None)
    assert sctp.is_server
    for name in (
        "_advertised_rwnd",
        "_inbound_streams",
        "_inbound_streams_max",
        "_outbound_streams_count",
        "_sack_misordered",
        "_last_received_tsn",
        "_outbound_queue",
        "_sent_queue",
        "_data_channel_queue",
        "_data_channels",
    ):
        assert hasattr(sctp, name), name
    await close(server, client)


async def test_a_step_of_sctp_never_waits_for_the_network() -> None:
    # If a step waited, a later step could overtake it, and the waiting step might have to be cancelled.
    sent: list[bytes] = []
    one, other = adapter.Sctp("server", sent.append), adapter.Sctp("client", lambda packet: None)
    step = one.connect(5000, 0)
    with pytest.raises(StopIteration):
        step.send(None)
    step = other.receive(sent[0])
    with pytest.raises(StopIteration):
        step.send(None)
    await one.finish()
    await other.finish()


def test_aes_gcm_is_offered_first() -> None:
    assert [each.openssl_profile for each in SRTP_PROFILES][:2] == [b"SRTP_AEAD_AES_256_GCM", b"SRTP_AEAD_AES_128_GCM"]


async def test_packets_protected_in_place_are_read_by_the_public_interface_and_back() -> None:
    server, client = await connected()
    ours, theirs = server.transport.srtp, client.transport.srtp
    assert ours
    assert theirs
    assert ours.profile == theirs.profile == "SRTP_AEAD_AES_256_GCM"
    status, protected = in_place(adapter.srtp_protect, ours.tx, RTP)
    assert status == adapter.SRTP_OK
    assert theirs.sessions[1].unprotect(protected) == RTP
    assert in_place(adapter.srtp_unprotect, ours.rx, theirs.sessions[0].protect(RTP)) == (adapter.SRTP_OK, RTP)
    status, protected = in_place(adapter.srtp_protect_rtcp, ours.tx, RTCP)
    assert status == adapter.SRTP_OK
    assert len(protected) <= len(RTCP) + adapter.SRTP_TRAILER
    assert theirs.sessions[1].unprotect_rtcp(protected) == RTCP
    protected = theirs.sessions[0].protect_rtcp(RTCP)
    assert in_place(adapter.srtp_unprotect_rtcp, ours.rx, protected) == (adapter.SRTP_OK, RTCP)
    await close(server, client)


async def test_a_packet_may_be_sent_twice_but_is_read_once() -> None:
    server, client = await connected()
    ours, theirs = server.transport.srtp, client.transport.srtp
    assert ours
    assert theirs
    first, second = (in_place(adapter.srtp_protect, ours.tx, RTP) for _ in range(2))
    # The same packet was encrypted twice, as for a retransmission: both results are identical.
    assert first == second
    assert first[0] == adapter.SRTP_OK
    assert in_place(adapter.srtp_unprotect, theirs.rx, first[1]) == (adapter.SRTP_OK, RTP)
    assert in_place(adapter.srtp_unprotect, theirs.rx, first[1])[0] != adapter.SRTP_OK
    broken = bytes([*first[1][:-1], first[1][-1] ^ 1])
    assert in_place(adapter.srtp_unprotect, theirs.rx, broken)[0] != adapter.SRTP_OK
    await close(server, client)


async def test_the_addresses_are_those_of_the_functions() -> None:
    server, client = await connected()
    ours, theirs = server.transport.srtp, client.transport.srtp
    assert ours
    assert theirs
    kind = "int (*)(uintptr_t, void *, int *)"
    protect, unprotect = (adapter.ffi.cast(kind, address) for address in adapter.srtp_addresses())
    status, packet = in_place(protect, adapter.address_of_session(ours.tx), RTP)
    assert status == adapter.SRTP_OK
    assert packet != RTP
    assert in_place(unprotect, adapter.address_of_session(theirs.rx), packet) == (adapter.SRTP_OK, RTP)
    await close(server, client)


async def test_the_handles_are_good_as_long_as_their_holder_is_kept() -> None:
    server, client = await connected()
    ours = server.transport.srtp
    assert ours
    await close(server, client)
    del server, client
    assert in_place(adapter.srtp_protect, ours.tx, RTP)[0] == adapter.SRTP_OK


def test_a_certificate_states_its_sha_256() -> None:
    one, other = adapter.Certificate(), adapter.Certificate()
    (fingerprint,) = one.fingerprints
    assert fingerprint.algorithm == "sha-256"
    assert len(fingerprint.value) == 95
    assert fingerprint.value != other.fingerprint


@pytest.mark.parametrize("data", [b"\x80", RTCP[:-1], b"\x9f\xc9\0\1" + bytes(4), b"\x81\xce\0\1" + bytes(4)])
def test_broken_rtcp_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        adapter.parse_rtcp(data)


def test_rtcp_is_taken_apart() -> None:
    (report,) = adapter.parse_rtcp(RTCP)
    assert report.ssrc == 0xCAFE  # type: ignore[union-attr]


def test_a_process_that_serves_only_the_web_does_not_load_it() -> None:
    """Neither serving nor validating a session description loads aiortc, which would cost 53 MiB and seconds."""
    script = (
        "import sys; import sbe_enabler.asgi; "
        "from conferences.sdp import validate; from tests.support.descriptions import describe; "
        "validate('offer', describe()); "
        "print([name for name in ('media.aiortc_adapter', 'aiortc', 'aioice', 'av') if name in sys.modules])"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PATH": "/usr/bin:/bin", "SBE_SECRET_KEY": "x" * 50}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
