"""The heartbeats of all WebSockets of a process, with one timer for all of them."""

import asyncio
from itertools import takewhile
from typing import Protocol

from django.conf import settings

# Heartbeats that are due within this time are sent together.
_STEP_SECONDS = 0.05


class Beating(Protocol):
    """Something with a heartbeat."""

    def beat(self) -> None:
        """Take note that a heartbeat is due."""


class Heartbeats:
    """Calls `beat` of each member at the interval of heartbeats. The members are in the order in which they are due."""

    def __init__(self) -> None:
        self._due: dict[Beating, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Beating) -> None:
        """Begin with the heartbeats of a member."""
        loop = asyncio.get_running_loop()
        self._due[member] = loop.time() + settings.HEARTBEAT_SECONDS
        self._timer = self._timer or loop.call_at(self._due[member], self._ring, loop)

    def remove(self, member: Beating) -> None:
        """End the heartbeats of a member, if it has any."""
        self._due.pop(member, None)
        if not self._due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call those that are due, and wait for the next ones."""
        now = loop.time()
        members = [member for member, _ in takewhile(lambda due: due[1] <= now, self._due.items())]
        for member in members:
            # It is the last one now.
            del self._due[member]
            self._due[member] = now + settings.HEARTBEAT_SECONDS
        self._timer = loop.call_at(max(next(iter(self._due.values())), now + _STEP_SECONDS), self._ring, loop)
        for member in members:
            member.beat()


HEARTBEATS = Heartbeats()
