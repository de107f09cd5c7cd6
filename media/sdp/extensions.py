"""The RTP header extensions that a leg may use (RFC 8285), and why others are left out.

In sections that the participant offered, the extensions have the participant's IDs. The forwarder rewrites IDs that are
different for a receiver, and blanks extensions that the receiving leg has not agreed to.

The focus does not serve these extensions, so it does not agree to them:

- video-timing and abs-capture-time: they refer to the original sender's clock, but the receiver would apply them to
  the focus's clock;
- color-space and video-content-type: they would have to be repeated after every change of source.
"""

from collections.abc import Collection, Mapping

from media.sdp.description import NegotiationError, ParsedSection, number

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
DEPENDENCY_DESCRIPTOR = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"  # AV1 RTP, appendix A
)
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
TIME_OFFSET = "urn:ietf:params:rtp-hdrext:toffset"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

_BOTH = frozenset({"audio", "video"})
_VIDEO = frozenset({"video"})

# For each extension to which the focus agrees, by URI: the kinds of section that may use it. abs-send-time, with which
# a browser estimates its bandwidth, is left out on purpose: it would mix the clocks of many senders. Without this
# extension, a browser considers each stream separately.
SERVED: Mapping[str, frozenset[str]] = {
    # The section of each incoming packet, which is needed if a=ssrc is missing. We need not send the extension.
    MID: _BOTH,
    # The audio level (RFC 6464), for the focus and the receivers. Forwarded unchanged.
    AUDIO_LEVEL: frozenset({"audio"}),
    # The rotation of the picture, which changes when a phone is turned. Forwarded unchanged.
    VIDEO_ORIENTATION: _VIDEO,
    # The buffer that the sender wants the receiver to have. Forwarded unchanged.
    PLAYOUT_DELAY: _VIDEO,
    # The dependencies between frames, for AV1 and VP9. Forwarded unchanged, because they start again at each key frame.
    DEPENDENCY_DESCRIPTOR: _VIDEO,
    # How long the sender has held the packet back (RFC 5450). A receiver without TRANSPORT_CC estimates its bandwidth
    # from the delays of each stream, and needs this time for it. Forwarded unchanged.
    TIME_OFFSET: _VIDEO,
    # The number of each packet in its transport. The focus writes numbers of its own to each receiver.
    TRANSPORT_CC: _BOTH,
    # The layer of each incoming packet, or the layer that a retransmission repairs (RFC 8852). Chromium needs them also
    # in sections without simulcast: it offers only what was agreed before, and may offer simulcast later.
    RID: _VIDEO,
    REPAIRED_RID: _VIDEO,
}

# Extensions about the layers of simulcast. The participant sends them, and we never do.
RIDS = frozenset({RID, REPAIRED_RID})
# Extensions whose values have a meaning only between a participant and the focus. They are not forwarded.
HOP_BY_HOP = frozenset({MID, TRANSPORT_CC, *RIDS})

# Codecs with layers, which the dependency descriptor describes.
_LAYERED = frozenset({"AV1", "VP9"})
_USUAL = {
    AUDIO_LEVEL: 1,
    TIME_OFFSET: 14,
    TRANSPORT_CC: 3,
    MID: 4,
    PLAYOUT_DELAY: 5,
    DEPENDENCY_DESCRIPTOR: 12,
    VIDEO_ORIENTATION: 13,
}


_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_ENCRYPTED = "urn:ietf:params:rtp-hdrext:encrypt"


def read_extensions(media: ParsedSection) -> dict[str, int]:
    """Return the IDs of all extensions that the section names, whether they are served or not.

    The key is the URI. A URI with a direction before it ("recvonly urn:x", as Firefox writes playout-delay) is a
    different key, and so is an encrypted one (RFC 6904: "urn:…:encrypt urn:x"). Such an extension is not served, but no
    other extension may have its ID.

    :raises NegotiationError: when the section gives an ID two meanings.
    """
    ids: dict[str, int] = {}
    meanings: dict[int, str] = {}
    for value in media.attributes.get("extmap", ()):
        head, _, rest = value.partition(" ")
        id_, _, direction = head.partition("/")
        words = rest.split()
        # Extension attributes follow the URI (RFC 8285 section 8).
        key = " ".join([*[direction] * bool(direction), *words[: 2 if words[0] == _ENCRYPTED else 1]])
        # In a one-byte header, ID 15 ends the extension.
        numbered = number(id_, 255)
        if numbered and numbered != 15 and key not in ids:
            if meanings.setdefault(numbered, meaning(key)) != meaning(key):
                raise NegotiationError(f"Header extension {numbered} has two meanings in one media section.")
            ids[key] = numbered
    return ids


def meaning(key: str) -> str:
    """Return the meaning of an ID, given its key in `read_extensions`: the key without its direction."""
    first, _, rest = key.partition(" ")
    return rest if first in _DIRECTIONS else key


def agreed_extensions(media: ParsedSection, mixed: bool) -> dict[str, int]:
    """Return the IDs, by URI, of the section's extensions to which the focus agrees.

    Transport-wide numbers must have an ID below 15, so that they fit into the short form. Firefox states that it only
    sends the extensions about layers, which is enough.

    :param mixed: whether IDs above 14 may be used, which need the longer form (RFC 8285 section 4.3).
    """
    return {
        uri: id_
        for uri, id_ in ((_sent(key), id_) for key, id_ in read_extensions(media).items())
        if media.kind in SERVED.get(uri, ()) and (id_ <= 14 or (mixed and uri != TRANSPORT_CC))
    }


def _sent(key: str) -> str:
    """Return the key in `read_extensions` without its direction, if it is about layers and the participant sends it."""
    direction, _, uri = key.partition(" ")
    return uri if uri in RIDS and direction in {"sendonly", "sendrecv"} else key


def offered_extensions(kind: str, known: Mapping[str, int], codecs: Collection[str]) -> dict[str, int]:
    """Return the IDs for a section of our own: the leg's IDs for extensions that it has shown, otherwise free IDs.

    Only extensions that the section can use are offered:

    - The MID is not offered, because `a=ssrc` identifies our packets.
    - Playout delay is not offered, because browsers set none for cameras.
    - Extensions about layers are not offered, because the participant decides whether it sends layers.
    - The dependency descriptor is offered for codecs with layers.
    - The time offset is offered to a leg that has shown its extensions, and has no transport-wide numbers among them.
      All other legs are offered transport-wide numbers.

    Free IDs are chosen as Chromium chooses them. Chromium remembers the IDs of our offer even after rolling it back. So
    its own next offer must be able to use these IDs with the same meanings.
    """
    free = {id_: None for id_ in range(14, 0, -1) if id_ not in set(known.values())}
    chosen: dict[str, int] = {}
    left_out = {MID, PLAYOUT_DELAY, *RIDS, TRANSPORT_CC if known and TRANSPORT_CC not in known else TIME_OFFSET}
    if _LAYERED.isdisjoint(codecs):
        left_out.add(DEPENDENCY_DESCRIPTOR)
    for uri in (uri for uri, kinds in SERVED.items() if kind in kinds and uri not in left_out):
        wish = _USUAL[uri]
        id_ = known.get(uri) or (wish if wish in free else next(iter(free), 0))
        if id_:
            free.pop(id_, None)
            chosen[uri] = id_
    return chosen
