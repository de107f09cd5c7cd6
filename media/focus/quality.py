"""How good a participant's connection is, by the share of packets that get lost on it."""

# From this share on of a stream's packets, speech is hard to follow; below the other, nobody notices.
POOR_LOSS = 0.08
FINE_LOSS = 0.03
# In a row, before the verdict changes: a connection that is bad now and then is not told of all the time.
POOR_JUDGEMENTS = 3
FINE_JUDGEMENTS = 5
# What a receiver has reported counts for so long: browsers report about audio every 5 s.
REPORT_COUNTS_SECONDS = 8.0


class Quality:
    """The verdict on a connection; it is judged once a second."""

    def __init__(self) -> None:
        self.is_poor = False
        self._against = 0

    def judge(self, loss: float) -> None:
        """Take note of the share that was lost of late, between 0 and 1."""
        speaks_against = loss < FINE_LOSS if self.is_poor else loss >= POOR_LOSS
        self._against = self._against + 1 if speaks_against else 0
        if self._against >= (FINE_JUDGEMENTS if self.is_poor else POOR_JUDGEMENTS):
            self.is_poor, self._against = not self.is_poor, 0
