"""What several of these tests need."""

import pytest

from media.focus import quota


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let legs send and ask as much as they like."""
    for allowance in ("RTCP_A_TICK", "RTCP_BYTES_A_TICK", "REQUESTS_A_TICK", "PACKETS_A_TICK", "BYTES_A_TICK"):
        monkeypatch.setattr(quota, allowance, 10_000_000)
