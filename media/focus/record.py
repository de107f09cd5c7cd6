"""Which changes of a connection's quality are recorded in the participant's event log.

A path may change its quality every second. So a record needs hysteresis, and the number of changes is bounded.
"""

from media.allowance import Allowance
from media.reports import Verdict

# A better verdict is recorded only after it has held for this many seconds. A worse one is recorded at once.
CALM_SECONDS = 10.0
# How many changes of a participant may be recorded: a burst, and then one in this many seconds. The last verdict is
# always recorded in the end.
CHANGES_BURST, CHANGE_SECONDS = 10, 60.0

_SEVERITY = {Verdict.FINE: 0, Verdict.POOR: 1, Verdict.INTERRUPTED: 2}


class Record:
    """What has been recorded of one participant's connection. Times are in seconds of one clock."""

    def __init__(self) -> None:
        self._recorded = Verdict.FINE
        # Since when the verdict has been better than the recorded one, and the worst verdict since then.
        self._better_since: float | None = None
        self._worst = Verdict.FINE
        self._allowance = Allowance(1 / CHANGE_SECONDS, CHANGES_BURST)

    def judge(self, verdict: Verdict, since: float, now: float) -> tuple[Verdict, float] | None:
        """Return the change to record now, and when it began; None if there is none.

        :param since: when this verdict began.
        """
        if _SEVERITY[verdict] < _SEVERITY[self._recorded]:
            if self._better_since is None:
                self._better_since, self._worst = now, Verdict.FINE
            self._worst = max(self._worst, verdict, key=_SEVERITY.__getitem__)
            change, since = self._worst, self._better_since
            is_due = now - since >= CALM_SECONDS
        else:
            self._better_since = None
            change, is_due = verdict, verdict is not self._recorded
        if not is_due or not self._allowance.take(1, now):
            return None
        self._recorded, self._better_since = change, None
        return change, since
