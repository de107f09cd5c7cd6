"""The scene of several of these tests."""

import pytest

from tests.support.crowds import gather_two
from tests.support.meeting import Meeting
from tests.support.scenes import BeginWith, Scene


@pytest.fixture
def scene(request: pytest.FixtureRequest, begin_with: BeginWith) -> Scene | None:
    return begin_with("two meet", gather_two, focus=True) if "meeting" in request.fixturenames else None


@pytest.fixture
def meeting(scene: Scene) -> Meeting:
    """An open conference with alice, its host, and bob."""
    return Meeting(scene.conference, *scene.devices.values())
