"""A WebSocket ends with its session."""

from tests.support.endpoints import Endpoints, close_code, events_until
from tests.support.producing import Serve, numbers, produce
from tests.support.services import Server


async def test_end_of_the_session_closes_the_socket_after_the_last_event(server: Server, endpoints: Endpoints) -> None:
    alice, bob, conference = await endpoints.call(server)
    await produce(alice, conference, 10)
    async with bob.socket(after=0) as socket:
        await alice.modify(conference)
        await bob.request("DELETE", f"/sessions/{bob.id}")
        events = await events_until(socket, 22)
        assert await close_code(socket) == 4401
    assert numbers(events) == list(range(1, 23))


async def test_expiry_of_the_session_closes_the_socket(serve: Serve, endpoints: Endpoints) -> None:
    server = serve(SBE_SESSION_SECONDS="1")
    alice = await endpoints.register(server, "alice")
    async with alice.socket() as socket:
        assert await close_code(socket) == 4401
