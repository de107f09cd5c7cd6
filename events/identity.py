"""A user's identity: username, VTN or ICMN (design sheet).

Two rows with an equal username, VTN or ICMN belong to the same user.
"""

from collections.abc import Iterable
from typing import Protocol

from django.db.models import Q

IDENTITY = ("username", "vtn", "icmn")


class Identified(Protocol):
    """A row that identifies a user. Unknown fields are empty strings."""

    username: str
    vtn: str
    icmn: str


def identity_of(row: Identified) -> dict[str, str]:
    """Return the non-empty identity fields of a row, with their values."""
    return {name: value for name in IDENTITY if (value := getattr(row, name))}


def shares_identity(rows: Iterable[Identified], **also: object) -> Q:
    """Return a condition that matches each row that belongs to the same user as any of the given rows.

    :param also: conditions that each alternative of the OR repeats. SQLite uses a partial index only if the index's
        condition is inside each alternative.
    """
    known: dict[str, list[str]] = {}
    for row in rows:
        for name, value in identity_of(row).items():
            known.setdefault(f"{name}__in", []).append(value)
    alternatives = [Q(**{name: values}, **also) for name, values in known.items()]
    return Q(*alternatives, _connector=Q.OR) if alternatives else Q(pk__in=[])
