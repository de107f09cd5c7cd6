"""How many queries something makes."""

from django.db import connection
from django.test.utils import CaptureQueriesContext

# What begins and ends transactions; and the clock, which a process reads once in five seconds.
_CONTROL = ("SELECT CLOCK_TIMESTAMP", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


class Queries(CaptureQueriesContext):
    """Counts queries, but not those that depend on the time, or only begin and end transactions."""

    def __init__(self) -> None:
        super().__init__(connection)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(not query["sql"].startswith(_CONTROL) for query in self.captured_queries)
