"""WebSockets that use little memory while they wait, as most connections of a conference service do.

autobahn and Daphne set about a hundred attributes on each connection. Most have the same value on all connections, and
many are used only in the handshake. After the handshake, the connection reads such attributes from its class.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

from autobahn.websocket.protocol import TrafficStats
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

# The values that most connections have after the handshake. A connection with another value keeps its own.
USUAL: dict[str, object] = {
    **dict.fromkeys(
        (
            "closedByMe",
            "droppedByMe",
            "failedByMe",
            "inside_message",
            "triggered",
            "wasClean",
            "wasCloseHandshakeTimeout",
            "wasMaxFramePayloadSizeExceeded",
            "wasMaxMessagePayloadSizeExceeded",
            "wasOpenHandshakeTimeout",
            "wasServerConnectionDropTimeout",
            "wasServingFlashSocketPolicyFile",
        ),
        False,
    ),
    **dict.fromkeys(
        (
            "_perMessageCompress",
            "autoPingPending",
            "autoPingPendingCall",
            "autoPingPendingSent",
            "autoPingTimeoutCall",
            "closeHandshakeTimeoutCall",
            "current_frame",
            "localCloseCode",
            "localCloseReason",
            "openHandshakeTimeoutCall",
            "protocol_to_accept",
            "remoteCloseCode",
            "remoteCloseReason",
            "trackedTimings",
            "wasNotCleanReason",
        ),
    ),
    "autoPingPendingSeq": 0,
    "data": b"",
    "root_path": "",
    "send_state": WebSocketProtocol.SEND_STATE_GROUND,
    "websocket_version": 13,
}
# Attributes that all connections share after the handshake, with their shared values. Most are never read again.
SPENT: dict[str, object] = {
    **dict.fromkeys(
        (
            "_raw_query_string",
            "_results",
            "_transport_details",
            "_valid_events",
            "_wskey",
            "application_deferred",
            "clean_headers",
            "http_headers",
            "http_request_data",
            "http_request_host",
            "http_request_params",
            "http_request_path",
            "http_request_uri",
            "http_response_data",
            "http_status_line",
            "is_open",
            "server_addr",
            "websocket_extensions",
            "websocket_extensions_in_use",
            "websocket_origin",
            "websocket_protocols",
        ),
    ),
    # Daphne reads the path for its log of actions, which is switched off.
    "request": SimpleNamespace(path=""),
    # autobahn uses the queue only to write in pieces, which this project never does.
    "send_queue": (),
    "trafficStats": TrafficStats(),  # type: ignore[no-untyped-call]
}


class RestingWebSocket(WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket that frees the memory of its handshake, and the mask of each frame that it has processed."""

    @classmethod
    def share(cls, factory: WebSocketFactory) -> None:
        """Set the options of a factory on the class. Otherwise autobahn would copy them to each connection."""
        for name in cls.CONFIG_ATTRS:
            value = getattr(factory, name)
            # Without `staticmethod`, a function would become a method of the connection.
            setattr(cls, name, staticmethod(value) if callable(value) else value)

    def succeedHandshake(self, res: object) -> None:
        """Accept, then delete the attributes that the class provides."""
        super().succeedHandshake(res)
        if self.state == self.STATE_OPEN:
            self.__dict__ = {name: value for name, value in vars(self).items() if not _is_shared(name, value)}

    def onFrameEnd(self) -> Any:
        """Process a frame, then delete its mask."""
        result = super().onFrameEnd()
        self.current_frame_masker = None
        return result


def _is_shared(name: str, value: object) -> bool:
    """Tell whether a connection can read this attribute from its class instead."""
    return name in SPENT or (name in USUAL and value == USUAL[name])


for _name, _value in {**USUAL, **SPENT}.items():
    setattr(RestingWebSocket, _name, _value)


class ReceiveQueue:
    """The messages from one client that the application has not yet received. The application is the only reader.

    An `asyncio.Queue` would need 3 KiB. The limit on the bytes of a WebSocket client bounds this queue.
    """

    __slots__ = ("_arrival", "_messages")

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._arrival: asyncio.Future[None] | None = None

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Append a message."""
        self._messages.append(message)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def get(self) -> dict[str, Any]:
        """Remove and return the next message. Wait if there is none."""
        while not self._messages:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        self._arrival = None
        return self._messages.pop(0)
