"""Watch the connections of a conference: report the quality of each, and close silent legs and unused conferences.

The quality is reported twice: as an unstored notice to everybody, and as a change that the participant's log records.

A leg counts as alive when its destination answers a connectivity check of the node (consent, RFC 7675).
"""

import logging
from collections.abc import Callable

from media.focus.participants import Participant
from media.focus.quality import POOR_JUDGEMENTS
from media.focus.services import Reports
from media.reports import LOST_SECONDS, Connection, Verdict
from media.score import INTERRUPTED_SECONDS

logger = logging.getLogger(__name__)

# A leg that has not answered a check for this long counts as disconnected. After LOST_SECONDS it is closed.
SILENT_SECONDS = 15.0
# Repeat the "poor" report this often, for participants who join later.
REMINDER_SECONDS = 10.0


class Liveness:
    """Watches one conference. `drop` closes the leg of a participant."""

    def __init__(self, conference_id: str, reports: Reports, drop: Callable[[Participant], None]) -> None:
        self._conference_id = conference_id
        self._reports = reports
        self._drop = drop
        self._deserted_at: float | None = None

    def watch(self, participant: Participant, now: float) -> None:
        """Report the quality of a participant's connection when it changes, and repeatedly while it is poor.

        Close and report a leg that has been silent for LOST_SECONDS.
        """
        leg = participant.leg
        if leg is None:
            return
        silent_for = now - leg.addresses.seen_at
        self._report(participant, _connection(participant, silent_for), now)
        self._record(participant, silent_for, now)
        if silent_for > LOST_SECONDS:
            logger.info("conference %s: leg %s of %s is lost", self._conference_id, leg.id, participant.id)
            self._drop(participant)
            self._reports.leg_lost(self._conference_id, participant.id, leg.id)

    def _report(self, participant: Participant, connection: Connection, now: float) -> None:
        is_due = connection is Connection.POOR and now - participant.reported_at >= REMINDER_SECONDS
        if connection != participant.connection or is_due:
            participant.connection, participant.reported_at = connection, now
            self._reports.connection_changed(self._conference_id, participant.id, connection)

    def _record(self, participant: Participant, silent_for: float, now: float) -> None:
        """Report the changes that the participant's log must record."""
        verdict, seconds = Verdict.FINE, 0.0
        if silent_for >= INTERRUPTED_SECONDS:
            verdict, seconds = Verdict.INTERRUPTED, silent_for
        elif participant.quality.is_poor:
            verdict, seconds = Verdict.POOR, float(POOR_JUDGEMENTS)
        change = participant.record.judge(verdict, now - seconds, now)
        if change is not None:
            self._reports.connection_judged(self._conference_id, participant.id, *change)

    def is_deserted(self, now: float, *, is_used: bool) -> bool:
        """Tell whether the conference has been unused for LOST_SECONDS, so it has ended or another node serves it.

        :param is_used: whether the conference has a leg or a task now.
        """
        if is_used:
            self._deserted_at = None
        elif self._deserted_at is None:
            self._deserted_at = now
        return self._deserted_at is not None and now - self._deserted_at > LOST_SECONDS


def _connection(participant: Participant, silent_for: float) -> Connection:
    """Return the quality of a connection whose last answer came this many seconds ago."""
    if silent_for > SILENT_SECONDS:
        return Connection.DISCONNECTED
    return Connection.POOR if participant.quality.is_poor else Connection.CONNECTED
