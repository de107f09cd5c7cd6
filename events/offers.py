"""Long offers in events: every device of a called user receives the offer, but its SDP is stored only once.

The SDP is stored with its modification. In the log, such an event contains a reference instead of the SDP. Readers of
the log replace the reference with the SDP. The application that stores offers registers a lookup with `find_offers_by`.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

# Offers up to this length are stored in each event, which saves readers a query.
LONG_CHARACTERS = 16 * 1024
# JSON escapes the quotes in text from clients, so no client can forge a reference.
_REFERENCE = re.compile(r'"sdp":\{"offer":"([0-9a-f]{32})"\}')


# The lookup that `find_offers_by` registered.
_FIND: list[Callable[[str], str | None]] = []


class StoredOffer(str):
    """The SDP of an offer that is stored with a modification."""

    modification_id: str

    def __new__(cls, text: str, modification_id: str) -> Self:
        """Make an offer from its SDP and the ID of its modification."""
        offer = super().__new__(cls, text)
        offer.modification_id = modification_id
        return offer


def shorten(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of an event, with a reference instead of the SDP if the SDP is a long `StoredOffer`."""
    description = fields.get("description")
    if not isinstance(description, dict):
        return fields
    text = description.get("sdp")
    if not isinstance(text, StoredOffer) or len(text) <= LONG_CHARACTERS:
        return fields
    return {**fields, "description": {**description, "sdp": {"offer": text.modification_id}}}


def find_offers_by(find: Callable[[str], str | None]) -> None:
    """Register the function that returns the SDP of a modification's offer, or None if the offer no longer exists."""
    _FIND[:] = [find]


def complete(wire: str) -> str:
    """Replace the reference in an event, if any, with the SDP. If the offer no longer exists, the SDP is empty."""
    match = _REFERENCE.search(wire)
    if match is None:
        return wire
    text = _FIND[0](match[1]) or ""
    return f'{wire[: match.start()]}"sdp":{json.dumps(text, ensure_ascii=False)}{wire[match.end() :]}'


def is_complete(wire: str) -> bool:
    """Return whether an event contains no reference, so that it can be sent unchanged."""
    return _REFERENCE.search(wire) is None
