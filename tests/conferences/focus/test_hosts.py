"""The host hands its role over to another participant."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Conference, Participant
from conferences.operations.focus import leg_lost
from tests.support.actions import CALL_HOLD, MOD
from tests.support.devices import Device, open_call
from tests.support.focus import ScriptedNode
from tests.support.meeting import SCRIPTED, Meeting, put
from tests.support.quotas import at_once
from tests.support.refusals import all_rows, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]

# Later than the time in which a new host that leaves passes the role on.
LATER = timedelta(seconds=6)


def path_of(meeting: Meeting, device: Device) -> str:
    return f"/mediaConferences/{meeting.id}/participants/{meeting.participant(device).pk}"


def make_host(meeting: Meeting, by: Device, to: Device, **headers: str) -> Any:
    return by.request("PUT", f"{path_of(meeting, to)}/role", {"role": "host"}, **headers)


def roles(meeting: Meeting) -> dict[str, str]:
    participants = Participant.objects.filter(conference=meeting.id)
    return dict(participants.values_list("username", "role"))


@pytest.fixture
def led_by_bob(trio: Meeting, alice: Device, bob: Device) -> Meeting:
    """A conference of three. Alice has made bob the host, long enough ago that he must know of it."""
    assert make_host(trio, alice, bob).status_code == 204
    handed_over_at = Conference.objects.get().handed_over_at
    assert handed_over_at is not None
    Conference.objects.update(handed_over_at=handed_over_at - LATER)
    trio.catch_up()
    return trio


@pytest.mark.any_engine
class TestHandingOver:
    def test_everybody_else_learns_of_the_new_host(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        assert make_host(trio, alice, bob).status_code == 204
        assert roles(trio) == {"alice": "guest", "bob": "host", "carol": "guest"}
        assert alice.news() == []
        for device in (bob, carol):
            (changed,) = device.news()
            assert changed["type"] == "host-changed"
            assert changed["participant"] == bob.participant(trio.id)
            assert changed["from"] == {"participant": alice.participant(trio.id)["id"], "username": "alice"}

    def test_the_new_host_has_the_rights_and_the_earlier_one_has_lost_them(
        self, led_by_bob: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        mute = f"{path_of(led_by_bob, carol)}/mute"
        refused(403, "forbidden", alice.request, "PUT", mute, {"audio": True})
        refused(403, "forbidden", alice.request, "DELETE", path_of(led_by_bob, carol))
        refused(403, "forbidden", make_host, led_by_bob, alice, alice)
        assert bob.request("PUT", mute, {"audio": True}).status_code == 204
        assert bob.request("DELETE", path_of(led_by_bob, alice)).status_code == 204

    def test_the_earlier_host_can_leave_and_return_as_a_guest(
        self, led_by_bob: Meeting, alice: Device, bob: Device
    ) -> None:
        assert alice.delete(led_by_bob.id).json()["outcome"] == "left"
        assert alice.join(led_by_bob.id).status_code == 204
        assert roles(led_by_bob) == {"alice": "guest", "bob": "host", "carol": "guest"}

    def test_the_conference_ends_with_the_new_host(
        self, led_by_bob: Meeting, bob: Device, alice: Device, carol: Device
    ) -> None:
        assert bob.delete(led_by_bob.id).json()["outcome"] == "terminated"
        assert alice.news_types() == carol.news_types() == ["session-terminated"]

    def test_the_new_host_can_end_it_for_all_at_once(self, led_by_bob: Meeting, alice: Device, bob: Device) -> None:
        Conference.objects.update(handed_over_at=timezone.now())
        response = bob.request("DELETE", f"/mediaConferences/{led_by_bob.id}?for=all")
        assert response.json()["outcome"] == "terminated"
        assert alice.get(led_by_bob.id)["state"] == "session-terminated"

    def test_the_conference_ends_with_the_session_of_the_new_host(self, led_by_bob: Meeting, bob: Device) -> None:
        bob.request("DELETE", f"/sessions/{bob.id}")
        assert Conference.objects.get().state == "session-terminated"

    def test_the_role_can_go_back(self, led_by_bob: Meeting, alice: Device, bob: Device) -> None:
        assert make_host(led_by_bob, bob, alice).status_code == 204
        assert roles(led_by_bob) == {"alice": "host", "bob": "guest", "carol": "guest"}

    def test_a_participant_on_hold_can_give_and_take_the_role(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        for device in (alice, bob):
            put(device, trio.id, "initiate-conference-hold", "recvonly")
            trio.catch_up()
        assert make_host(trio, alice, bob).status_code == 204
        assert make_host(trio, bob, carol).status_code == 204
        assert bob.participant(trio.id)["state"] == "on-hold"

    def test_a_hand_over_disarms_no_move(self, trio: Meeting, alice: Device, bob: Device) -> None:
        Device.register("alice", "phone")
        put(alice, trio.id, CALL_HOLD, "recvonly")
        assert make_host(trio, alice, bob).status_code == 204
        assert alice.delete(trio.id).json()["outcome"] == "moving"

    def test_a_failed_move_of_the_earlier_host_does_not_end_the_conference(
        self, led_by_bob: Meeting, alice: Device
    ) -> None:
        phone = Device.register("alice", "phone")
        put(alice, led_by_bob.id, CALL_HOLD, "recvonly")
        alice.delete(led_by_bob.id)
        phone.delete(led_by_bob.id)
        assert Conference.objects.get().state == "session-open"

    def test_a_condition_is_honoured(self, trio: Meeting, alice: Device, bob: Device) -> None:
        refused(412, "precondition-failed", make_host, trio, alice, bob, if_match='"0"')

    def test_a_repeated_request_changes_nothing(self, trio: Meeting, alice: Device, bob: Device) -> None:
        assert make_host(trio, alice, bob, idempotency_key="k").status_code == 204
        before = all_rows()
        assert make_host(trio, alice, bob, idempotency_key="k").status_code == 204
        assert all_rows() == before

    def test_the_host_that_names_itself_changes_nothing(self, trio: Meeting, alice: Device) -> None:
        before = all_rows()
        assert make_host(trio, alice, alice).status_code == 204
        assert all_rows() == before


@pytest.mark.any_engine
def test_one_of_two_simultaneous_hand_overs_counts(trio: Meeting, alice: Device, bob: Device, carol: Device) -> None:
    statuses = at_once([partial(make_host, trio, alice, successor) for successor in (bob, carol)])
    assert sorted(statuses) == [204, 403]
    assert sorted(roles(trio).values()) == ["guest", "guest", "host"]


class TestRefusals:
    def test_only_the_host_can_hand_over(self, trio: Meeting, bob: Device, carol: Device) -> None:
        refused(403, "forbidden", make_host, trio, bob, bob)
        refused(403, "forbidden", make_host, trio, bob, carol)

    def test_a_participant_that_has_left_cannot_become_the_host(
        self, trio: Meeting, alice: Device, bob: Device
    ) -> None:
        bob.delete(trio.id)
        refused(404, "not-found", make_host, trio, alice, bob)

    def test_a_participant_whose_page_has_closed_cannot_become_the_host(
        self, trio: Meeting, alice: Device, bob: Device
    ) -> None:
        """If it does not come back, the conference would end for everybody."""
        bob.request("POST", f"/sessions/{bob.id}/away")
        refused(409, "participant-away", make_host, trio, alice, bob)
        assert bob.put(trio.id, MOD, bob.offer()).status_code == 204
        assert make_host(trio, alice, bob).status_code == 204

    def test_an_invited_user_cannot_become_the_host(self, trio: Meeting, alice: Device) -> None:
        path = f"/mediaConferences/{trio.id}/participants"
        invited = alice.request("POST", path, {"to": "dave"}).json()["id"]
        refused(404, "not-found", alice.request, "PUT", f"{path}/{invited}/role", {"role": "host"})

    @pytest.mark.parametrize("mover", ["alice", "bob"])
    def test_nobody_can_hand_over_during_a_move(self, trio: Meeting, alice: Device, bob: Device, mover: str) -> None:
        moving = alice if mover == "alice" else bob
        Device.register(mover, "phone")
        put(moving, trio.id, CALL_HOLD, "recvonly")
        assert moving.delete(trio.id).json()["outcome"] == "moving"
        refused(409, "participant-moving", make_host, trio, alice, bob)

    @pytest.mark.parametrize("body", [{}, {"role": "guest"}, {"role": None}, {"role": ["host"]}, {"role": True}])
    def test_a_participant_can_only_become_the_host(
        self, trio: Meeting, alice: Device, bob: Device, body: dict[str, Any]
    ) -> None:
        refused(400, "malformed", alice.request, "PUT", f"{path_of(trio, bob)}/role", body)

    def test_a_conference_that_has_ended_has_no_new_host(self, trio: Meeting, alice: Device, bob: Device) -> None:
        alice.delete(trio.id)
        refused(409, "conference-not-open", make_host, trio, alice, bob)

    def test_the_roles_of_a_peer_conference_are_fixed(self, alice: Device, bob: Device) -> None:
        call = open_call(alice, bob)
        path = f"/mediaConferences/{call.id}/participants/{bob.participant(call.id)['id']}/role"
        refused(409, "focus-only", alice.request, "PUT", path, {"role": "host"})

    def test_hand_overs_count_as_changes(self, trio: Meeting, alice: Device, bob: Device, settings: Settings) -> None:
        settings.CHANGES_PER_MINUTE = 1
        assert make_host(trio, alice, bob).status_code == 204
        assert make_host(trio, bob, alice).status_code == 204
        refused(429, "rate-limited", make_host, trio, alice, bob)


@pytest.mark.any_engine
class TestLeavingInTheMomentOfTheHandOver:
    """A guest that hangs up cannot know yet that it has become the host."""

    def test_the_role_returns_to_the_earlier_host(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        make_host(trio, alice, bob)
        trio.catch_up()
        assert bob.delete(trio.id).json()["outcome"] == "left"
        assert roles(trio) == {"alice": "host", "bob": "guest", "carol": "guest"}
        assert bob.news() == []
        for device in (alice, carol):
            changed, left = device.news()[:2]
            assert (changed["type"], changed["from"]["username"]) == ("host-changed", "bob")
            assert changed["participant"]["username"] == "alice"
            assert (left["type"], left["participant"]["role"]) == ("participant-left", "guest")

    def test_the_role_goes_to_another_if_the_earlier_host_has_left(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        make_host(trio, alice, bob)
        assert alice.delete(trio.id).json()["outcome"] == "left"
        assert bob.delete(trio.id).json()["outcome"] == "left"
        assert carol.get(trio.id)["state"] == "session-open"
        assert carol.participant(trio.id)["role"] == "host"
        assert carol.delete(trio.id).json()["outcome"] == "terminated"

    def test_the_role_returns_if_the_new_host_loses_its_media(self, trio: Meeting, alice: Device, bob: Device) -> None:
        make_host(trio, alice, bob)
        participant = trio.participant(bob)
        leg = participant.offers_made.latest("created_at").pk
        at = Conference.objects.get().handed_over_at
        assert at is not None
        leg_lost(conference_id=trio.id, participant_id=participant.pk, leg=leg, by=SCRIPTED, now=at)
        assert roles(trio)["alice"] == "host"
        assert Conference.objects.get().state == "session-open"

    def test_the_role_goes_to_somebody_who_is_not_away(self, trio: Meeting, alice: Device, bob: Device) -> None:
        make_host(trio, alice, bob)
        alice.request("POST", f"/sessions/{alice.id}/away")
        assert bob.delete(trio.id).json()["outcome"] == "left"
        assert roles(trio) == {"alice": "guest", "bob": "guest", "carol": "host"}

    def test_the_role_goes_to_somebody_who_is_away_if_there_is_nobody_else(self, alice: Device, bob: Device) -> None:
        meeting = Meeting.open(alice, bob)
        make_host(meeting, alice, bob)
        alice.request("POST", f"/sessions/{alice.id}/away")
        assert bob.delete(meeting.id).json()["outcome"] == "left"
        assert roles(meeting)["alice"] == "host"

    def test_without_others_the_conference_ends(self, alice: Device, bob: Device) -> None:
        meeting = Meeting.open(alice, bob)
        make_host(meeting, alice, bob)
        alice.delete(meeting.id)
        assert bob.delete(meeting.id).json()["outcome"] == "terminated"


class TestInvitations:
    def test_handing_over_frees_no_quota_and_uses_up_none_of_the_successor(
        self, trio: Meeting, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_CALLER = 2
        path = f"/mediaConferences/{trio.id}/participants"
        for name in ("dave", "erin"):
            assert alice.request("POST", path, {"to": name}).status_code == 201
        make_host(trio, alice, bob)
        refused(429, "too-many-invitations", alice.gather, "frank")
        assert bob.request("POST", path, {"to": "frank"}).status_code == 201
        alice.delete(trio.id)
        refused(429, "too-many-invitations", alice.gather, "grace")

    def test_an_invitation_rings_on_after_the_hand_over(self, trio: Meeting, alice: Device, bob: Device) -> None:
        dave = Device.register("dave")
        alice.request("POST", f"/mediaConferences/{trio.id}/participants", {"to": "dave"})
        make_host(trio, alice, bob)
        alice.delete(trio.id)
        late = Device.register("dave", "phone")
        assert [event["from"]["username"] for event in (*dave.news(), *late.news())] == ["alice", "bob"]
        assert dave.join(trio.id).status_code == 204


def test_the_focus_is_not_asked(trio: Meeting, alice: Device, bob: Device, node: ScriptedNode) -> None:
    before = len(node.done)
    make_host(trio, alice, bob)
    assert len(node.done) == before
