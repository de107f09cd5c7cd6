"""WebSockets that cost little memory while they wait: most of a conference service's connections do.

autobahn and Daphne keep about a hundred attributes on each connection. Most have the same value everywhere, and many
serve the handshake only. Once that is done, such an attribute is the class's.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

from autobahn.websocket.protocol import TrafficStats
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

# The values that most connections have after the handshake. One that has another keeps it.
_USUAL: dict[str, object] = {
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
# What is not read after the handshake, or may be everybody's, and what stands in its place.
_SPENT: dict[str, object] = {
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
    # Daphne reads the path for a log of actions that nobody keeps.
    "request": SimpleNamespace(path=""),
    # Only for writing in pieces, which nothing here does.
    "send_queue": (),
    "trafficStats": TrafficStats(),  # type: ignore[no-untyped-call]
}


class RestingWebSocket(WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket that lets go of its handshake, and of each frame."""

    @classmethod
    def share(cls, factory: WebSocketFactory) -> None:
        """Share the options of a factory, which autobahn would copy to each connection."""
        for name in cls.CONFIG_ATTRS:
            value = getattr(factory, name)
            # A function of the factory is to be none of the connection's methods.
            setattr(cls, name, staticmethod(value) if callable(value) else value)

    def succeedHandshake(self, res: object) -> None:  # noqa: N802 - autobahn's name
        """Accept, and let go of what nobody reads any more."""
        super().succeedHandshake(res)
        if self.state == self.STATE_OPEN:
            self.__dict__ = {name: value for name, value in vars(self).items() if not _is_shared(name, value)}

    def onFrameEnd(self) -> Any:  # noqa: N802 - autobahn's name
        """Take in a frame, and let go of its mask."""
        result = super().onFrameEnd()
        self.current_frame_masker = None
        return result


def _is_shared(name: str, value: object) -> bool:
    """Tell whether the class's value serves as well as this one."""
    return name in _SPENT or (name in _USUAL and value == _USUAL[name])


for _name, _value in {**_USUAL, **_SPENT}.items():
    setattr(RestingWebSocket, _name, _value)


class Input:
    """What a client has sent and the application has not taken yet: as much of a queue as one reader needs.

    An `asyncio.Queue` takes 3 KiB. What fills this one is bounded by what a client may send.
    """

    __slots__ = ("_arrival", "_messages")

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._arrival: asyncio.Future[None] | None = None

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Hand over a message."""
        self._messages.append(message)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def get(self) -> dict[str, Any]:
        """Wait for the next message."""
        while not self._messages:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        self._arrival = None
        return self._messages.pop(0)
