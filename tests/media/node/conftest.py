"""Fixtures for the tests of a node."""

from collections.abc import AsyncIterator

import pytest

from media.focus import quota, tcp
from media.focus.node import Settings
from tests.support.media.node_harness import World, around


@pytest.fixture(params=[True, False], ids=["fast path", "Python"])
async def tcp_world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A node that also listens on a TCP port, and often checks the limits on time."""
    monkeypatch.setattr(tcp, "SWEEP_SECONDS", 0.02)
    async with around(Settings(tcp_port=0, fast=request.param)) as world:
        yield world


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
