"""Build the media sections of a leg from the participant's offers and answers, and the tracks that it should get."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from media.sdp.codecs import Agreed, Codec, Codecs, Key, coherent, is_usable, narrowed, newly_numbered, read_codecs
from media.sdp.description import Description, NegotiationError, ParsedSection, number
from media.sdp.extensions import (
    TRANSPORT_CC,
    agreed_extensions,
    meaning,
    offered_extensions,
    read_extensions,
)
from media.sdp.media_section import Outgoing, Section, SectionState, revised
from media.sdp.simulcast import read_paused, read_rids
from media.sdp.writer import MAX_MESSAGE_SIZE

RTP = "UDP/TLS/RTP/SAVPF"
# RFC 8829 section 5.1.2. As in browsers, the fingerprint and not the profile decides that DTLS protects the media.
_RTP = frozenset(
    {RTP, "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP", "TCP/TLS/RTP/SAVPF"}
    | {"RTP/SAVPF", "RTP/SAVP", "RTP/AVPF", "RTP/AVP"}
)
_SCTP = frozenset({"UDP/DTLS/SCTP", "TCP/DTLS/SCTP"})
_MAX_SOURCES = 32
_FIRST_LABELS = {"audio": ("audio",), "video": ("video", "screen")}


@dataclass(frozen=True)
class Numbers:
    """The meanings of payload types and extension IDs on a leg, which are the same in every section of the bundle."""

    known: Mapping[Key, Codec]
    taken: frozenset[int]
    extensions: Mapping[str, int]
    mixed: bool


NO_NUMBERS = Numbers({}, frozenset(), {}, mixed=True)


def read_numbers(description: Description, sections: Iterable[ParsedSection], before: Numbers) -> Numbers:
    """Return the meanings of payload types and extension IDs after a description of the participant.

    The new description overrides earlier meanings.

    :param sections: the sections of the leg's transport.
    :param before: the earlier meanings.
    :raises NegotiationError: when a number means two things in the bundle (RFC 9143 section 9.1).
    """
    known: dict[Key, Codec] = {}
    meanings: dict[int, tuple[str, ...]] = {}
    extensions: dict[str, int] = {}
    uris: dict[int, str] = {}
    rtp = [media for media in sections if is_rtp(media)]
    for media in rtp:
        for codec in read_codecs(media):
            known.setdefault(codec.key, codec)
            _mean(meanings, codec.payload_type, codec.key)
            if codec.rtx_payload_type is not None:
                _mean(meanings, codec.rtx_payload_type, ("rtx", *codec.key))
        for uri, id_ in read_extensions(media).items():
            if uris.setdefault(id_, meaning(uri)) != meaning(uri):
                raise NegotiationError(f"Header extension {id_} has two meanings in one bundle.")
            extensions.setdefault(uri, id_)
    listed = (number(text, 127) for media in rtp for text in media.formats)
    taken = {each for each in listed if each is not None}
    kept = {
        key: codec for key, codec in before.known.items() if not taken & {codec.payload_type, codec.rtx_payload_type}
    }
    return Numbers(
        known=kept | known,
        taken=before.taken | taken,
        extensions={uri: id_ for uri, id_ in before.extensions.items() if id_ not in uris} | extensions,
        mixed=all(mixes(description, media) for media in rtp),
    )


def _mean(meanings: dict[int, tuple[str, ...]], payload_type: int, meaning: tuple[str, ...]) -> None:
    if meanings.setdefault(payload_type, meaning) != meaning:
        first, second = " ".join(meanings[payload_type]), " ".join(meaning)
        raise NegotiationError(f"Payload type {payload_type} means {first} and {second} in one bundle.")


def mixes(description: Description, media: ParsedSection) -> bool:
    """Tell whether the section allows header extensions of both forms (RFC 8285 section 6)."""
    return media.flag("extmap-allow-mixed") or "extmap-allow-mixed" in description.attributes


def our_mid(number: int) -> str:
    """Return the mid of a section that we add."""
    return f"f{number}"


def is_our_mid(mid: str) -> bool:
    """Tell whether this node, or an earlier node of the leg, has added the section with this mid."""
    return re.fullmatch("f[0-9]+", mid) is not None


def is_rtp(media: ParsedSection) -> bool:
    """Tell whether this is a section for audio or video that the focus could serve."""
    return media.kind in _FIRST_LABELS and media.protocol in _RTP


def offered_sections(
    description: Description, sections: Sequence[ParsedSection], before: Sequence[SectionState], agreed: Agreed
) -> list[SectionState]:
    """Return the sections of the participant's offer as we can accept them. Tracks stay in their sections.

    :param sections: the sections of the transport that is served. All other sections are rejected.
    :raises NegotiationError: when sections are missing or have changed places, or the offer contradicts itself.
    """
    _require_order(description.media, before)
    served = {id(media) for media in sections}
    states: list[SectionState] = []
    for index, media in enumerate(description.media):
        previous = before[index] if index < len(before) and not before[index].section.rejected else None
        if id(media) not in served:
            states.append(_rejected(media))
        elif is_rtp(media):
            states.append(_rtp_section(media, previous, agreed, mixed=mixes(description, media)))
        elif any(state.section.kind == "application" and not state.section.rejected for state in states):
            # A leg has only one SCTP association (RFC 8841 section 6).
            states.append(_rejected(media))
        else:
            states.append(_data_section(media))
    _require_distinct_sources(states)
    return _labelled(states, description.media)


def _require_order(media: Sequence[ParsedSection], before: Sequence[SectionState]) -> None:
    """Require the previous sections in their order. Only a rejected section may change (RFC 8829 section 5.2.2)."""
    if len(media) < len(before):
        raise NegotiationError("An earlier media section is missing: media sections are never removed.")
    for state, now in zip(before, media, strict=False):
        mids = [state.section.mid] if now.live else ["", state.section.mid]
        if not state.section.rejected and (now.kind != state.section.kind or now.mid not in mids):
            raise NegotiationError(
                f"The media section {state.section.mid} has changed its place, its a=mid or its kind."
            )


def _rejected(media: ParsedSection) -> SectionState:
    section = Section(
        mid=media.mid,
        kind=media.kind,
        rejected=True,
        receiving=False,
        sending=False,
        codecs=(),
        extensions={},
        mixed=False,
        reduced_size=False,
        ssrcs=(),
        rtx_ssrcs={},
        label="",
        outgoing=None,
    )
    return SectionState(section, media.protocol, next(iter(media.formats), "0"), shown={}, takes=False)


def _data_section(media: ParsedSection) -> SectionState:
    """Return the section for data channels (RFC 8841), or a rejected section if `media` is for something else."""
    state = _rejected(media)
    port = number(media.attributes.get("sctp-port", ("",))[0], 65535)
    size = number(media.attributes.get("max-message-size", (str(MAX_MESSAGE_SIZE),))[0], 2**32 - 1)
    wanted = media.kind == "application" and media.protocol in _SCTP and media.formats == ("webrtc-datachannel",)
    if not (wanted and port and size is not None):
        return state
    section = replace(state.section, rejected=False, sctp_port=port, max_message_size=size)
    return replace(state, section=section)


def _rtp_section(media: ParsedSection, previous: SectionState | None, agreed: Agreed, *, mixed: bool) -> SectionState:
    """Return the section of audio or video, or a rejected section if no codec is left."""
    state = _rejected(media)
    shown = {codec.key: codec for codec in read_codecs(media)}
    codecs = _wanted(shown, agreed.codecs.get(media.kind, ()))
    if not is_usable(codecs):
        return state
    ssrcs, rtx_ssrcs = read_sources(media)
    extensions = agreed_extensions(media, mixed)
    before = previous.section.rids if previous else ()
    rids = read_rids(media, codecs[0], extensions, before, is_answer=False)
    section = replace(
        state.section,
        rejected=False,
        receiving=media.sends,
        codecs=codecs,
        extensions=extensions,
        mixed=mixed,
        reduced_size=media.flag("rtcp-rsize"),
        ssrcs=ssrcs,
        rtx_ssrcs=rtx_ssrcs,
        label=previous.section.label if previous else "",
        outgoing=previous.section.outgoing if previous else None,
        rids=rids,
    )
    ours = previous.ours if previous else is_our_mid(media.mid)
    return replace(
        state, section=section, shown=shown, takes=media.receives, ours=ours, paused=read_paused(media, rids)
    )


def _wanted(shown: Mapping[Key, Codec], agreed: Iterable[Codec]) -> Codecs:
    """Return the agreed codecs that are also in `shown`. The codec that the conference prefers is first."""
    return coherent(narrowed(shown[codec.key], codec) for codec in agreed if codec.key in shown)


def read_sources(media: ParsedSection) -> tuple[tuple[int, ...], dict[int, int]]:
    """Return the participant's primary SSRCs, and the primary SSRC of each retransmission SSRC (RFC 5576)."""
    stated: dict[int, None] = {}
    for value in media.attributes.get("ssrc", ()):
        ssrc = _ssrc(value.partition(" ")[0])
        if ssrc is not None:
            stated[ssrc] = None
    repeats, repairs = _pairs(media, "FID"), _pairs(media, "FEC-FR")
    for primary in repeats.values():
        stated[primary] = None
    primaries = tuple(ssrc for ssrc in stated if ssrc not in repeats and ssrc not in repairs)
    if len(stated) + len(repeats) > _MAX_SOURCES:
        raise NegotiationError("A media section names more sources than any browser does.")
    return primaries, {second: primary for second, primary in repeats.items() if primary in primaries}


def _pairs(media: ParsedSection, semantics: str) -> dict[int, int]:
    """Return the first SSRC of each SSRC group of two with these semantics, by the second SSRC."""
    pairs = {}
    for value in media.attributes.get("ssrc-group", ()):
        words = value.split()
        if len(words) == 3 and words[0] == semantics:
            primary, second = _ssrc(words[1]), _ssrc(words[2])
            if primary is not None and second is not None and primary != second:
                pairs[second] = primary
    return pairs


def _ssrc(text: str) -> int | None:
    return number(text, 2**32 - 1)


def _require_distinct_sources(states: Iterable[SectionState]) -> None:
    """Require that only one section names each SSRC, because the SSRC decides to which section a packet belongs."""
    sources = Counter(ssrc for state in states for ssrc in (*state.section.ssrcs, *state.section.rtx_ssrcs))
    for ssrc, times in sources.items():
        if times > 1:
            raise NegotiationError(f"The SSRC {ssrc} is named in two media sections.")


def _labelled(states: list[SectionState], media: Sequence[ParsedSection]) -> list[SectionState]:
    """Label the participant's tracks.

    The participant's own sections are labelled by their position. The sections that we have added are labelled when the
    participant first sends there. A label stays with its section for as long as the section lives, even if the
    direction changes.
    """
    used = {(state.section.kind, state.section.label) for state in states}
    labelled = []
    for state, parsed in zip(states, media, strict=True):
        section = state.section
        unlabelled = section.kind in _FIRST_LABELS and not section.rejected and not section.label
        if unlabelled and (not state.ours or parsed.sends):
            label = next(each for each in _labels(section.kind) if (section.kind, each) not in used)
            used.add((section.kind, label))
            state = replace(state, section=replace(section, label=label))
        labelled.append(state)
    return labelled


def _labels(kind: str) -> Iterable[str]:
    """Return "video", "screen", "screen2", "screen3" and so on."""
    first = _FIRST_LABELS[kind]
    yield from first
    for count in range(2, 2000):
        yield f"{first[-1]}{count}"


def is_screen(label: str) -> bool:
    """Tell whether a track with this label is a shared screen."""
    return label.startswith(_FIRST_LABELS["video"][-1])


def place(states: Iterable[SectionState], outgoing: Iterable[Outgoing]) -> tuple[list[SectionState], list[Outgoing]]:
    """Return the sections with the tracks on them, and the live tracks that have no section.

    A track stays in its section. A track that has ended frees its section. A new track takes the first free section.
    """
    wanted = {(track.kind, track.track): track for track in outgoing}
    placed = []
    for state in states:
        before = state.section.outgoing
        track = wanted.pop((state.section.kind, before.track), None) if before and not state.section.rejected else None
        placed.append(state.carrying(track))
    waiting = []
    for track in wanted.values():
        # A track that is not sent now needs no section yet.
        if track.live:
            free = next((index for index, state in enumerate(placed) if state.is_free_for(track.kind)), None)
            if free is None:
                waiting.append(track)
            else:
                placed[free] = placed[free].carrying(track)
    return placed, waiting


def numbered(states: Iterable[SectionState], agreed: Agreed, numbers: Numbers) -> Numbers:
    """Assign payload types to agreed codecs that the leg has never shown, for the sections that we have added."""
    for kind in {state.section.kind for state in states if state.ours and not state.section.rejected}:
        _, numbers = _own_codecs(agreed.codecs.get(kind, ()), numbers)
    return numbers


def restated(state: SectionState, agreed: Agreed, known: Mapping[Key, Codec]) -> SectionState:
    """Return the section as we offer it again: with the codecs now agreed, and asking for the participant's media.

    The participant decides whether it sends. So we ask for media wherever the participant has ever sent, even during
    its hold. A section of ours may get any codec that the leg knows, except those that the participant has refused
    there.
    """
    section = state.section
    if section.kind not in _FIRST_LABELS or section.rejected:
        return state
    agreed_on = [codec for codec in agreed.codecs.get(section.kind, ()) if codec.key not in state.refused]
    codecs = _wanted({**known, **state.shown} if state.ours else state.shown, agreed_on)
    served = is_usable(codecs)
    section = revised(section, receiving=served and bool(section.label), codecs=codecs if served else section.codecs)
    return revised(state, section=section, served=served, paused=frozenset())


def new_section(track: Outgoing, mid: str, agreed: Agreed, numbers: Numbers) -> tuple[SectionState | None, Numbers]:
    """Return a new section for the track (None if no codec is agreed), and the extended `numbers`."""
    codecs, numbers = _own_codecs(agreed.codecs.get(track.kind, ()), numbers)
    if not is_usable(codecs):
        return None, numbers
    extensions = offered_extensions(track.kind, numbers.extensions, {codec.name for codec in codecs})
    numbers = replace(numbers, extensions={**numbers.extensions, **extensions})
    codecs = tuple(_briefly(codec, TRANSPORT_CC in extensions) for codec in codecs)
    section = Section(
        mid=mid,
        kind=track.kind,
        rejected=False,
        receiving=False,
        sending=True,
        codecs=codecs,
        extensions=extensions,
        mixed=numbers.mixed,
        reduced_size=True,
        ssrcs=(),
        rtx_ssrcs={},
        label="",
        outgoing=track,
    )
    shown = {codec.key: codec for codec in codecs}
    return SectionState(section, RTP, str(codecs[0].payload_type), shown, takes=True, ours=True), numbers


def _briefly(codec: Codec, is_numbered: bool) -> Codec:
    """Return the codec without kinds of feedback that another kind makes unnecessary, so that offers are short.

    :param is_numbered: whether packets have transport-wide numbers.
    """
    surplus = {"goog-remb" if is_numbered else "transport-cc"}
    if "nack pli" in codec.feedback:
        surplus.add("ccm fir")
    return replace(codec, feedback=tuple(each for each in codec.feedback if each not in surplus))


def _own_codecs(agreed: Codecs, numbers: Numbers) -> tuple[Codecs, Numbers]:
    """Return the agreed codecs with the leg's payload types, and `numbers` with those that are new.

    A codec that the leg has never shown gets a free payload type. RED is left out, because the leg may do without it.
    """
    unshown = (codec for codec in agreed if codec.key not in numbers.known and not codec.is_redundant)
    unknown = newly_numbered(unshown, numbers.taken)
    types = (each for codec in unknown for each in (codec.payload_type, codec.rtx_payload_type))
    fresh = {each for each in types if each is not None}
    numbers = replace(
        numbers, known={**numbers.known, **{codec.key: codec for codec in unknown}}, taken=numbers.taken | fresh
    )
    return _wanted(numbers.known, agreed), numbers


def answered_section(state: SectionState, media: ParsedSection, description: Description) -> SectionState:
    """Return our offered section as the participant's answer settles it (RFC 3264 section 6.1).

    :raises NegotiationError: when the answer does not fit the offered section.
    """
    section = state.section
    if media.kind != section.kind or media.mid not in ([section.mid] if media.port else ["", section.mid]):
        raise NegotiationError("The answer must have the offer's media sections, in their order, with their a=mid.")
    if media.port == 0:
        # A removed section may have lost its attributes, even its a=mid (RFC 3264 section 8.2).
        return _rejected(replace(media, mid=section.mid))
    if section.rejected:
        raise NegotiationError("The answer accepts a media section that the offer rejects.")
    if not is_rtp(media):
        return _answered_data(state, media)
    if (media.sends and not section.receiving) or (media.receives and not section.sending):
        raise NegotiationError(
            f"{media.direction} cannot answer what was offered in the {media.kind} section {media.mid}."
        )
    codecs = _answered_codecs(section.codecs, media)
    ssrcs, rtx_ssrcs = read_sources(media)
    answered = agreed_extensions(media, mixed=True)
    extensions = {uri: id_ for uri, id_ in section.extensions.items() if answered.get(uri) == id_}
    rids = read_rids(media, codecs[0], extensions, section.rids, is_answer=True)
    settled = revised(
        section,
        receiving=media.sends,
        sending=media.receives,
        codecs=codecs,
        extensions=extensions,
        mixed=section.mixed and mixes(description, media),
        reduced_size=section.reduced_size and media.flag("rtcp-rsize"),
        ssrcs=ssrcs,
        rtx_ssrcs=rtx_ssrcs,
        rids=rids,
    )
    takes = media.receives if section.sending else state.takes
    refused = {codec.key for codec in section.codecs} - {codec.key for codec in codecs}
    shown = {key: codec for key, codec in state.shown.items() if key not in refused}
    return revised(state, section=settled, takes=takes, shown=shown, refused=state.refused | refused)


def _answered_data(state: SectionState, media: ParsedSection) -> SectionState:
    now = _data_section(media).section
    if now.rejected:
        raise NegotiationError("The answer changes the section for data channels.")
    return replace(
        state, section=replace(state.section, sctp_port=now.sctp_port, max_message_size=now.max_message_size)
    )


def _answered_codecs(offered: Codecs, media: ParsedSection) -> Codecs:
    """Return the offered codecs, retransmissions and feedback that the answer keeps."""
    answered = {(codec.key, codec.payload_type): codec for codec in read_codecs(media)}
    kept = []
    for codec in offered:
        now = answered.get((codec.key, codec.payload_type))
        if now is not None:
            rtx = codec.rtx_payload_type if now.rtx_payload_type == codec.rtx_payload_type else None
            feedback = tuple(each for each in codec.feedback if each in now.feedback)
            kept.append(revised(codec, rtx_payload_type=rtx, feedback=feedback))
    if not is_usable(kept):
        raise NegotiationError(f"The answer has none of the codecs offered in the {media.kind} section {media.mid}.")
    return tuple(kept)
