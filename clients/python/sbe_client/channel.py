"""The logic of the event channel, without input and output: the cursor, the endings and the reconnection."""

import json
import random
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from sbe_client.errors import ChannelReplaced, ProtocolError, Refusal, SbeError, SessionOver
from sbe_client.exchange import Response, back_off, refusal_from
from sbe_client.shapes import Event, read_all

# The server sends a heartbeat every 15 s. After two missing ones and 5 s of grace the connection is dead (seconds).
SILENCE: Final = 35.0
OPENING: Final = 8.0
POLL_WAIT: Final = 25
# Bytes of one message. The server's longest SDP has 512 KiB.
LONGEST_MESSAGE: Final = 2 * 2**20
# A connection that lasted less than this many seconds counts as one that did not work.
_WORKED = 5.0
# While long poll is in use, the WebSocket is tried again after this many seconds. The interval then doubles.
_UPGRADE_MIN, _UPGRADE_MAX = 5.0, 300.0
# The same fault this many times at one cursor is permanent.
_FAULTS = 5


class Transport(Enum):
    """How events arrive."""

    WEBSOCKET = "websocket"
    POLL = "poll"


_LADDER = (Transport.WEBSOCKET, Transport.WEBSOCKET, Transport.WEBSOCKET, Transport.POLL)


class Missing(Exception):  # noqa: N818 - a signal to reconnect, which no caller of the package sees
    """An event is missing: reconnect from the cursor."""


class Cursor:
    """Delivers each event once and in order.

    The server sends each event at least once. Events at or below the cursor are dropped. After a jump in `seq` the
    channel reconnects from the cursor. If the same jump comes again, the log lacks the events: this is a gap.
    """

    def __init__(self, after: int = 0) -> None:
        """Begin after event number `after`."""
        self.after = after
        self._jumped_at: int | None = None
        self._faults: tuple[int, int] = (after, 0)

    def take(self, data: Mapping[str, Any]) -> list[Event]:
        """Take a message of the channel; return the events to deliver now.

        :raises Missing: when the channel must reconnect from the cursor.
        :raises ProtocolError: when the message is no event.
        """
        event = Event.read(data)
        if event.type == "gap":
            # A cursor ahead of the log belongs to another session: go back as well.
            self.after = event.oldest - 1
            return [event]
        if event.seq is None:
            return [event]
        if event.seq <= self.after:
            return []
        gap = self._gap_before(event.seq)
        self.after = event.seq
        return [*gap, event]

    def _gap_before(self, seq: int) -> list[Event]:
        if seq == self.after + 1:
            return []
        if self._jumped_at != self.after:
            self._jumped_at = self.after
            raise Missing
        return [Event.read({"type": "gap", "oldest": seq})]

    def fault(self, error: ProtocolError) -> None:
        """Report a message that cannot be read.

        :raises ProtocolError: when it is there again and again, so that reconnecting does not help.
        """
        at, count = self._faults
        self._faults = (self.after, count + 1 if at == self.after else 1)
        if self._faults[1] >= _FAULTS:
            raise error


class Reconnection:
    """Decides which transport to use next, and how long to wait before that."""

    def __init__(
        self,
        ladder: tuple[Transport, ...] = _LADDER,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begin with the first transport of the ladder."""
        self._ladder, self._clock, self._chance = ladder, clock, chance
        self._failures = 0
        self._begun_at = clock()
        self._worked = False
        self._upgrade_after = _UPGRADE_MIN
        self._upgrade_at: float | None = None

    @property
    def transport(self) -> Transport:
        """The transport of the next connection."""
        return self._ladder[self._failures % len(self._ladder)]

    def begin(self) -> None:
        """Report that an attempt begins."""
        self._begun_at, self._worked = self._clock(), False

    def polls(self) -> None:
        """Report that a poll worked. If there are WebSockets at all, the next try of one is due later."""
        self._worked = True
        if self._upgrade_at is None and Transport.WEBSOCKET in self._ladder:
            self._upgrade_at = self._clock() + self._upgrade_after
            self._upgrade_after = min(2 * self._upgrade_after, _UPGRADE_MAX)

    def opened(self) -> None:
        """Report that a WebSocket was opened."""
        self._worked = True
        self._upgrade_after = _UPGRADE_MIN

    @property
    def wait(self) -> int:
        """The whole seconds that the next poll may wait."""
        if self._upgrade_at is None:
            return POLL_WAIT
        return max(0, min(POLL_WAIT, int(self._upgrade_at - self._clock())))

    def upgrade_is_due(self) -> bool:
        """Return whether to try the WebSocket now. It then begins the ladder again."""
        due = self._upgrade_at is not None and self._clock() >= self._upgrade_at
        if due:
            self._upgrade_at, self._failures = None, len(self._ladder) - 2
        return due

    def pause(self) -> float:
        """Report that the connection has ended; return the seconds to wait before the next one."""
        worked = self._worked and self._clock() - self._begun_at > _WORKED
        self._failures = 0 if worked else self._failures + 1
        return back_off(self._failures, chance=self._chance)


def parse(message: str | bytes) -> Mapping[str, Any]:
    """Read a message of the channel.

    :raises ProtocolError: when it is not a JSON object.
    """
    try:
        data = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a message of the event channel is not JSON") from error
    if not isinstance(data, dict):
        raise ProtocolError("a message of the event channel is not a JSON object")
    return data


def after_close(code: int | None) -> None:
    """Return if the client should connect again after this close code.

    :raises SbeError: when it should not.
    """
    if error := _final(code):
        raise error


def _final(code: int | None) -> SbeError | None:
    match code:
        case 4401 | 4404:
            return SessionOver(code - 4000, "unauthenticated" if code == 4401 else "not-found", "The session is over.")
        case 4403:
            return Refusal(403, "forbidden", "The enabler does not allow this origin or host name.")
        case 4409:
            return ChannelReplaced("newer readers of the session have replaced this one")
        case 4400:
            return ProtocolError("the enabler cannot read the cursor or a message")
    return None


def events_of(response: Response) -> list[dict[str, Any]] | None:
    """Read the answer to a poll; None if it was refused for now.

    :raises SbeError: when it was refused permanently.
    :raises ProtocolError: when it cannot be read.
    """
    if response.status == 200:
        return read_all(response.json(), "events", dict)
    after_close({400: 4400, 401: 4401, 403: 4403, 404: 4404}.get(response.status))
    if refusal_from(response).code == "reader-replaced":
        after_close(4409)
    return None
