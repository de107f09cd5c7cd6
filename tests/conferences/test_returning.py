"""Participants that leave an open conference and come back, and conferences that many have left."""

import json
import re
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from conferences.models import LEFT_SHOWN, Conference, Modification, Participant, Stay
from conferences.operations.calls import answer_conference, end_part
from conferences.operations.focus import lose_media, settle_task
from conferences.operations.nodes import adopt_conference
from conferences.operations.reading import OfferReading
from conferences.operations.retention import Write, _scrub_modification, prune
from conferences.sdp import judge
from events.models import Event, Session, hash_token
from media.models import MediaNode
from media.tasks import FocusOffer
from tests.support.actions import CALL_HOLD, HOLD, MOD
from tests.support.database import insert
from tests.support.depth import examples
from tests.support.descriptions import describe
from tests.support.devices import Device, register
from tests.support.focus import ScriptedNode, beat
from tests.support.meeting import REFUSAL, SCRIPTED, Meeting, last_task, put, started
from tests.support.plans import plans, prepare_to_plan
from tests.support.refusals import refused
from tests.support.replay import facts, replay
from tests.support.scenes import BeginWith, Scene

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


def gather_two() -> tuple[str, tuple[Device, ...]]:
    """Let alice and bob meet."""
    devices = register("alice", "bob")
    return Meeting.open(*devices).id, devices


@pytest.fixture
def scene(request: pytest.FixtureRequest, begin_with: BeginWith) -> Scene | None:
    return begin_with("two meet", gather_two, focus=True) if "meeting" in request.fixturenames else None


@pytest.fixture
def meeting(scene: Scene) -> Meeting:
    """An open conference of alice, its host, and bob."""
    return Meeting(scene.conference, *scene.devices.values())


def come(conference: str, session: Session) -> None:
    """Let a session enter an open conference, without HTTP."""
    offer = judge("offer", describe(session=int(time.monotonic_ns())))
    answer_conference(
        session=session,
        conference_id=conference,
        description=offer,
        reading=OfferReading(),
        now=timezone.now(),
    )


def go(conference: str, session: Session) -> None:
    """Let a session leave, without HTTP."""
    end_part(session=session, conference_id=conference, now=timezone.now())


def strangers(number: int) -> list[Session]:
    """Register sessions of different users, without HTTP."""
    now = timezone.now()
    times = {"created_at": now, "expires_at": now + timedelta(minutes=5)}
    names = [f"guest-{index:05}" for index in range(number)]
    return Session.objects.bulk_create(Session(username=name, token_hash=hash_token(name), **times) for name in names)


def crowd(conference: str, number: int) -> None:
    """Let different guests have come and gone, long ago."""
    position = Participant.objects.filter(conference=conference).count()
    past = f"'{(timezone.now() - timedelta(hours=1)).isoformat(' ')}'"
    texts = {"username": "'guest ' || i", "role": "'guest'", "state": "'left'", "left_reason": "'hung-up'"}
    keys = {"id": f"substr('{conference}', 1, 20) || i", "conference_id": f"'{conference}'", "session_id": "'s' || i"}
    insert(
        Session, 1, number, id="'s' || i", token_hash="i", username="'guest ' || i", created_at=past, expires_at=past
    )
    times = {"left_at": past, "scrubbed_at": past, "listed": "false"}
    insert(Participant, 1, number, position=f"i + {position}", **keys, **texts, **times)
    Conference.objects.filter(pk=conference).update(unlisted=number)
    prepare_to_plan()


def seats_of(device: Device, conference: str, username: str) -> list[dict[str, Any]]:
    """Return a user's seats in the conference, as a device sees it."""
    return [seat for seat in device.get(conference)["participants"] if seat["username"] == username]


def size(device: Device, conference: str) -> int:
    """Return the bytes of a snapshot."""
    return len(json.dumps(device.get(conference)))


# --- One guest --------------------------------------------------------------------------------------------


@pytest.mark.any_engine
class TestReturning:
    @pytest.mark.timeout(900)
    def test_one_guest_does_not_use_up_the_seats(
        self, meeting: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        seat, before, session = bob.seat(meeting.id)["id"], size(alice, meeting.id), bob.row
        rounds = examples(12, deep=1_100)
        for _ in range(rounds):
            go(meeting.id, session)
            come(meeting.id, session)
        meeting.catch_up()
        (mine,) = seats_of(alice, meeting.id, "bob")
        assert (mine["id"], mine["state"], mine["leftReason"]) == (seat, "accepted", None)
        assert size(alice, meeting.id) == before
        assert Participant.objects.count() == 2
        assert carol.join(meeting.id).status_code == 204
        assert Stay.objects.filter(participant=seat).count() == rounds

    def test_the_others_see_it_leave_and_join(self, meeting: Meeting, alice: Device, bob: Device) -> None:
        seat = bob.seat(meeting.id)["id"]
        bob.delete(meeting.id)
        bob.join(meeting.id)
        told = [event for event in alice.news() if event["type"].startswith("participant-")]
        assert [(event["type"], event["participant"]["id"]) for event in told] == [
            ("participant-left", seat),
            ("participant-joined", seat),
        ]
        assert told[1]["participant"] == bob.seat(meeting.id)
        opening = {"confId": meeting.id, "type": "", "conference": alice.get(meeting.id)}
        assert replay([opening, *alice.log()], meeting.id) == facts(alice.get(meeting.id))

    def test_the_seat_is_as_good_as_new(self, meeting: Meeting, alice: Device, bob: Device) -> None:
        put(bob, meeting.id, CALL_HOLD, "recvonly")
        path = f"/mediaConferences/{meeting.id}/participants/{bob.seat(meeting.id)['id']}/mute"
        assert alice.request("PUT", path, {"audio": True}).status_code == 204
        Participant.objects.filter(session=bob.id).update(move_until=None)
        assert bob.delete(meeting.id).json()["outcome"] == "left"
        assert bob.join(meeting.id).status_code == 204
        seat = bob.seat(meeting.id)
        assert (seat["state"], seat["muted"], seat["leftReason"]) == (
            "accepted",
            {"audio": False, "video": False},
            None,
        )
        meeting.catch_up()
        put(bob, meeting.id, HOLD, "recvonly")
        assert bob.seat(meeting.id)["state"] == "on-hold"
        assert bob.delete(meeting.id).json()["outcome"] == "left"

    def test_a_new_session_of_the_user_returns_when_the_old_one_is_over(self, meeting: Meeting, bob: Device) -> None:
        seat = bob.seat(meeting.id)["id"]
        bob.request("DELETE", f"/sessions/{bob.id}")
        again = Device.register("bob", "phone", vtn="+15550101")
        again.join(meeting.id)
        assert again.seat(meeting.id)["id"] == seat
        again.delete(meeting.id)
        Session.objects.filter(pk=again.id).update(expires_at=timezone.now())
        third = Device.register("bob", vtn="+15550101")
        third.join(meeting.id)
        assert third.seat(meeting.id)["id"] == seat

    def test_who_was_removed_returns_to_an_open_conference_only(
        self, meeting: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        closed = carol.gather("alice", "bob").json()["id"]
        alice.join(closed), bob.join(closed)
        for host, conference in ((alice, meeting.id), (carol, closed)):
            path = f"/mediaConferences/{conference}/participants/{bob.seat(conference)['id']}"
            assert host.request("DELETE", path).status_code == 204
        refused(409, "not-ringing", bob.join, closed)
        assert bob.join(meeting.id).status_code == 204
        assert [stay.left_reason for stay in Stay.objects.all()] == ["removed"]

    def test_who_is_invited_again_gets_another_seat(self, meeting: Meeting, alice: Device, bob: Device) -> None:
        first = bob.seat(meeting.id)["id"]
        bob.delete(meeting.id)
        path = f"/mediaConferences/{meeting.id}/participants"
        second = alice.request("POST", path, {"to": "bob"}).json()["id"]
        assert bob.join(meeting.id).status_code == 204
        assert bob.seat(meeting.id)["id"] == second != first
        bob.delete(meeting.id)
        assert bob.join(meeting.id).status_code == 204
        assert bob.seat(meeting.id)["id"] == second, "the one that was left last"

    def test_an_invitation_that_came_to_nothing_is_no_seat_to_return_to(self, alice: Device, bob: Device) -> None:
        conference = started(alice, "bob")
        bob.delete(conference)
        assert bob.join(conference).status_code == 204
        assert [seat["state"] for seat in seats_of(alice, conference, "bob")] == ["left", "accepted"]
        assert not Stay.objects.exists()

    def test_a_full_conference_takes_nobody_back(
        self, meeting: Meeting, bob: Device, carol: Device, settings: Settings
    ) -> None:
        settings.CONFERENCE_CAPACITY = 2
        bob.delete(meeting.id)
        assert carol.join(meeting.id).status_code == 204
        refused(409, "conference-full", bob.join, meeting.id)
        carol.delete(meeting.id)
        assert bob.join(meeting.id).status_code == 204

    def test_an_ended_conference_takes_nobody_back(self, meeting: Meeting, alice: Device, bob: Device) -> None:
        bob.delete(meeting.id)
        alice.delete(meeting.id)
        refused(409, "conference-not-open", bob.join, meeting.id)


@pytest.mark.any_engine
class TestWhoseSeatItIs:
    def test_a_living_session_keeps_its_seat(self, meeting: Meeting, bob: Device) -> None:
        seat = bob.seat(meeting.id)["id"]
        bob.delete(meeting.id)
        tablet = Device.register("bob", "tablet", vtn="+15550101")
        tablet.join(meeting.id)
        assert tablet.seat(meeting.id)["id"] != seat
        bob.join(meeting.id)
        assert bob.seat(meeting.id)["id"] == seat

    @pytest.mark.parametrize(
        "identity",
        [
            {"username": "bob"},
            {"username": "bob", "vtn": "+15550199"},
            {"username": "bob", "vtn": "+15550101", "icmn": "+15550177"},
            {"username": "robert", "vtn": "+15550101"},
            {"username": "Bob", "vtn": "+15550101"},
            {"username": "carol"},
        ],
    )
    def test_another_user_gets_a_new_one(self, meeting: Meeting, bob: Device, identity: dict[str, str]) -> None:
        """Not even when the device has the same label, and the session that left is over."""
        seat = bob.seat(meeting.id)["id"]
        bob.request("DELETE", f"/sessions/{bob.id}")
        other = Device.register(device="laptop", **identity)
        assert other.join(meeting.id).status_code == 204
        assert other.seat(meeting.id)["id"] != seat
        assert Participant.objects.get(pk=seat).state == "left"

    def test_a_device_that_was_moved_from_gets_a_new_one(self, meeting: Meeting, alice: Device, bob: Device) -> None:
        seat, phone = bob.seat(meeting.id)["id"], Device.register("bob", "phone", vtn="+15550101")
        put(bob, meeting.id, CALL_HOLD, "recvonly")
        bob.delete(meeting.id)
        assert phone.join(meeting.id).status_code == 204
        phone.delete(meeting.id)
        assert bob.join(meeting.id).status_code == 204
        assert bob.seat(meeting.id)["id"] != seat
        assert phone.join(meeting.id).status_code == 204
        assert phone.seat(meeting.id)["id"] == seat

    def test_the_one_that_a_session_left_itself_comes_first(self, meeting: Meeting, bob: Device) -> None:
        seat = bob.seat(meeting.id)["id"]
        tablet = Device.register("bob", "tablet", vtn="+15550101")
        tablet.join(meeting.id)
        bob.delete(meeting.id), tablet.delete(meeting.id)
        tablet.request("DELETE", f"/sessions/{tablet.id}")
        bob.join(meeting.id)
        assert bob.seat(meeting.id)["id"] == seat


# --- The leg of the time before ---------------------------------------------------------------------------


@pytest.mark.any_engine
class TestTheEarlierLeg:
    def come_back(self, meeting: Meeting, bob: Device) -> None:
        assert bob.delete(meeting.id).status_code == 200
        assert bob.join(meeting.id).status_code == 204

    def test_the_focus_builds_a_fresh_one(self, meeting: Meeting, bob: Device, node: ScriptedNode) -> None:
        node.works = False
        bob.delete(meeting.id)
        assert bob.answer(meeting.id, bob.offer()).status_code == 204, "from the very same peer connection"
        assert (last_task().kind, last_task().payload["fresh"]) == ("offer", True)
        assert Participant.objects.get(session=bob.id).connect_until is not None

    @pytest.mark.parametrize("accepted", [True, False])
    def test_its_loss_does_not_concern_the_new_one(
        self, meeting: Meeting, bob: Device, node: ScriptedNode, accepted: bool
    ) -> None:
        seat = meeting.seat(bob)
        old = Modification.objects.get(offered_by=seat, restart=True).pk
        node.refusal = None if accepted else REFUSAL
        self.come_back(meeting, bob)
        lose = partial(lose_media, conference_id=meeting.id, participant_id=seat.pk, by=SCRIPTED, now=timezone.now())
        lose(leg=old)
        assert bob.seat(meeting.id)["state"] == "accepted"
        if accepted:
            newest = Modification.objects.filter(offered_by=seat, restart=True).latest("created_at").pk
            lose(leg=newest)
            assert bob.seat(meeting.id)["leftReason"] == "media-lost"

    def test_a_late_word_on_its_answer_is_told_nobody(
        self, meeting: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        put(alice, meeting.id, MOD, kinds=("audio", "video", "video"))
        node.works = False
        bob.follow(meeting.id)
        late = last_task()
        self.come_back(meeting, bob)
        alice.news(), bob.news()
        settle_task(task_id=late.pk, result={"refusal": REFUSAL}, now=timezone.now())
        assert alice.news() == bob.news() == []

    def test_late_offers_and_answers_to_it_are_dropped(
        self, meeting: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        node.works = False
        mod = put(bob, meeting.id, MOD)
        late = last_task()
        self.come_back(meeting, bob)
        bob.news()
        seat = meeting.seat(bob).pk
        offered: FocusOffer = {"participant": seat, "modId": "old", "sdp": "v=0", "kind": "sync", "causedBy": None}
        settle_task(task_id=late.pk, result={"answer": "v=0", "offers": [offered]}, now=timezone.now())
        assert bob.news() == []
        assert Modification.objects.get(pk=mod).state == "mod-cancelled"
        assert not Modification.objects.filter(pk="old").exists()

    def test_who_caused_an_offer_then_is_not_told_of_its_rejection_now(
        self, meeting: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        carol.join(meeting.id)
        Meeting(meeting.id, alice, bob, carol).catch_up()
        put(bob, meeting.id, MOD, kinds=("audio", "video", "video"))
        (waiting,) = carol.offers(meeting.id)
        self.come_back(meeting, bob)
        bob.news()
        assert carol.withdraw(meeting.id, waiting["modId"]).status_code == 204
        assert "mod-rejected" not in bob.news_types()

    def test_another_node_does_not_build_it_again(
        self, meeting: Meeting, alice: Device, bob: Device, node: ScriptedNode
    ) -> None:
        node.refusal = REFUSAL
        self.come_back(meeting, bob)
        node.works = False
        beat("other", timezone.now() + timedelta(days=1))
        MediaNode.objects.filter(pk=node.id).delete()
        adopt_conference(conference_id=meeting.id, now=timezone.now(), watched=timedelta(minutes=1))
        restarts = last_task().payload["restarts"]
        assert [each["participant"] for each in restarts] == [meeting.seat(alice).pk]


# --- Many guests ------------------------------------------------------------------------------------------


class TestManyThatLeft:
    @pytest.fixture
    def gone(self, meeting: Meeting, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> list[Session]:
        """Some more than a snapshot shows have come and gone."""
        monkeypatch.setattr("conferences.operations.locked_conference.LEFT_SHOWN", 5)
        node.works = False
        sessions = strangers(5 + 3)
        for session in sessions:
            come(meeting.id, session)
            go(meeting.id, session)
        node.work()
        return sessions

    def test_the_last_ones_are_shown_and_the_others_counted(
        self, meeting: Meeting, alice: Device, gone: list[Session]
    ) -> None:
        shown = alice.get(meeting.id)
        assert shown["leftEarlier"] == 3
        assert [seat["username"] for seat in shown["participants"]] == [
            "alice",
            "bob",
            *(session.username for session in gone[3:]),
        ]
        assert alice.request("GET", "/mediaConferences").json()["conferences"] == [shown]
        positions = list(Participant.objects.order_by("position").values_list("position", flat=True))
        assert positions == list(range(1, len(gone) + 3))

    def test_an_event_shows_the_same(self, meeting: Meeting, alice: Device, bob: Device, gone: list[Session]) -> None:
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
        assert {"alice", "bob", "dave"} <= {seat["username"] for seat in ended["participants"]}
        assert bob.get(meeting.id) == ended

    def test_one_that_is_not_shown_returns_to_its_seat(
        self, meeting: Meeting, alice: Device, bob: Device, gone: list[Session]
    ) -> None:
        seat = Participant.objects.get(session=gone[1])
        assert not seat.listed
        alice.news()
        come(meeting.id, gone[1])
        shown = bob.get(meeting.id)
        assert shown["leftEarlier"] == 2
        assert [(each["id"], each["state"]) for each in shown["participants"]][2] == (seat.pk, "accepted")
        assert [event["participant"]["id"] for event in alice.news() if event["type"] == "participant-joined"] == [
            seat.pk
        ]
        session = Session.objects.create(
            username=gone[0].username, token_hash="x", created_at=timezone.now(), expires_at=gone[0].expires_at
        )
        Session.objects.filter(pk=gone[0].pk).update(expires_at=timezone.now())
        come(meeting.id, session)
        assert Participant.objects.get(session=session).username == gone[0].username
        assert Participant.objects.count() == len(gone) + 2
        assert Conference.objects.get().unlisted == 1

    def test_one_that_is_not_shown_may_still_look(self, meeting: Meeting, alice: Device, gone: list[Session]) -> None:
        old = Device(gone[0].pk, gone[0].username, gone[0].username)
        assert old.get(meeting.id) == alice.get(meeting.id)
        assert old.delete(meeting.id).json()["outcome"] == "left"
        refused(409, "not-ringing", old.put, meeting.id, HOLD, old.offer("recvonly"))
        seat = Participant.objects.get(session=gone[0]).pk
        path = f"/mediaConferences/{meeting.id}/participants/{seat}"
        assert alice.request("DELETE", path).status_code == 204
        refused(404, "not-found", alice.request, "PUT", f"{path}/mute", {"audio": True})
        refused(404, "not-found", alice.request, "DELETE", f"{path}x")
        refused(404, "not-found", Device.register("stranger").delete, meeting.id)

    def test_another_device_of_one_that_is_not_shown_is_told_it_does_not_take_part(
        self, meeting: Meeting, gone: list[Session]
    ) -> None:
        other = Device.register(gone[0].username, "phone")
        refused(403, "forbidden", other.delete, meeting.id)

    def test_one_that_is_not_shown_has_left_though_another_device_of_the_user_is_there(
        self, meeting: Meeting, gone: list[Session]
    ) -> None:
        other = Device.register(gone[0].username, "phone")
        other.join(meeting.id)
        old = Device(gone[0].pk, gone[0].username, gone[0].username)
        assert old.delete(meeting.id).json()["outcome"] == "left"
        assert other.seat(meeting.id)["state"] == "accepted"

    def test_a_late_word_from_the_focus_finds_it(self, meeting: Meeting, gone: list[Session]) -> None:
        seat = Participant.objects.get(session=gone[0]).pk
        lose_media(conference_id=meeting.id, participant_id=seat, leg="x", by=SCRIPTED, now=timezone.now())
        assert Participant.objects.get(pk=seat).left_reason == "hung-up"

    def test_a_conference_from_before_shows_fewer_with_each_that_leaves(
        self, meeting: Meeting, alice: Device, bob: Device
    ) -> None:
        """Everybody who ever left was listed once."""
        crowd(meeting.id, 3 * LEFT_SHOWN)
        Participant.objects.update(listed=True)
        Conference.objects.update(unlisted=0)
        numbers = []
        for _ in range(3):
            bob.delete(meeting.id)
            numbers.append(alice.get(meeting.id)["leftEarlier"])
            bob.join(meeting.id)
        assert numbers == [LEFT_SHOWN, 2 * LEFT_SHOWN, 2 * LEFT_SHOWN + 1]
        assert Participant.objects.filter(listed=False).count() == numbers[-1]

    def test_it_costs_a_join_and_a_snapshot_next_to_nothing(self, meeting: Meeting, alice: Device, bob: Device) -> None:
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
        """Return how long it takes a device to leave and come back, in seconds: the shortest of some tries."""
        session, tries = device.row, []
        for _ in range(8):
            begin = time.perf_counter()
            go(meeting.id, session)
            come(meeting.id, session)
            tries.append(time.perf_counter() - begin)
        return min(tries)


# --- Records ----------------------------------------------------------------------------------------------


class TestRecords:
    def test_support_sees_each_stay(self, meeting: Meeting, bob: Device) -> None:
        began = meeting.seat(bob).joined_at
        assert began is not None
        bob.delete(meeting.id)
        left = meeting.seat(bob).left_at
        bob.join(meeting.id)
        (stay,) = Stay.objects.all()
        assert (stay.joined_at, stay.left_at, stay.left_reason) == (began, left, "hung-up")
        assert (stay.session_id, stay.participant_id) == (bob.id, meeting.seat(bob).pk)
        joined = meeting.seat(bob).joined_at
        assert joined is not None
        assert joined > stay.left_at
        client = Client()
        client.force_login(User.objects.create_superuser("chief", password="irrelevant"))
        page = client.get(f"/admin/conferences/conference/{meeting.id}/change/").content.decode()
        _, _, stays = page.partition("Earlier stays")
        row, _, _ = stays.partition("</tbody>")
        assert re.findall(r'class="field-participant">([^<]*)<', row) == ["bob"]

    def test_they_go_with_their_conference_and_hold_its_sessions_until_then(
        self, meeting: Meeting, alice: Device, bob: Device, settings: Settings
    ) -> None:
        bob.delete(meeting.id)
        bob.request("DELETE", f"/sessions/{bob.id}")
        again = Device.register("bob", vtn="+15550101")
        again.join(meeting.id)
        again.request("DELETE", f"/sessions/{again.id}")
        alice.delete(meeting.id)
        alice.request("DELETE", f"/sessions/{alice.id}")
        Event.objects.all().delete()
        crowd(meeting.id, 1_100)
        Session.objects.update(ended_at=timezone.now(), state="ended")
        Conference.objects.update(ended_at=timezone.now() + timedelta(hours=1))
        late = timezone.now() + settings.RECORD_RETENTION
        prune(now=late)
        assert Session.objects.filter(pk__in=[alice.id, bob.id, again.id]).count() == 3
        prune(now=late + timedelta(hours=2))
        for model in (Conference, Participant, Stay, Session):
            assert not model._default_manager.exists(), model

    def test_each_stay_loses_its_credentials(self, meeting: Meeting, bob: Device) -> None:
        seat = meeting.seat(bob).pk
        for _ in range(2):
            bob.delete(meeting.id)
            prune(now=timezone.now())
            assert not any("ice-pwd" in text for text in self.descriptions(seat))
            bob.join(meeting.id)
            bob.follow(meeting.id)
            assert any("ice-pwd" in text for text in self.descriptions(seat))
        bob.delete(meeting.id)
        bob.join(meeting.id)
        prune(now=timezone.now())
        assert any("ice-pwd" in text for text in self.descriptions(seat))
        bob.delete(meeting.id)
        prune(now=timezone.now())
        assert not any("ice-pwd" in text for text in self.descriptions(seat))

    def test_what_was_scrubbed_long_ago_is_not_read_again(self, meeting: Meeting, bob: Device) -> None:
        bob.delete(meeting.id)
        prune(now=timezone.now())
        old = Modification.objects.filter(offered_by=meeting.seat(bob))
        old.update(offer="a=ice-pwd:1", settled_at=timezone.now() - timedelta(hours=1))
        bob.join(meeting.id)
        bob.delete(meeting.id)
        prune(now=timezone.now())
        assert [text for text in self.descriptions(meeting.seat(bob).pk) if "ice-pwd" in text] == ["a=ice-pwd:1"]

    def test_one_that_returns_while_it_is_scrubbed_keeps_its_credentials(
        self, meeting: Meeting, bob: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bob.delete(meeting.id)

        def return_first(row: Modification) -> Write:
            monkeypatch.undo()
            bob.join(meeting.id)
            return _scrub_modification(row)

        monkeypatch.setattr("conferences.operations.retention._scrub_modification", return_first)
        prune(now=timezone.now())
        seat = meeting.seat(bob)
        assert (seat.state, seat.scrubbed_at, seat.ice_ufrag != "") == ("accepted", None, True)

    def descriptions(self, seat: str) -> list[str]:
        """Return the descriptions of a seat's own offers."""
        return list(Modification.objects.filter(offered_by=seat).values_list("offer", flat=True))
