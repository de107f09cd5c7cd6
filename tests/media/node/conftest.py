"""Fixtures for the tests of a node."""

import pytest

from media.focus import quota


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lift the limits on what a leg may send and request."""
    for allowance in (
        "RTCP_A_TICK",
        "RTCP_BYTES_A_TICK",
        "REQUESTS_A_TICK",
        "STATUSES_A_TICK",
        "PACKETS_A_TICK",
        "BYTES_A_TICK",
    ):
        monkeypatch.setattr(quota, allowance, 10_000_000)
