"""What a user is known by: a username, a VTN or an ICMN (the sheet). Two rows that share one are of the same user."""

from collections.abc import Iterable
from typing import Protocol

from django.db.models import Q

IDENTITY = ("username", "vtn", "icmn")


class Identified(Protocol):
    """A row that names a user; a field that is not known is empty."""

    username: str
    vtn: str
    icmn: str


def identity_of(row: Identified) -> dict[str, str]:
    """Return the identifying fields of a row that are known, and their values."""
    return {name: value for name in IDENTITY if (value := getattr(row, name))}


def shares_identity(rows: Iterable[Identified]) -> Q:
    """Return the condition that a row names the user of one of these rows."""
    known: dict[str, list[str]] = {}
    for row in rows:
        for name, value in identity_of(row).items():
            known.setdefault(f"{name}__in", []).append(value)
    return Q(*known.items(), _connector=Q.OR) if known else Q(pk__in=[])
