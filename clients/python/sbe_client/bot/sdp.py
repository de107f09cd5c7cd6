"""The few changes to session descriptions that aiortc needs (RFC 8866)."""

import re
from collections.abc import Iterable, Mapping

# aiortc refuses a description with a section that has no transport, or no codec that it knows.
_PLACEHOLDERS = {
    "audio": "UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-mux\r\n",
    "video": "UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-mux\r\n",
    "application": "UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n",
}
_TRANSPORT = re.compile(r"^a=(?:ice-ufrag|ice-pwd|fingerprint|setup):[^\r\n]*", re.MULTILINE)
_KNOWN_VIDEO = re.compile(r"^a=rtpmap:\d+ (?:VP8|H264)/90000", re.MULTILINE | re.IGNORECASE)


def split(sdp: str) -> tuple[str, list[str]]:
    """Return the session's lines, and the text of each media section."""
    head, *media = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)
    return head, media


def usable(sdp: str) -> tuple[str, frozenset[int]]:
    """Return a remote description that aiortc can apply, and the numbers of the sections that must be rejected.

    These are the sections that the other side has rejected, and video without a codec that aiortc knows.
    """
    head, media = split(sdp)
    rejected = frozenset(number for number, section in enumerate(media) if _is_unusable(section))
    alive = [section for number, section in enumerate(media) if number not in rejected]
    transport = _TRANSPORT.findall(head) or (_TRANSPORT.findall(alive[0]) if alive else [])
    for number in rejected:
        media[number] = _placeholder(media[number], transport)
    return head + "".join(media), rejected


def rejecting(sdp: str, rejected: Iterable[int]) -> str:
    """Return an own description in which these sections are rejected (port 0, outside the bundle)."""
    head, media = split(sdp)
    for number in rejected:
        head = re.sub(
            rf"^(a=group:BUNDLE.*?) {re.escape(mid_of(media[number]))}(?=\s)", r"\1", head, flags=re.MULTILINE
        )
        media[number] = re.sub(r"^(m=\S+) \d+", r"\1 0", media[number])
    return head + "".join(media)


def numbered(sdp: str, session: int, version: int) -> str:
    """Return an own description with this session ID and version. aiortc changes the session ID every second."""
    return re.sub(r"^o=.*?(\r?)$", rf"o=- {session} {version} IN IP4 0.0.0.0\1", sdp, count=1, flags=re.MULTILINE)


def ufrag_of(sdp: str) -> str | None:
    """Return the first ICE user fragment. Another one means an ICE restart."""
    found = re.search(r"^a=ice-ufrag:(\S+)", sdp, re.MULTILINE)
    return found[1] if found else None


def owners_of(sdp: str) -> Mapping[str, str]:
    """Return the participant whose track each section has, by mid. The focus names it in `a=msid`."""
    found = {}
    for section in split(sdp)[1]:
        if msid := re.search(r"^a=msid:(\S+) (?:audio|video|screen)", section, re.MULTILINE):
            found[mid_of(section)] = msid[1]
    return found


def mid_of(section: str) -> str:
    """Return the mid of a section."""
    found = re.search(r"^a=mid:(\S+)", section, re.MULTILINE)
    return found[1] if found else ""


def _is_unusable(section: str) -> bool:
    rejected = re.match(r"m=\S+ 0 ", section) and "a=bundle-only" not in section
    return bool(rejected) or (section.startswith("m=video") and not _KNOWN_VIDEO.search(section))


def _placeholder(section: str, transport: list[str]) -> str:
    kind = section[2:].partition(" ")[0]
    lines = "".join(f"{line}\r\n" for line in transport)
    body = _PLACEHOLDERS.get(kind, _PLACEHOLDERS["audio"])
    return f"m={kind} 9 {body}c=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:{mid_of(section)}\r\n{lines}"
