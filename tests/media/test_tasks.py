"""The outbox of the focus: the nodes that serve, the order in which tasks are claimed, and the waking of a node."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.db import transaction
from django.utils import timezone

from media import tasks
from media.messages import ConferenceView, UpdateTask
from media.models import MediaNode, MediaTask
from tests.support.focus import beat

pytestmark = pytest.mark.django_db(transaction=True)


def ask(node_id: str = "node", conference: str = "conference", number: int = 0) -> None:
    """Write a task."""
    view = ConferenceView(participants=(), ready=(), generation=number)
    tasks.enqueue(node_id=node_id, conference_id=conference, task=UpdateTask(), view=view, now=timezone.now())


class TestNodes:
    def test_a_node_registers_with_its_first_heartbeat(self) -> None:
        tasks.heartbeat("node", announce="192.0.2.1")
        first = MediaNode.objects.get()
        assert abs(first.started_at - timezone.now()) < timedelta(seconds=1)
        time.sleep(0.002)
        tasks.heartbeat("node", legs=3, announce="192.0.2.1")
        row = MediaNode.objects.get()
        assert first.heartbeat_at < row.heartbeat_at
        assert row.started_at == first.started_at
        assert (row.legs, row.announce) == (3, "192.0.2.1")

    def test_a_node_whose_clock_is_behind_is_alive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        right = timezone.now()
        monkeypatch.setattr(timezone, "now", lambda: right - timedelta(seconds=10))
        tasks.heartbeat("node")
        assert tasks.live_nodes(now=right) == ["node"]

    def test_a_node_that_retires_leaves_nothing(self) -> None:
        tasks.heartbeat("node")
        tasks.heartbeat("other", legs=9)
        ask("node")
        ask("other")
        tasks.retire("node")
        assert tasks.live_nodes(now=timezone.now()) == ["other"]
        assert [task.node for task in MediaTask.objects.all()] == ["other"]

    def test_rows_that_nobody_has_touched_for_long_are_pruned(self) -> None:
        now = timezone.now()
        beat("old", now - timedelta(days=2))
        beat("new", now)
        ask()
        assert tasks.prune(now=now, age=timedelta(days=1), limit=9) == 0
        assert [node.pk for node in MediaNode.objects.all()] == ["new"]
        assert tasks.prune(now=now + timedelta(days=3), age=timedelta(days=1), limit=9) == 1
        assert not MediaNode.objects.exists()


class TestWaiting:
    def test_in_the_order_of_writing_and_only_ones_own(self) -> None:
        for number in range(5):
            ask(number=number)
            ask("other", number=number)
        assert [task.payload["generation"] for task in tasks.waiting("node", 3)] == [0, 1, 2]

    def test_those_of_some_conferences_are_left_out(self) -> None:
        for conference in ("a", "b", "a", "c"):
            ask(conference=conference)
        assert [task.conference for task in tasks.waiting("node", 9, but=["a"])] == ["b", "c"]

    def test_tasks_of_a_conference_are_forgotten(self) -> None:
        ask(conference="a")
        ask(conference="b")
        tasks.forget("a")
        assert [task.conference for task in tasks.waiting("node", 9)] == ["b"]

    def test_one_is_finished_once(self) -> None:
        ask()
        (task,) = tasks.waiting("node", 1)
        assert tasks.find(task.pk) == task
        assert tasks.finish(task.pk) is True
        assert tasks.finish(task.pk) is False
        assert tasks.find(task.pk) is None
        assert tasks.waiting("node", 1) == []

    def test_a_task_that_was_rolled_back_does_not_exist(self) -> None:
        with transaction.atomic():
            ask()
            transaction.set_rollback(True)
        assert tasks.waiting("node", 1) == []


class TestWaking:
    def test_a_node_of_this_process_is_woken_on_commit(self) -> None:
        woken: list[int] = []
        end = tasks.listen("node", lambda: woken.append(MediaTask.objects.count()))
        with transaction.atomic():
            ask()
            ask()
            assert woken == []
        assert woken == [2, 2]
        end()
        ask()
        assert woken == [2, 2]

    def test_a_node_elsewhere_is_woken_through_the_channel_layer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[tuple[str, dict[str, Any]]] = []

        class Layer:
            async def group_send(self, group: str, message: dict[str, Any]) -> None:
                sent.append((group, message))

        monkeypatch.setattr(tasks, "get_channel_layer", Layer)
        monkeypatch.setattr(tasks, "AFAR", tasks.Afar())
        ask()
        assert sent == [("media.node", {"type": "wake"})]

    def test_a_layer_that_fails_costs_one_attempt(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        attempts = 0

        class Layer:
            async def group_send(self, group: str, message: dict[str, Any]) -> None:
                nonlocal attempts
                attempts += 1
                raise ConnectionError("no Redis")

        monkeypatch.setattr(tasks, "get_channel_layer", Layer)
        monkeypatch.setattr(tasks, "AFAR", tasks.Afar())
        ask()
        ask()
        assert attempts == 1
        assert "no Redis" in caplog.text
        assert MediaTask.objects.count() == 2

    @pytest.mark.django_db(transaction=False)
    async def test_a_node_in_its_own_process_hears_wake_ups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        layer, woken = _Layer(), asyncio.Event()
        monkeypatch.setattr(tasks, "get_channel_layer", lambda: layer)
        monkeypatch.setattr(tasks, "PAUSE_SECONDS", 0.01)
        listening = asyncio.create_task(tasks.listen_from_afar("node", woken.set))
        await _until(lambda: bool(layer.groups))
        assert layer.failures == 0
        await layer.group_send("media.node", {"type": "wake"})
        await asyncio.wait_for(woken.wait(), 5)
        listening.cancel()
        await asyncio.wait([listening])


class _Layer(InMemoryChannelLayer):
    """A channel layer that fails at first."""

    failures = 1

    async def new_channel(self, prefix: str = "specific.") -> str:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no Redis yet")
        return str(await super().new_channel(prefix))


async def _until(true: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)
