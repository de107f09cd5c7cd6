"""Nobody uses up the service or another user: each bound refuses the next one and says so."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from conferences import views
from conferences.machine import ConferenceState, ParticipantState
from conferences.models import Conference, Participant, Role
from events.models import Session
from sbe_enabler import settings as service
from tests.conferences.conftest import Clock
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, open_call
from tests.support.focus import ScriptedNode
from tests.support.refusals import refused
from tests.support.requests import register

pytestmark = pytest.mark.django_db(transaction=True)


class TestInvitationsPerCallee:
    def test_the_next_call_is_refused_until_one_is_over(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 2
        first = alice.call("bob").json()["id"]
        carol = Device.register("carol")
        assert carol.call("bob").status_code == 201
        problem = refused(409, "callee-busy", Device.register("dave").call, "bob").json()
        assert (problem["to"], problem["limit"]) == ("bob", 2)
        alice.delete(first)
        assert Device.register("erin").call("bob").status_code == 201

    def test_an_answered_call_does_not_count(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        bob.answer(alice.call("bob").json()["id"])
        assert Device.register("carol").call("bob").status_code == 201

    def test_a_number_counts_as_an_address(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        assert alice.call("tel:+15550101").status_code == 201
        problem = refused(409, "callee-busy", Device.register("carol").call, "tel:+15550101").json()
        assert problem["to"] == "tel:+15550101"

    def test_all_addresses_of_a_user_have_one_bound(self, alice: Device, key: str, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        register(key, "k1", username="dave", vtn="+15550177", icmn="+15550178")
        assert alice.call("dave").status_code == 201
        carol = Device.register("carol")
        for address in ("dave", "tel:+15550177", "tel:+15550178"):
            assert refused(409, "callee-busy", carol.call, address).json()["to"] == address

    def test_others_are_not_concerned(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        alice.call("bob")
        assert alice.call("carol").status_code == 201

    def test_an_invitation_counts_like_a_call(
        self, alice: Device, bob: Device, node: ScriptedNode, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        Device.register("carol").call("bob")
        conference = alice.gather("dave").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        refused(409, "callee-busy", alice.request, "POST", path, {"to": "bob"})

    def test_calls_in_the_same_instant_do_not_exceed_it(self, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 3
        callers = [Device.register(f"caller-{number}") for number in range(8)]
        statuses = at_once([partial(caller.call, "bob") for caller in callers])
        assert sorted(statuses) == [201] * 3 + [409] * 5
        assert Participant.objects.filter(username="bob", state="invited").count() == 3


class TestInvitationsPerCaller:
    def test_the_next_call_is_refused_until_one_is_over(self, alice: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 2
        first = alice.call("bob").json()["id"]
        # All devices of a user count together.
        assert Device.register("alice", "tablet").call("carol").status_code == 201
        response = refused(429, "too-many-invitations", alice.call, "dave")
        assert int(response["retry-after"]) == 30
        alice.delete(first)
        assert alice.call("dave").status_code == 201

    def test_all_guests_of_a_conference_count(self, alice: Device, node: ScriptedNode, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 2
        refused(429, "too-many-invitations", alice.gather, "bob", "carol", "dave")
        conference = alice.gather("bob", "carol").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        refused(429, "too-many-invitations", alice.request, "POST", path, {"to": "dave"})

    def test_invitations_of_others_do_not_count(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 1
        bob.call("alice")
        assert alice.call("carol").status_code == 201

    def test_calls_in_the_same_instant_do_not_exceed_it(self, alice: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 3
        statuses = at_once([partial(alice.call, f"callee-{number}") for number in range(8)])
        assert sorted(statuses) == [201] * 3 + [429] * 5


class TestInvitationsPerPair:
    def test_one_caller_does_not_use_up_what_others_may_call_with(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_PAIR = service.INVITATIONS_PER_PAIR
        # All devices of the caller count together, and all addresses of the callee.
        tablet = Device.register("alice", "tablet")
        devices, addresses = 10 * [alice, tablet], 10 * ["bob", "tel:+15550101"]
        statuses = [device.call(address).status_code for device, address in zip(devices, addresses, strict=True)]
        assert statuses == [201] * 4 + [429] * 16
        response = refused(429, "too-many-invitations", alice.call, "bob")
        assert (response["retry-after"], response.json()["limit"]) == ("30", 4)
        assert Device.register("carol").call("bob").status_code == 201

    def test_the_next_call_is_refused_until_one_is_over(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_PAIR = 1
        first = alice.call("bob").json()["id"]
        refused(429, "too-many-invitations", alice.call, "bob")
        assert alice.call("carol").status_code == 201
        bob.answer(first)
        assert alice.call("bob").status_code == 201

    def test_calls_in_the_same_instant_do_not_exceed_it(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_PAIR = 3
        statuses = at_once(8 * [partial(alice.call, "bob")])
        assert sorted(statuses) == [201] * 3 + [429] * 5


class TestConferencesPerSession:
    def test_a_session_starts_no_more(self, alice: Device, settings: Settings) -> None:
        settings.CONFERENCES_PER_SESSION = 1
        first = alice.call("bob").json()["id"]
        problem = refused(409, "too-many-conferences", alice.call, "carol").json()
        assert problem["limit"] == 1
        assert Device.register("alice", "tablet").call("carol").status_code == 201
        alice.delete(first)
        assert alice.call("dave").status_code == 201

    def test_a_session_answers_no_more(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.CONFERENCES_PER_SESSION = 1
        first, second = alice.call("bob"), Device.register("carol").call("bob")
        bob.answer(first.json()["id"])
        problem = refused(409, "too-many-conferences", bob.answer, second.json()["id"]).json()
        assert problem["limit"] == 1
        bob.delete(first.json()["id"])
        assert bob.answer(second.json()["id"]).status_code == 204


class TestSessionsPerIdentity:
    def test_the_next_one_is_refused_until_one_is_over(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 2
        first = register(key, "k1").json()["id"]
        register(key, "k2")
        problem = refused(409, "too-many-sessions", register, key, "k3").json()
        assert problem["limit"] == 2
        Session.objects.filter(pk=first).update(state="ended")
        assert register(key, "k3").status_code == 201

    def test_a_shared_number_counts(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 1
        assert register(key, "k1", username="dave", vtn="+15550177").status_code == 201
        refused(409, "too-many-sessions", register, key, "k2", username="erin", vtn="+15550177")
        assert register(key, "k3", username="erin").status_code == 201

    def test_registrations_in_the_same_instant_do_not_exceed_it(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 3
        statuses = at_once([partial(register, key, f"k{number}") for number in range(8)])
        assert sorted(statuses) == [201] * 3 + [409] * 5


class TestOffersPerMinute:
    @pytest.fixture
    def scene(self) -> None:
        """No scene: the requests that make the call count."""

    @pytest.fixture
    def call(self, alice: Device, bob: Device) -> Call:
        return open_call(alice, bob)

    def limit(self, settings: Settings, number: int) -> None:
        """Allow this many offers from now on."""
        settings.OFFERS_PER_MINUTE = number

    def test_the_next_call_is_refused_and_changes_nothing(self, alice: Device, settings: Settings) -> None:
        self.limit(settings, 2)
        assert [alice.call(name).status_code for name in ("bob", "carol")] == [201, 201]
        response = refused(429, "too-many-offers", alice.call, "dave")
        assert (response.json()["limit"], response["retry-after"]) == (2, "30")
        assert "too many offers" in response.json()["detail"]

    @pytest.mark.parametrize(
        ("action", "direction"),
        [
            ("initiate-conference-mod", "sendrecv"),
            ("initiate-conference-hold", "recvonly"),
            ("initiate-call-hold", "recvonly"),
        ],
    )
    def test_the_next_put_is_refused_and_changes_nothing(
        self, call: Call, action: str, direction: str, settings: Settings
    ) -> None:
        mod = call.alice.put(call.id, action, offer(direction, version=3))["x-mod-id"]
        assert call.alice.withdraw(call.id, mod).status_code == 204
        # The call and this offer.
        self.limit(settings, 2)
        response = refused(429, "too-many-offers", call.alice.put, call.id, action, offer(direction, version=4))
        assert response["retry-after"] == "30"

    def test_a_resume_counts(self, call: Call, settings: Settings) -> None:
        mod = call.alice.put(call.id, "initiate-conference-hold", offer("recvonly", version=3))["x-mod-id"]
        call.bob.accept(call.id, mod, answer("sendonly", version=3))
        self.limit(settings, 2)
        refused(429, "too-many-offers", call.alice.put, call.id, "initiate-conference-resume", offer(version=4))
        assert call.alice.seat(call.id)["state"] == "on-hold"

    def test_all_devices_and_conferences_of_a_user_count_together(self, alice: Device, settings: Settings) -> None:
        self.limit(settings, 2)
        tablet, phone = Device.register("alice", "tablet"), Device.register("alice", "phone")
        assert [alice.call("bob").status_code, tablet.call("carol").status_code] == [201, 201]
        refused(429, "too-many-offers", phone.call, "dave")
        assert Device.register("another alice").call("dave").status_code == 201

    def test_a_gateway_that_speaks_for_a_session_is_no_way_around(
        self, alice: Device, key: str, settings: Settings
    ) -> None:
        self.limit(settings, 1)
        assert alice.call("bob").status_code == 201
        body = json.dumps({"to": ["carol"], "topology": "peer", **offer()})
        headers = {"authorization": f"Api-Key {key}", "x-session-id": alice.id}
        post = partial(Client().post, "/mediaConferences", body, content_type="application/json", headers=headers)
        refused(429, "too-many-offers", post)

    def test_answers_to_offers_are_free(self, call: Call, settings: Settings) -> None:
        self.limit(settings, 1)
        Device.register("carol").call("bob")
        # Bob has offered nothing, so one offer is left after any number of answers.
        for version in range(3, 6):
            self.limit(settings, 10)
            mod = call.alice.put(call.id, "initiate-conference-mod", offer(version=version))["x-mod-id"]
            self.limit(settings, 1)
            assert call.bob.accept(call.id, mod, answer(version=version)).status_code == 204
        assert call.bob.put(call.id, "initiate-conference-mod", offer(version=6)).status_code == 204
        refused(429, "too-many-offers", call.bob.call, "dave")

    def test_what_is_refused_for_another_reason_does_not_count(self, call: Call, settings: Settings) -> None:
        self.limit(settings, 2)
        waiting = call.bob.put(call.id, "initiate-conference-mod", offer(version=3))["x-mod-id"]
        for _ in range(5):
            put = partial(call.alice.put, call.id, "initiate-conference-mod")
            refused(409, "modification-pending", put, offer(version=4))
            refused(422, "sdp-direction", call.alice.put, call.id, "initiate-conference-hold", offer(version=4))
        call.alice.withdraw(call.id, waiting)
        assert put(offer(version=4)).status_code == 204

    def test_a_repeated_request_counts_once(self, alice: Device, settings: Settings) -> None:
        self.limit(settings, 2)
        body = {"to": ["bob"], "topology": "peer", **offer()}
        post = partial(alice.request, "POST", "/mediaConferences", body, idempotency_key="k1")
        assert [post().status_code for _ in range(5)] == [201] * 5
        assert alice.call("carol").status_code == 201

    def test_it_is_over_after_a_minute(self, alice: Device, settings: Settings, still_clock: Clock) -> None:
        self.limit(settings, 1)
        alice.call("bob")
        refused(429, "too-many-offers", alice.call, "carol")
        still_clock.at += timedelta(minutes=2)
        assert alice.call("carol").status_code == 201

    def test_calls_in_the_same_instant_do_not_exceed_it(self, alice: Device, settings: Settings) -> None:
        self.limit(settings, 3)
        statuses = at_once([partial(alice.call, f"callee-{number}") for number in range(8)])
        assert sorted(statuses) == [201] * 3 + [429] * 5

    def test_a_person_who_toggles_by_hand_does_not_meet_the_default(self, call: Call, settings: Settings) -> None:
        self.limit(settings, service.OFFERS_PER_MINUTE)
        for version in range(3, 31, 2):
            for action, direction, at in (("hold", "recvonly", version), ("resume", "sendrecv", version + 1)):
                put = call.alice.put(call.id, f"initiate-conference-{action}", offer(direction, version=at))
                assert put.status_code == 204
                answered = "sendonly" if action == "hold" else "sendrecv"
                call.bob.accept(call.id, put["x-mod-id"], answer(answered, version=at))

    @pytest.mark.parametrize("way", ["toggling", "cancelling", "coming and going"])
    def test_a_member_cannot_make_the_others_renegotiate_in_a_loop(
        self, alice: Device, bob: Device, carol: Device, node: ScriptedNode, way: str, settings: Settings
    ) -> None:
        conference = alice.gather(access="open").json()["id"]
        assert [device.join(conference).status_code for device in (bob, carol)] == [204, 204]
        for device in (alice, bob):
            device.follow(conference)
        self.limit(settings, 6)
        ways: dict[str, Callable[[], int]] = {
            "toggling": lambda: toggle(bob, conference),
            "cancelling": lambda: cancel(bob, conference, node),
            "coming and going": lambda: come_again(bob, conference),
        }
        statuses, offers = [], 0
        for _ in range(12):
            statuses.append(ways[way]())
            offers += len(carol.follow(conference))
            alice.follow(conference), bob.follow(conference)
        # One was for coming in.
        assert statuses == [204] * 5 + [429] * 7
        # Coming and going again are two changes.
        assert offers <= 12
        assert carol.put(conference, "initiate-conference-mod", carol.offer()).status_code == 204


def toggle(device: Device, conference: str) -> int:
    """Offer one track more, or one less."""
    kinds = ("audio", "video", "video") if device.version % 2 else ("audio", "video")
    return int(device.put(conference, "initiate-conference-mod", device.offer(kinds=kinds)).status_code)


def cancel(device: Device, conference: str, node: ScriptedNode) -> int:
    """Offer, and take that back before the focus has looked at it."""
    node.works = False
    response = device.put(conference, "initiate-conference-mod", device.offer())
    if response.status_code == 204:
        assert device.withdraw(conference, response["x-mod-id"]).status_code == 204
    node.works = True
    node.work()
    return int(response.status_code)


def come_again(device: Device, conference: str) -> int:
    """Leave and come in again."""
    device.delete(conference)
    return int(device.join(conference).status_code)


def test_counting_reads_present_rows_only(alice: Device) -> None:
    """However long the history of a user, PostgreSQL finds what quotas count by partial indexes."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no statistics that a test could fill")
    now = timezone.now()
    ended = {"state": ConferenceState.SESSION_TERMINATED, "created_at": now, "ended_at": now}
    past = [Conference(topology="peer", **ended) for _ in range(2000)]
    Conference.objects.bulk_create(past)
    Participant.objects.bulk_create(
        Participant(conference=conference, role=role, username=name, state=ParticipantState.LEFT, position=position)
        for conference in past
        for position, (name, role) in enumerate((("alice", Role.HOST), ("bob", Role.GUEST)))
    )
    invited = Participant.objects.unanswered(now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conferences_conference, conferences_participant")
    assert "participant_present_username" in invited.filter(username="bob").explain()
    assert "participant_present_username" in invited.invited_by(alice.row).explain()


def at_once(requests: list[Any]) -> list[int]:
    """Make requests in as many threads and return their statuses."""

    def make(request: Any) -> int:
        try:
            return int(request().status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(make, requests))


class TestSdpPerMinute:
    def test_one_that_is_refused_counts_too(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.SDP_CHARACTERS_PER_MINUTE = 2500
        statuses = [alice.call("bob", sdp=1000 * "v").status_code for _ in range(5)]
        assert statuses == [422, 422, 422, 429, 429]
        response = refused(429, "rate-limited", alice.call, "bob")
        assert int(response["retry-after"]) > 0
        assert bob.call("alice").status_code == 201

    def test_a_bare_one_counts_too(self, alice: Device, bob: Device, settings: Settings) -> None:
        call = open_call(alice, bob)
        # Bob's answer to the call has counted already.
        settings.SDP_CHARACTERS_PER_MINUTE = 10_000
        bare = {"content_type": "application/sdp"}
        action = partial(bob.put, call.id, "initiate-conference-mod", 10_000 * "v", **bare)
        refused(422, "sdp-invalid", action)
        refused(429, "rate-limited", action)

    def test_an_offer_counts_again_for_whoever_answers_it_wrongly(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        body = offer()
        body["sdp"] += 20 * ("a=x:" + 1000 * "y" + "\r\n")
        call = alice.call("bob", **body).json()["id"]
        # Short answers that do not fit: each but the first counts the long offer.
        settings.SDP_CHARACTERS_PER_MINUTE = 2 * len(body["sdp"])
        wrong = answer(kinds=("audio",))
        statuses = [bob.answer(call, wrong).status_code for _ in range(5)]
        assert statuses == [422, 422, 422, 429, 429]

    def test_long_offers_of_others_use_up_nothing_that_a_session_may_say(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        call = open_call(alice, bob)
        long = {"sdp": offer()["sdp"] + 20 * ("a=x:" + 1000 * "y" + "\r\n")}
        settings.SDP_CHARACTERS_PER_MINUTE = 5 * len(long["sdp"])
        for _ in range(4):
            mod = alice.put(call.id, "initiate-conference-mod", offer(version=3) | long)["x-mod-id"]
            assert bob.accept(call.id, mod, answer(version=3)).status_code == 204
        assert bob.call("carol").status_code == 201

    def test_all_devices_of_a_user_count_together(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.SDP_CHARACTERS_PER_MINUTE = 2500
        statuses = [Device.register("alice", f"tab {n}").call("bob", sdp=1000 * "v").status_code for n in range(4)]
        assert statuses == [422, 422, 422, 429]
        assert bob.call("alice").status_code == 201

    def test_a_long_one_is_not_read_for_a_conference_that_is_not_there(
        self, alice: Device, bob: Device, carol: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call = open_call(alice, bob)
        monkeypatch.setattr(views, "judge", lambda *args: pytest.fail("it was read"))
        long = {"type": "offer", "sdp": 40_000 * "v"}
        for action in ("initiate-conference-mod", "conference-answer", "accept-conference-mod"):
            refused(404, "not-found", carol.put, call.id, action, long)

    def test_large_bodies_are_bounded_before_they_are_parsed(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.SDP_CHARACTERS_PER_MINUTE = 100_000
        body = {"to": ["bob"], "topology": "peer", "x": 100_000 * "y"}
        path = "/mediaConferences"
        statuses = [alice.request("POST", path, body).status_code for _ in range(4)]
        assert statuses == [422, 422, 429, 429]
        assert alice.call("bob").status_code == bob.call("alice").status_code == 201


@pytest.mark.usefixtures("node")
class TestSeatsPerUser:
    def test_one_user_does_not_fill_an_open_conference(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.SEATS_PER_USER = 2
        conference = alice.gather(access="open").json()["id"]
        tabs = [Device.register("mallory", f"tab {number}") for number in range(3)]
        assert [tab.join(conference).status_code for tab in tabs[:2]] == [204, 204]
        refused(409, "conference-full", tabs[2].join, conference)
        assert bob.join(conference).status_code == 204
        tabs[0].delete(conference)
        assert tabs[2].join(conference).status_code == 204
        refused(409, "conference-full", tabs[0].join, conference)


@pytest.mark.usefixtures("node")
class TestChangesPerMinute:
    def test_mutes_invitations_and_removals_of_a_user_count_together(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.CHANGES_PER_MINUTE = 3
        conference = alice.gather("bob").json()["id"]
        seats = f"/mediaConferences/{conference}/participants"
        assert alice.request("POST", seats, {"to": "carol"}).status_code == 201
        carol = alice.get(conference)["participants"][-1]["id"]
        assert alice.request("DELETE", f"{seats}/{carol}").status_code == 204
        mute = f"{seats}/{alice.seat(conference)['id']}/mute"
        assert alice.request("PUT", mute, {"audio": True}).status_code == 204
        # What changes nothing is told to nobody.
        assert alice.request("PUT", mute, {"audio": True}).status_code == 204
        response = refused(429, "rate-limited", alice.request, "PUT", mute, {"audio": False})
        assert int(response["retry-after"]) > 0
        refused(429, "rate-limited", alice.request, "POST", seats, {"to": "dave"})

    def test_few_are_made_at_once(self, alice: Device, settings: Settings, still_clock: Clock) -> None:
        settings.CHANGES_AT_ONCE = 2
        conference = alice.gather(access="open").json()["id"]
        mute = f"/mediaConferences/{conference}/participants/{alice.seat(conference)['id']}/mute"
        for audio in (True, False):
            assert alice.request("PUT", mute, {"audio": audio}).status_code == 204
        response = refused(429, "rate-limited", alice.request, "PUT", mute, {"audio": True})
        assert 0 < int(response["retry-after"]) <= 10
        still_clock.at += timedelta(seconds=10)
        assert alice.request("PUT", mute, {"audio": True}).status_code == 204

    def test_another_device_of_the_user_has_no_more_and_another_user_has_as_many(
        self, alice: Device, bob: Device, settings: Settings
    ) -> None:
        settings.CHANGES_PER_MINUTE = 1
        for device, status in ((alice, 204), (Device.register("alice", "phone"), 429), (bob, 204)):
            conference = device.gather(access="open").json()["id"]
            mute = f"/mediaConferences/{conference}/participants/{device.seat(conference)['id']}/mute"
            assert device.request("PUT", mute, {"audio": True}).status_code == status


def test_a_long_list_counts_as_several_requests(alice: Device, settings: Settings) -> None:
    for _ in range(5):
        alice.delete(alice.call("bob").json()["id"])
    # Ten requests have been made. Each list counts as two.
    settings.REQUESTS_PER_MINUTE = 13
    path = "/mediaConferences?state=session-terminated"
    assert [alice.request("GET", path).status_code for _ in range(2)] == [200, 429]
