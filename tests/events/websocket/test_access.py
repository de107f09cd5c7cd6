"""Access to the WebSocket: tokens, origins and addresses."""

import asyncio

import pytest
import websockets

from tests.support.endpoints import PATIENCE, Endpoints, close_code, connect, new_name, next_event
from tests.support.services import Server


@pytest.mark.any_engine
async def test_protocol_is_selected_and_never_the_token(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with alice.socket() as socket:
        assert socket.subprotocol == "sbe.v1"


@pytest.mark.any_engine
async def test_token_can_be_in_the_authorization_header(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    headers = {"authorization": f"Bearer {bob.token}"}
    async with connect(server, bob.events_path, token=None, subprotocols=None, additional_headers=headers) as socket:
        assert socket.subprotocol is None
        assert (await next_event(socket))["seq"] == 1


@pytest.mark.any_engine
async def test_gateway_can_read_with_its_key(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    headers = {"authorization": f"Api-Key {server.api_key}"}
    async with connect(server, bob.events_path, token=None, additional_headers=headers) as socket:
        assert (await next_event(socket))["seq"] == 1


@pytest.mark.any_engine
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic YTpi", "Api-Key wrong.key", "\xff"])
async def test_unknown_credentials_are_refused(server: Server, endpoints: Endpoints, authorization: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    headers = {"authorization": authorization}
    async with connect(server, alice.events_path, token=None, additional_headers=headers) as socket:
        assert await close_code(socket) == 4401


@pytest.mark.parametrize("token", ["wrong", "%00", "%2C", "."])
async def test_unknown_token_is_refused(server: Server, endpoints: Endpoints, token: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with connect(server, alice.events_path, token=token) as socket:
        assert await close_code(socket) == 4401


async def test_token_of_an_ended_session_is_refused(server: Server, endpoints: Endpoints) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    await alice.request("DELETE", f"/sessions/{alice.id}")
    async with alice.socket() as socket:
        assert await close_code(socket) == 4401


async def test_session_of_another_user_is_not_found(server: Server, endpoints: Endpoints) -> None:
    alice, bob, _ = await endpoints.call(server)
    async with connect(server, alice.events_path, token=bob.token) as socket:
        assert await close_code(socket) == 4404


@pytest.mark.any_engine
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "file://", "http://127.0.0.1:1"])
async def test_foreign_page_is_refused(server: Server, endpoints: Endpoints, origin: str) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    async with alice.socket(additional_headers={"origin": origin}) as socket:
        assert await close_code(socket) == 4403


@pytest.mark.any_engine
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "a b", "127.0.0.1:x"])
@pytest.mark.parametrize("is_page", [True, False])
async def test_host_that_is_not_ours_is_refused(server: Server, endpoints: Endpoints, host: str, is_page: bool) -> None:
    alice = await endpoints.register(server, new_name("alice"))
    origin = f"origin: http://{host}\r\n" if is_page else ""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"GET {alice.events_path} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n{origin}"
        f"sec-websocket-version: 13\r\nsec-websocket-key: {'A' * 22}==\r\n"
        f"authorization: Bearer {alice.token}\r\n\r\n".encode()
    )
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 101"):
            assert await reader.readexactly(4) == b"\x88\x02" + (4403).to_bytes(2)
        else:
            assert head.startswith(b"HTTP/1.1 400")
    writer.close()


@pytest.mark.any_engine
async def test_page_of_our_own_origin_is_allowed(server: Server, endpoints: Endpoints) -> None:
    _, bob, _ = await endpoints.call(server)
    async with bob.socket(origin=websockets.Origin(server.base_url)) as socket:
        assert (await next_event(socket))["seq"] == 1
