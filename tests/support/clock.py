"""The clock by which requests are counted, standing still."""

from dataclasses import dataclass, field
from datetime import datetime

import pytest
from django.utils import timezone


@dataclass
class Clock:
    """A clock that stands in the middle of a minute until a test moves it."""

    at: datetime = field(default_factory=lambda: timezone.now().replace(second=30))

    def now(self) -> datetime:
        """Return the time that it shows."""
        return self.at


def stop_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let the counters read such a clock; return it."""
    clock = Clock()
    monkeypatch.setattr("events.counters.clock", clock)
    return clock
