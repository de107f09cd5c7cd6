"""The model of a session description. Negotiation and the rules for requests (`conferences.sdp`) use it.

The model is tolerant: unknown attributes, media types and protocols are kept or ignored.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from media.credentials import Credentials, Fingerprint
from media.sdp import syntax
from media.sdp.syntax import SdpError

# kind, port, protocol, formats (RFC 8866 section 5.14). Chromium accepts an empty list of formats.
# The list of formats may be long, so the pattern does not backtrack in it.
_MEDIA = re.compile(r"m=(\S{1,32}) ([0-9]{1,5}) (\S{1,64})(?= )((?: ++\S{1,64}+)*+) *+")
_LAST_STATIC = 34
# A token (RFC 8866 section 9). Browsers write shorter tokens.
_MID = re.compile(r"[!#-'*+.0-9A-Z^-~-]{1,64}")

Attributes = Mapping[str, tuple[str, ...]]


class NegotiationError(ValueError):
    """A description that a leg cannot agree to. The message states the reason. The negotiation is unchanged."""


class NewAssociationError(NegotiationError):
    """An offer with a new certificate and new ICE credentials, which needs a new leg (RFC 8842 section 3.1)."""


@dataclass(frozen=True)
class ParsedSection:
    """One m= section. With port 0 and without a=bundle-only it is rejected: `live` is false (RFC 9143 section 6)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    mid: str
    live: bool
    direction: str
    attributes: Attributes

    @property
    def is_rtp(self) -> bool:
        """Whether the section carries audio or video. A section for data channels has no direction."""
        return self.kind in ("audio", "video")

    @property
    def sends(self) -> bool:
        """Whether the writer of the description sends here, or wants to send."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        """Whether the writer of the description receives here, or wants to receive."""
        return self.direction in ("sendrecv", "recvonly")

    def nameless_codecs(self) -> set[int | None]:
        """Return the listed payload types with parameters but no name: no a=rtpmap, and not static (RFC 3551).

        Firefox keeps the parameters of codecs that `setCodecPreferences` has removed from the list.
        """
        values = (*self.attributes.get("fmtp", ()), *self.attributes.get("rtcp-fb", ()))
        parametrised = {_payload_type(value) for value in values if not value.startswith("*")}
        named = {_payload_type(value) for value in self.attributes.get("rtpmap", ())}
        listed = {_payload_type(each) for each in self.formats}
        return (parametrised & listed) - named - {number(each, _LAST_STATIC) for each in self.formats}

    @property
    def shows_slides(self) -> bool:
        """Whether the section is marked as a presentation (a=content:slides, RFC 4796)."""
        return "slides" in self.attributes.get("content", ("",))[0].split(",")

    def flag(self, name: str) -> bool:
        """Tell whether the section has the attribute, with any value."""
        return name in self.attributes


@dataclass(frozen=True)
class Remote:
    """The data about the other side that a transport needs. `setup` is the value of a=setup (RFC 8842), or empty."""

    credentials: Credentials
    fingerprints: tuple[Fingerprint, ...]
    setup: str


@dataclass(frozen=True)
class Description:
    """A description: its origin, session-level attributes, media sections, and the mids of each BUNDLE group."""

    session_id: str
    version: int
    attributes: Attributes
    media: tuple[ParsedSection, ...]
    bundles: tuple[tuple[str, ...], ...]

    @property
    def bundle(self) -> tuple[str, ...]:
        """The first BUNDLE group; empty when there is none."""
        return self.bundles[0] if self.bundles else ()

    @property
    def bundled(self) -> frozenset[str]:
        """The mids of all BUNDLE groups."""
        return frozenset(mid for group in self.bundles for mid in group)

    @property
    def ice_ufrag(self) -> str:
        """The first well-formed ICE user fragment, or empty. Rejected sections may have malformed user fragments."""
        stated = (self.stated(media, "ice-ufrag") for media in self.media)
        return next((each for each in stated if syntax.UFRAG.fullmatch(each)), "")

    def stated(self, media: ParsedSection, name: str) -> str:
        """Return the attribute's first value in the section, or else at session level, or else an empty string."""
        return (media.attributes.get(name) or self.attributes.get(name) or ("",))[0]

    def has_ice(self, media: ParsedSection) -> bool:
        """Tell whether the section has ICE credentials, its own or at session level."""
        ufrag, password = self.stated(media, "ice-ufrag"), self.stated(media, "ice-pwd")
        return bool(syntax.UFRAG.fullmatch(ufrag) and syntax.PASSWORD.fullmatch(password))

    def has_fingerprint(self, media: ParsedSection) -> bool:
        """Tell whether the section has a fingerprint with a trusted digest, its own or at session level.

        :raises SdpError: when a fingerprint does not have its algorithm's length.
        """
        return bool(read_fingerprints(media.attributes)) if media.flag("fingerprint") else self._has_fingerprint

    @cached_property
    def _has_fingerprint(self) -> bool:
        """Whether there is a session-level fingerprint with a trusted digest. Computed once for all sections."""
        return bool(read_fingerprints(self.attributes))

    def live(self) -> list[ParsedSection]:
        """Return the sections that are not rejected."""
        return [media for media in self.media if media.live]


def number(text: str, limit: int) -> int | None:
    """Return the decimal number; None if the text is not a number, or the number is above the limit."""
    if not (len(text) <= 10 and text.isascii() and text.isdigit()):
        return None
    value = int(text)
    return value if value <= limit else None


@lru_cache(maxsize=4)
def parse(text: str) -> Description:
    """Return the model of an offer. It is cached: an offer is read first for its codecs, and again by its leg.

    :raises SdpError: when the text is not well-formed.
    """
    return read(text)


def read(text: str) -> Description:
    """Return the model of a description.

    :raises SdpError: when the text is not well-formed.
    """
    session, *sections = syntax.split(text)
    session_id, version = syntax.read_origin(session)
    default = syntax.stated_direction(session) or "sendrecv"
    attributes = syntax.attributes_of(session)
    media = tuple(_media(lines, default) for lines in sections)
    mids = [each.mid for each in media if each.mid]
    if len(set(mids)) < len(mids):
        raise SdpError("Two media sections have the same a=mid.")
    # A browser assigns a mid to a section without a=mid, and a BUNDLE group may name that mid.
    known = set(mids) if len(mids) == len(media) else None
    return Description(session_id, version, attributes, media, _bundles(attributes, known))


def _media(lines: list[str], default: str) -> ParsedSection:
    match = _MEDIA.fullmatch(lines[0])
    if match is None or int(match[2]) > 65535:
        raise SdpError(f"This is no m= line: {lines[0][:80]!r}.")
    attributes = syntax.attributes_of(lines, match[1])
    # The last a=mid counts, as in browsers.
    mid = attributes.get("mid", ("",))[-1]
    if mid and not _MID.fullmatch(mid):
        raise SdpError("The a=mid of a media section is not one short token.")
    return ParsedSection(
        kind=match[1],
        port=int(match[2]),
        protocol=match[3],
        formats=tuple(match[4].split()),
        mid=mid,
        live=match[2].strip("0") != "" or "bundle-only" in attributes,
        direction=syntax.stated_direction(lines) or default,
        attributes=attributes,
    )


def _payload_type(value: str) -> int | None:
    return number(value.partition(" ")[0], 127)


def _bundles(attributes: Attributes, known: set[str] | None) -> tuple[tuple[str, ...], ...]:
    """Return the mids of the BUNDLE groups (RFC 9143 section 5), each once."""
    groups = [
        tuple(dict.fromkeys(words[1:]))
        for words in map(str.split, attributes.get("group", ()))
        if words and words[0] == "BUNDLE"
    ]
    named = [mid for group in groups for mid in group]
    if len(set(named)) < len(named) or (known is not None and not known.issuperset(named)):
        raise SdpError("A BUNDLE group names a media section that does not exist, or that is also in another group.")
    return tuple(group for group in groups if group)


def transports(description: Description) -> list[tuple[ParsedSection, ...]]:
    """Return the live sections of each transport: a BUNDLE group in its order, or one section outside any group.

    The transports are in the order of their first sections.
    """
    groups = {mid: group for group in description.bundles for mid in group}
    live = {media.mid: media for media in description.live() if media.mid}
    found: dict[tuple[str, ...] | int, tuple[ParsedSection, ...]] = {}
    for index, media in enumerate(description.media):
        if group := groups.get(media.mid):
            if group not in found:
                found[group] = tuple(live[mid] for mid in group if mid in live)
        elif media.live:
            found[index] = (media,)
    return [sections for sections in found.values() if sections]


def read_answered_transport(description: Description) -> Remote:
    """Return the one transport of an answer.

    :raises NegotiationError: when there are several transports, or something that a connection needs is missing.
    """
    found = transports(description)
    if len(found) > 1:
        raise NegotiationError("All media sections must be in one BUNDLE group: the focus has one transport for all.")
    return read_transport(description, found[0] if found else ())


def read_transport(description: Description, sections: Sequence[ParsedSection]) -> Remote:
    """Return the transport that these sections share (rtcp-mux). The first section is the BUNDLE-tagged one.

    :raises NegotiationError: when something that a connection needs is missing.
    """
    for media in sections:
        if media.is_rtp and not media.flag("rtcp-mux"):
            raise NegotiationError(f"The {media.kind} section lacks a=rtcp-mux: the focus has one transport for all.")
    # One section states the transport for the bundle (RFC 9143 section 7.1.3). Session-level attributes are defaults.
    for attributes in [*(media.attributes for media in sections), description.attributes]:
        stated = {**description.attributes, **attributes}
        if "ice-ufrag" in attributes or ("ice-pwd" in attributes and "ice-ufrag" in stated):
            return _remote(stated)
    raise NegotiationError("There are no ICE credentials (a=ice-ufrag, a=ice-pwd).")


def _remote(attributes: Attributes) -> Remote:
    ufrag, password = attributes["ice-ufrag"][0], attributes.get("ice-pwd", ("",))[0]
    if not (syntax.UFRAG.fullmatch(ufrag) and syntax.PASSWORD.fullmatch(password)):
        raise NegotiationError("The ICE credentials are malformed (RFC 8839 section 5.4).")
    if "ice-lite" in attributes:
        raise NegotiationError("Two ICE-lite sides cannot connect, and the focus is an ICE-lite side.")
    setup = attributes.get("setup", ("",))[0]
    if setup not in ("actpass", "active", "passive", ""):
        raise NegotiationError("The DTLS role (a=setup) must be actpass, active or passive.")
    fingerprints = read_fingerprints(attributes)
    if not fingerprints:
        raise NegotiationError("There is no fingerprint with SHA-256 or better (a=fingerprint).")
    return Remote(Credentials(ufrag, password), fingerprints, setup)


def read_fingerprints(attributes: Attributes) -> tuple[Fingerprint, ...]:
    """Return the fingerprints whose digests are still trusted (RFC 8122 section 5).

    :raises SdpError: when a fingerprint does not have its algorithm's length.
    """
    fingerprints = []
    for value in attributes.get("fingerprint", ()):
        algorithm, _, digest = value.strip().partition(" ")
        algorithm, digest = algorithm.lower(), digest.strip()
        if size := syntax.DIGEST_SIZES.get(algorithm):
            if not syntax.FINGERPRINT.fullmatch(digest) or len(digest) != 3 * size - 1:
                raise SdpError("A fingerprint does not have its algorithm's length.")
            fingerprints.append(Fingerprint(algorithm, digest.upper()))
    return tuple(fingerprints)
