"""The supported codecs, the test for equal codecs, and the codecs on which a conference agrees.

The focus forwards packets without decoding them. Two codecs of different legs are the same (`Codec.key`) if one leg can
decode packets of the other with only the payload type rewritten. So the key holds the name and, where they matter, the
profile, the packetization mode, the clock rate (of tones), or the payload type of Opus (for RED).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from media.sdp.description import NegotiationError, ParsedSection, number, parse

Key = tuple[str, ...]
# For each media section: its kind, and the codecs that it can carry.
Shown = frozenset[tuple[str, frozenset[Key]]]

FEEDBACK: Mapping[str, tuple[str, ...]] = {
    "audio": ("transport-cc",),
    "video": ("nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"),
}

_OPUS: Key = ("opus",)

# These codecs accompany another codec, and cannot be used alone.
_AUXILIARY = frozenset({"red", "telephone-event"})
_NAMES = {"opus": "opus", "red": "red", "telephone-event": "telephone-event"}
_NAMES |= {"pcmu": "PCMU", "pcma": "PCMA"}
_NAMES |= {"vp8": "VP8", "vp9": "VP9", "h264": "H264", "av1": "AV1"}

# Static payload types, which need no a=rtpmap (RFC 3551 section 6).
_STATIC = {0: "PCMU/8000", 8: "PCMA/8000"}
_STATIC_TYPES = {"PCMU": 0, "PCMA": 8}
# A section lists wideband codecs first, then narrowband codecs, then tones (telephone-event).
_LATER = {"PCMU": 1, "PCMA": 1, "telephone-event": 2}

# Payload types that we may assign, the preferred ones first. 64 to 95 look like RTCP on the same port (RFC 5761 section
# 4). Types below 35 are static.
_DYNAMIC = (*range(96, 128), *range(35, 64))

# RFC 6184 section 8.1: profile_idc, a mask for profile-iop, its value under the mask, and the profile that these stand
# for.
_H264_PROFILES = (
    (0x42, 0x4F, 0x40, "constrained baseline"),
    (0x4D, 0x8F, 0x80, "constrained baseline"),
    (0x58, 0xCF, 0xC0, "constrained baseline"),
    (0x42, 0x4F, 0x00, "baseline"),
    (0x58, 0xCF, 0x80, "baseline"),
    (0x4D, 0xAF, 0x00, "main"),
    (0x64, 0xFF, 0x00, "high"),
    (0x64, 0xFF, 0x0C, "constrained high"),
    (0xF4, 0xFF, 0x00, "high 4:4:4"),
)
_H264_LEVEL = re.compile(r"(profile-level-id=[0-9A-Fa-f]{4})([0-9A-Fa-f]{2})(?![0-9A-Fa-f])", re.IGNORECASE)
# "opus/48000/2" (RFC 8866 section 6.6).
_RTPMAP = re.compile(r"([A-Za-z0-9._-]{1,32})/([0-9]{1,6})(?:/([0-9]{1,2}))?")
_FMTP = re.compile(r"[!-~]{1,200}(?: [!-~]{1,200}){0,20}")


@dataclass(frozen=True)
class Codec:
    """One codec of a media section, as one leg numbers it.

    Packets can be forwarded between codecs with the same `key`. Payload types differ from leg to leg.
    """

    kind: str
    name: str  # as registered: "opus", "VP8"
    clock_rate: int
    channels: int
    fmtp: str
    payload_type: int
    rtx_payload_type: int | None
    feedback: tuple[str, ...]  # "nack", "nack pli", "ccm fir", "goog-remb"
    key: Key

    @property
    def is_redundant(self) -> bool:
        """Whether the codec is RED (RFC 2198)."""
        return self.name == "red"

    def primary(self, codecs: Iterable["Codec"]) -> "Codec | None":
        """Return the codec in the blocks of this one, if it is redundant and a section with these codecs has it."""
        return next((each for each in codecs if self.key == ("red", str(each.payload_type))), None)


Codecs = tuple[Codec, ...]


@dataclass(frozen=True)
class Agreed:
    """The codecs on which a conference agrees."""

    # For each kind: the codecs that every participant can receive, the preferred one first. A kind for which no
    # participant has shown a usable codec is absent, because nothing restricts it yet.
    codecs: Mapping[str, Codecs] = field(default_factory=dict)
    # The codecs of each media section of the participants, without duplicates. A section may have fewer codecs than its
    # participant.
    sections: Shown = frozenset()
    # Whether the others keep Opus when a participant without Opus joins. That participant then has no audio.
    keeps_opus: bool = False

    def joined_by(self, shown: Mapping[str, Codecs], sections: Shown = frozenset()) -> "Agreed":
        """Return the agreement after a participant with these codecs joins, or shows other codecs than before.

        The order of the codecs does not change. If no codec and no section changes, the result has the same codecs and
        sections as `self`.

        :param shown: the result of `read_capabilities` for the participant's offer.
        :param sections: the result of `section_codecs` for the participant's offer.
        :raises NegotiationError: when a kind in use would have no codec left.
        """
        agreed = dict(self.codecs)
        for kind, codecs in shown.items():
            if kind in agreed:
                agreed[kind] = _common(kind, self._required(kind), codecs) and _common(kind, agreed[kind], codecs)
            elif is_usable(codecs):
                agreed[kind] = codecs
        return Agreed(MappingProxyType(agreed), self.sections | sections)

    def joined_by_what_fits(self, shown: Mapping[str, Codecs], sections: Shown) -> "Agreed":
        """Return the same as `joined_by`, but ignore the kinds for which no common codec would be left."""
        fitting = self.compatible(shown)
        if len(fitting) < len(shown):
            sections = frozenset(section for section in sections if section[0] in fitting)
        return self.joined_by(fitting, sections)

    def in_use(self) -> "Agreed":
        """Return the codecs to list: each kind's preferred codec, and others only for sections without that codec.

        So a description lists only codecs that may be sent. PCMU and PCMA come after all other media codecs, in
        whatever order participants joined. Applying this method to its own result changes nothing.
        """
        codecs = {
            kind: _in_use(codecs, [keys for each, keys in self.sections if each == kind])
            for kind, codecs in self.codecs.items()
        }
        return Agreed(MappingProxyType(codecs), self.sections)

    def compatible(self, shown: Mapping[str, Codecs]) -> Mapping[str, Codecs]:
        """Return the kinds that the conference can accept: without agreed codecs, or with a usable codec in common."""
        return {kind: codecs for kind, codecs in shown.items() if self._allows(kind, codecs)}

    def _allows(self, kind: str, shown: Codecs) -> bool:
        keys = {codec.key for codec in shown}
        return kind not in self.codecs or is_usable(codec for codec in self._required(kind) if codec.key in keys)

    def _required(self, kind: str) -> Codecs:
        """Return the codecs of a kind of which a new participant must have at least one."""
        opus = tuple(codec for codec in self.codecs[kind] if codec.key == _OPUS)
        return opus if opus and self.keeps_opus else self.codecs[kind]


def _in_use(codecs: Codecs, sections: Iterable[Collection[Key]]) -> Codecs:
    """Return the codecs that sections list, with tones at the codecs' clock rates, and RED before Opus.

    RED is listed in each section that has it, whatever others have: the focus can remove the redundancy.
    """
    sections = list(sections)
    others = (codec for codec in codecs if not codec.is_redundant)
    codecs = tuple(sorted(others, key=lambda codec: _LATER.get(codec.name, 0)))
    media = [codec for codec in codecs if codec.name not in _AUXILIARY]
    chosen = {codec.key for keys in sections for codec in [each for each in media if each.key in keys][:1]}
    chosen |= {codec.key for codec in media[:1]}
    rates = {codec.clock_rate for codec in media if codec.key in chosen}
    chosen |= {codec.key for codec in codecs if codec.name == "telephone-event" and codec.clock_rate in rates}
    chosen |= {codec.key for codec in codecs[:1]}
    in_use = tuple(codec for codec in codecs if codec.key in chosen)
    return (*_redundant(sections), *in_use) if in_use and in_use[0].key == _OPUS else in_use


def _redundant(sections: Iterable[Collection[Key]]) -> Codecs:
    """Return the variants of RED that sections have."""
    types = sorted({key[1] for keys in sections for key in keys if key[0] == "red"})
    return tuple(Codec("audio", "red", 48000, 2, f"{each}/{each}", 0, None, (), ("red", each)) for each in types)


def _common(kind: str, agreed: Codecs, shown: Codecs) -> Codecs:
    by_key = {codec.key: codec for codec in shown}
    common = tuple(narrowed(codec, by_key[codec.key]) for codec in agreed if codec.key in by_key)
    if not is_usable(common):
        has = f"only {_listed(shown, beside=agreed)}" if is_usable(shown) else f"no {kind} codec that the focus knows"
        raise NegotiationError(f"The conference uses {_listed(agreed, beside=shown)}; this offer has {has}.")
    return common


def _listed(codecs: Codecs, beside: Codecs) -> str:
    """Return the codecs' names as text for a message, with the profile where a name is ambiguous."""
    others = {codec.name for codec in beside}
    names = [" ".join(each.key) if each.name in others else each.name for each in codecs if each.name not in _AUXILIARY]
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} and {last}" if most else last


def takes_opus(shown: Mapping[str, Codecs]) -> bool:
    """Tell whether a participant with these codecs can receive Opus."""
    return any(codec.key == _OPUS for codec in shown.get("audio", ()))


def is_usable(codecs: Iterable[Codec]) -> bool:
    """Tell whether media can be sent with these codecs. Redundancy and tones carry no media by themselves."""
    return any(codec.name not in _AUXILIARY for codec in codecs)


def usable(shown: Mapping[str, Codecs]) -> Mapping[str, Codecs]:
    """Return the kinds whose codecs can carry media."""
    return {kind: codecs for kind, codecs in shown.items() if is_usable(codecs)}


def read_capabilities(text: str) -> Mapping[str, Codecs]:
    """Return the codecs of an offer that can be forwarded, by kind.

    The result describes what the participant can receive. So sections that only send are ignored if other sections have
    the same kind. A kind whose codecs cannot be forwarded has an empty tuple. A kind without a live section is absent.

    :raises SdpError: when the text is not a session description.
    :raises NegotiationError: when the description contradicts itself.
    """
    return capabilities_of(parse(text).live())


def capabilities_of(sections: Iterable[ParsedSection]) -> Mapping[str, Codecs]:
    """Return the result of `read_capabilities` for these live sections.

    :raises NegotiationError: when a section contradicts itself.
    """
    live = [media for media in sections if media.kind in FEEDBACK]
    shown: dict[str, Codecs] = {}
    for kind in dict.fromkeys(media.kind for media in live):
        same_kind = [media for media in live if media.kind == kind]
        receiving = [media for media in same_kind if media.direction != "sendonly"] or same_kind
        by_key: dict[Key, Codec] = {}
        for media in receiving:
            for codec in read_codecs(media):
                by_key.setdefault(codec.key, codec)
        shown[kind] = tuple(by_key.values())
    return shown


def section_codecs(sections: Iterable[ParsedSection]) -> Shown:
    """Return the kind and the codecs of each of these live sections.

    :raises NegotiationError: when a section contradicts itself.
    """
    live = [media for media in sections if media.kind in FEEDBACK]
    return frozenset((media.kind, frozenset(codec.key for codec in read_codecs(media))) for media in live)


def read_codecs(media: ParsedSection) -> Codecs:
    """Return the section's codecs that the focus can forward, in the section's order, each with its RTX payload type.

    :raises NegotiationError: when the section contradicts itself.
    """
    rtpmap, fmtp, rtcp_fb = (media.attributes.get(name, ()) for name in ("rtpmap", "fmtp", "rtcp-fb"))
    return _read_codecs(media.kind, media.formats, rtpmap, fmtp, rtcp_fb)


# Cached, because a browser lists the same codecs in all its offers, and each offer is read more than once.
@lru_cache(maxsize=32)
def _read_codecs(
    kind: str, listing: tuple[str, ...], rtpmap: tuple[str, ...], fmtps: tuple[str, ...], rtcp_fb: tuple[str, ...]
) -> Codecs:
    maps, formats = _names(rtpmap), _formats(fmtps)
    if kind == "audio":
        maps = _STATIC | maps
    numbers = (number(text, 127) for text in listing)
    listed = [each for each in dict.fromkeys(numbers) if each is not None and each in maps]
    retransmissions = _retransmissions(listed, maps, formats)
    feedback = _feedback(rtcp_fb)
    opus = {each for each in listed if maps[each].lower() == "opus/48000/2"}
    codecs: dict[Key, Codec] = {}
    for payload_type in listed:
        match = _RTPMAP.fullmatch(maps[payload_type])
        fmtp = formats.get(payload_type, "")
        if match is None or 64 <= payload_type < 96 or (fmtp and not _FMTP.fullmatch(fmtp)):
            continue
        name, clock_rate, channels = match[1].lower(), int(match[2]), int(match[3] or 1)
        key = _key(kind, name, clock_rate, channels, fmtp)
        if key is None or key in codecs or (name == "red" and number(key[1], 127) not in opus):
            continue
        codecs[key] = Codec(
            kind=kind,
            name=_NAMES[name],
            clock_rate=clock_rate,
            channels=channels,
            fmtp=_ours(fmtp),
            payload_type=payload_type,
            rtx_payload_type=retransmissions.get(payload_type),
            feedback=tuple(
                each for each in FEEDBACK[kind] if each in feedback.get(payload_type, ()) or each in feedback[-1]
            ),
            key=key,
        )
    return tuple(codecs.values())


def _names(values: Iterable[str]) -> dict[int, str]:
    """Return the codec of each payload type (a=rtpmap)."""
    said: dict[int, str] = {}
    for payload_type, rest in _by_payload_type(values):
        name = rest.split()[0]
        if said.setdefault(payload_type, name).lower() != name.lower():
            raise NegotiationError(f"Payload type {payload_type} has two different a=rtpmap in one media section.")
    return said


def _formats(values: Iterable[str]) -> dict[int, str]:
    """Return the parameters of each payload type, from all its a=fmtp. If a name is repeated, its last value counts."""
    parts: dict[int, list[str]] = {}
    for payload_type, rest in _by_payload_type(values):
        parts.setdefault(payload_type, []).append(rest)
    return {payload_type: each[0] if len(each) == 1 else _merged(each) for payload_type, each in parts.items()}


def _merged(values: Iterable[str]) -> str:
    parameters = (each.strip() for value in values for each in value.split(";"))
    return ";".join({each.partition("=")[0].strip().lower(): each for each in parameters if each}.values())


def _by_payload_type(values: Iterable[str]) -> Iterator[tuple[int, str]]:
    for value in values:
        head, _, rest = value.partition(" ")
        payload_type, rest = number(head, 127), rest.strip()
        if payload_type is not None and rest:
            yield payload_type, rest


def _retransmissions(listed: Sequence[int], maps: dict[int, str], formats: dict[int, str]) -> dict[int, int]:
    """Return the RTX payload type of each payload type that has one (RFC 4588 section 8.1)."""
    found: dict[int, int] = {}
    for payload_type in listed:
        if maps[payload_type].lower() == "rtx/90000" and not 64 <= payload_type < 96:
            apt = number(_parameters(formats.get(payload_type, "")).get("apt", ""), 127)
            if apt is not None and apt in listed and apt != payload_type:
                found.setdefault(apt, payload_type)
    return found


def _feedback(values: Iterable[str]) -> dict[int, set[str]]:
    """Return the feedback of each payload type. The key -1 stands for all (`a=rtcp-fb:*`, RFC 4585 section 4.2)."""
    feedback: dict[int, set[str]] = {-1: set()}
    for value in values:
        head, _, rest = value.partition(" ")
        payload_type = -1 if head == "*" else number(head, 127)
        if payload_type is not None:
            feedback.setdefault(payload_type, set()).add(rest.strip())
    return feedback


def _parameters(fmtp: str) -> dict[str, str]:
    """Return the parameters of an a=fmtp, with their names in lower case."""
    pairs = (each.partition("=") for each in fmtp.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _key(kind: str, name: str, clock_rate: int, channels: int, fmtp: str) -> Key | None:
    """Return the codec's key; None if the focus does not forward it.

    These codecs are left out on purpose:

    - FEC and RED for video, because they protect packets that the focus drops or repeats one by one;
    - comfort noise;
    - telephone codecs that WebRTC endpoints need not have (RFC 7874 section 3).
    """
    match kind, name, clock_rate, channels:
        case "audio", "opus", 48000, 2:
            return ("opus",)
        case "audio", "pcmu" | "pcma", 8000, 1:
            return (_NAMES[name],)
        case "audio", "red", 48000, 2:
            # The blocks inside a RED packet name Opus by its payload type. The focus does not rewrite blocks, so that
            # payload type must be the same on both legs.
            types = set(fmtp.split("/"))
            return ("red", types.pop()) if len(types) == 1 and number(fmtp.partition("/")[0], 127) is not None else None
        case "audio", "telephone-event", 8000 | 16000 | 32000 | 48000, 1:
            return ("telephone-event", str(clock_rate))
        case "video", "vp8", 90000, 1:
            return ("VP8",)
        case "video", "vp9", 90000, 1:
            return _profile("VP9", _parameters(fmtp).get("profile-id", "0"), 3)
        case "video", "av1", 90000, 1:
            return _profile("AV1", _parameters(fmtp).get("profile", "0"), 2)
        case "video", "h264", 90000, 1:
            return _h264_key(_parameters(fmtp))
    return None


def _profile(name: str, text: str, highest: int) -> Key | None:
    profile = number(text, highest)
    return None if profile is None else (name, str(profile))


def _h264_key(parameters: dict[str, str]) -> Key | None:
    """Return the profile and packetization mode. The level is not part of the key (RFC 6184 section 8.2.2)."""
    level_id = parameters.get("profile-level-id", "42000a")
    mode = parameters.get("packetization-mode", "0")
    if not re.fullmatch(r"[0-9A-Fa-f]{6}", level_id) or mode not in ("0", "1"):
        return None
    idc, iop = int(level_id[:2], 16), int(level_id[2:4], 16)
    for profile_idc, mask, value, name in _H264_PROFILES:
        if idc == profile_idc and iop & mask == value:
            return ("H264", name, mode)
    return None


def _ours(fmtp: str) -> str:
    """Return the parameters except sprop-…, which describe the writer's own stream and must not be repeated."""
    if "sprop-" not in fmtp:
        return fmtp
    return ";".join(each.strip() for each in fmtp.split(";") if not each.strip().lower().startswith("sprop-"))


def narrowed(codec: Codec, other: Codec) -> Codec:
    """Return `codec`; for H.264, with the lower level of the two codecs, which both receivers can decode."""
    ours, theirs = _H264_LEVEL.search(codec.fmtp), _H264_LEVEL.search(other.fmtp)
    if codec.name != "H264" or not (ours and theirs) or int(theirs[2], 16) >= int(ours[2], 16):
        return codec
    return replace(codec, fmtp=_H264_LEVEL.sub(rf"\g<1>{theirs[2]}", codec.fmtp, count=1))


def newly_numbered(agreed: Iterable[Codec], taken: Iterable[int]) -> Codecs:
    """Return codecs that a leg has not shown, with payload types that are free on it (RFC 3551 section 3).

    Nothing that another leg has written is copied. PCMU and PCMA get their static payload types.

    :param taken: the payload types that have or had a meaning in the bundle.
    """
    taken = frozenset(taken)
    free = dict.fromkeys(each for each in _DYNAMIC if each not in taken)
    numbered: list[Codec] = []
    for codec in agreed:
        # Each codec needs one payload type for itself and one for its retransmissions.
        if len(free) < 2:
            break
        static = _STATIC_TYPES.get(codec.name)
        payload_type = _take(free, codec.payload_type) if static is None or static in taken else static
        rtx = None if codec.rtx_payload_type is None else _take(free, codec.rtx_payload_type)
        numbered.append(
            replace(
                codec,
                payload_type=payload_type,
                rtx_payload_type=rtx,
                fmtp=_usual_fmtp(codec),
                feedback=FEEDBACK[codec.kind],
            )
        )
    return tuple(numbered)


def coherent(codecs: Iterable[Codec]) -> Codecs:
    """Return the codecs, without RED if its blocks name another payload type than Opus has here."""
    codecs = tuple(codecs)
    return tuple(codec for codec in codecs if not codec.is_redundant or codec.primary(codecs) is not None)


def _take(free: dict[int, None], wish: int) -> int:
    chosen = wish if wish in free else next(iter(free))
    del free[chosen]
    return chosen


def _usual_fmtp(codec: Codec) -> str:
    """Return the usual parameters of a codec with this key."""
    match codec.key:
        case ("opus",):
            return "minptime=10;useinbandfec=1"
        case ("red", opus):
            return f"{opus}/{opus}"
        case ("telephone-event", _):
            return "0-15"
        case ("VP9", profile):
            return f"profile-id={profile}"
        case ("AV1", profile):
            return f"level-idx=5;profile={profile};tier=0"
        case ("H264", _, mode):
            level = _H264_LEVEL.search(codec.fmtp)
            return f"level-asymmetry-allowed=1;packetization-mode={mode};" + (
                level[0].lower() if level else "profile-level-id=42000a"
            )
    return ""
