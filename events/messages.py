"""What every event has in common: a type, and declared fields with the names that clients see.

An event is a frozen dataclass, so an undeclared field cannot be sent. Each field is an `Annotated` type whose second
part says what the field means; the documentation and the client's types are made from it.
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
# The default of a field that some events of a type do not have.
ABSENT: Final = _Absent.ABSENT


@dataclass(frozen=True, kw_only=True)
class Body:
    """The fields of an event, without what the log adds: `seq`, `confId` and `at`."""

    type: ClassVar[str]

    def as_wire(self) -> dict[str, Any]:
        """Return the fields by the names that clients see, in the order of their declaration."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {wire_name(name): _wire_value(value) for name, value in values if value is not ABSENT}


@dataclass(frozen=True, kw_only=True)
class StoredEvent(Body):
    """An event that is written to a session's log."""


@dataclass(frozen=True, kw_only=True)
class EphemeralEvent(Body):
    """An event without a number, which only WebSockets that are open now receive."""


@dataclass(frozen=True, kw_only=True)
class Gap(Body):
    """The log has no events between the client's cursor and `oldest`. Read the conferences again, then go on."""

    type = "gap"
    oldest: Annotated[int, "The `seq` of the next event."]


def wire_name(name: str) -> str:
    """Return the name of a field as clients see it: `rings_until` is `ringsUntil`, `from_` is `from`."""
    first, *others = name.rstrip("_").split("_")
    return first + "".join(other.capitalize() for other in others)


def compact(fields_: Mapping[str, Any]) -> str:
    """Return JSON as the event channel sends it."""
    return json.dumps(fields_, ensure_ascii=False, separators=(",", ":"))


def _wire_value(value: object) -> object:
    return instant(value) if isinstance(value, datetime) else value
