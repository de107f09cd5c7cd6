"""Flow control from the transport of a connection to the application that sends over it."""

import asyncio


class FlowControl:
    """Twisted's streaming producer of one connection: the application waits while the transport's buffer is full."""

    __slots__ = ("_has_drained",)

    def __init__(self) -> None:
        # An event exists only while the buffer is full.
        self._has_drained: asyncio.Event | None = None

    def pauseProducing(self) -> None:
        """Called by Twisted when the transport's buffer is full."""
        self._has_drained = self._has_drained or asyncio.Event()

    def resumeProducing(self) -> None:
        """Called by Twisted when the transport's buffer is empty again."""
        if self._has_drained:
            self._has_drained.set()
        self._has_drained = None

    # The connection has ended, so nothing waits for it any longer.
    stopProducing = resumeProducing

    async def wait(self, seconds: float) -> bool:
        """Wait until the transport accepts more data. Return False if it does not within `seconds`."""
        if self._has_drained is None:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._has_drained.wait()
        except TimeoutError:
            return False
        return True
