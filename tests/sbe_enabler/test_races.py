"""Races between processes: two simultaneous actions have the same result as one after the other.

Each test runs with two servers on PostgreSQL and Redis, and with one on SQLite. The tests check which request wins, and
all events. The servers' logs must contain no traceback, no deadlock and no locked database.
"""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.support.depth import examples
from tests.support.descriptions import describe, mirror
from tests.support.endpoints import UNLIMITED, Endpoint, Endpoints, new_name, until
from tests.support.services import Backends, Server

pytestmark = pytest.mark.once

DEVICES = 8
ROUNDS = examples(2, deep=3)
FAULTS = "Traceback|deadlock|database is locked"


# SQLite has only one writer and is meant for trials, so `make test` runs only a sample of these races on it.
SAMPLE_ON_SQLITE = {
    "test_simultaneous_requests_of_all_kinds_never_deadlock",
    "test_simultaneous_identical_requests_have_one_effect_and_equal_answers",
    "test_modification_is_settled_once",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with both kinds of database."""
    marks = () if metafunc.function.__name__ in SAMPLE_ON_SQLITE else pytest.mark.deep
    kinds = [pytest.param("sqlite", marks=marks), "grown"]
    metafunc.parametrize("running", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, backends: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Server]]:
    """All server processes of one database."""
    grown = request.param == "grown"
    backend = backends.grown() if grown else backends.sqlite()
    with ExitStack() as stack:
        yield [
            stack.enter_context(Server(backend, tmp_path_factory.mktemp("racing"), UNLIMITED))
            for _ in range(2 if grown else 1)
        ]


@pytest.fixture
def servers(running: list[Server]) -> Iterator[list[Server]]:
    """The server processes, none of which may log a fault."""
    before = [len(server.log()) for server in running]
    yield running
    for server, begin in zip(running, before, strict=True):
        log = server.log()[begin:]
        assert not re.search(FAULTS, log), log[-3000:]


async def users(endpoints: Endpoints, servers: list[Server], *names: str) -> list[Endpoint]:
    """Register one endpoint of a new user for each name, spread over the servers."""
    return [
        await endpoints.register(servers[number % len(servers)], new_name(name)) for number, name in enumerate(names)
    ]


async def devices(endpoints: Endpoints, servers: list[Server], username: str, number: int = DEVICES) -> list[Endpoint]:
    """Register several devices of one user, spread over the servers."""
    return list(
        await asyncio.gather(
            *(endpoints.register(servers[n % len(servers)], username, f"device {n}") for n in range(number))
        )
    )


def of_type(events: list[dict[str, Any]], type_: str, conference: str) -> list[dict[str, Any]]:
    """Return the events of a type about a conference."""
    return [event for event in events if event["type"] == type_ and event["confId"] == conference]


def codes(responses: list[httpx.Response]) -> list[str]:
    """Return the codes of the refusals."""
    return [response.json()["code"] for response in responses if response.status_code != 204]


async def race(*requests: Awaitable[httpx.Response]) -> list[httpx.Response]:
    """Send requests simultaneously; return their responses."""
    async with asyncio.timeout(30):
        return list(await asyncio.gather(*requests))


async def started(caller: Endpoint, called: str) -> str:
    """Start a call; return the confId."""
    response = await caller.call(called)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def single(winners: list[Any]) -> Any:
    """Return the only element."""
    assert len(winners) == 1, winners
    return winners[0]


# --- Answers ----------------------------------------------------------------------------------------------


async def test_one_of_many_devices_answers_a_call(servers: list[Server], endpoints: Endpoints) -> None:
    callers = await users(endpoints, servers, *(["alice"] * 12))
    bobs = await devices(endpoints, servers, new_name("bob"))
    assert len(callers) + len(bobs) == 20
    for caller in callers[:ROUNDS]:
        conference = await started(caller, bobs[0].username)
        answers = await race(*(bob.answer(conference) for bob in bobs))
        winner = single([bob for bob, answer in zip(bobs, answers, strict=True) if answer.status_code == 204])
        assert codes(answers) == ["already-answered"] * (DEVICES - 1)
        opened = single(of_type(await caller.log(), "session-open", conference))
        assert opened["conference"]["participants"][1]["sessionId"] == winner.id
        for bob in bobs:
            cancelled = of_type(await bob.log(), "invitation-cancelled", conference)
            assert [event["reason"] for event in cancelled] == ([] if bob is winner else ["answered-elsewhere"])
        await caller.delete(conference)


async def test_one_of_many_devices_answers_a_move(servers: list[Server], endpoints: Endpoints) -> None:
    alice, bob = await users(endpoints, servers, "alice", "bob")
    others = await devices(endpoints, servers, bob.username)
    here = bob
    for number in range(ROUNDS):
        conference = await started(alice, bob.username)
        assert (await here.answer(conference)).status_code == 204
        offer = {"type": "offer", "sdp": describe("recvonly", session=50 + number, version=3)}
        held = await here.put(conference, "initiate-call-hold", offer)
        assert held.status_code == 204, held.text
        moving = await here.delete(conference)
        assert moving.json()["outcome"] == "moving", moving.text
        candidates = [each for each in others if each is not here]
        body = {"type": "offer", "sdp": describe(session=60 + number)}
        answers = await race(*(each.put(conference, "conference-answer", body) for each in candidates))
        winner = single([each for each, done in zip(candidates, answers, strict=True) if done.status_code == 204])
        assert set(codes(answers)) <= {"already-answered"}
        single(of_type(await alice.log(), "participant-moved", conference))
        assert single(of_type(await alice.log(), "mod-received", conference)[1:])["restart"] is True
        for each in candidates:
            reasons = [e["reason"] for e in of_type(await each.log(), "invitation-cancelled", conference)]
            # Each of these devices got one cancellation when `here` answered the call. The losers of the move got a
            # second one.
            assert reasons == ["answered-elsewhere"] * (1 if each is winner else 2)
        assert (await alice.delete(conference)).status_code == 200
        here = winner


async def test_one_of_two_crossing_calls_survives_if_both_users_accept(
    servers: list[Server], endpoints: Endpoints
) -> None:
    for _ in range(2 * ROUNDS):
        alice, bob = await users(endpoints, servers, "alice", "bob")
        calls = [await started(alice, bob.username), await started(bob, alice.username)]
        answers = await race(bob.answer(calls[0]), alice.answer(calls[1]))
        assert sorted(answer.status_code for answer in answers) == [204, 409]
        assert codes(answers) == ["not-ringing"]
        rows = [(await alice.request("GET", f"/mediaConferences/{call}")).json() for call in calls]
        assert sorted(row["state"] for row in rows) == ["session-open", "session-terminated"]
        (survivor,) = (row for row in rows if row["state"] == "session-open")
        host = alice if survivor["id"] == calls[0] else bob
        single(of_type(await host.log(), "session-open", survivor["id"]))


# --- Modifications ----------------------------------------------------------------------------------------


async def open_call(endpoints: Endpoints, servers: list[Server]) -> tuple[Endpoint, Endpoint, str]:
    """Open a conference between two sides, each at a different server."""
    alice, bob = await users(endpoints, servers, "alice", "bob")
    conference = await started(alice, bob.username)
    assert (await bob.answer(conference)).status_code == 204
    return alice, bob, conference


async def test_one_of_many_modifications_is_pending(servers: list[Server], endpoints: Endpoints) -> None:
    alice, bob, conference = await open_call(endpoints, servers)
    for number in range(1, ROUNDS + 1):
        offers = await race(*(side.modify(conference) for side in [alice, bob] * (DEVICES // 2)))
        winner = single([offer for offer in offers if offer.status_code == 204])
        refusals = [offer.json() for offer in offers if offer is not winner]
        assert {(refusal["code"], refusal["modId"]) for refusal in refusals} == {
            ("modification-pending", winner.headers["x-mod-id"])
        }
        assert all(0 <= refusal["retryAfterMs"] <= 4000 for refusal in refusals)
        logs = await alice.log() + await bob.log()
        assert len(of_type(logs, "mod-received", conference)) == number
        assert (await alice.withdraw(conference, winner.headers["x-mod-id"])).status_code == 204


async def test_modification_is_settled_once(servers: list[Server], endpoints: Endpoints) -> None:
    alice, bob, conference = await open_call(endpoints, servers)
    finals: Counter[str] = Counter()
    for _ in range(3 * ROUNDS):
        mod = (await alice.modify(conference)).headers["x-mod-id"]
        settlements = await race(
            bob.accept(conference, mod), alice.withdraw(conference, mod), bob.withdraw(conference, mod)
        )
        winner = single([settlement for settlement in settlements if settlement.status_code == 204])
        final = winner.headers["x-state"]
        for settlement in settlements:
            if settlement is not winner:
                assert (settlement.json()["code"], settlement.json()["state"]) == ("modification-settled", final)
        events = [event for event in await alice.log() + await bob.log() if event.get("modId") == mod]
        assert sorted(event["type"] for event in events) == sorted(["mod-received", final])
        finals[final] += 1
    assert sum(finals.values()) == 3 * ROUNDS


async def test_settlement_and_expiry_do_not_both_happen(
    running: list[Server], serve: Callable[..., Server], endpoints: Endpoints
) -> None:
    # Each server has its own timekeeper.
    hasty = [serve(server.backend, **UNLIMITED, SBE_MODIFICATION_SECONDS="0.4") for server in running]
    alice, bob, conference = await open_call(endpoints, hasty)

    async def after(seconds: float, request: Awaitable[httpx.Response]) -> httpx.Response:
        await asyncio.sleep(seconds)
        return await request

    for round_ in range(2 * ROUNDS):
        mod = (await alice.modify(conference)).headers["x-mod-id"]
        # An offer expires between 400 and about 600 ms after its creation.
        delay = 0.35 + 0.05 * round_
        settlements = await race(
            after(delay, bob.accept(conference, mod)), after(delay, alice.withdraw(conference, mod))
        )
        finals = {each.headers.get("x-state") or each.json()["state"] for each in settlements}
        final = single(list(finals))
        assert final in {"mod-accepted", "mod-cancelled", "mod-expired"}
        types = [event["type"] for event in await alice.log() + await bob.log() if event.get("modId") == mod]
        # The side that settles the offer gets no event. Both sides get the event of an expiry.
        assert sorted(types) == sorted(["mod-received"] + [final] * (2 if final == "mod-expired" else 1))
    for server in hasty:
        assert not re.search(FAULTS, server.log())


# --- Conferences of many ----------------------------------------------------------------------------------


def at(version: int, number: int, **variation: Any) -> dict[str, str]:
    """Return an offer of a peer connection. Its DTLS fingerprint is invented, because no media flows here."""
    return {"type": "offer", "sdp": describe(session=1000 + number, version=version, **variation)}


async def test_simultaneous_joins_do_not_exceed_the_capacity(
    running: list[Server], serve: Callable[..., Server], endpoints: Endpoints
) -> None:
    small = [serve(server.backend, **UNLIMITED, SBE_CONFERENCE_CAPACITY="4") for server in running]
    host, *guests = await users(endpoints, small, *(["guest"] * (DEVICES + 1)))
    for _ in range(ROUNDS):
        body = {"to": [], "access": "open", **at(1, 0)}
        conference = (await host.request("POST", "/mediaConferences", body)).json()["id"]
        answers = await race(
            *(guest.put(conference, "conference-answer", at(1, number)) for number, guest in enumerate(guests, start=1))
        )
        assert codes(answers) == ["conference-full"] * (DEVICES - 3)
        participants = (await host.request("GET", f"/mediaConferences/{conference}")).json()["participants"]
        assert [participant["state"] for participant in participants] == ["accepted"] * 4
        single(of_type(await host.log(), "session-open", conference))
        assert len(of_type(await host.log(), "participant-joined", conference)) == 2
        await host.delete(conference)
    for server in small:
        assert not re.search(FAULTS, server.log())


async def test_participants_that_change_simultaneously_end_with_the_same_tracks(
    servers: list[Server], endpoints: Endpoints
) -> None:
    people = await users(endpoints, servers, *(["user"] * 5))
    conference = (await people[0].request("POST", "/mediaConferences", {"access": "open", **at(1, 0)})).json()["id"]

    async def follow(number: int, offer: dict[str, Any]) -> None:
        sdp = mirror(offer["description"]["sdp"], session=1000 + number, version=offer["seq"] + 100)
        body = {"modId": offer["modId"], "type": "answer", "sdp": sdp}
        accepted = await people[number].put(conference, "accept-conference-mod", body)
        assert accepted.status_code == 204, accepted.text

    async def live(number: int) -> None:
        """Join, change the sent tracks, and accept all offers of the focus until there are no more."""
        me, after, left = people[number], 0, ROUNDS
        lines = at(1, number)["sdp"]
        if number:
            answered = await me.put(conference, "conference-answer", at(1, number))
            assert answered.status_code == 204, answered.text
        while True:
            batch = (await me.poll(after=after, wait=2)).json()
            after = batch["after"]
            for event in batch["events"]:
                assert event["type"] not in {"mod-rejected", "mod-expired"}, str(event)
                if event["type"] == "mod-received":
                    await follow(number, event)
                    lines = event["description"]["sdp"]
            if not batch["events"]:
                return
            if left:
                # This offer is refused until another user has joined, and while another modification is pending.
                left -= 1
                sdp = mirror(lines, session=1000 + number, version=after + 100, setup="actpass")
                offered = await me.put(conference, "initiate-conference-mod", {"type": "offer", "sdp": sdp})
                assert offered.status_code == 204 or offered.json()["code"] in {
                    "modification-pending",
                    "conference-not-open",
                }, offered.text

    async with asyncio.timeout(60):
        await asyncio.gather(*map(live, range(len(people))))
    views = [(await each.request("GET", f"/mediaConferences/{conference}")).json() for each in people]
    assert all(view == views[0] for view in views)
    assert views[0]["pendingModifications"] == []
    assert [participant["state"] for participant in views[0]["participants"]] == ["accepted"] * len(people)


# --- Sessions ---------------------------------------------------------------------------------------------


async def test_device_that_registers_while_a_call_starts_rings_once(
    servers: list[Server], endpoints: Endpoints
) -> None:
    (alice,) = await users(endpoints, servers, "alice")
    for _ in range(2 * ROUNDS):
        name = new_name("bob")
        calling = asyncio.create_task(alice.call(name))
        bobs = await devices(endpoints, servers[::-1], name, 4)
        conference = (await calling).json()["id"]
        for bob in bobs:
            assert len(of_type(await bob.log(), "invitation-received", conference)) == 1
        await alice.delete(conference)


async def test_device_that_registers_while_a_conference_begins_to_ring_rings_once(
    servers: list[Server], endpoints: Endpoints
) -> None:
    (alice,) = await users(endpoints, servers, "alice")
    for number in range(2 * ROUNDS):
        bob, carol = new_name("bob"), new_name("carol")
        started_ = await alice.request("POST", "/mediaConferences", {"to": [bob], "access": "open", **at(1, number)})
        conference = started_.json()["id"]
        # One user is invited before the focus answers alice's offer, and one while it answers.
        inviting = asyncio.create_task(
            alice.request("POST", f"/mediaConferences/{conference}/participants", {"to": carol})
        )
        guests = await asyncio.gather(*(devices(endpoints, servers[::-1], name, 3) for name in (bob, carol)))
        assert (await inviting).status_code == 201
        for guest in itertools.chain(*guests):

            async def rings(guest: Endpoint = guest, conference: str = conference) -> bool:
                return bool(of_type(await guest.log(), "invitation-received", conference))

            await until(rings, "every device rings")
            single(of_type(await guest.log(), "invitation-received", conference))
        await alice.delete(conference)


async def test_device_that_registers_while_a_move_begins_rings_once(
    servers: list[Server], endpoints: Endpoints
) -> None:
    for number in range(ROUNDS):
        alice, bob, conference = await open_call(endpoints, servers)
        await devices(endpoints, servers, bob.username, 1)
        offer = {"type": "offer", "sdp": describe("recvonly", session=50 + number, version=3)}
        assert (await bob.put(conference, "initiate-call-hold", offer)).status_code == 204
        moving = asyncio.create_task(bob.delete(conference))
        bobs = await devices(endpoints, servers[::-1], bob.username, 4)
        assert (await moving).json()["outcome"] == "moving"
        for each in bobs:
            assert len(of_type(await each.log(), "invitation-received", conference)) == 1
        await alice.delete(conference)


async def test_simultaneous_requests_of_all_kinds_never_deadlock(servers: list[Server], endpoints: Endpoints) -> None:
    names = [new_name(name) for name in ("alice", "bob", "carol", "dave")]
    people = [each for name in names for each in await devices(endpoints, servers, name, 2)]

    async def live(number: int) -> None:
        me = people[number]
        for turn in range(ROUNDS):
            other = names[(number // 2 + 1 + turn % 3) % 4]
            conference = await started(me, other)
            await race(*(each.answer(conference) for each in people if each.username == other))
            await race(me.modify(conference), pass_by(me.username))
            await me.delete(conference)

    async def pass_by(username: str) -> httpx.Response:
        """Register another device of a user, and end the device's session at once."""
        passer = await endpoints.register(servers[-1], username, "passing by")
        return await passer.request("DELETE", f"/sessions/{passer.id}")

    async with asyncio.timeout(60):
        await asyncio.gather(*map(live, range(len(people))))


async def test_end_of_a_session_and_its_answer_leave_no_participant_behind(
    servers: list[Server], endpoints: Endpoints
) -> None:
    for _ in range(ROUNDS):
        alice, bob = await users(endpoints, servers, "alice", "bob")
        conference = await started(alice, bob.username)
        await race(bob.answer(conference), bob.request("DELETE", f"/sessions/{bob.id}"))

        async def is_over(caller: Endpoint = alice, conference: str = conference) -> bool:
            row = (await caller.request("GET", f"/mediaConferences/{conference}")).json()
            return bool(row["state"] != "session-open")

        await until(is_over, "the empty conference ends")


# --- Identical requests -----------------------------------------------------------------------------------


async def test_simultaneous_identical_requests_have_one_effect_and_equal_answers(
    servers: list[Server], endpoints: Endpoints
) -> None:
    alice, bob, conference = await open_call(endpoints, servers)
    body = {"type": "offer", "sdp": describe(version=3)}
    twins = [alice.elsewhere(server) for server in servers]
    answers = await race(
        *(
            twins[n % len(twins)].put(conference, "initiate-conference-mod", body, idempotency_key="once")
            for n in range(DEVICES)
        )
    )
    assert {(answer.status_code, answer.headers.get("x-mod-id")) for answer in answers} == {
        (204, answers[0].headers["x-mod-id"])
    }
    single(of_type(await bob.log(), "mod-received", conference))

    nobody = new_name("nobody")
    started_ = await race(*(twins[n % len(twins)].call(nobody, idempotency_key="call") for n in range(DEVICES)))
    assert {answer.status_code for answer in started_} == {201}
    assert len({answer.content for answer in started_}) == 1
    assert len({answer.headers["location"] for answer in started_}) == 1
