"""A leg's media sections as last settled, and the tracks that they carry.

Forwarding uses only the layout, not the negotiation. Another thread changes the negotiation, and makes the next layout
from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from media.sdp.extensions import TRANSPORT_CC
from media.sdp.media_section import Section

Key = TypeVar("Key")


@dataclass(frozen=True)
class Layout:
    """The settled sections of one leg."""

    # In the order of the description.
    sections: tuple[Section, ...] = ()
    # The sections that the participant sends on, by the track's label.
    published: Mapping[str, Section] = field(default_factory=dict)
    # The sections that the focus sends on, by the track's participant and label.
    carried: Mapping[tuple[str, str], Section] = field(default_factory=dict)

    @cached_property
    def number_id(self) -> int:
        """The ID of the header extension with transport-wide numbers, in packets of the participant; 0 without it."""
        ids = (section.extensions.get(TRANSPORT_CC, 0) for section in self.sections if section.receiving)
        return next(filter(None, ids), 0)

    def followed_by(self, sections: Iterable[Section]) -> "Layout":
        """Return the next layout. It reuses the object of each section that did not change, so that `changed` works."""
        now = tuple(sections)
        before = (*self.sections, *[None] * (len(now) - len(self.sections)))
        kept = tuple(old if old == new else new for old, new in zip(before, now, strict=False))
        published: dict[str, Section] = {}
        for section in kept:
            if section.receiving:
                published.setdefault(section.label, section)
        carried = {(each.outgoing.stream, each.outgoing.label): each for each in kept if each.sending and each.outgoing}
        return Layout(kept, published, carried)


def changed(before: Mapping[Key, Section], now: Mapping[Key, Section]) -> list[Key]:
    """Return the keys whose section is new, gone or replaced."""
    return [key for key in {**before, **now} if before.get(key) is not now.get(key)]
