"""Check received events against their declarations: no field is missing, undeclared, or of another type."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from events.clock import Instant
from events.messages import Absent, EphemeralEvent, Gap, StoredEvent, wire_name


@cache
def _by_type() -> dict[str, type[Any]]:
    """Return the classes of all events, by type. The import is here because benchmarks have no settings."""
    from conferences.event_types import EVENTS

    return {event.type: event for event in (*EVENTS, Gap)}


def require_declared(event: Mapping[str, Any]) -> None:
    """Assert that an event is exactly as its class declares it."""
    declared = _by_type()[event["type"]]
    hints = {wire_name(field.name): get_type_hints(declared)[field.name] for field in fields(declared)}
    common: dict[str, Any] = {"type": str}
    if issubclass(declared, StoredEvent | EphemeralEvent):
        common["confId"] = str
    if issubclass(declared, StoredEvent):
        common |= {"seq": int, "at": datetime}
    _require_members(event, common | hints, f"{event['type']}")


def _require_members(value: Mapping[str, Any], hints: Mapping[str, Any], where: str) -> None:
    """Assert that an object has the declared members, and no others."""
    optional = {name for name, hint in hints.items() if Absent in get_args(hint)}
    assert hints.keys() - optional <= value.keys() <= hints.keys(), f"{where}: {sorted(value.keys() ^ hints.keys())}"
    for name, member in value.items():
        _require(member, hints[name], f"{where}.{name}")


def _require(value: Any, hint: Any, where: str) -> None:
    """Assert that a value is of its declared type."""
    if hint in {Instant, datetime}:
        assert datetime.fromisoformat(value).tzinfo is not None, f"{where}: {value}"
    elif get_origin(hint) is Annotated:
        _require(value, get_args(hint)[0], where)
    elif get_origin(hint) in {UnionType, Union}:
        parts = set(get_args(hint)) - {Absent}
        if value is None:
            assert NoneType in parts, f"{where} is null"
        else:
            (part,) = parts - {NoneType}
            _require(value, part, where)
    elif get_origin(hint) is list:
        assert isinstance(value, list), where
        for each in value:
            _require(each, get_args(hint)[0], where)
    elif get_origin(hint) is Literal:
        assert value in get_args(hint), f"{where}: {value}"
    elif is_typeddict(hint):
        assert isinstance(value, dict), where
        hints = get_type_hints(hint, include_extras=True)
        # Members that are not required are only in answers to requests.
        _require_members(value, {name: hints[name] for name in hint.__required_keys__}, where)
    elif issubclass(hint, Enum):
        assert value in {each.value for each in hint}, f"{where}: {value}"
    else:
        assert type(value) is hint, f"{where}: {value!r}"
