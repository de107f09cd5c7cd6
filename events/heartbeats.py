"""One timer for the heartbeats of all WebSockets of a process."""

import asyncio
from itertools import takewhile
from typing import Protocol

from django.conf import settings

# The shortest interval of the timer: heartbeats due within it are sent together.
_STEP_SECONDS = 0.05


class Member(Protocol):
    """Something that sends heartbeats."""

    def beat(self) -> None:
        """Send a heartbeat as soon as possible. Called by the timer, so this must not block or raise."""


class Heartbeats:
    """Calls `beat` of each member every `HEARTBEAT_SECONDS`. Members are kept in the order in which they are due."""

    def __init__(self) -> None:
        self._due: dict[Member, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Member) -> None:
        """Add a member. Its first heartbeat is due after one interval."""
        loop = asyncio.get_running_loop()
        self._due[member] = loop.time() + settings.HEARTBEAT_SECONDS
        self._timer = self._timer or loop.call_at(self._due[member], self._on_timer, loop)

    def remove(self, member: Member) -> None:
        """Remove a member if it is present."""
        self._due.pop(member, None)
        if not self._due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call the members that are due, and schedule the timer for the next ones."""
        now = loop.time()
        members = [member for member, _ in takewhile(lambda due: due[1] <= now, self._due.items())]
        for member in members:
            # Move the member to the end, because it is due last now.
            del self._due[member]
            self._due[member] = now + settings.HEARTBEAT_SECONDS
        self._timer = loop.call_at(max(next(iter(self._due.values())), now + _STEP_SECONDS), self._on_timer, loop)
        for member in members:
            member.beat()


HEARTBEATS = Heartbeats()
