"""When a media node is gone, another node takes over its conferences and offers all participants new connections."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Conference, Topology
from conferences.operations.deadlines import settle_due
from conferences.operations.focus import leg_lost, settle_task
from conferences.operations.nodes import (
    ADOPTIONS_PER_PASS,
    NoNodeError,
    adopt_conference,
    adopt_orphans,
    assigned,
    place,
)
from media import tasks
from media.messages import FocusOffer, OfferKind, Refusal, RefusalCode, Result
from media.models import MediaNode, MediaTask
from media.reports import Assignment
from tests.support.descriptions import describe
from tests.support.devices import Call, Device
from tests.support.focus import ScriptedNode, beat, scripted_node
from tests.support.refusals import all_rows

pytestmark = pytest.mark.django_db(transaction=True)

LONG = timedelta(minutes=1)


@pytest.fixture
def topology() -> str:
    return "focus"


@pytest.fixture
def other() -> Iterator[ScriptedNode]:
    """A second live node, which has more legs than the first."""
    with scripted_node("other") as other:
        MediaNode.objects.filter(pk="other").update(legs=100)
        yield other


def gone(node: ScriptedNode) -> None:
    """Make a node seem to have crashed: its last heartbeat was a day ago."""
    long_ago = timezone.now() - timedelta(days=1)
    MediaNode.objects.filter(pk=node.id).update(heartbeat_at=long_ago)


def adopt(watched: timedelta = LONG) -> int:
    """Find up to one batch of conferences whose node is gone, and assign live nodes to them; return their number."""
    return adopt_orphans(now=timezone.now(), watched=watched)


def test_all_participants_are_offered_new_connections(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    gone(node)
    adopt()
    assert Conference.objects.get(pk=call.id).media_node == "other"
    for device in (call.alice, call.bob):
        (event,) = device.news()
        assert (event["type"], event["restart"], event["from"]["participant"]) == ("mod-received", True, "focus")
        assert event["description"]["type"] == "offer"
        assert device.accept(call.id, event["modId"], device.mirror(event)).status_code == 204
    adopt()
    assert call.alice.get(call.id)["state"] == "session-open"
    assert set(other.legs[call.id]) == {participant["id"] for participant in call.alice.get(call.id)["participants"]}


def test_a_participant_that_does_not_answer_in_time_can_be_lost(
    node: ScriptedNode, other: ScriptedNode, call: Call
) -> None:
    gone(node)
    adopt()
    later = timezone.now() + timedelta(minutes=1)
    (event,) = call.bob.news()
    other.works = False
    settle_due(now=later)
    assert call.bob.news_types() == ["mod-expired"]
    participant = call.bob.participant(call.id)["id"]
    for by in (Assignment(node.id, 1), Assignment("other", 1)):
        leg_lost(conference_id=call.id, participant_id=participant, leg=event["modId"], by=by, now=later)
    assert call.bob.participant(call.id)["state"] == "accepted"
    by = Assignment("other", 2)
    leg_lost(conference_id=call.id, participant_id=participant, leg=event["modId"], by=by, now=later)
    assert call.alice.get(call.id)["participants"][1]["leftReason"] == "media-lost"


def test_a_new_connection_is_offered_once(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    gone(node)
    for _ in range(3):
        adopt()
    assert call.alice.news_types() == ["mod-received"]


def test_tasks_of_a_slow_node_are_withdrawn(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    node.works = False
    call.alice.put(call.id, "initiate-conference-mod", call.alice.offer())
    gone(node)
    adopt()
    before = all_rows()
    node.works = True
    node.work()
    assert all_rows() == before


def test_a_late_result_of_a_node_that_lost_the_conference_is_refused(
    node: ScriptedNode, other: ScriptedNode, call: Call
) -> None:
    other.works = False
    call.alice.put(call.id, "initiate-conference-mod", call.alice.offer())
    gone(node)
    adopt()
    version = Conference.objects.get(pk=call.id).version
    late = MediaTask.objects.create(
        node=node.id, conference=call.id, kind="update", payload={}, created_at=timezone.now()
    )
    participant, text = call.alice.participant(call.id)["id"], describe(session=1000)
    offer = FocusOffer(participant, "m", text, OfferKind.SYNC, caused_by=None)
    settle_task(task_id=late.pk, result=Result(offers=(offer,)), now=timezone.now())
    assert Conference.objects.get(pk=call.id).version == version
    assert call.alice.offers(call.id) == []
    assert not MediaTask.objects.filter(pk=late.pk).exists()


def test_without_another_node_the_conference_waits(node: ScriptedNode, call: Call) -> None:
    gone(node)
    adopt()
    assert call.alice.news() == []
    with scripted_node("late"):
        adopt()
        assert call.alice.news_types() == ["mod-received"]


def test_offer_lost_with_the_node_is_rejected_and_can_be_repeated(
    node: ScriptedNode, other: ScriptedNode, call: Call
) -> None:
    node.works = False
    response = call.alice.put(call.id, "initiate-conference-mod", call.alice.offer())
    gone(node)
    adopt()
    rejected, restart = call.alice.news()
    assert (rejected["type"], rejected["modId"], rejected["reason"]) == (
        "mod-rejected",
        response["x-mod-id"],
        "media-unavailable",
    )
    assert restart["restart"] is True


def test_answer_to_a_call_lost_with_the_node_is_requested_from_the_other(
    node: ScriptedNode, other: ScriptedNode, alice: Device, bob: Device
) -> None:
    conference = alice.gather("bob").json()["id"]
    node.works = False
    response = bob.join(conference)
    bob.news()
    gone(node)
    adopt()
    (accepted,) = (event for event in bob.news() if event["type"] == "mod-accepted")
    assert accepted["modId"] == response["x-mod-id"]
    assert bob.participant(conference)["state"] == "accepted"


def test_offer_of_the_node_that_is_gone_is_cancelled(
    node: ScriptedNode, other: ScriptedNode, alice: Device, bob: Device
) -> None:
    conference = alice.gather("bob").json()["id"]
    bob.join(conference)
    (pending,) = alice.offers(conference)
    alice.news()
    gone(node)
    adopt()
    cancelled, restart = alice.news()
    assert (cancelled["type"], cancelled["modId"]) == ("mod-cancelled", pending["modId"])
    assert restart["restart"] is True


def test_ended_conference_is_not_adopted(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    call.alice.delete(call.id)
    gone(node)
    adopt()
    assert Conference.objects.get(pk=call.id).media_node == node.id
    assert not tasks.waiting("other", 1)


def test_conference_that_another_process_has_adopted_is_not_adopted_again(
    node: ScriptedNode, other: ScriptedNode, call: Call
) -> None:
    before = all_rows()
    adopt_conference(conference_id=call.id, now=timezone.now(), watched=LONG)
    assert all_rows() == before


def test_a_participant_that_never_had_a_leg_is_not_offered_one(
    node: ScriptedNode, other: ScriptedNode, alice: Device, bob: Device
) -> None:
    node.refusal = Refusal(RefusalCode.SDP_INVALID, "No codec in common.")
    conference = alice.gather("bob").json()["id"]
    alice.news()
    gone(node)
    adopt()
    assert Conference.objects.get(pk=conference).media_node == "other"
    assert alice.news() == []


def test_a_silent_node_is_not_replaced_before_it_was_watched_long_enough(
    node: ScriptedNode, other: ScriptedNode, call: Call, settings: Settings
) -> None:
    gone(node)
    before = all_rows()
    assert adopt(watched=settings.MEDIA_NODE_PATIENCE - timedelta(milliseconds=1)) == 0
    assert all_rows() == before
    assert adopt(watched=settings.MEDIA_NODE_PATIENCE) == 1


def test_a_node_that_has_retired_is_replaced_at_once(node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
    tasks.retire(node.id)
    assert adopt(watched=timedelta()) == 1
    assert Conference.objects.get(pk=call.id).media_node == "other"


def test_one_look_adopts_a_bounded_number(node: ScriptedNode, other: ScriptedNode, alice: Device) -> None:
    for _ in range(ADOPTIONS_PER_PASS + 2):
        alice.gather("bob")
    gone(node)
    assert adopt() == ADOPTIONS_PER_PASS
    assert Conference.objects.filter(media_node="other").count() == ADOPTIONS_PER_PASS
    assert adopt() == 2
    assert adopt() == 0


def test_a_conference_that_cannot_be_adopted_does_not_delay_others(
    node: ScriptedNode, other: ScriptedNode, alice: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = (alice.gather("bob").json()["id"] for _ in range(2))
    gone(node)
    forget = tasks.forget

    def forget_unless_broken(conference_id: str) -> None:
        if conference_id == broken:
            raise RuntimeError("broken")
        forget(conference_id)

    monkeypatch.setattr(tasks, "forget", forget_unless_broken)
    assert adopt() == 2
    assert Conference.objects.get(pk=sound).media_node == "other"
    assert Conference.objects.get(pk=broken).media_node == node.id


class TestPlacing:
    """Placing conferences on nodes."""

    @pytest.fixture(autouse=True)
    def _no_node(self, node: ScriptedNode) -> None:
        tasks.retire(node.id)

    def placed(self, number: int) -> dict[str, int]:
        """Place this many new conferences; return the number on each node."""
        now = timezone.now()
        got: Counter[str] = Counter()
        for _ in range(number):
            conference = Conference(topology=Topology.FOCUS, created_at=now)
            place(conference, now=now)
            conference.save(force_insert=True)
            got[conference.media_node] += 1
        return dict(got)

    def test_it_is_placed_on_the_node_with_the_fewest_legs(self) -> None:
        for node_id, legs in (("a", 3), ("b", 1), ("c", 2)):
            tasks.heartbeat(node_id, legs=legs)
        assert self.placed(1) == {"b": 1}

    def test_a_silent_node_gets_no_conference(self, settings: Settings) -> None:
        now = timezone.now()
        beat("node", now)
        conference = Conference(topology=Topology.FOCUS, created_at=now)
        place(conference, now=now + settings.MEDIA_NODE_PATIENCE)
        assert conference.media_node == "node"
        with pytest.raises(NoNodeError):
            place(conference, now=now + settings.MEDIA_NODE_PATIENCE + timedelta(milliseconds=100))

    def test_a_burst_is_spread_evenly(self) -> None:
        for node_id in ("a", "b"):
            tasks.heartbeat(node_id)
        tasks.heartbeat("busy", legs=1000)
        assert self.placed(50) == {"a": 25, "b": 25}

    def test_a_burst_balances_existing_legs(self) -> None:
        tasks.heartbeat("a", legs=20)
        tasks.heartbeat("b")
        assert self.placed(30) == {"a": 10, "b": 20}

    def test_legs_that_the_heartbeat_counts_are_not_counted_again(self) -> None:
        for node_id in ("a", "b"):
            tasks.heartbeat(node_id)
        self.placed(10)
        Conference.objects.update(placed_at=timezone.now() - timedelta(seconds=10))
        tasks.heartbeat("a", legs=10)
        tasks.heartbeat("b", legs=16)
        assert self.placed(3) == {"a": 3}

    def test_ended_conferences_are_not_counted(self) -> None:
        for node_id in ("a", "b"):
            tasks.heartbeat(node_id)
        self.placed(1)
        Conference.objects.update(state="session-terminated", ended_at=timezone.now())
        assert self.placed(1) == {"a": 1}

    def test_conferences_of_a_node_that_is_gone_are_spread_evenly(self) -> None:
        tasks.heartbeat("gone")
        self.placed(8)
        # The conferences were placed long ago, so only their adoptions count as recent placements.
        Conference.objects.update(placed_at=timezone.now() - timedelta(hours=1))
        tasks.retire("gone")
        for node_id in ("a", "b"):
            tasks.heartbeat(node_id)
        assert adopt() == 8
        assert sorted(Conference.objects.values_list("media_node", "generation")) == [("a", 2)] * 4 + [("b", 2)] * 4
        assert set(assigned(node_id="a").values()) == {2}
        assert assigned(node_id="gone") == {}
