"""`manage.py reference`: generate the reference of events in docs/protocol.md, and the client's event-types.js.

Both are generated from the classes in `conferences/event_types.py`.
"""

import inspect
import json
import types
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db.models import TextChoices

from conferences.event_types import EVENTS
from conferences.shapes import (
    AnswerShape,
    ConferenceShape,
    KnockShape,
    MediaShape,
    OfferShape,
    OriginShape,
    ParticipantShape,
    VideoShape,
)
from events.messages import Absent, Body, EphemeralEvent, Gap, wire_name

PROTOCOL = Path(settings.BASE_DIR) / "docs" / "protocol.md"
CLIENT = Path(settings.BASE_DIR) / "templates" / "static" / "sbe" / "event-types.js"
BEGIN, END = "<!-- `make reference` writes what follows -->\n", "<!-- until here -->\n"
_WIDTH = 120

# Each shape's name in docs/protocol.md, its name in types.js, and an example.
_SHAPES: dict[Any, tuple[str, str, Any]] = {
    ParticipantShape: ("participant", "Participant", {"id": "…", "username": "bob", "state": "accepted", "…": "…"}),
    ConferenceShape: ("conference", "Conference", {"id": "…", "state": "session-open", "…": "…"}),
    OriginShape: ("origin", "Origin", {"participant": "…", "username": "alice"}),
    KnockShape: ("knock", "Knock", {"id": "…", "username": "dave", "device": "laptop"}),
    MediaShape: ("media", "SentMedia", {"audio": True, "video": False, "screen": False}),
    VideoShape: ("video", "Video", {"participant": "…", "label": "video"}),
    OfferShape: ("offer", "Description", {"type": "offer", "sdp": "v=0…"}),
    AnswerShape: ("answer", "Description", {"type": "answer", "sdp": "v=0…"}),
}
_SIMPLE: dict[Any, tuple[str, str, Any]] = {
    str: ("string", "string", "…"),
    bool: ("boolean", "boolean", False),
    int: ("number", "number", 17),
    datetime: ("instant", "string", "2026-01-01T00:00:30.000Z"),
}


class Field:
    """One field of an event: its name and meaning, its type for people and in JSDoc, and an example."""

    def __init__(self, name: str, annotation: Any) -> None:
        annotated, self.meaning = get_args(annotation)
        parts = get_args(annotated) if get_origin(annotated) in {types.UnionType} else (annotated,)
        self.name = wire_name(name)
        self.is_optional = Absent in parts
        self.is_nullable = type(None) in parts
        (self._type,) = (part for part in parts if part not in {Absent, type(None)})

    @property
    def for_people(self) -> str:
        """The type's name in docs/protocol.md."""
        named = _named(self._type)[0]
        return f"{named} or null" if self.is_nullable else named

    @property
    def for_client(self) -> str:
        """The type in JSDoc syntax."""
        named = _named(self._type)[1]
        return f"{named} | null" if self.is_nullable else named

    @property
    def example(self) -> Any:
        """A sample value."""
        return _named(self._type)[2]


def _named(type_: Any) -> tuple[str, str, Any]:
    """Return a type's name in docs/protocol.md, its name in JSDoc, and a sample value."""
    if isinstance(type_, type) and issubclass(type_, StrEnum | TextChoices):
        values = [str(value.value) for value in type_]
        return ", ".join(f"`{value}`" for value in values), " | ".join(f'"{value}"' for value in values), values[0]
    if get_origin(type_) is list:
        for_people, for_client, example = _named(get_args(type_)[0])
        return f"list of {for_people}", f"{for_client}[]", [example]
    return {**_SHAPES, **_SIMPLE}[type_]


def fields_of(event: type[Body]) -> list[Field]:
    """Return the fields of an event in the order of their declaration."""
    hints = get_type_hints(event, include_extras=True)
    return [Field(field.name, hints[field.name]) for field in fields(event)]


# --- For people -------------------------------------------------------------------------------------------


def render_reference() -> str:
    """Return the reference in docs/protocol.md: for each event a heading, its docstring, a table and an example."""
    return BEGIN + "\n" + "\n".join(_section(event) for event in EVENTS) + "\n" + END


def _section(event: type[Body]) -> str:
    """Return the section of one event."""
    rows = [f"| `{field.name}` | {field.for_people} | {field.meaning} |" for field in fields_of(event)]
    table = "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])
    text = inspect.cleandoc(event.__doc__ or "")
    example = json.dumps(_example(event), ensure_ascii=False)
    return f"#### `{event.type}`\n\n{text}\n\n{table}\n\n```json\n{_wrapped(example)}\n```\n"


def _example(event: type[Body]) -> dict[str, Any]:
    """Return a sample event with all fields that are not optional."""
    own = {field.name: field.example for field in fields_of(event) if not field.is_optional}
    if issubclass(event, EphemeralEvent):
        return {"type": event.type, "confId": "…", **own}
    return {"seq": 17, "type": event.type, "confId": "…", **own, "at": "2026-01-01T00:00:00.000Z"}


def _wrapped(text: str) -> str:
    """Break JSON after commas into lines of at most _WIDTH characters."""
    lines, rest = [], text
    while len(rest) > _WIDTH:
        at = rest.rindex(", ", 0, _WIDTH) + 1
        lines.append(rest[:at])
        rest = " " + rest[at + 1 :]
    return "\n".join([*lines, rest])


def with_reference(document: str) -> str:
    """Return docs/protocol.md with its reference of events replaced."""
    before, _, rest = document.partition(BEGIN)
    return before + render_reference() + rest.partition(END)[2]


# --- For the client ---------------------------------------------------------------------------------------


def render_types() -> str:
    """Return the text of event-types.js: one type for each event, and their union."""
    names = [event.__name__ for event in (*EVENTS, Gap)]
    union = " | ".join(names)
    shapes = sorted({shape for _, shape, _ in _SHAPES.values()})
    lines = [
        "The events of the channel. `make reference` writes this file from `conferences/event_types.py`.",
        "A newer server may add fields: ignore fields that are not listed here.",
        "",
        *(f'@typedef {{import("./types.js").{shape}}} {shape}' for shape in shapes),
        *(line for event in (*EVENTS, Gap) for line in ("", *_typedef(event))),
        "",
        f"@typedef {{{union}}} SessionEvent",
    ]
    body = "\n".join(f" * {line}".rstrip() for line in lines)
    return f"/**\n{body}\n */\n\nexport {{}};\n"


def _typedef(event: type[Body]) -> Iterator[str]:
    """Yield the JSDoc lines of one event's type."""
    summary = inspect.cleandoc(event.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    yield f"@typedef {{object}} {event.__name__} {summary}"
    yield f'@property {{"{event.type}"}} type'
    if event is not Gap:
        yield "@property {string} confId"
    if not issubclass(event, EphemeralEvent | Gap):
        yield from ("@property {number} seq", "@property {string} at")
    for field in fields_of(event):
        name = f"[{field.name}]" if field.is_optional else field.name
        type_ = field.for_client
        yield f"@property {{{type_}}} {name} {field.meaning}"


class Command(BaseCommand):
    """Writes docs/protocol.md and event-types.js."""

    help = "Write the reference of events in docs/protocol.md, and the types of the JavaScript client."

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the files and print their paths."""
        PROTOCOL.write_text(with_reference(PROTOCOL.read_text()))
        CLIENT.write_text(render_types())
        self.stdout.write(f"{PROTOCOL}\n{CLIENT}")
