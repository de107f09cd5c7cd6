"""Whether a participant's connection is poor, by its share of lost packets."""

# From this share of lost packets on, speech is hard to follow.
POOR_LOSS = 0.08
# Below this share of lost packets, listeners notice nothing.
FINE_LOSS = 0.03
# It takes this many judgements in a row to change the verdict, so that short disturbances are not reported.
POOR_JUDGEMENTS = 3
FINE_JUDGEMENTS = 5
# A receiver report is valid for this long. Browsers report on audio every 5 s.
REPORT_COUNTS_SECONDS = 8.0


class Quality:
    """The verdict on one connection. Call `judge` once a second."""

    def __init__(self) -> None:
        self.is_poor = False
        self._against = 0

    def judge(self, loss: float) -> None:
        """Judge the connection by its share of recently lost packets, between 0 and 1."""
        speaks_against = loss < FINE_LOSS if self.is_poor else loss >= POOR_LOSS
        self._against = self._against + 1 if speaks_against else 0
        if self._against >= (FINE_JUDGEMENTS if self.is_poor else POOR_JUDGEMENTS):
            self.is_poor, self._against = not self.is_poor, 0
