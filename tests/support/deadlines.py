"""Checks for tests of deadlines."""

from datetime import datetime, timedelta

from conferences.operations.deadlines import settle_due
from tests.support.refusals import all_rows

INSTANT = timedelta(microseconds=1)


def assert_all_is_settled(now: datetime) -> None:
    """Require that no deadline is due any more: settling again finds nothing to do and changes nothing."""
    before = all_rows()
    assert settle_due(now=now) == 0
    assert all_rows() == before
