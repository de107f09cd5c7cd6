"""The base classes of events: a type, and declared fields that become JSON members.

An event is a frozen dataclass, so an undeclared field cannot be sent. Each field has an `Annotated` type whose second
argument describes the field. `make reference` generates the documentation and the client's types from these.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, Final

from events.clock import instant


class _Absent(Enum):
    ABSENT = "absent"


Absent = _Absent
# The default of an optional field: a field with this value is not sent.
ABSENT: Final = _Absent.ABSENT


@dataclass(frozen=True, kw_only=True)
class Body:
    """The fields of an event, except those that the log adds: `seq`, `confId` and `at`."""

    type: ClassVar[str]

    def as_wire(self) -> dict[str, Any]:
        """Return the fields by their names on the wire, in the order of their declaration."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {wire_name(name): _wire_value(value) for name, value in values if value is not ABSENT}


@dataclass(frozen=True, kw_only=True)
class StoredEvent(Body):
    """An event that is stored in a session's log."""


@dataclass(frozen=True, kw_only=True)
class EphemeralEvent(Body):
    """An event that is not stored and has no number. Only WebSockets that are open now receive it."""


@dataclass(frozen=True, kw_only=True)
class Gap(Body):
    """The log no longer has events between the cursor and `oldest`. Read the conferences again, then continue."""

    type = "gap"
    oldest: Annotated[int, "The `seq` of the next event."]


def wire_name(name: str) -> str:
    """Return the name of a field on the wire: `rings_until` becomes `ringsUntil`, `from_` becomes `from`."""
    first, *others = name.rstrip("_").split("_")
    return first + "".join(other.capitalize() for other in others)


def compact(fields_: Mapping[str, Any]) -> str:
    """Serialize to JSON as the event channel sends it: without spaces, and not limited to ASCII."""
    return json.dumps(fields_, ensure_ascii=False, separators=(",", ":"))


def _wire_value(value: object) -> object:
    return instant(value) if isinstance(value, datetime) else value
