"""Read session descriptions (RFC 8866, RFC 8829) with aiortc's parser, behind a guard of our own.

The guard settles how lines end before the parser sees them: a browser and we must split the text in the same places,
or somebody could show each of us a different description.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})

# aiortc looks codecs and sources up in lists: this bounds what a hostile description costs.
MAX_SECTION_LINES = 500
MAX_MEDIA_LINES = 256
MAX_LOOKUPS = 250_000

# One letter, "=", a value; NUL, other controls and Unicode's line separators are no part of a value.
_LINE = re.compile(r"[a-z]=[^\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]+")
# username, session ID, version, network type, address type, address (RFC 8866 section 5.2).
_ORIGIN = re.compile(r"o=(\S+) ([0-9]{1,20}) ([0-9]{1,20}) IN IP[46] \S+")
UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:)+[0-9A-Fa-f]{2}")
# Bytes of the digests that RFC 8122 names and that are still trusted.
DIGEST_SIZES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}


class SdpError(ValueError):
    """The text is no session description; the message says what is wrong, for people."""


@dataclass(frozen=True)
class MediaLine:
    """What one m= section says, as far as the enabler judges it.

    `live` is false for a rejected section (port 0 without `a=bundle-only`, RFC 9143 section 6).
    """

    kind: str
    mid: str
    live: bool
    direction: str
    has_ice: bool
    has_fingerprint: bool


@dataclass(frozen=True)
class Description:
    """A session description: origin (session ID and version of the o= line), media lines and BUNDLE mids.

    `ice_ufrag` is the first well-formed ICE user fragment in it, or empty: lines that are rejected may have any.
    """

    session_id: str
    version: int
    ice_ufrag: str
    media: tuple[MediaLine, ...]
    bundled: frozenset[str]


@lru_cache(maxsize=64)
def read(text: str) -> Description:
    """Read a session description. An offer is read again with its answer, hence the cache.

    :raises SdpError: when it is not well-formed.
    """
    sections = split(text)
    origin = _origin(sections[0])
    parsed = _parse(text)
    default = stated_direction(sections[0]) or "sendrecv"
    bundled = frozenset(str(mid) for group in parsed.group if group.semantic == "BUNDLE" for mid in group.items)
    return Description(
        session_id=origin[2],
        version=int(origin[3]),
        ice_ufrag=next(filter(UFRAG.fullmatch, (media.ice.usernameFragment or "" for media in parsed.media)), ""),
        media=tuple(
            _media_line(media, lines, default) for media, lines in zip(parsed.media, sections[1:], strict=True)
        ),
        bundled=bundled,
    )


def split(text: str) -> list[list[str]]:
    """Split the text into the session section and the m= sections, each a list of lines without their ends.

    :raises SdpError: when it has no such lines, or more than any browser writes.
    """
    if not text.endswith("\n"):
        raise SdpError("It is cut off: the last line has no end.")
    sections: list[list[str]] = [[]]
    # RFC 8866 section 5 lets readers accept a bare LF; a bare CR is no line end for anybody.
    for line in text.replace("\r\n", "\n")[:-1].split("\n"):
        if not _LINE.fullmatch(line):
            raise SdpError(f"This is no line of an SDP: {line[:80]!r}.")
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    if len(sections) > MAX_MEDIA_LINES + 1 or max(map(len, sections)) > MAX_SECTION_LINES:
        raise SdpError("It has more lines than any browser writes.")
    if not sections[0]:
        raise SdpError("It must begin with 'v=0'.")
    if sum(map(_lookups, sections)) > MAX_LOOKUPS:
        raise SdpError("It names more codecs and sources than any browser.")
    _origin(sections[0])
    return sections


def _origin(session: list[str]) -> re.Match[str]:
    """Return the parts of the o= line, which comes second."""
    origin = _ORIGIN.fullmatch(session[1]) if len(session) > 1 else None
    if session[0] != "v=0" or origin is None:
        raise SdpError("It must begin with 'v=0' and a complete 'o=' line.")
    return origin


def _lookups(lines: list[str]) -> int:
    """Return how many entries of its lists aiortc looks at, at most, to read a section."""
    names = Counter(line.partition(":")[0] for line in lines)
    return names["a=rtpmap"] * (names["a=fmtp"] + names["a=rtcp-fb"]) + names["a=ssrc"] ** 2


def stated_direction(lines: list[str]) -> str | None:
    """Return the direction that a section states, if it does."""
    stated = [line[2:] for line in lines if line.startswith("a=") and line[2:] in _DIRECTIONS]
    if len(stated) > 1:
        # Readers differ on which of them counts.
        raise SdpError("A section has more than one direction.")
    return stated[0] if stated else None


def load_parser() -> Any:
    """Return aiortc's class that parses, loading it at the first call, which takes some tenths of a second.

    It brings codecs along, which a process that reads no SDP has no use for. A server calls this when it starts.
    """
    from aiortc.sdp import SessionDescription

    return SessionDescription


def _parse(text: str) -> Any:
    """Let aiortc parse the text."""
    parser = load_parser()
    try:
        return parser.parse(text)
    except Exception as error:
        # The parser answers broken input with whatever breaks first: an assertion, a KeyError, a StopIteration.
        raise SdpError("It has a line that cannot be understood.") from error


def _media_line(media: Any, lines: list[str], default: str) -> MediaLine:
    """Judge one section as far as it can be judged alone."""
    # The parser gives no DTLS parameters where a=setup is missing, as it may be in a rejected or bundled section.
    ice, fingerprints = media.ice, media.dtls.fingerprints if media.dtls else []
    for fingerprint in fingerprints:
        size = DIGEST_SIZES.get(fingerprint.algorithm.lower())
        if size and not (FINGERPRINT.fullmatch(fingerprint.value) and len(fingerprint.value) == 3 * size - 1):
            raise SdpError("A fingerprint is not of its algorithm's length.")
    for candidate in media.ice_candidates:
        if not 0 <= candidate.port <= 65535:
            raise SdpError("A candidate's port is out of range.")
    if media.port > 65535:
        raise SdpError("A media line's port is out of range.")
    return MediaLine(
        kind=media.kind,
        mid=media.rtp.muxId,
        live=media.port != 0 or "a=bundle-only" in lines,
        direction=stated_direction(lines) or default,
        has_ice=bool(UFRAG.fullmatch(ice.usernameFragment or "") and PASSWORD.fullmatch(ice.password or "")),
        has_fingerprint=any(each.algorithm.lower() in DIGEST_SIZES for each in fingerprints),
    )
