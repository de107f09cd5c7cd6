"""The number of queries of each operation is bounded, independent of the number of events and participants."""

from typing import Any

import pytest
from django.utils import timezone

from conferences.models import Conference, Modification, Participant
from conferences.operations.focus import settle_task
from media.models import MediaTask
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, gateway_key, hold, open_call
from tests.support.focus import ScriptedNode
from tests.support.queries import Queries
from tests.support.scenes import BeginWith, Scene

pytestmark = pytest.mark.django_db(transaction=True)

MOD, HOLD, RESUME = (f"initiate-conference-{what}" for what in ("mod", "hold", "resume"))
CALL_HOLD, ACCEPT, WITHDRAW = "initiate-call-hold", "accept-conference-mod", "rejectCancel-conference-mod"
# The most queries that a PUT may make if it writes up to 4 events. An issue of the project sets this bound.
MOST = 12


@pytest.fixture(params=[False, True], ids=["plain", "with a key"])
def headers(request: pytest.FixtureRequest) -> dict[str, str]:
    """Headers of the requests: none, or both a precondition and an Idempotency-Key."""
    return {"if_match": "*", "idempotency_key": "k1"} if request.param else {}


def _participants(action: str) -> int:
    """Return the number of queries that only `conference-answer` needs.

    The first query reads the host's offer before the lock is taken. The others count the session's conferences, find a
    crossing call, and make sure that the session has not ended.
    """
    return 4 if action == "conference-answer" else 0


def _key(headers: dict[str, str]) -> int:
    """Return the number of queries that look for a stored response: one with an Idempotency-Key, otherwise none."""
    return int("idempotency_key" in headers)


def put(device: Device, conference: str, action: str, body: Any, headers: dict[str, str], events: int) -> None:
    """Send a PUT. Require that it succeeds, writes at least this many events, and makes not too many queries."""
    with Queries() as queries:
        response = device.put(conference, action, body, **headers)
    assert response.status_code == 204, response.content
    inserted = [query["sql"] for query in queries if 'INSERT INTO "events_event"' in query["sql"]]
    assert len(inserted) == (1 if events else 0)
    assert sum(sql.count(conference) for sql in inserted) >= events
    # `MOST` already includes the two queries that store the answer for an Idempotency-Key.
    assert queries.count <= MOST + _participants(action) + _key(headers), "\n".join(
        query["sql"][:200] for query in queries
    )


@pytest.mark.parametrize("devices", [1, 4])
def test_answering_a_call(alice: Device, bob: Device, devices: int, headers: dict[str, str]) -> None:
    for number in range(devices - 1):
        Device.register("bob", f"tablet {number}")
    conference = alice.call("bob").json()["id"]
    put(bob, conference, "conference-answer", answer(), headers, devices)


@pytest.mark.parametrize("action", [MOD, HOLD, CALL_HOLD])
def test_making_an_offer(call: Call, action: str, headers: dict[str, str]) -> None:
    put(call.alice, call.id, action, offer("recvonly", version=3), headers, 1)


@pytest.mark.parametrize("action", [MOD, HOLD, CALL_HOLD])
def test_accepting_an_offer(call: Call, action: str, headers: dict[str, str]) -> None:
    mod = call.alice.put(call.id, action, offer("recvonly", version=3))["x-mod-id"]
    body = {"modId": mod, **answer("sendonly", version=3)}
    put(call.bob, call.id, ACCEPT, body, headers, 1 if action == MOD else 3)


def test_resuming(call: Call, headers: dict[str, str]) -> None:
    hold(call)
    put(call.alice, call.id, RESUME, offer(version=4), headers, 1)
    mod = call.bob.news()[0]["modId"]
    put(call.bob, call.id, ACCEPT, {"modId": mod, **answer(version=4)}, headers, 3)


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("action", [MOD, CALL_HOLD])
def test_withdrawing_an_offer(call: Call, who: str, action: str, headers: dict[str, str]) -> None:
    mod = call.alice.put(call.id, action, offer("recvonly", version=3))["x-mod-id"]
    put(call.alice if who == "alice" else call.bob, call.id, WITHDRAW, {"modId": mod}, headers, 1)


def test_settling_again(call: Call, headers: dict[str, str]) -> None:
    mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
    body = {"modId": mod, **answer(version=3)}
    call.bob.put(call.id, ACCEPT, body)
    put(call.bob, call.id, ACCEPT, body, headers, 0)


def test_answering_a_move(call: Call, headers: dict[str, str]) -> None:
    phone, _tablet = Device.register("alice", "phone"), Device.register("alice", "tablet")
    hold(call, CALL_HOLD)
    call.alice.delete(call.id)
    # One event goes to the tablet, one to the device that was left, and two go to bob.
    put(phone, call.id, "conference-answer", offer(session=5), headers, 4)


def test_a_repeated_request_only_queries_its_answer(call: Call) -> None:
    act = {"idempotency_key": "k1"}
    call.alice.put(call.id, MOD, offer(version=3), **act)
    with Queries() as queries:
        assert call.alice.put(call.id, MOD, offer(version=3), **act).status_code == 204
    # The queries find the session by its token, and the kept answer.
    assert queries.count <= 4


def test_a_gateway_needs_two_more_queries(call: Call) -> None:
    headers = {"authorization": f"Api-Key {gateway_key()}", "x_session_id": call.alice.id}
    with Queries() as queries:
        assert call.alice.put(call.id, MOD, offer(version=3), **headers).status_code == 204
    assert queries.count <= MOST


@pytest.mark.parametrize("state", ["no such conference", "of others", "modification-pending"])
def test_a_refusal_needs_no_more_queries(call: Call, carol: Device, state: str) -> None:
    call.alice.put(call.id, MOD, offer(version=3))
    device = carol if state == "of others" else call.bob
    conference = "f" * 32 if state == "no such conference" else call.id
    with Queries() as queries:
        assert device.put(conference, MOD, offer(session=777, version=3)).status_code in {404, 409}
    assert queries.count <= 6


@pytest.mark.parametrize("devices", [1, 4])
def test_starting_a_call(alice: Device, bob: Device, devices: int) -> None:
    for number in range(devices - 1):
        Device.register("bob", f"tablet {number}")
    with Queries() as queries:
        assert alice.call("bob").status_code == 201
    # One more query checks that the session has not ended.
    assert queries.count <= MOST + 1


@pytest.mark.parametrize("outcome", ["declined", "terminated", "moving"])
def test_leaving(alice: Device, bob: Device, outcome: str) -> None:
    if outcome == "declined":
        conference, device = alice.call("bob").json()["id"], bob
    else:
        call = open_call(alice, bob)
        conference, device = call.id, alice
    if outcome == "moving":
        Device.register("alice", "phone"), Device.register("alice", "tablet")
        hold(call, CALL_HOLD)
    with Queries() as queries:
        assert device.delete(conference).json()["outcome"] == outcome
    assert queries.count <= MOST


@pytest.mark.parametrize("devices", [1, 4])
def test_registering_while_it_rings(alice: Device, devices: int) -> None:
    alice.call("dave")
    with Queries() as queries:
        Device.register("dave")
    assert queries.count <= MOST + 2  # two of them make the API key


@pytest.mark.parametrize("count", [1, 8])
def test_reading_more_conferences_needs_no_more_queries(alice: Device, count: int) -> None:
    for number in range(count):
        alice.call(f"user {number}")
    with Queries() as queries:
        conferences = alice.request("GET", "/mediaConferences").json()["conferences"]
    assert len(conferences) == count
    assert all(len(conference["pendingModifications"]) == 1 for conference in conferences)
    assert queries.count <= 5
    with Queries() as queries:
        alice.get(conferences[0]["id"])
    assert queries.count <= 5


class TestFocus:
    """The queries of a focus conference do not increase with its participants."""

    # One more query writes the task for the focus.
    MOST = MOST + 1

    @pytest.fixture(params=[3, 12])
    def scene(self, request: pytest.FixtureRequest, begin_with: BeginWith) -> Scene:
        """Several devices. If the test needs a `conference`, all but the last device have joined an open conference."""
        joins = "conference" in request.fixturenames

        def build() -> tuple[str, tuple[Device, ...]]:
            devices = tuple(Device.register(f"user-{number}") for number in range(request.param))
            if not joins:
                return "", devices
            conference = str(devices[0].gather(access="open").json()["id"])
            for device in devices[1:-1]:
                assert device.join(conference).status_code == 204
            return conference, devices

        return begin_with(f"{request.param} devices{', most in a conference' * joins}", build, focus=True)

    @pytest.fixture
    def devices(self, scene: Scene) -> list[Device]:
        return list(scene.devices.values())

    @pytest.fixture
    def conference(self, scene: Scene, node: ScriptedNode) -> str:
        """An open conference in which the focus's offers are not answered, and whose node executes no more tasks."""
        node.works = False
        return scene.conference

    def put(self, device: Device, conference: str, action: str, body: Any, headers: dict[str, str]) -> None:
        """Send a PUT, and require that it succeeds without too many queries."""
        with Queries() as queries:
            response = device.put(conference, action, body, **headers)
        assert response.status_code == 204, response.content
        assert queries.count <= self.MOST + _participants(action) + _key(headers), "\n".join(
            query["sql"][:200] for query in queries
        )

    def test_starting(self, devices: list[Device], node: ScriptedNode) -> None:
        host, *guests = devices
        node.works = False
        with Queries() as queries:
            assert host.gather(*(guest.username for guest in guests)).status_code == 201
        assert queries.count <= self.MOST + 1  # PostgreSQL also reads the called users' devices, to lock them

    def test_joining(self, devices: list[Device], conference: str, headers: dict[str, str]) -> None:
        late = devices[-1]
        self.put(late, conference, "conference-answer", late.offer(), headers)

    @pytest.mark.parametrize("listed", [True, False])
    def test_joining_again(self, devices: list[Device], conference: str, headers: dict[str, str], listed: bool) -> None:
        late = devices[-2]
        late.delete(conference)
        if not listed:
            Participant.objects.filter(session=late.id).update(listed=False)
            Conference.objects.update(unlisted=1)
        with Queries() as queries:
            assert late.put(conference, "conference-answer", late.offer(), **headers).status_code == 204
        # One more query writes the stay that has ended, and one more loads a participant that is not listed.
        assert queries.count <= self.MOST + _participants("conference-answer") + 1 + (not listed) + _key(headers)

    def test_answering_a_call(self, devices: list[Device], node: ScriptedNode, headers: dict[str, str]) -> None:
        host, *guests = devices
        conference = host.gather(*(guest.username for guest in guests)).json()["id"]
        for guest in guests[1:]:
            guest.join(conference)
        node.works = False
        self.put(guests[0], conference, "conference-answer", guests[0].offer(), headers)

    def test_making_an_offer(self, devices: list[Device], conference: str, headers: dict[str, str]) -> None:
        devices[0].follow(conference)
        self.put(devices[0], conference, MOD, devices[0].offer(), headers)

    @pytest.mark.parametrize("action", [ACCEPT, WITHDRAW])
    def test_settling_an_offer_of_the_focus(
        self, devices: list[Device], conference: str, action: str, headers: dict[str, str]
    ) -> None:
        host = devices[0]
        (waiting,) = host.offers(conference)
        self.put(host, conference, action, {"modId": waiting["modId"], **host.mirror(waiting)}, headers)

    def test_applying_a_result_of_the_focus(self, devices: list[Device], conference: str, node: ScriptedNode) -> None:
        for device in devices[:-1]:
            node.works = True
            device.follow(conference)
        node.works = False
        assert devices[1].put(conference, HOLD, devices[1].offer("recvonly")).status_code == 204
        task = MediaTask.objects.latest("pk")
        result = node.execute(task)
        assert len(result.offers) == len(devices) - 2
        with Queries() as queries:
            settle_task(task_id=task.pk, result=result, now=timezone.now())
        assert Modification.objects.pending().count() == len(devices) - 2
        # No request is authenticated. But queries read the task, and the participant that caused it.
        assert queries.count <= self.MOST + 1

    def test_beginning_to_ring(self, devices: list[Device], node: ScriptedNode) -> None:
        host, *guests = devices
        node.works = False
        host.gather(*(guest.username for guest in guests))
        task = MediaTask.objects.latest("pk")
        result = node.execute(task)
        with Queries() as queries:
            settle_task(task_id=task.pk, result=result, now=timezone.now())
        assert all(guest.news_types() == ["invitation-received"] for guest in guests)
        # Two more queries find the guests' devices and other calls. On PostgreSQL, four more lock the guests.
        assert queries.count <= self.MOST + 2 + 4

    @pytest.mark.parametrize("who", ["host", "guest"])
    def test_leaving(self, devices: list[Device], conference: str, who: str) -> None:
        device = devices[0] if who == "host" else devices[1]
        with Queries() as queries:
            assert device.delete(conference).status_code == 200
        assert queries.count <= self.MOST

    def test_ending_a_call_that_rings_for_many(self, devices: list[Device], node: ScriptedNode) -> None:
        host, *guests = devices
        conference = host.gather(*(guest.username for guest in guests)).json()["id"]
        node.works = False
        with Queries() as queries:
            assert host.delete(conference).status_code == 200
        assert queries.count <= self.MOST

    def test_muting(self, devices: list[Device], conference: str) -> None:
        participant = devices[0].get(conference)["participants"][1]["id"]
        with Queries() as queries:
            path = f"/mediaConferences/{conference}/participants/{participant}/mute"
            assert devices[0].request("PUT", path, {"audio": True}).status_code == 204
        assert queries.count <= self.MOST

    def test_raising_a_hand(self, devices: list[Device], conference: str) -> None:
        participant = devices[0].participant(conference)["id"]
        with Queries() as queries:
            path = f"/mediaConferences/{conference}/participants/{participant}/hand"
            assert devices[0].request("PUT", path, {"raised": True}).status_code == 204
        assert queries.count <= self.MOST

    def test_inviting(self, devices: list[Device], conference: str) -> None:
        with Queries() as queries:
            path = f"/mediaConferences/{conference}/participants"
            assert devices[0].request("POST", path, {"to": devices[-1].username}).status_code == 201
        assert queries.count <= self.MOST
