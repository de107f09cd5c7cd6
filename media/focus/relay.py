"""Relay the messages of data channels to the other legs of a conference, within a budget (RFC 8831).

Messages beyond the budget wait in the receive window of their sender's association. The window closes, and the sender
sees its `bufferedAmount` grow. Nothing is lost on a reliable channel. Each conference has a budget, and the node has
one for all conferences together. So the loop keeps most of its time for media.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from media.allowance import Allowance
from media.transport.sctp import LEAST_HELD, DataChannels, size_of

# Deliveries of one conference: per second, and in a burst. A delivery is one piece of a message, sent to one receiver
# or received from its sender. It costs the loop up to 0.5 ms (`benchmarks.data`).
DELIVERY_RATE = 600
DELIVERY_BURST = 600
# The same for all conferences of a node together: at most a third of the loop's time.
NODE_RATE = 800
NODE_BURST = 800
# Deliveries of a node in one turn of the loop, and the pause after them, in which the loop forwards media.
MOST_AT_ONCE = 16
PAUSE_SECONDS = 0.005
# Messages that go to a receiver together, so that they share packets: their number, and their total bytes.
BATCH_MESSAGES = 8
BATCH_BYTES = 8 * 1024
# Bytes of a message that fit into one packet.
_PIECE = 1160
# Larger messages are delivered one by one. Meanwhile, short messages get half of the budget.
LONG = 2 * _PIECE
# The cost of considering a receiver, in deliveries.
_LOOK = 0.1


@dataclass(frozen=True)
class _Message:
    sender: DataChannels
    label: str
    content: str | bytes
    size: int

    @property
    def is_long(self) -> bool:
        """Whether the message is delivered alone."""
        return self.size > LONG


@dataclass
class _Lane:
    """Messages that are being delivered: one long message, or several short ones together."""

    is_long: bool
    # The remaining deliveries, and the cost of the lane's deliveries so far.
    work: Iterator[float] | None = None
    spent: float = 0.0
    senders: set[DataChannels] = field(default_factory=set)


class Budget:
    """The budget of all conferences of a node together. The conference that has delivered the least is next."""

    def __init__(self) -> None:
        self._allowance = Allowance(NODE_RATE, NODE_BURST)
        # For each relay with waiting messages: how much it has delivered since they began to wait.
        self._delivered: dict[Relay, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, relay: "Relay") -> None:
        """Give a relay turns until none of its messages is waiting."""
        if relay not in self._delivered:
            self._delivered[relay] = min(self._delivered.values(), default=0.0)
        if self._timer is None:
            self.take_turn()

    def take_turn(self) -> None:
        """Deliver as much as one turn of the loop and the budget allow, and schedule the next turn for the rest.

        A message after a quiet time is sent at once. Messages soon after it wait for the next turn and share packets.
        """
        self._timer = None
        if self._delivered:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PAUSE_SECONDS, self.take_turn)
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
    """Relays the messages of one conference. `legs` returns the data channels of all its legs.

    Long and short messages are delivered side by side, so that a chat does not wait for a file. The messages of one
    sender are delivered in order, because a sender is in one lane at a time.
    """

    def __init__(self, legs: Callable[[], Iterable[DataChannels]], budget: Budget) -> None:
        self._legs = legs
        self._budget = budget
        self._inboxes: dict[DataChannels, deque[_Message]] = {}
        # For each sender: the bytes that were relayed, by which its turns are counted. And that number of the sender
        # whose turn it is now.
        self._turns: dict[DataChannels, int] = {}
        self._turn = 0
        self._lanes = _Lane(is_long=True), _Lane(is_long=False)
        self.allowance = Allowance(DELIVERY_RATE, DELIVERY_BURST)

    def take(self, sender: DataChannels, label: str, content: str | bytes) -> None:
        """Relay a message, now or when the budget has room. Until then it fills its sender's window."""
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
        while (lane := self._next_lane()) is not None:
            if (cost := self._advance(lane)) is not None:
                # A delivery is never split, so it may take a little more than is left.
                self.allowance.left -= cost
                return cost
        self._turns.clear()
        self._turn = 0
        return None

    def _next_lane(self) -> _Lane | None:
        """Return the lane with the least cost, of those that have work; None if nothing waits."""
        least = min((lane.spent for lane in self._lanes if lane.work), default=None)
        for lane in self._lanes:
            if lane.work is None and (batch := self._batch(lane)):
                lane.senders = {message.sender for message in batch}
                lane.work = self._deliveries(batch)
                # An idle lane does not save up turns.
                lane.spent = lane.spent if least is None else max(lane.spent, least)
        return min((lane for lane in self._lanes if lane.work), key=lambda lane: lane.spent, default=None)

    def _advance(self, lane: _Lane) -> float | None:
        """Deliver a lane's messages to one more receiver. Return the cost; None when all receivers have them."""
        cost = next(lane.work, None) if lane.work else None
        if cost is None:
            lane.work, lane.senders = None, set()
        else:
            lane.spent += cost
        return cost

    def _batch(self, lane: _Lane) -> list[_Message]:
        """Take the next messages. The waiting sender with the fewest relayed bytes comes first."""
        batch: list[_Message] = []
        size = 0
        while len(batch) < (1 if lane.is_long else BATCH_MESSAGES) and size < BATCH_BYTES:
            sender = min(self._waiting(lane), key=self._turns.__getitem__, default=None)
            if sender is None:
                break
            inbox = self._inboxes[sender]
            batch.append(inbox.popleft())
            size += batch[-1].size
            self._turn = self._turns[sender]
            self._turns[sender] += max(batch[-1].size, LEAST_HELD)
            if not inbox:
                del self._inboxes[sender]
        return batch

    def _waiting(self, lane: _Lane) -> list[DataChannels]:
        """Return the senders that have no message in the other lane, and whose next message belongs to this lane."""
        busy = set().union(*(each.senders for each in self._lanes if each is not lane))
        return [each for each, inbox in self._inboxes.items() if inbox[0].is_long == lane.is_long and each not in busy]

    def _deliveries(self, batch: list[_Message]) -> Iterator[float]:
        """Send the messages to one receiver after the other. Yield the costs: of receiving, then of each receiver."""
        yield sum(map(_pieces, batch))
        for receiver in list(self._legs()):
            sent = [each for each in batch if each.sender is not receiver and receiver.send(each.label, each.content)]
            yield _LOOK + sum(map(_pieces, sent))
        for message in batch:
            message.sender.release(message.size)


def _pieces(message: _Message) -> int:
    """Return how many packets a message needs if it is sent alone."""
    return 1 + message.size // _PIECE
