"""Pass the messages of data channels on to the other legs of a conference, within a budget (RFC 8831).

What exceeds the budget waits in its sender's receive window. The window closes, and the sender sees its
`bufferedAmount` grow. Nothing is lost on a reliable channel, and each conference has a budget of its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from media.allowance import Allowance
from media.data import LEAST_HELD, DataChannels, size_of

# Deliveries a second of one conference, and at once. A delivery is one piece of a message to one receiver. It costs
# the loop up to 0.4 ms.
DELIVERY_RATE = 600
DELIVERY_BURST = 600
# Deliveries in one turn of the loop, and the pause after them, in which the loop forwards media.
MOST_AT_ONCE = 16
PAUSE_SECONDS = 0.005
# Messages that go to a receiver together, so that they share packets; and what they have together, in bytes.
BATCH_MESSAGES = 8
BATCH_BYTES = 8 * 1024
# What fits into one packet.
_PIECE = 1160
# What it costs to look at a receiver, in deliveries.
_LOOK = 0.1


@dataclass(frozen=True)
class _Message:
    sender: DataChannels
    label: str
    content: str | bytes
    size: int


class Relay:
    """Passes on the messages of one conference. `legs` returns the data channels of all its legs."""

    def __init__(self, legs: Callable[[], Iterable[DataChannels]]) -> None:
        self._legs = legs
        self._inboxes: dict[DataChannels, deque[_Message]] = {}
        # How much had been passed on of a sender when its turn comes, in bytes, and how much that is now of everybody.
        self._turns: dict[DataChannels, int] = {}
        self._turn = 0
        self._work: Iterator[float] = iter(())
        self.allowance = Allowance(DELIVERY_RATE, DELIVERY_BURST)
        self._timer: asyncio.TimerHandle | None = None

    def take(self, sender: DataChannels, label: str, content: str | bytes) -> None:
        """Pass a message on, now or when the budget has room. Until then it fills its sender's window."""
        message = _Message(sender, label, content, size_of(content))
        sender.hold(message.size)
        if sender not in self._inboxes:
            self._turns[sender] = max(self._turn, self._turns.get(sender, 0))
        self._inboxes.setdefault(sender, deque()).append(message)
        if self._timer is None:
            self._pass_on()

    def _pass_on(self) -> None:
        """Deliver as much as one turn of the loop and the budget allow, and come back for the rest."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PAUSE_SECONDS, self._pass_on)
        self.allowance.grow(loop.time())
        spent = 0.0
        while spent < MOST_AT_ONCE and self.allowance.left > 0:
            cost = next(self._work, None)
            if cost is None:
                if not self._inboxes:
                    self._turns.clear()
                    self._turn = 0
                    self._timer.cancel()
                    self._timer = None
                    return
                self._work = self._deliveries(self._batch())
                continue
            spent += cost
            # A delivery is made whole: it may take a little more than is left.
            self.allowance.left -= cost

    def _batch(self) -> list[_Message]:
        """Take the next messages: of the senders that wait, the one of which least was passed on comes first."""
        batch: list[_Message] = []
        size = 0
        while self._inboxes and len(batch) < BATCH_MESSAGES and size < BATCH_BYTES:
            sender = min(self._inboxes, key=self._turns.__getitem__)
            inbox = self._inboxes[sender]
            batch.append(inbox.popleft())
            size += batch[-1].size
            self._turn = self._turns[sender]
            self._turns[sender] += max(batch[-1].size, LEAST_HELD)
            if not inbox:
                del self._inboxes[sender]
        return batch

    def _deliveries(self, batch: list[_Message]) -> Iterator[float]:
        """Send the messages to one receiver after the other; yield what each has cost."""
        for receiver in list(self._legs()):
            sent = [each for each in batch if each.sender is not receiver and receiver.send(each.label, each.content)]
            yield _LOOK + sum(1 + each.size // _PIECE for each in sent)
        for message in batch:
            message.sender.release(message.size)
