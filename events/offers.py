"""Long offers in events: each device of a called user is told the offer, but its text is stored only once.

It is stored with its modification. In the log such an event has a reference in the place of the text, and a reader
of the log puts the text in. The application that stores offers registers how to find one with `find_offers_by`.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

# Shorter offers are written into each event: that spares readers a query.
LONG_CHARACTERS = 16 * 1024
# The quotes of a client's own text are escaped, so nothing that it sends looks like this.
_REFERENCE = re.compile(r'"sdp":\{"offer":"([0-9a-f]{32})"\}')


# The function that `find_offers_by` registered.
_FIND: list[Callable[[str], str | None]] = []


class StoredOffer(str):
    """The text of an offer that is stored with a modification."""

    modification_id: str

    def __new__(cls, text: str, modification_id: str) -> Self:
        """Remember where the text is stored."""
        offer = super().__new__(cls, text)
        offer.modification_id = modification_id
        return offer


def shorten(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of an event with a reference in the place of a long offer that is stored elsewhere."""
    description = fields.get("description")
    if not isinstance(description, dict):
        return fields
    text = description.get("sdp")
    if not isinstance(text, StoredOffer) or len(text) <= LONG_CHARACTERS:
        return fields
    return {**fields, "description": {**description, "sdp": {"offer": text.modification_id}}}


def find_offers_by(find: Callable[[str], str | None]) -> None:
    """Register the function that returns the text of a modification's offer, None when it is gone."""
    _FIND[:] = [find]


def complete(wire: str) -> str:
    """Return an event of the log as it is sent, with the text of its offer."""
    match = _REFERENCE.search(wire)
    if match is None:
        return wire
    text = _FIND[0](match[1]) or ""
    return f'{wire[: match.start()]}"sdp":{json.dumps(text, ensure_ascii=False)}{wire[match.end() :]}'


def is_complete(wire: str) -> bool:
    """Tell whether an event of the log can be sent as it is."""
    return _REFERENCE.search(wire) is None
