"""The scene that most of these tests begin with."""

import pytest

from tests.support.meeting import Meeting, gather_three
from tests.support.scenes import BeginWith, Scene


@pytest.fixture
def scene(request: pytest.FixtureRequest, begin_with: BeginWith) -> Scene | None:
    """Most tests begin with three in a conference."""
    return begin_with("three meet", gather_three, focus=True) if "trio" in request.fixturenames else None


@pytest.fixture
def trio(scene: Scene) -> Meeting:
    return Meeting(scene.conference, *scene.devices.values())
