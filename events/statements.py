"""SQL statements that are compiled once and executed many times.

Django compiles a queryset each time it is evaluated. For a small query, compiling takes several times as long as the
database needs to answer. Here the ORM still compiles every SELECT, but only once per connection.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import NoneType
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, Field, JSONField, Model, QuerySet

M = TypeVar("M", bound=Model)

# The most rows of one INSERT. It keeps the number of values far below every database's limit.
_INSERT_BATCH = 500
# Values of these types need no conversion, except in a JSONField.
_PLAIN = (str, int, bool, NoneType)
_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)


class Prepared(Generic[M]):
    """A query whose SQL never changes. Each execution has its own values.

    `build` takes each parameter by name and returns the queryset. It may only pass the values to the queryset: the SQL
    must not depend on them, because `build` is called with sample values.
    """

    def __init__(self, build: Callable[..., QuerySet[M, Any]], **parameters: type[str] | type[datetime]) -> None:
        """Declare the parameters of `build` with their types. Nothing is compiled yet."""
        self._build = build
        self._samples = {name: _sample(at, name, kind) for at, (name, kind) in enumerate(parameters.items())}
        self._of_thread = threading.local()

    def rows(self, **values: object) -> list[list[Any]]:
        """Return the rows as lists of Python values."""
        return list(self._compiled.execute(values))

    def objects(self, **values: object) -> list[M]:
        """Return the rows as model instances, including the related ones of `select_related`."""
        compiled = self._compiled
        return [compiled.instance(row) for row in compiled.execute(values)]

    @property
    def _compiled(self) -> "_Compiled":
        """The statement compiled for this thread's connection. It is compiled again for each new connection."""
        known: _Compiled | None = getattr(self._of_thread, "compiled", None)
        if known is None or known.compiler.connection is not _connection():
            known = self._of_thread.compiled = _compile(self._build(**self._samples), self._samples)
        return known


def _connection() -> BaseDatabaseWrapper:
    """Return this thread's connection object. Django's proxy would look up the object at each attribute access."""
    return connections[DEFAULT_DB_ALIAS]


def _sample(at: int, name: str, kind: type[str] | type[datetime]) -> object:
    """Return a distinctive value for a parameter, by which `_compile` finds the parameter's place in the statement."""
    return _EPOCH + timedelta(days=at) if kind is datetime else f"<{name}>"


@dataclass
class _Compiled:
    """A statement, and how to convert its rows to Python values and model instances.

    `values` are the statement's values, with samples in place of the parameters. `places` maps the index of each
    parameter to its name.
    """

    compiler: Any
    text: str
    values: list[Any]
    places: Mapping[int, str]

    def __post_init__(self) -> None:
        """Precompute what the ORM would compute at each execution."""
        select, info = self.compiler.select, self.compiler.klass_info
        self._converters = self.compiler.get_converters([column for column, _, _ in select])
        self._parts = [self._part(each) for each in (info, *info.get("related_klass_infos", ()))] if info else []

    def _part(self, info: Mapping[str, Any]) -> "_Part":
        """Return the columns of one model instance, from the ORM's `klass_info`."""
        at = info["select_fields"]
        own = slice(at[0], at[-1] + 1)
        names = [column.target.attname for column, _, _ in self.compiler.select[own]]
        return _Part(info["model"], own, names, info.get("local_setter"))

    def execute(self, values: Mapping[str, object]) -> Iterator[list[Any]]:
        """Execute the statement; return its rows with values converted to the fields' Python types."""
        given = self.values.copy()
        for place, name in self.places.items():
            given[place] = _adapted(values[name])
        with self.compiler.connection.cursor() as cursor:
            cursor.execute(self.text, given)
            found = cursor.fetchall()
        rows: Iterator[list[Any]] = self.compiler.apply_converters(found, self._converters)
        return rows

    def instance(self, row: Sequence[Any]) -> Any:
        """Return the model instance of a row, with its related instances attached."""
        instance, *related = (each.instance(row) for each in self._parts)
        for part, other in zip(self._parts[1:], related, strict=True):
            part.attach(instance, other)
        return instance


@dataclass
class _Part:
    """The columns of one model instance in a row. `attach` links the instance to the one that refers to it."""

    model: type[Model]
    columns: slice
    names: list[str]
    attach: Any

    def instance(self, row: Sequence[Any]) -> Any:
        """Return the instance; None if an outer join found no row. The first column is the primary key."""
        values = row[self.columns]
        return None if values[0] is None else self.model.from_db(DEFAULT_DB_ALIAS, self.names, values)


def _compile(rows: QuerySet[Any, Any], samples: Mapping[str, object]) -> _Compiled:
    """Compile a queryset, and find the places of the samples among its values."""
    compiler = rows.query.get_compiler(using=DEFAULT_DB_ALIAS)
    text, values = compiler.as_sql()
    names = {_adapted(sample): name for name, sample in samples.items()}
    places = {place: names[value] for place, value in enumerate(values) if value in names}
    return _Compiled(compiler, text, list(values), places)


def _adapted(value: object) -> Any:
    """Convert a datetime for the database adapter. Other values are returned unchanged."""
    return _connection().ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


def insert(rows: Sequence[Model]) -> None:
    """Insert rows of one model. Keys that the database generates are not read back."""
    for at in range(0, len(rows), _INSERT_BATCH):
        batch = rows[at : at + _INSERT_BATCH]
        text, fields = _insert_statement(type(batch[0]), len(batch))
        _execute(text, batch, fields)
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def update(rows: Sequence[Model], names: Collection[str]) -> None:
    """Update the fields `names` (each an `attname`) of rows of one model, in one statement."""
    if rows:
        text, fields = _update_statement(type(rows[0]), tuple(sorted(names)), len(rows))
        _execute(text, rows, fields)


def _execute(text: str, rows: Sequence[Model], fields: Sequence["Field[Any, Any]"]) -> None:
    """Execute a statement with the values of these fields of each row."""
    connection = _connection()
    values = [_value(row, each, connection) for row in rows for each in fields]
    with connection.cursor() as cursor:
        cursor.execute(text, values)


def _value(row: Model, column: "Field[Any, Any]", connection: BaseDatabaseWrapper) -> Any:
    """Return the value of a column converted for the database adapter.

    The common types are converted here, because the ORM needs ten function calls for each value.
    """
    value = getattr(row, column.attname)
    if type(value) in _PLAIN and not isinstance(column, JSONField):
        return value
    if type(value) is datetime:
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, StrEnum):
        return value.value
    return column.get_db_prep_save(value, connection)


@lru_cache(maxsize=256)
def _insert_statement(model: type[Model], number: int) -> tuple[str, list["Field[Any, Any]"]]:
    """Return the statement that inserts this many rows, and the fields whose values it needs."""
    fields = [each for each in model._meta.concrete_fields if not isinstance(each, AutoField)]
    row = ",".join(["%s"] * len(fields))
    table, *columns = map(_connection().ops.quote_name, [model._meta.db_table, *(str(each.column) for each in fields)])
    rows = ",".join([f"({row})"] * number)
    # The text has only names and placeholders, no values.
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {rows}", fields  # noqa: S608


@lru_cache(maxsize=256)
def _update_statement(model: type[Model], names: tuple[str, ...], number: int) -> tuple[str, list["Field[Any, Any]"]]:
    """Return the statement that updates these fields of this many rows, and the fields whose values it needs."""
    meta = model._meta
    known = {each.attname: each for each in meta.concrete_fields}
    fields: list[Field[Any, Any]] = [meta.pk, *(known[name] for name in names)]
    new = [f"{each.column} = new.column{at}" for at, each in enumerate(fields, 1)]
    row = ",".join(_placeholder(each) for each in fields)
    text = (
        f"UPDATE {meta.db_table} SET {','.join(new[1:])}"  # noqa: S608 - no value is spliced in
        f" FROM (VALUES {','.join([f'({row})'] * number)}) AS new WHERE {meta.db_table}.{new[0]}"
    )
    return text, fields


def _placeholder(column: "Field[Any, Any]") -> str:
    """Return the placeholder of a value. PostgreSQL needs a cast, because it treats a NULL in VALUES as text."""
    connection = _connection()
    return f"CAST(%s AS {column.db_type(connection)})" if connection.vendor == "postgresql" else "%s"
