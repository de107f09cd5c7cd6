"""What media may be sent: codecs, how two of them are the same, and what a conference agrees on."""

from collections.abc import Mapping
from dataclasses import dataclass, field


class NegotiationError(ValueError):
    """A description that a leg cannot agree to; the message says why, for people. Nothing has changed."""


@dataclass(frozen=True)
class Codec:
    """One codec of a media line, as one leg numbers it.

    `key` is equal for what can be forwarded from one leg to another as it is; payload types differ from leg to leg.
    """

    kind: str
    name: str  # as registered: "opus", "VP8"
    clock_rate: int
    channels: int
    fmtp: str
    payload_type: int
    rtx_payload_type: int | None
    feedback: tuple[str, ...]  # "nack", "nack pli", "ccm fir", "goog-remb"
    key: tuple[str, ...]


@dataclass(frozen=True)
class Agreed:
    """What a conference agrees on: by kind, the codecs that every member can receive, the preferred first.

    A kind that no member has shown is absent: nothing restricts it yet.
    """

    codecs: Mapping[str, tuple[Codec, ...]] = field(default_factory=dict)

    def joined_by(self, shown: Mapping[str, tuple[Codec, ...]]) -> "Agreed":
        """This function will return what is left when a member with these codecs joins (or shows others than before).

        :param shown: what `read_capabilities` says of its offer.
        :raises NegotiationError: when a kind in use would have no codec left.
        """
        raise NotImplementedError


def read_capabilities(text: str) -> Mapping[str, tuple[Codec, ...]]:
    """This function will return by kind the codecs that an offer shows and that can be forwarded.

    :raises SdpError: when the text is no session description.
    :raises NegotiationError: when it contradicts itself.
    """
    raise NotImplementedError
