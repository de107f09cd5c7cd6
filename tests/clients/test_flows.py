"""Every flow of the protocol with both clients, against a real server."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sbe_client import AsyncClient, Client, Description, Event, Refusal, SbeError, SessionOver
from tests.support.descriptions import answer, describe, offer
from tests.support.endpoints import new_name
from tests.support.services import Server

pytestmark = pytest.mark.once


def offered(direction: str = "sendrecv", version: int = 2) -> Description:
    """Return the caller's offer."""
    return Description.offer(offer(direction, version=version)["sdp"])


def answered(direction: str = "sendrecv", version: int = 2) -> Description:
    """Return the callee's answer."""
    return Description.answer(answer(direction, version=version)["sdp"])


def other_offer() -> Description:
    """Return the offer of another device."""
    return Description.offer(describe(session=99, version=1))


def types(events: Iterator[Event]) -> list[str]:
    """Return the types of events."""
    return [event.type for event in events]


def test_sync_client_calls_holds_resumes_modifies_and_moves(server: Server) -> None:
    alice_name, bob_name = new_name("alice"), new_name("bob")
    with ExitStack() as stack:
        alice, phone, bob = (stack.enter_context(Client(server.base_url, api_key=server.api_key)) for _ in range(3))
        alice.register(alice_name, device="laptop")
        phone.register(alice_name, device="phone", vtn="+15550100")
        assert bob.register(bob_name).username == bob_name
        assert {each.device for each in alice.people(alice_name)} == {"laptop", "phone"}

        conf = alice.call(bob_name, offered(), topology="peer", name="First")
        assert (conf.state, conf.topology, conf.name) == ("invitation-sent", "peer", "First")
        assert [each.username for each in conf.participants] == [alice_name, bob_name]
        assert conf.mod_id == conf.pending[0].mod_id
        assert [each.reachable for each in conf.participants] == [None, 1]
        (ringing,) = list(bob.events(idle=0))
        assert ringing.description == offered()
        bob.answer(conf.id, answered())
        assert bob.conference(conf.id).state == "session-open"
        assert [each.id for each in bob.conferences()] == [conf.id]

        bob.accept(conf.id, alice.hold(conf.id, offered("recvonly", 3)), answered("sendonly", 3))
        bob.accept(conf.id, alice.resume(conf.id, offered("sendrecv", 4)), answered("sendrecv", 4))
        bob.reject(conf.id, alice.modify(conf.id, offered("sendrecv", 5)))
        alice.cancel(conf.id, alice.modify(conf.id, offered("sendrecv", 6)))
        with pytest.raises(Refusal) as refused:
            alice.resume(conf.id, offered("sendrecv", 7))
        assert (refused.value.status, refused.value.code) == (409, "not-on-hold")

        left = alice.move(conf.id, offered("recvonly", 8))
        assert (left.outcome, left.move_refused) == ("moving", None)
        assert left.rings_until is not None
        mod = phone.answer(conf.id, other_offer())
        assert mod
        bob.accept(conf.id, mod, answered("sendrecv", 9))
        assert bob.hang_up(conf.id).outcome == "terminated"
        assert types(alice.events(idle=0)) == [
            "session-open", "mod-accepted", "participant-on-hold", "mod-accepted", "participant-resumed",
            "mod-rejected", "participant-moved",
        ]  # fmt: skip
        assert [each.id for each in bob.conferences("session-terminated")] == [conf.id]

        second = alice.call(bob_name, offered(), topology="peer")
        assert bob.decline(second.id).outcome == "declined"
        assert list(alice.events(idle=0))[-1].reason == "declined"
        third = alice.call(bob_name, offered(), topology="peer")
        alice.hang_up(third.id)
        assert [each.id for each in bob.conferences(missed=True)] == [third.id]

    with pytest.raises(SbeError, match="Register first"):
        alice.conferences()


async def test_async_client_hosts_an_open_conference(server: Server) -> None:
    async with (
        AsyncClient(server.base_url, api_key=server.api_key) as alice,
        AsyncClient(server.base_url, api_key=server.api_key) as bob,
    ):
        await alice.register(new_name("alice"))
        await bob.register(new_name("bob"))
        assert bob.session
        conf = await alice.call([], offered(), access="open")
        assert (conf.topology, conf.access) == ("focus", "open")
        invited = await alice.invite(conf.id, bob.session.username)
        async with bob.events() as events:
            ringing = await anext(events)
            assert ringing.participant == invited
            await bob.answer(conf.id, other_offer())
            settled = await anext(events)
            assert settled.type == "mod-accepted"
            await alice.mute(conf.id, invited.id, audio=True)
            while (event := await anext(events)).type != "participant-muted":
                pass
            assert event.participant
            assert (event.participant.muted_audio, event.participant.muted_video) == (True, False)
            await alice.remove(conf.id, invited.id)
            while (event := await anext(events)).type != "participant-left":
                pass
            assert event.reason == "removed"
        assert (await alice.hang_up(conf.id)).outcome == "terminated"


def test_application_registers_for_the_sync_client(server: Server) -> None:
    back_end = Client(server.base_url, api_key=server.api_key)
    name = new_name("alice")
    with Client(server.base_url, register=lambda: back_end.register(name).raw) as client:
        assert client.register().username == name
        assert client.conferences() == []
        with pytest.raises(SbeError, match="API key"):
            client.people()
    back_end.close()


async def test_application_registers_for_the_async_client(server: Server) -> None:
    back_end = AsyncClient(server.base_url, api_key=server.api_key)
    name = new_name("alice")
    async with AsyncClient(server.base_url, register=lambda: back_end.register(name)) as client:
        assert (await client.register()).username == name
        refreshed = await client.refresh()
        assert client.session == refreshed
        assert await client.conferences() == []
    await back_end.aclose()


async def test_ended_session_is_reported_to_requests_and_events(server: Server) -> None:
    async with AsyncClient(server.base_url, api_key=server.api_key) as client:
        session = await client.register(new_name("alice"))
        async with AsyncClient(server.base_url, register=lambda: session) as other, client.events() as events:
            await events.opened()
            await other.register()
            await other.unregister()
            with pytest.raises(SessionOver):
                await anext(events)
        with pytest.raises(SessionOver):
            await client.conferences()
