"""Write our descriptions (RFC 8866, RFC 8829 section 5): a leg's sections as text."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from media.credentials import Credentials, Fingerprint
from media.sdp.codecs import Codec
from media.sdp.extensions import RIDS
from media.sdp.media_section import Section, SectionState

Role = Literal["client", "server"]

# A CNAME consists of this many characters of the participant's ID: 64 bits. It is short, because a large offer repeats
# it often.
_CNAME_LENGTH = 16


def cname_of(participant: str) -> str:
    """Return the CNAME of a participant's tracks, the same in descriptions and in RTCP (RFC 3550 section 6.5.1)."""
    return participant[:_CNAME_LENGTH]


@dataclass(frozen=True)
class LocalEnd:
    """The node's end of every leg: its certificate's fingerprints, its addresses, and the DTLS role that it prefers."""

    fingerprints: tuple[Fingerprint, ...]
    candidates: tuple[tuple[str, int], ...]  # address (IPv4 or IPv6), port; the preferred one first
    tcp_candidates: tuple[tuple[str, int], ...] = ()  # the same for TCP
    role: Role = "server"


# For our data channels: the port on which aiortc listens, and the most bytes of a message that it accepts.
SCTP_PORT = 5000
MAX_MESSAGE_SIZE = 65536

_DIRECTIONS = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}


def write_body(
    states: Sequence[SectionState], bundle: Iterable[str], local: LocalEnd, credentials: Credentials, setup: str
) -> str:
    """Return everything after the o= line.

    Session-level lines describe the transport for all sections. The BUNDLE-tagged section repeats them, for clients
    that read only sections (RFC 9143 section 7.1.3). The BUNDLE-tagged section also lists the candidates, and so does
    the last section, because aiortc reads candidates there.
    """
    bundle = list(bundle)
    transport = [
        f"a=ice-ufrag:{credentials.ufrag}",
        f"a=ice-pwd:{credentials.password}",
        *(f"a=fingerprint:{each.algorithm} {each.value}" for each in local.fingerprints),
        f"a=setup:{setup}",
    ]
    address, _ = _default(local)
    # One c= line stands for all sections (RFC 8866 section 5.7).
    body = ["s=-", f"c=IN IP{ipaddress.ip_address(address).version} {address}", "t=0 0"]
    if bundle:
        body.append(f"a=group:BUNDLE {' '.join(bundle)}")
    # "ice2" states that we implement ICE-lite as RFC 8445 defines it.
    body += ["a=ice-lite", "a=ice-options:ice2", *transport]
    live = [state for state in states if not state.section.rejected]
    tagged = next((state for state in live if state.section.mid in bundle[:1]), live[0] if live else None)
    rtp = [state.section for state in states if state.section.codecs]
    mixed = bool(rtp) and all(section.mixed for section in rtp)
    if mixed:
        body.append("a=extmap-allow-mixed")
    for state in states:
        own = transport if state is tagged else []
        candidates = _candidates(local) if state is tagged or state is live[-1] else []
        body += _section(state, local, [*own, *candidates], mixed=not mixed and state.section.mixed)
    return "\r\n".join(body) + "\r\n"


def _section(state: SectionState, local: LocalEnd, transport: list[str], *, mixed: bool) -> list[str]:
    section = state.section
    if section.rejected:
        mid = [f"a=mid:{section.mid}"] if section.mid else []
        return [
            f"m={section.kind} 0 {state.protocol} {state.format}",
            *mid,
            "a=inactive",
            "a=rtcp-mux",
        ]
    _, port = _default(local)
    formats = " ".join(map(str, _formats(section.codecs))) or state.format
    lines = [
        f"m={section.kind} {port} {state.protocol} {formats}",
        *[f"a=mid:{section.mid}"] * bool(section.mid),
        *transport,
    ]
    if section.kind == "application":
        return [*lines, f"a=sctp-port:{SCTP_PORT}", f"a=max-message-size:{MAX_MESSAGE_SIZE}"]
    lines += [f"a={_DIRECTIONS[section.sending, section.receiving]}", "a=rtcp-mux"]
    if section.reduced_size:
        lines.append("a=rtcp-rsize")
    if mixed:
        lines.append("a=extmap-allow-mixed")
    lines += [f"a=extmap:{id_}{'/recvonly' * (uri in RIDS)} {uri}" for uri, id_ in section.extensions.items()]
    for codec in section.codecs:
        lines += _codec(codec, receiving=section.receiving)
    return [*lines, *_rids(state), *_source(section)]


def _default(local: LocalEnd) -> tuple[str, int]:
    """Return the address and port that are used without ICE."""
    return local.candidates[0] if local.candidates else ("0.0.0.0", 9)  # noqa: S104 - says "none yet"


def _formats(codecs: Iterable[Codec]) -> Iterable[int]:
    for codec in codecs:
        yield codec.payload_type
        if codec.rtx_payload_type is not None:
            yield codec.rtx_payload_type


def _codec(codec: Codec, *, receiving: bool) -> Iterable[str]:
    """Yield the lines of a codec. The parameters of Opus say what we would like to get (RFC 7587 section 6.1)."""
    name = f"{codec.name}/{codec.clock_rate}" + (f"/{codec.channels}" if codec.channels > 1 else "")
    yield f"a=rtpmap:{codec.payload_type} {name}"
    for feedback in codec.feedback:
        yield f"a=rtcp-fb:{codec.payload_type} {feedback}"
    if codec.fmtp and (receiving or codec.name != "opus"):
        yield f"a=fmtp:{codec.payload_type} {codec.fmtp}"
    if codec.rtx_payload_type is not None:
        yield f"a=rtpmap:{codec.rtx_payload_type} rtx/{codec.clock_rate}"
        yield f"a=fmtp:{codec.rtx_payload_type} apt={codec.payload_type}"


def _rids(state: SectionState) -> list[str]:
    """Return lines that list the layers that we receive (RFC 8853), even while the participant sends nothing.

    When a description lists no layers any more, Chromium sends only one from then on.
    """
    rids = state.section.rids
    layers = ";".join(f"~{rid}" if rid in state.paused else rid for rid in rids)
    return [*(f"a=rid:{rid} recv" for rid in rids), f"a=simulcast:recv {layers}"] if rids else []


def _source(section: Section) -> list[str]:
    """Return lines that state the section's track and its SSRCs (RFC 8830, RFC 5576), even while the track is not sent.

    Chromium removes the receiver of an SSRC that is no longer stated. If the SSRC comes back, its packets reach no
    track.
    """
    track = section.outgoing
    if track is None:
        return []
    lines, ssrcs = [f"a=msid:{track.stream} {track.label}"], [track.ssrc]
    if track.rtx_ssrc is not None and any(codec.rtx_payload_type is not None for codec in section.codecs):
        ssrcs.append(track.rtx_ssrc)
        lines.append(f"a=ssrc-group:FID {track.ssrc} {track.rtx_ssrc}")
    return [*lines, *(f"a=ssrc:{ssrc} cname:{cname_of(track.stream)}" for ssrc in ssrcs)]


def _candidates(local: LocalEnd) -> list[str]:
    """Return our host candidates. An ICE-lite agent has no others (RFC 8445 section 5.2)."""
    lines = []
    for index, (address, port) in enumerate(local.candidates):
        # The recommended formula (RFC 8445 section 5.1.2.1).
        priority = (126 << 24) + (max(0, 65535 - index) << 8) + 255
        lines.append(f"a=candidate:{index + 1} 1 udp {priority} {address} {port} typ host")
    for index, (address, port) in enumerate(local.tcp_candidates):
        # Clients try TCP if UDP does not work. 4 is the recommended preference for passive ones (RFC 6544 section 4.2).
        priority = (90 << 24) + ((4 << 13) + max(0, 8191 - index) << 8) + 255
        foundation = len(local.candidates) + index + 1
        lines.append(f"a=candidate:{foundation} 1 tcp {priority} {address} {port} typ host tcptype passive")
    return [*lines, "a=end-of-candidates"] if lines else []
