"""After a failure, the next attempt waits for a while."""

import pytest

from media.pause import Pause

pytestmark = pytest.mark.once


def test_pause_lasts_its_seconds_after_each_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("media.pause.time.monotonic", lambda: now)
    resting = Pause(3.0)
    assert not resting.lasts
    resting.begin()
    now = 102.9
    assert resting.lasts
    now = 103.0
    assert not resting.lasts
    resting.begin()
    assert resting.lasts
