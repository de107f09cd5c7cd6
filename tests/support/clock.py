"""A stopped clock for the rate limits."""

from dataclasses import dataclass, field
from datetime import datetime

import pytest
from django.utils import timezone


@dataclass
class Clock:
    """A clock that shows the middle of a minute until a test moves it."""

    at: datetime = field(default_factory=lambda: timezone.now().replace(second=30))

    def now(self) -> datetime:
        """Return the time of this clock."""
        return self.at


def stop_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Make the counters of the rate limits read a stopped clock, and return this clock."""
    clock = Clock()
    monkeypatch.setattr("events.counters.clock", clock)
    return clock
