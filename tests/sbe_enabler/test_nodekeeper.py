"""A silent media node is replaced, except after a database outage, which silences live nodes too."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Access, Conference, Topology
from events import clock
from media import tasks
from media.focus.watch import LONGEST_GAP_SECONDS, Watch
from media.models import MediaNode
from sbe_enabler import nodekeeper
from tests.support.focus import beat


class Time:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestWatch:
    def test_looks_without_a_pause_extend_the_watch(self) -> None:
        time = Time()
        watch = Watch(time)
        for _ in range(6):
            watched = watch.note_look()
            time.now += 1.0
        assert watched == timedelta(seconds=5)

    def test_a_failure_restarts_the_watch(self) -> None:
        time = Time()
        watch = Watch(time)
        watch.note_look()
        time.now += 1.0
        watch.note_failure()
        assert watch.note_look() == timedelta()

    def test_a_look_that_hung_restarts_the_watch(self) -> None:
        time = Time()
        watch = Watch(time)
        watch.note_look()
        time.now += LONGEST_GAP_SECONDS + 0.1
        assert watch.note_look() == timedelta()
        time.now += LONGEST_GAP_SECONDS
        assert watch.note_look() == timedelta(seconds=LONGEST_GAP_SECONDS)


def homes() -> list[str]:
    """Return which node serves each conference."""
    return sorted(Conference.objects.values_list("media_node", flat=True))


@pytest.mark.django_db(transaction=True)
class TestOutage:
    """Three conferences on each of two nodes. After an outage, one node writes its heartbeat before the other."""

    time: Time
    watch: Watch

    @pytest.fixture(autouse=True)
    def _nodes(self) -> None:
        self.time = Time()
        self.watch = Watch(self.time)
        now = timezone.now()
        for node in ("one", "two"):
            beat(node, now)
            for _ in range(3):
                Conference.objects.create(
                    topology=Topology.FOCUS, access=Access.INVITED, media_node=node, created_at=now
                )

    def look_for(self, seconds: float) -> None:
        """Run the nodekeeper twice a second for this many seconds of the test's clock."""
        for _ in range(int(seconds * 2)):
            self.time.now += 0.5
            nodekeeper.replace_lost_nodes(self.watch)

    def silence(self, node: str, seconds: float) -> None:
        """Make a node silent for this many seconds."""
        MediaNode.objects.filter(pk=node).update(heartbeat_at=clock.now() - timedelta(seconds=seconds))

    @pytest.mark.parametrize("hung", [True, False])
    def test_conferences_of_live_nodes_are_not_adopted(self, hung: bool) -> None:
        self.look_for(10)
        if not hung:
            self.watch.note_failure()
        self.time.now += 20
        self.silence("two", 20)
        tasks.heartbeat("one")
        self.look_for(4)
        tasks.heartbeat("one")
        tasks.heartbeat("two")
        self.look_for(4)
        assert homes() == ["one"] * 3 + ["two"] * 3

    def test_a_node_that_stays_silent_is_replaced(self) -> None:
        self.silence("two", 20)
        self.look_for(4)
        assert homes() == ["one"] * 3 + ["two"] * 3
        self.look_for(2)
        assert homes() == ["one"] * 6

    def test_the_next_look_is_when_a_node_can_be_silent_for_too_long(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # With this long patience, the delays of a slow machine do not matter.
        settings.MEDIA_NODE_PATIENCE = timedelta(seconds=600)
        monkeypatch.setattr(nodekeeper, "LONGEST_SLEEP_SECONDS", 300.0)
        # A silence of 500 s would be enough. One second is added, because `clock.now` may differ from the database's
        # clock by half a round trip.
        self.silence("two", 501)
        assert 50 <= nodekeeper.replace_lost_nodes(self.watch) <= 100
        tasks.heartbeat("two")
        assert nodekeeper.replace_lost_nodes(self.watch) == 300

    def test_looking_fails_while_the_database_is_read_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[str] = []

        def refuse(self: object, **fields: object) -> int:
            written.append(str(fields))
            raise ConnectionError("read-only")

        nodekeeper.replace_lost_nodes(self.watch)
        self.silence("two", 3)
        monkeypatch.setattr("media.models.MediaNodeQuerySet.update", refuse)
        with pytest.raises(ConnectionError):
            nodekeeper.replace_lost_nodes(self.watch)
        assert len(written) == 1


@pytest.mark.django_db(transaction=True)
async def test_the_nodekeeper_continues_when_the_database_is_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodekeeper, "LONGEST_SLEEP_SECONDS", 0.01)
    await sync_to_async(tasks.heartbeat)("one")
    seen: list[timedelta] = []

    def adopt(*, now: object, watched: timedelta) -> int:
        seen.append(watched)
        if len(seen) == 2:
            raise ConnectionError("away")
        return 0

    monkeypatch.setattr(nodekeeper, "adopt_orphans", adopt)
    keeping = asyncio.create_task(nodekeeper.keep_nodes())
    await _until(lambda: len(seen) > 3)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert seen[1] > seen[0] == seen[2] == timedelta()


async def _until(true: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)
