"""The sizes at which a participant shows the videos that it gets. The participant sends them over a data channel."""

import json
from collections.abc import Mapping

# The label of the data channel. Its messages go to the node and are not relayed.
TILES = "sbe-tiles"
# A longer message, and one that names more sections, is ignored.
MOST_CHARACTERS, MOST_SECTIONS = 16_384, 512
WIDEST = 16_384


class Tiles:
    """What one participant has told. Only the newest message counts, and it is read when it is needed."""

    def __init__(self) -> None:
        self._unread = ""
        self._widths: Mapping[str, float] = {}

    def take(self, message: str | bytes) -> None:
        """Keep a message of the participant."""
        if isinstance(message, str) and len(message) <= MOST_CHARACTERS:
            self._unread = message

    @property
    def widths(self) -> Mapping[str, float]:
        """The width in pixels at which each section's video is shown, by the section's mid; 0 if it cannot be seen.

        A video that is not listed may have any size. A malformed message changes nothing.
        """
        if self._unread:
            self._widths, self._unread = _read(self._unread, self._widths), ""
        return self._widths


def _read(message: str, before: Mapping[str, float]) -> Mapping[str, float]:
    """Return the widths in a message, or the ones from before if the message is malformed."""
    try:
        told = json.loads(message)
    except (ValueError, RecursionError):
        return before
    widths = told.get("widths") if isinstance(told, dict) else None
    if not isinstance(widths, dict) or len(widths) > MOST_SECTIONS:
        return before
    return widths if all(_is_width(each) for each in widths.values()) else before


def _is_width(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= WIDEST
