"""Simulcast: the layers of a picture that a participant sends in one media section (RFC 8853).

Each layer is named by a restriction identifier (rid, RFC 8851). Packets carry the rid of their layer in a header
extension (RFC 8852).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from media.sdp.codecs import Codec
from media.sdp.description import ParsedSection, number
from media.sdp.extensions import MID, RID

# Browsers send at most three layers.
MOST_LAYERS = 3
# Before the rid of a paused layer.
_PAUSED = "~"
# RFC 8851 allows longer names, but a one-byte header extension has at most 16 bytes (RFC 8285 section 4.2).
_RID = re.compile(r"[A-Za-z0-9_-]{1,16}")


def read_rids(
    media: ParsedSection, codec: Codec, extensions: Mapping[str, int], before: tuple[str, ...], *, is_answer: bool
) -> tuple[str, ...]:
    """Return the rids of the layers that the participant sends in this section, in its order of preference.

    The result is empty without simulcast: if there are fewer than two usable layers, if `a=simulcast` is malformed, or
    if packets cannot state their section and layer.

    A section that does not send, and that says nothing about simulcast, keeps its layers. Firefox writes such sections
    during a hold. If our description listed no layers then, Firefox would send only one after the hold.

    :param codec: the codec in use. A layer that is restricted to other payload types is left out.
    :param extensions: the header extensions on which both sides agree.
    :param before: the layers of the section as last settled. An answer may only keep or reduce them.
    """
    if not media.mid or not {MID, RID} <= extensions.keys():
        return ()
    if not media.sends and not media.flag("simulcast"):
        return before
    usable = _usable(media, codec.payload_type)
    rids = [rid for rid in _listed(media) if rid in usable and (rid in before or not is_answer)]
    return tuple(rids[:MOST_LAYERS]) if len(rids) > 1 else ()


def read_paused(media: ParsedSection, rids: Iterable[str]) -> frozenset[str]:
    """Return those of these rids that the participant has marked as paused."""
    listed = _listed(media)
    return frozenset(rid for rid in rids if listed.get(rid))


def _listed(media: ParsedSection) -> dict[str, bool]:
    """Return the rids after "send" in `a=simulcast`: the first alternative of each layer, and whether it is paused.

    The result is empty if the attribute is malformed or repeated (RFC 8853 section 5).
    """
    values = media.attributes.get("simulcast", ())
    words = values[0].split() if len(values) == 1 else []
    lists = dict(zip(words[::2], words[1::2], strict=False))
    if 2 * len(lists) != len(words) or not lists.keys() <= {"send", "recv"}:
        return {}
    layers = [layer.split(",") for layer in lists.get("send", "").split(";")]
    if any(each in {"", _PAUSED} for layer in layers for each in layer):
        return {}
    rids: dict[str, bool] = {}
    for first, *_ in layers:
        rids.setdefault(first.removeprefix(_PAUSED), first.startswith(_PAUSED))
    return rids


def _usable(media: ParsedSection, payload_type: int) -> set[str]:
    """Return the rids that may be sent with this payload type.

    If two lines describe the same rid, both are discarded (RFC 8851).
    """
    times: Counter[str] = Counter()
    usable = set()
    for value in media.attributes.get("rid", ()):
        rid, _, rest = value.partition(" ")
        direction, _, restrictions = rest.partition(" ")
        times[rid] += 1
        if direction == "send" and _RID.fullmatch(rid) and _allows(restrictions, payload_type):
            usable.add(rid)
    return {rid for rid in usable if times[rid] == 1}


def _allows(restrictions: str, payload_type: int) -> bool:
    """Tell whether these restrictions of a layer allow a payload type."""
    parameters = (each.partition("=") for each in restrictions.split(";"))
    types = next((value for name, _, value in parameters if name.strip() == "pt"), None)
    return types is None or payload_type in {number(each.strip(), 127) for each in types.split(",")}
