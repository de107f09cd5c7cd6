"""Idle WebSockets: they use little memory, and still work as autobahn and Daphne expect."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from daphne.ws_protocol import WebSocketFactory
from twisted.internet.testing import StringTransport

from sbe_enabler.web.resting import ReceiveQueue, RestingWebSocket

HANDSHAKE = (
    b"GET /sessions/x/events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"
)


class Server:
    """The parts of Daphne's server that its WebSocket protocol uses."""

    root_path = ""
    proxy_forwarded_address_header = None

    def __init__(self) -> None:
        self.inputs: list[ReceiveQueue] = []
        self.gone: list[object] = []

    def create_application(self, protocol: object, scope: dict[str, Any]) -> ReceiveQueue:
        """Return the queue from which a new application would read its messages."""
        self.inputs.append(ReceiveQueue())
        return self.inputs[-1]

    def protocol_connected(self, protocol: object) -> None:
        """Ignore a connection."""

    def protocol_disconnected(self, protocol: object) -> None:
        """Record that a connection is closed."""
        self.gone.append(protocol)

    def log_action(self, *action: object) -> None:
        """Keep no log."""


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def connect(server: Server) -> Callable[[], RestingWebSocket]:
    """Make open WebSockets of one server."""
    factory = WebSocketFactory(server, server="tests")
    factory.protocol = RestingWebSocket
    RestingWebSocket.share(factory)

    def make() -> RestingWebSocket:
        protocol: RestingWebSocket = factory.buildProtocol(None)
        protocol._raw_query_string = b""
        protocol.makeConnection(StringTransport())  # type: ignore[no-untyped-call]
        # Daphne's HTTP connection has registered a producer. The transport in tests requires one too.
        protocol.registerProducer(object(), True)
        protocol.dataReceived(HANDSHAKE)
        protocol.handle_reply({"type": "websocket.accept", "subprotocol": "a"})
        assert b"sec-websocket-protocol: a" in protocol.transport.value().lower()
        protocol.transport.clear()
        return protocol

    return make


def frame(opcode: int, payload: bytes, *, is_last: bool = True) -> bytes:
    """Return a client's frame."""
    return bytes([opcode | 0x80 * is_last, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def taken(queue: ReceiveQueue) -> list[dict[str, Any]]:
    """Return the messages that have arrived."""
    await queue.get()  # Daphne's own "websocket.connect"
    queue.put_nowait({"type": "end"})
    messages = []
    while (message := await queue.get())["type"] != "end":
        messages.append(message)
    return messages


def test_open_websocket_has_few_attributes(connect: Callable[[], RestingWebSocket]) -> None:
    protocol = connect()
    protocol.dataReceived(frame(1, b"hello"))
    assert len(vars(protocol)) <= 40
    kept = repr({name: value for name, value in vars(protocol).items() if name not in {"factory", "transport"}})
    assert "Sec-WebSocket" not in kept
    assert "AAAAAAAA" not in kept


async def test_idle_websocket_works_as_before(connect: Callable[[], RestingWebSocket], server: Server) -> None:
    one, other = connect(), connect()
    one.dataReceived(frame(1, b"hel", is_last=False))
    other.dataReceived(frame(1, "grüß".encode()))
    one.dataReceived(frame(0, b"lo") + frame(9, b"ping"))
    assert [message["text"] for message in await taken(server.inputs[0])] == ["hello"]
    assert [message["text"] for message in await taken(server.inputs[1])] == ["grüß"]
    assert one.transport.value() == b"\x8a\x04ping"
    one.transport.clear()
    one.handle_reply({"type": "websocket.send", "text": "event"})
    assert one.transport.value() == b"\x81\x05event"
    assert other.transport.value() == b""


async def test_idle_websocket_closes_as_before(connect: Callable[[], RestingWebSocket], server: Server) -> None:
    by_us, by_client = connect(), connect()
    by_us.handle_reply({"type": "websocket.close", "code": 4408})
    assert by_us.transport.value() == b"\x88\x02" + (4408).to_bytes(2)
    by_client.dataReceived(frame(8, (1000).to_bytes(2)))
    assert by_client.transport.value() == b"\x88\x02" + (1000).to_bytes(2)
    for protocol in (by_us, by_client):
        protocol.connectionLost()
    assert server.gone == [by_us, by_client]
    assert [message["code"] for message in await taken(server.inputs[1])] == [1000]


async def test_receive_queue_keeps_its_order_and_loses_nothing_if_a_reader_is_cancelled() -> None:
    queue = ReceiveQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    waiting.cancel()
    queue.put_nowait({"number": 1})
    await asyncio.gather(waiting, return_exceptions=True)
    assert await queue.get() == {"number": 1}
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    for number in (2, 3):
        queue.put_nowait({"number": number})
    assert [(await waiting)["number"], (await queue.get())["number"]] == [2, 3]
