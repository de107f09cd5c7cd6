"""The data channels of one leg (RFC 8831), over its transport. The relay to the others of a conference is the caller's:
`on_message` says what came, and the caller sends it to the same label of every other leg.
"""

from collections.abc import Callable

from media.transport import Transport


class DataChannels:
    """The SCTP association of a leg and the channels that the other side opens on it.

    `port` is the other side's SCTP port, `max_message_size` its limit (0: none), both from its SDP.
    `on_message(label, message)` is called with every message that arrives.
    """

    def __init__(
        self,
        transport: Transport,
        port: int,
        max_message_size: int,
        on_message: Callable[[str, str | bytes], None],
    ) -> None:
        raise NotImplementedError

    def send(self, label: str, message: str | bytes) -> bool:
        """Send a message to the channel of this label. Return whether there is one that could take it."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the association. Leaves no timer or task behind."""
        raise NotImplementedError
