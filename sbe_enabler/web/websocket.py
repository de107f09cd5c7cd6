"""WebSockets of Daphne, with flow control and a limit on received bytes. Each holds one of its client's slots."""

import time
from typing import Any

from daphne.ws_protocol import WebSocketFactory

from sbe_enabler.connections import web_socket_allowance
from sbe_enabler.web.flow import FlowControl
from sbe_enabler.web.resting import RestingWebSocket


class WebSocket(RestingWebSocket):
    """A WebSocket that drops a client which sends too much, and tolerates a handshake that fails."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._allowance = web_socket_allowance()

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes, or drop a client that sends far more than echoes of heartbeats."""
        if self._allowance.take(len(data), time.monotonic()):
            super().dataReceived(data)
        else:
            self.cut()

    def connectionMade(self) -> None:
        """Take over the transport of an HTTP connection, and replace that connection as the transport's producer."""
        super().connectionMade()
        self.flow = FlowControl()
        self.unregisterProducer()
        self.registerProducer(self.flow, True)

    def connectionLost(self, reason: Any) -> None:
        """Release the slot that the HTTP connection took."""
        self.factory.server_class.limits.slots.release(self.transport.getPeer().host)
        super().connectionLost(reason)

    def cut(self) -> None:
        """Drop the connection and all unsent data."""
        self.dropConnection(abort=True)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Report the end to Daphne's server, if the handshake reached the server.

        Otherwise Daphne would raise an AttributeError.
        """
        if hasattr(self, "server"):
            super().onClose(wasClean, code, reason)
            self.flow.stopProducing()


def web_socket_factory(server: Any) -> WebSocketFactory:
    """Return the factory of a server's WebSockets, with the options that Daphne's own `run` sets."""
    factory = WebSocketFactory(server, server=server.server_name)
    factory.protocol = WebSocket
    factory.setProtocolOptions(
        autoPingTimeout=server.ping_timeout,
        allowNullOrigin=True,
        openHandshakeTimeout=server.websocket_handshake_timeout,
        maxMessagePayloadSize=server.websocket_max_message_size,
        maxFramePayloadSize=server.websocket_max_frame_size,
    )
    WebSocket.share(factory)
    return factory
