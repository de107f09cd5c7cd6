"""The text of session descriptions (RFC 8866): lines, sections, and the syntax of the attributes that browsers read.

A browser and this module must split the text at the same places. Otherwise a text could mean one thing to the browser
and another thing here. An attribute that a browser parses must be well-formed here too. Other attributes may have any
value.
"""

import re
from collections.abc import Mapping

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})

# A section in the focus's own offers has fewer lines than this. Reading takes time in proportion to the number of
# lines.
MAX_SECTION_LINES = 500
MAX_MEDIA_SECTIONS = 256

# One letter, "=", and a value without NUL, other control characters and Unicode's line separators. Only the session
# name may begin with a space, or be a single space (RFC 8866 section 5.3).
_LINE = re.compile(r"(?:s=|[a-z]=(?! ))[^\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]+")
# The session-level lines in their order, with at least one t= (RFC 8866 section 5).
_SESSION = re.compile(r"vosi?u?e*p*c?b*t[tr]*z?k?a*")
# username, session ID, version, network type, address type, address (RFC 8866 section 5.2). Browsers accept any words.
_ORIGIN = re.compile(r"o=(\S+) (\S{0,20}) (\S{0,20}) \S* \S* \S*")
UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:)+[0-9A-Fa-f]{2}")
# Sizes in bytes of the digests that RFC 8122 names and that are still trusted.
DIGEST_SIZES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}

# Attributes that Chromium parses, and the syntax that it requires. Chromium refuses a description with another syntax.
_BYTE = r"(?:[01]?[0-9]?[0-9]|2[0-4][0-9]|25[0-5])"
_PAYLOAD_TYPE = r"0*(?:[0-9]?[0-9]|1[01][0-9]|12[0-7])"
_SYNTAX: Mapping[str, str] = {
    "extmap": rf"(?!0+[/ ]){_BYTE}(?:/\S*)? .*\S.*",
    "fingerprint": r"\S+ +\S+ *",
    "ice-options": r".+",
    "setup": r"active|passive|actpass|holdconn",
}
_SECTION_SYNTAX: Mapping[str, str] = {
    **_SYNTAX,
    "candidate": r"\S* [0-9]{1,9} (?i:udp|tcp|ssltcp|tls) [0-9]{1,10} \S+ (?P<port>[0-9]{1,5})"
    r" typ (?:host|srflx|prflx|relay)(?: .*)?",
    "msid": r".*\S.*",
    "simulcast": r" *(?:send|recv) \S.*",
    "ssrc": r"[0-9]{1,10} [^ :]+:.*",
    "ssrc-group": r"\S+(?: [0-9]{1,10})+ *",
}
_RTP_SYNTAX: Mapping[str, str] = {
    **_SECTION_SYNTAX,
    "rtpmap": rf"{_PAYLOAD_TYPE} +[^ /]+/[0-9]{{1,9}}(?:[/ ].*)?",
    "fmtp": rf"{_PAYLOAD_TYPE} .*",
    "rtcp-fb": rf"(?:\*|{_PAYLOAD_TYPE}) .*",
}
_DATA_SYNTAX: Mapping[str, str] = {**_SECTION_SYNTAX, "max-message-size": r"[0-9]{1,20}"}
_TABLES = {
    "": _SYNTAX,
    "audio": _RTP_SYNTAX,
    "video": _RTP_SYNTAX,
    "application": _DATA_SYNTAX,
    "other": _SECTION_SYNTAX,
}
_PATTERNS = {kind: {name: re.compile(pattern) for name, pattern in syntax.items()} for kind, syntax in _TABLES.items()}
_VALUED = frozenset({"group", "mid", "msid-semantic", "ice-ufrag", "ice-pwd"})
# The other lines, besides m= and a=, that Chromium parses in a section.
_CONNECTION = re.compile(r"c=\S+ \S+ \S+.*")
_BANDWIDTH = re.compile(r"b=(?:(?:AS|TIAS):[0-9]{1,9}|(?!AS:|TIAS:).*)")


class SdpError(ValueError):
    """The text is not a session description. The message states the fault."""


def split(text: str) -> list[list[str]]:
    """Split the text into the session-level lines and the m= sections, each a list of lines without their ends.

    :raises SdpError: when the text has malformed lines, or more lines than any browser writes.
    """
    if not text.endswith("\n"):
        raise SdpError("It is cut off: the last line has no end.")
    sections: list[list[str]] = [[]]
    # RFC 8866 section 5 allows readers to accept a bare LF. A bare CR never ends a line.
    for line in text.replace("\r\n", "\n")[:-1].split("\n"):
        if not _LINE.fullmatch(line):
            raise SdpError(f"This is no line of an SDP: {line[:80]!r}.")
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    if len(sections) > MAX_MEDIA_SECTIONS + 1 or max(map(len, sections)) > MAX_SECTION_LINES:
        raise SdpError("It has more lines than any browser writes.")
    # Browsers ignore the version.
    if not _SESSION.fullmatch("".join(line[0] for line in sections[0])):
        raise SdpError("It must begin with 'v=0', 'o=', 's=' and 't=' lines.")
    return sections


def read_origin(session: list[str]) -> tuple[str, int]:
    """Return the session ID and version of the o= line. A version that is not a number counts as 0."""
    origin = _ORIGIN.fullmatch(session[1])
    if origin is None:
        raise SdpError("Its 'o=' line is incomplete.")
    version = origin[3]
    return origin[2], int(version) if version.isascii() and version.isdigit() else 0


def stated_direction(lines: list[str]) -> str | None:
    """Return the direction that a section states, if any. If it states several, the last counts, as in browsers."""
    flags = (line[2:].partition(" ")[0] for line in reversed(lines) if line.startswith("a="))
    return next((flag for flag in flags if flag in _DIRECTIONS), None)


def attributes_of(lines: list[str], kind: str = "") -> dict[str, tuple[str, ...]]:
    """Return the values of each attribute (a=), in their order. A flag's value is empty.

    :param kind: the media type of the section; empty for the session-level lines.
    :raises SdpError: when a browser could not read one of the lines.
    """
    patterns = _PATTERNS.get(kind, _PATTERNS["other"])
    values: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("a="):
            name, colon, value = line[2:].partition(":")
            # A flag may be followed by a space and any text.
            name = name.partition(" ")[0]
            if name in _VALUED and not colon:
                raise _unreadable(line)
            if name in patterns and not _is_readable(patterns[name], value):
                raise _unreadable(line)
            values.setdefault(name, []).append(value)
        elif (line[0] == "c" and not _CONNECTION.fullmatch(line)) or (
            line[0] == "b" and not _BANDWIDTH.fullmatch(line)
        ):
            raise _unreadable(line)
    return {name: tuple(each) for name, each in values.items()}


def _unreadable(line: str) -> SdpError:
    return SdpError(f"This line cannot be understood: {line[:80]!r}.")


def _is_readable(pattern: re.Pattern[str], value: str) -> bool:
    match = pattern.fullmatch(value)
    return match is not None and int(match.groupdict().get("port", "0")) <= 65535
