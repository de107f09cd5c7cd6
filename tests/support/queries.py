"""Counting queries."""

from django.db import connection
from django.test.utils import CaptureQueriesContext

# Statements that begin and end transactions, and the query that reads the clock every five seconds.
_CONTROL = ("SELECT CLOCK_TIMESTAMP", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


class Queries(CaptureQueriesContext):
    """Counts queries, except those that read the clock, or begin and end transactions."""

    def __init__(self) -> None:
        super().__init__(connection)

    @property
    def count(self) -> int:
        """The number of queries."""
        return sum(not query["sql"].startswith(_CONTROL) for query in self.captured_queries)
