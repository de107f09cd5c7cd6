"""Pass the messages of data channels on to the other legs of a conference, within a budget (RFC 8831).

What exceeds the budget waits in its sender's receive window. The window closes, and the sender sees its
`bufferedAmount` grow. Nothing is lost on a reliable channel. Each conference has a budget of its own, and so has the
node: however many conferences send data, the loop keeps most of its time for media.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from media.allowance import Allowance
from media.data import LEAST_HELD, DataChannels, size_of

# Deliveries a second of one conference, and at once. A delivery is one piece of a message to one receiver, or from its
# sender. It costs the loop up to 0.5 ms (`benchmarks.data`).
DELIVERY_RATE = 600
DELIVERY_BURST = 600
# The same for all conferences of a node: at most a third of the loop's time.
NODE_RATE = 800
NODE_BURST = 800
# Deliveries of a node in one turn of the loop, and the pause after them, in which the loop forwards media.
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


class Budget:
    """What the conferences of a node may deliver together. The one that has delivered least is next."""

    def __init__(self) -> None:
        self._allowance = Allowance(NODE_RATE, NODE_BURST)
        # What each relay that has messages waiting has delivered since it came.
        self._delivered: dict[Relay, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, relay: "Relay") -> None:
        """Let a relay take part until it has nothing left."""
        if relay not in self._delivered:
            self._delivered[relay] = min(self._delivered.values(), default=0.0)
        if self._timer is None:
            self._take_turn()

    def _take_turn(self) -> None:
        """Deliver as much as one turn of the loop and the budget allow, and come back for the rest.

        A message after a quiet time goes at once. Those that follow it soon wait for the next turn and share packets.
        """
        self._timer = None
        if self._delivered:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PAUSE_SECONDS, self._take_turn)
            self._deliver(loop.time())

    def _deliver(self, now: float) -> None:
        able = list(self._delivered)
        left = min(self._allowance.grow(now), MOST_AT_ONCE)
        while able and left > 0:
            relay = min(able, key=self._delivered.__getitem__)
            cost = relay.deliver(now)
            if not cost:
                able.remove(relay)
            if cost is None:
                del self._delivered[relay]
            else:
                self._delivered[relay] += cost
                self._allowance.left -= cost
                left -= cost


class Relay:
    """Passes on the messages of one conference. `legs` returns the data channels of all its legs."""

    def __init__(self, legs: Callable[[], Iterable[DataChannels]], budget: Budget) -> None:
        self._legs = legs
        self._budget = budget
        self._inboxes: dict[DataChannels, deque[_Message]] = {}
        # How much had been passed on of a sender when its turn comes, in bytes, and how much that is now of everybody.
        self._turns: dict[DataChannels, int] = {}
        self._turn = 0
        self._work: Iterator[float] = iter(())
        self.allowance = Allowance(DELIVERY_RATE, DELIVERY_BURST)

    def take(self, sender: DataChannels, label: str, content: str | bytes) -> None:
        """Pass a message on, now or when the budget has room. Until then it fills its sender's window."""
        message = _Message(sender, label, content, size_of(content))
        sender.hold(message.size)
        if sender not in self._inboxes:
            self._turns[sender] = max(self._turn, self._turns.get(sender, 0))
        self._inboxes.setdefault(sender, deque()).append(message)
        self._budget.admit(self)

    def deliver(self, now: float) -> float | None:
        """Make the next delivery. Return its cost: 0 when the budget is used up, None when nothing waits."""
        if self.allowance.grow(now) <= 0:
            return 0.0
        while (cost := next(self._work, None)) is None:
            if not self._inboxes:
                self._turns.clear()
                self._turn = 0
                return None
            self._work = self._deliveries(self._batch())
        # A delivery is made whole: it may take a little more than is left.
        self.allowance.left -= cost
        return cost

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
        """Send the messages to one receiver after the other; yield what each has cost, and first what receiving did."""
        yield sum(map(_pieces, batch))
        for receiver in list(self._legs()):
            sent = [each for each in batch if each.sender is not receiver and receiver.send(each.label, each.content)]
            yield _LOOK + sum(map(_pieces, sent))
        for message in batch:
            message.sender.release(message.size)


def _pieces(message: _Message) -> int:
    """Return how many packets a message takes by itself."""
    return 1 + message.size // _PIECE
