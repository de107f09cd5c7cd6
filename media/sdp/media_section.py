"""One media section as both sides have negotiated it, and the track that it carries.

A section of a received description, before anything is negotiated, is a `media.sdp.description.ParsedSection`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from media.sdp.codecs import Codec, Key

Record = TypeVar("Record", "SectionState", "Section", Codec)


@dataclass(frozen=True)
class Outgoing:
    """A track that a leg should get. If `live` is false, the track keeps its section, but nothing is sent now."""

    track: str
    kind: str
    stream: str  # for a=msid: the ID of the participant that sends the track
    label: str  # "audio", "video", "screen" …
    ssrc: int
    rtx_ssrc: int | None
    live: bool


@dataclass(frozen=True)
class Section:
    """One m= section as both sides have negotiated it."""

    mid: str
    kind: str  # "audio", "video" or "application"; a section of another kind is always rejected
    rejected: bool
    receiving: bool  # the participant sends, we receive
    sending: bool  # we send
    codecs: tuple[Codec, ...]  # valid in both directions, the preferred one first
    extensions: Mapping[str, int]  # URI to ID; valid in both directions
    mixed: bool  # one- and two-byte header extensions may be mixed (RFC 8285 section 6)
    reduced_size: bool  # a=rtcp-rsize
    ssrcs: tuple[int, ...]  # primary SSRCs of the participant; if empty, the MID or payload type identifies packets
    rtx_ssrcs: Mapping[int, int]  # of the participant: retransmission SSRC to primary SSRC
    label: str  # of the track that the participant sends here; "" if it never sent any
    outgoing: Outgoing | None  # the track that we send here, or for which we keep the section
    sctp_port: int | None = None  # of the participant, in a section for data channels
    max_message_size: int | None = None  # for data channels: largest message to the participant, in bytes; 0: no limit
    # The restriction identifiers (rids) of the layers that the participant sends, in the order of its
    # `a=simulcast:send`: two or three, or none without simulcast. They stay during a hold.
    rids: tuple[str, ...] = ()


def revised(record: Record, **fields: Any) -> Record:
    """Return the record with these fields; the same object if they have not changed.

    A large conference has thousands of sections, and few change at a time. Every new object costs the garbage
    collector time.
    """
    same = all(getattr(record, name) == value for name, value in fields.items())
    return record if same else replace(record, **fields)


@dataclass(frozen=True)
class SectionState:
    """A negotiated section, and the data about it that the next description needs."""

    section: Section
    # As in the m= line. A rejected section repeats these fields.
    protocol: str
    format: str
    # The codecs that the participant supports here, except those that its answers have left out (`refused`).
    shown: Mapping[Key, Codec]
    # Whether the participant receives here. Its offers say so, and its answers only if we offered to send here.
    takes: bool
    # Whether we have added the section. If so, we ask for media in it only after the participant has offered to send.
    ours: bool = False
    refused: frozenset[Key] = frozenset()
    # False while this section can use no codec on which the conference agrees.
    served: bool = True
    # The layers that the participant's offer marks as paused. Our answer repeats the marks, because Chromium resumes
    # the layers that a description lists without a mark.
    paused: frozenset[str] = frozenset()

    def is_free_for(self, kind: str) -> bool:
        """Tell whether a track of this kind may be placed here."""
        section = self.section
        can_send = self.takes and self.served and not section.rejected
        return section.kind == kind and section.outgoing is None and can_send

    def carrying(self, track: Outgoing | None) -> "SectionState":
        """Return the section with this track on it, or without a track."""
        sending = track is not None and track.live and self.takes and self.served
        return revised(self, section=revised(self.section, outgoing=track, sending=sending))

    def says(self) -> tuple[object, ...]:
        """Return the section's data in our description, except whether the participant may send."""
        section = self.section
        codecs = [(codec.key, codec.payload_type, codec.fmtp) for codec in section.codecs]
        return section.mid, section.rejected, section.outgoing if section.sending else None, codecs
