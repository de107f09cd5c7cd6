"""The scene of most of these tests."""

import pytest

from tests.support.meeting import Meeting, gather_three
from tests.support.scenes import BeginWith, Scene


@pytest.fixture
def scene(request: pytest.FixtureRequest, begin_with: BeginWith) -> Scene | None:
    """A conference of three, with which most of these tests begin."""
    return begin_with("three meet", gather_three, focus=True) if "trio" in request.fixturenames else None


@pytest.fixture
def trio(scene: Scene) -> Meeting:
    return Meeting(scene.conference, *scene.devices.values())
