"""What joining, leaving and removing mean among more than two; the rows are made by hand until a focus serves them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from conferences.models import Modification, Participant, pair_of
from tests.conferences.refusals import all_rows, refused
from tests.descriptions import answer, offer
from tests.devices import Call, Device

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dave() -> Device:
    return Device.register("dave")


@pytest.fixture
def four(call: Call, carol: Device, dave: Device) -> Call:
    """A call of alice and bob that carol has joined too, and that rings for dave."""
    alice = Participant.objects.get(conference=call.id, role="host")
    fields = {"conference_id": call.id, "role": "guest"}
    Participant.objects.create(**fields, state="accepted", username="carol", session_id=carol.id, position=3)
    until = timezone.now() + timedelta(seconds=30)
    seat = Participant.objects.create(**fields, state="invited", username="dave", rings_until=until, position=4)
    Modification.objects.create(
        conference_id=call.id,
        kind="call",
        pair=pair_of(alice, seat),
        offered_by=alice,
        offered_to=seat,
        offer=offer(session=4)["sdp"],
        created_at=timezone.now(),
        expires_at=until,
    )
    return call


def state_of(call: Call, username: str) -> tuple[str, str | None]:
    """Return a participant's state and why it left."""
    seats = {seat["username"]: seat for seat in call.alice.get(call.id)["participants"]}
    return seats[username]["state"], seats[username]["leftReason"]


def test_the_others_learn_who_joins(four: Call, carol: Device, dave: Device) -> None:
    assert dave.answer(four.id).status_code == 204
    assert four.alice.news_types() == ["session-open"]
    for device in (four.bob, carol):
        (joined,) = device.news()
        assert (joined["type"], joined["participant"]["username"]) == ("participant-joined", "dave")


def test_one_who_declines_ends_nothing_for_the_others(four: Call, carol: Device, dave: Device) -> None:
    assert dave.delete(four.id).json()["outcome"] == "declined"
    for device in (four.alice, four.bob, carol):
        (left,) = device.news()
        assert (left["type"], left["reason"]) == ("participant-left", "declined")
    assert four.alice.get(four.id)["state"] == "session-open"


def test_a_guest_leaves_and_the_others_go_on(four: Call, carol: Device, dave: Device) -> None:
    body = four.bob.delete(four.id).json()
    assert (body["outcome"], body["state"]) == ("left", "session-open")
    assert state_of(four, "bob") == ("left", "hung-up")
    for device in (four.alice, carol):
        (left,) = device.news()
        assert (left["type"], left["reason"], left["participant"]["username"]) == ("participant-left", "hung-up", "bob")
    assert four.bob.news() == []
    # What is pending with others stays so.
    assert dave.answer(four.id).status_code == 204


def test_leaving_twice_changes_nothing(four: Call) -> None:
    four.bob.delete(four.id)
    before = all_rows()
    assert four.bob.delete(four.id).json()["outcome"] == "left"
    assert all_rows() == before


def test_the_last_but_one_who_leaves_ends_it(four: Call, carol: Device, dave: Device) -> None:
    four.bob.delete(four.id), dave.delete(four.id)
    body = carol.delete(four.id).json()
    assert (body["outcome"], body["state"]) == ("terminated", "session-terminated")
    assert four.alice.news_types()[-1] == "session-terminated"


def test_the_host_ends_it_for_all(four: Call, carol: Device, dave: Device) -> None:
    assert four.alice.delete(four.id).json()["outcome"] == "terminated"
    assert four.bob.news_types() == carol.news_types() == ["session-terminated"]
    assert dave.news_types() == ["invitation-cancelled"]


def test_the_host_removes_one(four: Call, carol: Device) -> None:
    seat = Participant.objects.get(conference=four.id, username="bob")
    path = f"/mediaConferences/{four.id}/participants/{seat.pk}"
    assert four.alice.request("DELETE", path).status_code == 204
    assert state_of(four, "bob") == ("left", "removed")
    for device in (four.alice, four.bob, carol):
        assert device.news_types() == ["participant-left"]
    before = all_rows()
    assert four.alice.request("DELETE", path).status_code == 204
    assert all_rows() == before


def test_one_removes_oneself_by_leaving(four: Call, carol: Device) -> None:
    seat = Participant.objects.get(conference=four.id, username="carol")
    path = f"/mediaConferences/{four.id}/participants/{seat.pk}"
    assert carol.request("DELETE", path).status_code == 204
    assert state_of(four, "carol") == ("left", "hung-up")
    assert carol.news() == []


def test_a_modification_is_found_among_several(four: Call, carol: Device) -> None:
    alice, _bob, seat = Participant.objects.filter(conference=four.id, state="accepted")
    mod = Modification.objects.create(
        conference_id=four.id,
        kind="mod",
        pair=pair_of(alice, seat),
        offered_by=alice,
        offered_to=seat,
        offer=offer(version=3)["sdp"],
        created_at=timezone.now(),
        expires_at=timezone.now() + timedelta(seconds=30),
    )
    refused(409, "not-yours-to-settle", four.bob.accept, four.id, mod.pk, answer(version=3))
    assert carol.accept(four.id, mod.pk, answer(version=3)).status_code == 204
    assert four.alice.news_types() == ["mod-accepted"]
