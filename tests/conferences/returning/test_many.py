"""Participants that have left do not slow down the others."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from conferences.models import MAX_LISTED_LEFT, Conference, Participant
from conferences.operations.focus import leg_lost
from events.models import Session, hash_token
from tests.support.actions import HOLD
from tests.support.crowds import come, crowd, go, size
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.meeting import SCRIPTED, Meeting
from tests.support.plans import plans
from tests.support.refusals import refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


def strangers(number: int) -> list[Session]:
    """Register sessions of different users, without HTTP."""
    now = timezone.now()
    times = {"created_at": now, "expires_at": now + timedelta(minutes=5)}
    names = [f"guest-{index:05}" for index in range(number)]
    return Session.objects.bulk_create(Session(username=name, token_hash=hash_token(name), **times) for name in names)


class TestManyFormerParticipants:
    @pytest.fixture
    def gone(self, meeting: Meeting, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> list[Session]:
        """Sessions that have joined and left: three more than a snapshot lists."""
        monkeypatch.setattr("conferences.operations.locked_conference.MAX_LISTED_LEFT", 5)
        node.works = False
        sessions = strangers(5 + 3)
        for session in sessions:
            come(meeting.id, session)
            go(meeting.id, session)
        node.work()
        return sessions

    def test_a_snapshot_lists_the_last_ones_and_counts_the_others(
        self, meeting: Meeting, alice: Device, gone: list[Session]
    ) -> None:
        shown = alice.get(meeting.id)
        assert shown["leftEarlier"] == 3
        assert [participant["username"] for participant in shown["participants"]] == [
            "alice",
            "bob",
            *(session.username for session in gone[3:]),
        ]
        assert alice.request("GET", "/mediaConferences").json()["conferences"] == [shown]
        positions = list(Participant.objects.order_by("position").values_list("position", flat=True))
        assert positions == list(range(1, len(gone) + 3))

    def test_an_event_lists_the_same_participants(
        self, meeting: Meeting, alice: Device, bob: Device, gone: list[Session]
    ) -> None:
        before = alice.get(meeting.id)
        path = f"/mediaConferences/{meeting.id}/participants"
        dave = Device.register("dave")
        alice.request("POST", path, {"to": "dave"})
        (invited,) = dave.news()
        assert invited["conference"]["leftEarlier"] == 3
        assert len(invited["conference"]["participants"]) == len(before["participants"]) + 1
        assert alice.delete(meeting.id).json()["leftEarlier"] == 6
        ended = bob.news()[-1]["conference"]
        assert len(ended["participants"]) == 5
        assert {"alice", "bob", "dave"} <= {participant["username"] for participant in ended["participants"]}
        assert bob.get(meeting.id) == ended

    def test_a_user_who_is_not_listed_returns_as_the_same_participant(
        self, meeting: Meeting, alice: Device, bob: Device, gone: list[Session]
    ) -> None:
        participant = Participant.objects.get(session=gone[1])
        assert not participant.listed
        alice.news()
        come(meeting.id, gone[1])
        shown = bob.get(meeting.id)
        assert shown["leftEarlier"] == 2
        assert [(each["id"], each["state"]) for each in shown["participants"]][2] == (participant.pk, "accepted")
        assert [event["participant"]["id"] for event in alice.news() if event["type"] == "participant-joined"] == [
            participant.pk
        ]
        session = Session.objects.create(
            username=gone[0].username, token_hash="x", created_at=timezone.now(), expires_at=gone[0].expires_at
        )
        Session.objects.filter(pk=gone[0].pk).update(expires_at=timezone.now())
        come(meeting.id, session)
        assert Participant.objects.get(session=session).username == gone[0].username
        assert Participant.objects.count() == len(gone) + 2
        assert Conference.objects.get().unlisted == 1

    def test_a_session_that_is_not_listed_can_still_read_the_conference(
        self, meeting: Meeting, alice: Device, gone: list[Session]
    ) -> None:
        old = Device(gone[0].pk, gone[0].username, gone[0].username)
        assert old.get(meeting.id) == alice.get(meeting.id)
        assert old.delete(meeting.id).json()["outcome"] == "left"
        refused(409, "not-ringing", old.put, meeting.id, HOLD, old.offer("recvonly"))
        participant = Participant.objects.get(session=gone[0]).pk
        path = f"/mediaConferences/{meeting.id}/participants/{participant}"
        assert alice.request("DELETE", path).status_code == 204
        refused(404, "not-found", alice.request, "PUT", f"{path}/mute", {"audio": True})
        refused(404, "not-found", alice.request, "DELETE", f"{path}x")
        refused(404, "not-found", Device.register("stranger").delete, meeting.id)

    def test_a_live_conference_is_in_the_lists_of_those_who_are_present(
        self, meeting: Meeting, alice: Device, gone: list[Session]
    ) -> None:
        def listed(session: Session) -> int:
            device = Device(session.pk, session.username, session.username)
            return len(device.request("GET", "/mediaConferences").json()["conferences"])

        assert {listed(session) for session in gone} == {0}
        come(meeting.id, gone[0])
        assert [listed(session) for session in gone] == [1] + [0] * (len(gone) - 1)
        alice.delete(meeting.id)
        assert {listed(session) for session in gone} == {0}

    def test_declining_again_changes_nothing_for_a_user_who_is_not_listed(
        self, meeting: Meeting, alice: Device, carol: Device, gone: list[Session]
    ) -> None:
        alice.request("POST", f"/mediaConferences/{meeting.id}/participants", {"to": "carol"})
        assert carol.delete(meeting.id).json()["outcome"] == "declined"
        for session in gone:
            come(meeting.id, session)
            go(meeting.id, session)
        assert not Participant.objects.get(username="carol").listed
        assert carol.delete(meeting.id).json()["outcome"] == "declined"

    def test_another_device_of_a_user_who_is_not_listed_is_forbidden_to_act(
        self, meeting: Meeting, gone: list[Session]
    ) -> None:
        other = Device.register(gone[0].username, "phone")
        refused(403, "forbidden", other.delete, meeting.id)

    def test_a_session_that_is_not_listed_has_left_even_if_another_device_joined(
        self, meeting: Meeting, gone: list[Session]
    ) -> None:
        other = Device.register(gone[0].username, "phone")
        other.join(meeting.id)
        old = Device(gone[0].pk, gone[0].username, gone[0].username)
        assert old.delete(meeting.id).json()["outcome"] == "left"
        assert other.participant(meeting.id)["state"] == "accepted"

    def test_a_late_report_finds_a_participant_that_is_not_listed(self, meeting: Meeting, gone: list[Session]) -> None:
        participant = Participant.objects.get(session=gone[0]).pk
        leg_lost(conference_id=meeting.id, participant_id=participant, leg="x", by=SCRIPTED, now=timezone.now())
        assert Participant.objects.get(pk=participant).left_reason == "hung-up"

    def test_an_older_conference_lists_fewer_participants_with_each_leave(
        self, meeting: Meeting, alice: Device, bob: Device
    ) -> None:
        """The conference is as earlier versions wrote it: all participants that have left are listed."""
        crowd(meeting.id, 3 * MAX_LISTED_LEFT)
        Participant.objects.update(listed=True)
        Conference.objects.update(unlisted=0)
        numbers = []
        for _ in range(3):
            bob.delete(meeting.id)
            numbers.append(alice.get(meeting.id)["leftEarlier"])
            bob.join(meeting.id)
        assert numbers == [MAX_LISTED_LEFT, 2 * MAX_LISTED_LEFT, 2 * MAX_LISTED_LEFT + 1]
        assert Participant.objects.filter(listed=False).count() == numbers[-1]

    def test_former_participants_slow_down_neither_joins_nor_snapshots(
        self, meeting: Meeting, alice: Device, bob: Device
    ) -> None:
        before, bytes_before = self.duration(meeting, bob), size(alice, meeting.id)
        crowd(meeting.id, 2_000)
        assert size(alice, meeting.id) - bytes_before == len("2000") - len("0")
        assert self.duration(meeting, bob) < 3 * before
        come_new = [
            plan for plan in plans(lambda: come(meeting.id, strangers(1)[0])) if "conferences_participant" in plan
        ]
        scans = [plan for plan in come_new if "Seq Scan on conferences_participant" in plan]
        assert not scans, "\n".join(scans)

    def duration(self, meeting: Meeting, device: Device) -> float:
        """Return the seconds that a device needs to leave and join again: the minimum of eight tries."""
        session, tries = device.row, []
        for _ in range(8):
            begin = time.perf_counter()
            go(meeting.id, session)
            come(meeting.id, session)
            tries.append(time.perf_counter() - begin)
        return min(tries)
