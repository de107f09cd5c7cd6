"""What a participant's description says, as far as a leg needs it. Nothing is decided here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from media import sdp
from media.sdp import SdpError

# kind, port (with a number of ports that nobody uses), protocol, formats (RFC 8866 section 5.14).
_MEDIA = re.compile(
    r"m=([A-Za-z0-9-]{1,32}) ([0-9]{1,5})(?:/[0-9]{1,5})? ([A-Za-z0-9/]{1,64}) (\S{1,64}(?: \S{1,64})*)"
)
# A token (RFC 8866 section 9), no longer than any browser's.
_MID = re.compile(r"[!#-'*+.0-9A-Z^-~-]{1,64}")
_FINGERPRINT = re.compile(r"(\S+) (\S+)")

Attributes = Mapping[str, tuple[str, ...]]


class NegotiationError(ValueError):
    """A description that a leg cannot agree to; the message says why, for people. Nothing has changed."""


@dataclass(frozen=True)
class Fingerprint:
    """The digest of a certificate: algorithm as in SDP ("sha-256"), value in upper case with colons."""

    algorithm: str
    value: str


@dataclass(frozen=True)
class Credentials:
    """ICE credentials: what a binding request is addressed and signed with."""

    ufrag: str
    password: str


@dataclass(frozen=True)
class Media:
    """One m= section. `port` 0 without a=bundle-only is a rejected line: `live` is false (RFC 9143 section 6)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    mid: str
    live: bool
    direction: str
    attributes: Attributes

    @property
    def sends(self) -> bool:
        """Whether the writer of the description sends on the line, or wants to."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        """Whether the writer of the description receives on the line, or wants to."""
        return self.direction in ("sendrecv", "recvonly")

    def flag(self, name: str) -> bool:
        """Tell whether the attribute stands here, whatever its value."""
        return name in self.attributes


@dataclass(frozen=True)
class Remote:
    """What one transport for all lines needs to know of the other side. `setup` as in SDP (RFC 8842)."""

    credentials: Credentials
    fingerprints: tuple[Fingerprint, ...]
    setup: str


@dataclass(frozen=True)
class Description:
    """A description: what stands above the media lines, the lines, and the mids of its BUNDLE group in their order."""

    attributes: Attributes
    media: tuple[Media, ...]
    bundle: tuple[str, ...]

    def live(self) -> list[Media]:
        """Return the lines that are not rejected."""
        return [media for media in self.media if media.live]


def number(text: str, limit: int) -> int | None:
    """Return the decimal number, or None where it is none or above the limit."""
    if not (len(text) <= 10 and text.isascii() and text.isdigit()):
        return None
    value = int(text)
    return value if value <= limit else None


@lru_cache(maxsize=4)
def parse(text: str) -> Description:
    """Return what the description says. An offer is read for its codecs first and then by its leg, hence the cache.

    :raises SdpError: when it is not well-formed.
    """
    session, *sections = sdp.split(text)
    default = sdp.stated_direction(session) or "sendrecv"
    attributes = _attributes(session)
    media = tuple(_media(lines, default) for lines in sections)
    mids = [each.mid for each in media if each.mid]
    if len(set(mids)) < len(mids):
        raise SdpError("Two media lines have the same a=mid.")
    return Description(attributes, media, _bundle(attributes, set(mids)))


def _attributes(lines: list[str]) -> Attributes:
    """Return the values of each a= name, in their order; a flag's value is empty."""
    values: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            values.setdefault(name, []).append(value)
    return {name: tuple(each) for name, each in values.items()}


def _media(lines: list[str], default: str) -> Media:
    match = _MEDIA.fullmatch(lines[0])
    if match is None or int(match[2]) > 65535:
        raise SdpError(f"This is no media line: {lines[0][:80]!r}.")
    attributes = _attributes(lines)
    mids = attributes.get("mid", ("",))
    if len(mids) > 1 or not (mids[0] == "" or _MID.fullmatch(mids[0])):
        raise SdpError("A media line's a=mid is not one short word.")
    return Media(
        kind=match[1],
        port=int(match[2]),
        protocol=match[3],
        formats=tuple(match[4].split(" ")),
        mid=mids[0],
        live=match[2].strip("0") != "" or "bundle-only" in attributes,
        direction=sdp.stated_direction(lines) or default,
        attributes=attributes,
    )


def _bundle(attributes: Attributes, mids: set[str]) -> tuple[str, ...]:
    """Return the mids of the BUNDLE group (RFC 9143 section 5)."""
    groups = [value.split()[1:] for value in attributes.get("group", ()) if value.startswith("BUNDLE")]
    if len(groups) > 1:
        raise SdpError("It has more than one BUNDLE group.")
    bundled = groups[0] if groups else []
    if len(set(bundled)) < len(bundled) or not mids.issuperset(bundled):
        raise SdpError("Its BUNDLE group does not name its media lines, each once.")
    return tuple(bundled)


def read_transport(description: Description) -> Remote:
    """Return the one transport that all live lines share (max-bundle, rtcp-mux).

    :raises NegotiationError: when there would be a second one, or something that connecting needs is missing.
    """
    live = description.live()
    _require_one_transport(live, description.bundle)
    tagged = sorted(live, key=lambda media: description.bundle.index(media.mid) if description.bundle else 0)
    # One line speaks for the bundle (RFC 9143 section 7.1.3); what stands above all lines holds where it is silent.
    for attributes in [*(media.attributes for media in tagged), description.attributes]:
        if "ice-ufrag" in attributes:
            return _remote({**description.attributes, **attributes})
    raise NegotiationError("There are no ICE credentials (a=ice-ufrag, a=ice-pwd).")


def _require_one_transport(live: list[Media], bundle: tuple[str, ...]) -> None:
    if (bundle or len(live) > 1) and not {media.mid for media in live}.issubset(bundle):
        raise NegotiationError("Every media line must be in one BUNDLE group: the focus has one transport for all.")
    for media in live:
        if media.kind in ("audio", "video") and not media.flag("rtcp-mux"):
            raise NegotiationError(f"The {media.kind} line lacks a=rtcp-mux: the focus has one transport for all.")


def _remote(attributes: Attributes) -> Remote:
    ufrag, password = attributes["ice-ufrag"][0], attributes.get("ice-pwd", ("",))[0]
    if not (sdp.UFRAG.fullmatch(ufrag) and sdp.PASSWORD.fullmatch(password)):
        raise NegotiationError("The ICE credentials are not as RFC 8839 has them.")
    if "ice-lite" in attributes:
        raise NegotiationError("Two ICE-lite sides cannot connect: the focus is one already.")
    setup = attributes.get("setup", ("",))[0]
    if setup not in ("actpass", "active", "passive"):
        raise NegotiationError("The DTLS role (a=setup) must be actpass, active or passive.")
    return Remote(Credentials(ufrag, password), _fingerprints(attributes), setup)


def _fingerprints(attributes: Attributes) -> tuple[Fingerprint, ...]:
    """Return the fingerprints whose digests are still trusted (RFC 8122 section 5)."""
    fingerprints = []
    for value in attributes.get("fingerprint", ()):
        match = _FINGERPRINT.fullmatch(value)
        size = sdp.DIGEST_SIZES.get(match[1].lower()) if match else None
        if match and size:
            if not sdp.FINGERPRINT.fullmatch(match[2]) or len(match[2]) != 3 * size - 1:
                raise NegotiationError("A fingerprint is not of its algorithm's length.")
            fingerprints.append(Fingerprint(match[1].lower(), match[2].upper()))
    if not fingerprints:
        raise NegotiationError("There is no fingerprint with SHA-256 or better (a=fingerprint).")
    return tuple(fingerprints)
