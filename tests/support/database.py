"""Set up a private database in this process, and fill it with statements."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.services import SECRET_KEY, new_database, postgresql

if TYPE_CHECKING:
    from django.db.models import Field, Model


@contextlib.contextmanager
def migrated(engine: str) -> Iterator[None]:
    """Set Django up with an empty database, `sqlite` or `postgresql`, until the block ends."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        os.environ |= {"SBE_SECRET_KEY": SECRET_KEY, "SBE_STATE_DIR": directory, "SBE_LOG_LEVEL": "WARNING"}
        # Raise the time limit of statements, because those that fill the tables run for a long time.
        os.environ["SBE_DATABASE_SECONDS"] = "300"
        os.environ["DJANGO_SETTINGS_MODULE"] = "sbe_enabler.settings"
        if engine == "postgresql":
            cluster = os.environ.get("SBE_TEST_DATABASE_URL") or stack.enter_context(postgresql())
            os.environ["DATABASE_URL"] = new_database(cluster)
        _set_up(Path(directory))
        yield
        from django.db import connections

        connections.close_all()


def _set_up(directory: Path) -> None:
    """Load the settings and migrate. Models can be imported after this call."""
    import django
    from django.core.management import call_command

    (directory / "static").mkdir()
    django.setup()
    call_command("migrate", verbosity=0)


def insert(model: "type[Model]", first: int, last: int, **columns: str) -> None:
    """Insert rows numbered from `first` to `last`; each column is an SQL expression that may use the number `i`.

    Columns that are not named get the model's default. The statement suits SQLite and PostgreSQL.
    """
    from django.db import connection

    fields = {str(field.column): field for field in model._meta.concrete_fields}
    known = {column: columns.get(column) or _default(field) for column, field in fields.items()}
    assert columns.keys() <= known.keys(), columns.keys() - known.keys()
    numbers = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
    target = f"INSERT INTO {model._meta.db_table} ({', '.join(known)})"
    with connection.cursor() as cursor:
        cursor.execute(f"{numbers} {target} SELECT {', '.join(known.values())} FROM n")


def analyze() -> None:
    """Update the planner's statistics."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _default(field: "Field[object, object]") -> str:
    """Return the default of a column as SQL."""
    default = field.get_default()
    return "NULL" if default is None else str(default).lower() if isinstance(default, (bool, int)) else f"'{default}'"
