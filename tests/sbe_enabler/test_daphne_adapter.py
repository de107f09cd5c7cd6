"""The contract with Daphne, Twisted and autobahn: when this fails, a release has changed what we rely on."""

import ast
import asyncio
import errno
import hashlib
import inspect
import textwrap
import tomllib
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import SimpleNamespace
from typing import Any

import daphne.server
import pytest
from autobahn.exception import Disconnected
from autobahn.twisted.websocket import WebSocketServerFactory
from daphne.http_protocol import WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from packaging.requirements import Requirement
from twisted.internet import defer, endpoints
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure
from twisted.web import http as twisted_http

from sbe_enabler.connections import Limits, Slots
from sbe_enabler.web.flow import FlowControl
from sbe_enabler.web.http import HttpConnection, HttpFactory, HttpRequest
from sbe_enabler.web.resting import SPENT, USUAL, ReceiveQueue, RestingWebSocket
from sbe_enabler.web.server import DaphneServer, endpoint
from sbe_enabler.web.websocket import WebSocket, web_socket_factory

pytestmark = pytest.mark.once

_LIBRARIES = ("daphne.", "twisted.", "autobahn.")

# For each of our classes, the names that it has in common with its base classes in the libraries. Our methods and
# attributes with these names replace those of the libraries on purpose.
REPLACED: dict[type, set[str]] = {
    DaphneServer: {
        "connections",
        "create_application",
        "handle_reply",
        "http_factory",
        "listen_error",
        "listen_success",
        "run",
        "stop",
        "ws_factory",
    },
    HttpConnection: {
        "allContentReceived",
        "connectionLost",
        "connectionMade",
        "dataReceived",
        "loseConnection",
        "pauseProducing",
        "requestDone",
        "resumeProducing",
        "timeoutConnection",
    },
    HttpRequest: {
        "content",
        "finish",
        "gotLength",
        "handleContentChunk",
        "handle_reply",
        "process",
        "requestReceived",
        "setResponseCode",
    },
    HttpFactory: {"acceptableProtocols", "buildProtocol", "log", "protocol"},
    RestingWebSocket: {"current_frame_masker", "onFrameEnd", "succeedHandshake", *USUAL, *SPENT},
    WebSocket: {"connectionLost", "connectionMade", "dataReceived", "onClose"},
}
METHODS = [
    (ours, name)
    for ours, names in REPLACED.items()
    for name in sorted(names)
    if inspect.isfunction(vars(ours).get(name))
]


def libraries_classes(ours: type) -> list[type]:
    """Return the classes of the libraries from which one of our classes is derived."""
    return [each for each in ours.__mro__ if each.__module__.startswith(_LIBRARIES)]


def names_in(class_: type) -> set[str]:
    """Return the names that a class has, or sets on `self`, except special ones."""
    source = ast.parse(textwrap.dedent(inspect.getsource(class_)))
    set_on_self = {
        node.attr
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    return {name for name in {*vars(class_), *set_on_self} if not name.startswith("__")}


# --- Releases, names and parameters -----------------------------------------------------------------------


def test_the_installed_daphne_is_in_the_projects_version_range() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    stated = {each.name: each for each in map(Requirement, project["dependencies"])}["daphne"]
    assert version("daphne") in stated.specifier
    assert any(each.operator == "<" for each in stated.specifier)


@pytest.mark.parametrize("ours", REPLACED)
def test_our_classes_reuse_a_name_of_the_libraries_only_to_replace_it(ours: type) -> None:
    theirs = set[str]().union(*map(names_in, libraries_classes(ours)))
    if ours is RestingWebSocket:
        # Daphne's request class sets this attribute from outside.
        theirs.add("_raw_query_string")
    # `share` sets the attributes in `CONFIG_ATTRS`.
    common = names_in(ours) & theirs - set(getattr(ours, "CONFIG_ATTRS", ()))
    assert common - REPLACED[ours] == set(), "a library now uses a name of ours: rename ours"
    assert REPLACED[ours] - common == set(), "a library has renamed or removed what we replace"


@pytest.mark.parametrize(("ours", "name"), METHODS)
def test_a_replaced_method_takes_the_same_parameters(ours: Any, name: str) -> None:
    theirs = next(vars(each)[name] for each in libraries_classes(ours) if name in vars(each))
    assert list(inspect.signature(theirs).parameters) == list(inspect.signature(vars(ours)[name]).parameters)


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (Server, "application_checker", ["self"]),
        (Server, "timeout_checker", ["self"]),
        (WebSocketFactory, "__init__", ["self", "server_class", "args", "kwargs"]),
        (WebRequest, "__init__", ["self", "args", "kwargs"]),
        (WebRequest, "basic_error", ["self", "status", "status_text", "body"]),
        (twisted_http.Request, "__init__", ["self", "channel", "queued", "parsePOSTFormSubmission"]),
        (twisted_http.Request, "registerProducer", ["self", "producer", "streaming"]),
        (twisted_http.Request, "unregisterProducer", ["self"]),
        (twisted_http.Request, "setHeader", ["self", "name", "value"]),
        (twisted_http.HTTPChannel, "callLater", ["self", "period", "func"]),
        (twisted_http.HTTPChannel, "setTimeout", ["self", "period"]),
        (twisted_http.HTTPChannel, "loseConnection", ["self"]),
        (twisted_http.HTTPChannel, "getPeer", ["self"]),
        (twisted_http, "datetimeToString", ["msSinceEpoch"]),
        (WebSocketProtocol, "dropConnection", ["self", "abort"]),
        (WebSocketProtocol, "sendCloseFrame", ["self", "code", "reasonUtf8", "isReply"]),
        (WebSocketProtocol, "registerProducer", ["self", "producer", "streaming"]),
        (WebSocketProtocol, "unregisterProducer", ["self"]),
        (endpoints, "serverFromString", ["reactor", "description"]),
        (endpoints, "quoteStringArgument", ["argument"]),
        (defer, "maybeDeferred", ["f", "args", "kwargs"]),
        (defer.Deferred, "fromFuture", ["future"]),
    ],
)
def test_called_functions_take_the_arguments_that_we_pass(owner: Any, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


@pytest.mark.parametrize(
    ("function", "keywords"),
    [
        (
            Server.__init__,
            {"endpoints", "ping_interval", "ping_timeout", "proxy_forwarded_address_header", "server_name"},
        ),
        (
            WebSocketServerFactory.setProtocolOptions,
            {
                "autoPingTimeout",
                "allowNullOrigin",
                "openHandshakeTimeout",
                "maxMessagePayloadSize",
                "maxFramePayloadSize",
            },
        ),
        (globalLogBeginner.beginLoggingTo, {"observers", "redirectStandardIO"}),
    ],
)
def test_called_functions_take_the_keywords_that_we_pass(function: Any, keywords: set[str]) -> None:
    assert keywords - set(inspect.signature(function).parameters) == set()


def test_flow_control_is_one_of_twisteds_producers() -> None:
    names = set(IPushProducer.names(all=True))
    assert names == {"pauseProducing", "resumeProducing", "stopProducing"}
    assert names - set(dir(FlowControl)) == set()


# --- Functions of the libraries that ours copy or replace -------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours", "digest"),
    [
        (Server.run, "DaphneServer.run and web_socket_factory", "447c6bd42c62e98c"),
        (Server.create_application, "DaphneServer.create_application", "f1e300b4ecf636c8"),
        (Server.listen_success, "DaphneServer.listen_success", "0aa2ef7d71380301"),
        (Server.listen_error, "DaphneServer.listen_error", "4fd283e70bafe3ad"),
        (Server.stop, "DaphneServer.stop", "1e432003865bfeb5"),
        (Server.kill_all_applications, "WebServer._finish in sbe_enabler/serving.py", "4e1618c6f7871758"),
        (twisted_http.Request.gotLength, "HttpRequest.gotLength", "1c389b99da50b0ae"),
        (twisted_http.HTTPChannel.timeoutConnection, "HttpConnection.timeoutConnection", "f08552855cd242e0"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_library_functions_that_we_copy_or_replace_have_not_changed(theirs: Any, ours: str, digest: str) -> None:
    now = hashlib.sha256(inspect.getsource(theirs).encode()).hexdigest()[:16]
    assert now == digest, (
        f"{theirs.__module__}.{theirs.__qualname__} has changed. Ours does the same or replaces it: {ours}. "
        f"Read the difference between the releases, carry over what matters, then state {now} here."
    )


def test_the_default_limits_of_the_libraries_have_not_changed() -> None:
    # The limits below are in seconds, bytes or counts.
    server = Server(None, endpoints=["tcp:0"])
    assert (server.http_timeout, server.websocket_timeout, server.application_close_timeout) == (None, 86400, 10)
    assert (server.websocket_connect_timeout, server.websocket_handshake_timeout) == (20, 5)
    assert (server.websocket_max_message_size, server.websocket_max_frame_size) == (2**20, 2**20)
    channel: Any = twisted_http.HTTPChannel
    assert (channel.maxHeaders, channel.totalHeadersSize, channel.MAX_LENGTH) == (500, 16384, 16384)
    assert twisted_http.HTTPFactory.timeOut == 60


# --- A server, its connections and its requests -----------------------------------------------------------


class Unstarted:
    """A server that does not run. `errors` collects its errors."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.slots = Slots(1)
        self.errors: list[Any] = []
        self.server = DaphneServer(
            self._application,
            Limits(self.slots, request_seconds=5),
            endpoint=endpoint("127.0.0.1", 0),
            heartbeat_seconds=15,
            trusts_forwarded_for=False,
            on_start=lambda: None,
            on_listening=lambda port: None,
            on_listen_error=self.errors.append,
            on_stop=self._end,
        )
        # In a running server, `run` makes these objects.
        self.server.connections = {}
        self.server.http_factory = HttpFactory(self.server)
        self.server.http_factory.reactor = self.clock
        self.server.ws_factory = web_socket_factory(self.server)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def _end(self) -> None: ...

    def connect(self, received: bytes = b"") -> tuple[Any, Any]:
        """Return an HTTP connection and its transport. The connection has received these bytes."""
        connection: Any = self.server.http_factory.buildProtocol(None)
        transport: Any = StringTransport(peerAddress=IPv4Address("TCP", ADDRESS, 1))  # type: ignore[no-untyped-call]
        connection.makeConnection(transport)
        connection.dataReceived(received)
        return connection, transport

    def open_web_socket(self) -> Any:
        """Return an open WebSocket that has taken over an HTTP connection."""
        _, transport = self.connect(HANDSHAKE)
        protocol = transport.protocol
        assert isinstance(protocol, WebSocket)
        protocol.handle_reply({"type": "websocket.accept", "subprotocol": "a"})
        assert protocol.state == protocol.STATE_OPEN
        protocol.transport.clear()
        return protocol


@pytest.fixture
async def unstarted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Unstarted]:
    # Daphne's own loop does not run, so the loop of the test replaces it.
    monkeypatch.setattr(DaphneServer, "loop", asyncio.get_running_loop())
    bodies: list[Any] = []

    def body_file(size: int) -> Any:
        bodies.append(SpooledTemporaryFile(size))  # noqa: SIM115
        return bodies[-1]

    monkeypatch.setattr("sbe_enabler.web.http.SpooledTemporaryFile", body_file)
    server = Unstarted()
    yield server
    for application in server.server.applications:
        application.cancel()
        await asyncio.wait([application])
    # Twisted closes the bodies of answered requests only.
    for body in bodies:
        body.close()


ADDRESS = "192.0.2.1"
GET = b"GET /first HTTP/1.1\r\nhost: a\r\n\r\n"
HANDSHAKE = (
    b"GET /sessions/x/events HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"
)


def test_the_loop_is_the_one_that_daphne_has_made() -> None:
    assert Unstarted().server.loop is daphne.server.twisted_loop


def test_an_endpoint_escapes_the_syntax_of_twisted() -> None:
    description = endpoint("::1", 8443, "/a:b/c=d.pem", "/k.pem")
    assert description == r"ssl:8443:interface=\:\:1:certKey=/a\:b/c=d.pem:privateKey=/k.pem"
    assert endpoint("127.0.0.1", 80) == "tcp:80:interface=127.0.0.1"


def test_a_taken_port_is_reported_as_an_os_error_and_the_reactor_stopped_once(
    unstarted: Unstarted, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[int] = []
    monkeypatch.setattr("sbe_enabler.web.server.reactor", SimpleNamespace(stop=lambda: stops.append(1)))
    taken = CannotListenError("127.0.0.1", 80, OSError(errno.EADDRINUSE, "taken"))  # type: ignore[no-untyped-call]
    for error in (taken, ValueError("certificate")):
        unstarted.server.listen_error(Failure(error))  # type: ignore[no-untyped-call]
    assert [type(error) for error in unstarted.errors] == [OSError, ValueError]
    assert unstarted.errors[0].errno == errno.EADDRINUSE
    assert stops == [1]


def test_deadlines_are_timed_by_the_factorys_reactor(unstarted: Unstarted) -> None:
    _, transport = unstarted.connect()
    unstarted.clock.advance(4.9)
    assert not transport.disconnecting
    unstarted.clock.advance(0.2)
    assert transport.disconnecting
    assert not transport.disconnected
    unstarted.clock.advance(2)
    assert transport.disconnected


@pytest.mark.parametrize("slowly", [False, True])
async def test_a_closing_connection_is_aborted_if_the_client_does_not_let_it_close(
    unstarted: Unstarted, slowly: bool
) -> None:
    connection, transport = unstarted.connect(
        GET.replace(b"\r\n\r\n", b"\r\ncontent-type: " + b";" * 257 + b"\r\n\r\n")
    )
    assert transport.value().startswith(b"HTTP/1.1 400 ")
    assert transport.disconnecting
    if slowly:
        # The transport's buffer fills up, and empties when the client reads.
        connection.pauseProducing()
        connection.resumeProducing()
    unstarted.clock.advance(4.9)
    assert not transport.disconnected
    unstarted.clock.advance(0.2)
    assert transport.disconnected


async def test_a_second_request_waits_in_the_buffer_until_the_first_is_answered(unstarted: Unstarted) -> None:
    connection, transport = unstarted.connect(GET + GET.replace(b"first", b"second"))
    (first,) = connection.requests
    assert any(connection._dataBuffer)
    content = first.content
    first.handle_reply({"type": "http.response.start", "status": 422})
    first.handle_reply({"type": "http.response.body", "body": b"a", "more_body": True})
    assert await first.flow.wait(0)
    connection.pauseProducing()
    assert not await first.flow.wait(0)
    connection.resumeProducing()
    assert await first.flow.wait(0)
    assert not content.closed
    first.handle_reply({"type": "http.response.body"})
    assert content.closed
    assert first.finished
    (second,) = connection.requests
    assert second.path == b"/second"
    assert not any(connection._dataBuffer)
    assert transport.value().startswith(b"HTTP/1.1 422 Unprocessable Content\r\n")
    assert b"\r\nDate: " in transport.value()


def test_an_error_of_twisteds_decoder_is_answered_with_400(unstarted: Unstarted) -> None:
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    _, transport = unstarted.connect(head + 2000 * b"1\r\na\r\n")
    assert transport.value().startswith(b"HTTP/1.1 400 ")
    assert transport.disconnecting


# --- WebSockets -------------------------------------------------------------------------------------------

# The attributes that remain on a connection after the handshake. Each one takes memory on every WebSocket.
KEPT = {
    "application_queue",
    "client_addr",
    "connected",
    "factory",
    "is_closed",
    "last_ping",
    "path",
    "peer",
    "server",
    "socket_opened",
    "state",
    "transport",
    "utf8validator",
    "websocket_protocol_in_use",
}


def plain_web_socket() -> Any:
    """Return an open WebSocket of Daphne's own class."""
    server = Server(None, endpoints=["tcp:0"])
    server.connections = {}
    server.create_application = lambda protocol, scope: ReceiveQueue()
    protocol: Any = WebSocketFactory(server).buildProtocol(None)
    protocol._raw_query_string = b""
    protocol.makeConnection(StringTransport())  # type: ignore[no-untyped-call]
    # autobahn expects that the connection has a producer already, as an HTTP connection has.
    protocol.registerProducer(object(), True)
    protocol.dataReceived(HANDSHAKE)
    protocol.handle_reply({"type": "websocket.accept", "subprotocol": "a"})
    return protocol


async def test_every_attribute_of_a_websocket_is_known(unstarted: Unstarted) -> None:
    held = vars(plain_web_socket())
    unknown = set(held) - {*KEPT, *USUAL, *SPENT, *WebSocketProtocol.CONFIG_ATTRS}
    assert unknown == set(), (
        "a release has added attributes: put each into KEPT here, or into a table of web/resting.py"
    )
    assert {*KEPT, *USUAL, *SPENT} - set(held) == set(), "a release has removed attributes"
    assert {name: held[name] for name in USUAL} == USUAL
    assert set(vars(unstarted.open_web_socket())) - KEPT == {"_allowance", "flow"}


async def test_a_websocket_holds_the_slot_of_its_connection_until_it_is_gone(unstarted: Unstarted) -> None:
    protocol = unstarted.open_web_socket()
    assert not unstarted.slots.take(ADDRESS)
    protocol.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
    assert unstarted.slots.take(ADDRESS)
    assert "disconnected" in unstarted.server.connections[protocol]


def test_a_handshake_that_fails_releases_the_slot_and_raises_nothing(unstarted: Unstarted) -> None:
    assert unstarted.slots.take(ADDRESS)
    protocol: Any = unstarted.server.ws_factory.buildProtocol(None)
    transport: Any = StringTransport(peerAddress=IPv4Address("TCP", ADDRESS, 1))  # type: ignore[no-untyped-call]
    transport.registerProducer(object(), True)
    protocol.makeConnection(transport)
    protocol.dataReceived(HANDSHAKE.replace(b"Version: 13", b"Version: 99"))
    assert protocol.transport.value().startswith(b"HTTP/1.1 400 ")
    protocol.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
    assert unstarted.slots.take(ADDRESS)
    # When Daphne's own `onClose` no longer fails, ours can be deleted.
    with pytest.raises(AttributeError, match="server"):
        WebSocketProtocol().onClose(False, 1006, None)


async def test_a_websockets_producer_is_its_own_flow_control(unstarted: Unstarted) -> None:
    protocol = unstarted.open_web_socket()
    assert protocol.transport.producer is protocol.flow
    protocol.flow.pauseProducing()
    assert not await protocol.flow.wait(0)
    protocol.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
    assert await protocol.flow.wait(0)


async def test_a_client_that_reads_nothing_is_cut_off(unstarted: Unstarted) -> None:
    protocol = unstarted.open_web_socket()
    unstarted.server.ping_timeout = 0
    protocol.flow.pauseProducing()
    await unstarted.server.handle_reply(protocol, {"type": "websocket.send", "text": "event"})
    assert protocol.transport.disconnected
    # The consumer of the event channel expects this error.
    with pytest.raises(Disconnected):
        await unstarted.server.handle_reply(protocol, {"type": "websocket.send", "text": "event"})


async def test_only_a_close_frame_can_have_a_servers_code(unstarted: Unstarted) -> None:
    protocol = unstarted.open_web_socket()
    with pytest.raises(Exception, match="invalid close code 1001"):
        protocol.sendClose(1001)
    assert protocol.transport.value() == b""
    unstarted.server.close_web_sockets(1001)
    assert protocol.transport.value() == b"\x88\x02" + (1001).to_bytes(2)
    # Calling `close_web_sockets` again sends no second close frame.
    unstarted.server.close_web_sockets(1001)
    assert len(protocol.transport.value()) == 4


async def test_a_handshake_that_is_not_answered_yet_does_not_disturb_the_shutdown(unstarted: Unstarted) -> None:
    _, transport = unstarted.connect(HANDSHAKE)
    waiting = transport.protocol
    assert waiting.state == waiting.STATE_CONNECTING
    unstarted.slots.release(ADDRESS)
    opened = unstarted.open_web_socket()
    unstarted.server.close_web_sockets(1001)
    assert waiting.transport.disconnected
    assert opened.transport.value() == b"\x88\x02" + (1001).to_bytes(2)


async def test_the_mask_of_a_frame_is_dropped(unstarted: Unstarted) -> None:
    protocol = unstarted.open_web_socket()
    protocol.dataReceived(bytes([0x81, 0x81, 1, 2, 3, 4]))
    assert protocol.current_frame_masker is not None
    protocol.dataReceived(b"x")
    assert protocol.current_frame_masker is None
