"""A participant moves to another device."""

import pytest

from tests.support.actions import CALL_HOLD
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.meeting import REFUSAL, Meeting, last_task, put, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
def test_a_move_gets_a_new_leg_and_the_others_learn_the_new_session(
    trio: Meeting, alice: Device, bob: Device, node: ScriptedNode
) -> None:
    phone = Device.register("bob", "phone")
    put(bob, trio.id, CALL_HOLD, "recvonly")
    trio.catch_up()
    node.works = False
    assert bob.delete(trio.id).json()["outcome"] == "moving"
    task = last_task()
    assert (task.kind, task.payload["view"]["cause"]) == ("update", None)
    assert states(task) == ["accepted", "moving", "accepted"]
    assert trio.participant(bob).pk not in task.payload["ready"]
    mod = phone.join(trio.id)["x-mod-id"]
    task = last_task()
    assert (task.kind, task.payload["modId"], task.payload["fresh"]) == ("offer", mod, True)
    assert task.payload["view"]["cause"] == {"modId": mod, "kind": "move"}
    assert states(task) == ["accepted"] * 3
    node.work()
    assert [event["type"] for event in alice.news()][:2] == ["participant-moving", "participant-moved"]
    assert [event["modId"] for event in phone.news() if event["type"] == "mod-accepted"] == [mod]


@pytest.mark.any_engine
def test_a_move_begins_even_if_the_focus_refuses_its_hold(
    trio: Meeting, alice: Device, bob: Device, node: ScriptedNode
) -> None:
    phone = Device.register("bob", "phone")
    node.refusal = REFUSAL
    put(bob, trio.id, CALL_HOLD, "recvonly")
    assert bob.news_types() == ["mod-rejected"]
    node.refusal = None
    body = bob.delete(trio.id).json()
    assert (body["outcome"], "moveRefused" in body) == ("moving", False)
    assert phone.join(trio.id)["x-state"] == "accepted"
    assert alice.news_types()[:2] == ["participant-moving", "participant-moved"]
    assert "mod-accepted" in phone.news_types()
