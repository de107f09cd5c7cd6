"""A proxy between a page and its event channel."""

import json
import re
from collections.abc import Callable

from playwright.async_api import Page, WebSocketRoute


class Wire:
    """A proxy between a page and its WebSockets: `await visit("alice", before=wire.attach)`."""

    def __init__(self) -> None:
        """Start forwarding everything."""
        self.blocked = False
        self.opened = 0
        self.change: Callable[[str], list[str]] = lambda frame: [frame]
        self._sockets: list[WebSocketRoute] = []

    async def attach(self, page: Page) -> None:
        """Intercept the page's WebSockets from now on."""
        await page.route_web_socket(re.compile("/events"), self._connect)

    async def _connect(self, socket: WebSocketRoute) -> None:
        if self.blocked:
            return await socket.close(code=1013)
        self.opened += 1
        self._sockets.append(socket)

        def forward(frame: str | bytes) -> None:
            for changed in self.change(str(frame)):
                socket.send(changed)

        socket.connect_to_server().on_message(forward)
        return None

    def say(self, **event: object) -> None:
        """Send the page an event that the server has not sent."""
        for socket in self._sockets:
            socket.send(json.dumps(event))

    async def cut(self) -> None:
        """Cut all connections, and refuse new ones until `mend`."""
        self.blocked = True
        while self._sockets:
            await self._sockets.pop().close(code=1013)

    def mend(self) -> None:
        """Allow the page to connect again."""
        self.blocked = False


async def come_back_soon(page: Page) -> None:
    """Make every random pause short, such as the pause before a reconnection.

    Pass it to a visit as `before=come_back_soon`.
    """
    await page.add_init_script("Math.random = () => 0.05")
