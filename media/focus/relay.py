"""Relay the messages of data channels to the other legs of a conference, within a budget (RFC 8831).

Messages beyond the budget wait in the receive window of their sender's association. The window closes, and the sender
sees its `bufferedAmount` grow. Nothing is lost on a reliable channel. Each conference has a budget, and the node has a
common budget for all conferences. So most of the loop's time remains for media.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from media.allowance import Allowance
from media.transport.sctp import LEAST_HELD, DataChannels, size_of

# How many deliveries a conference may make: per second, and in a burst. A delivery is one piece of a message, sent to
# one receiver or received from its sender. A delivery takes up to 0.5 ms of the loop's time (`benchmarks.data`).
DELIVERY_RATE = 600
DELIVERY_BURST = 600
# How many deliveries all conferences of a node together may make: per second, and in a burst. They take at most a third
# of the loop's time.
NODE_RATE = 800
NODE_BURST = 800
# How many deliveries a node makes in one turn, and the pause until the next turn, in which the loop forwards media.
MOST_AT_ONCE = 16
PAUSE_SECONDS = 0.005
# Limits of a batch of messages that go to a receiver together and share packets: their number, and their total bytes.
BATCH_MESSAGES = 8
BATCH_BYTES = 8 * 1024
# Bytes of a message that fit into one packet.
_PIECE = 1160
# Messages larger than this are delivered one by one. During such a delivery, short messages get half of the budget.
LONG = 2 * _PIECE
# The cost of a receiver to which nothing is sent, in deliveries. Each receiver costs at least this.
_LOOK = 0.1


@dataclass(frozen=True)
class _Message:
    sender: DataChannels
    label: str
    content: str | bytes
    size: int

    @property
    def is_long(self) -> bool:
        """Whether the message is delivered by itself, not in a batch."""
        return self.size > LONG


@dataclass
class _Lane:
    """Messages that are being delivered: one long message, or several short ones together."""

    is_long: bool
    # The remaining steps for these messages. Each step makes deliveries and returns their cost.
    work: Iterator[float] | None = None
    # The cost of all steps of this lane so far.
    spent: float = 0.0
    senders: set[DataChannels] = field(default_factory=set)


class Budget:
    """The common budget of all conferences of a node. The conference with the fewest deliveries is served next."""

    def __init__(self) -> None:
        self._allowance = Allowance(NODE_RATE, NODE_BURST)
        # For each relay with waiting messages: the cost of its deliveries. A new relay begins with the least of these
        # costs.
        self._delivered: dict[Relay, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, relay: "Relay") -> None:
        """Give a relay turns until none of its messages is waiting."""
        if relay not in self._delivered:
            self._delivered[relay] = min(self._delivered.values(), default=0.0)
        if self._timer is None:
            self.take_turn()

    def take_turn(self) -> None:
        """Deliver as much as one turn and the budget allow, and schedule the next turn.

        A message after a quiet time is sent at once. Messages that follow it soon wait for the next turn and share
        packets.
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

    Long and short messages have a lane each. The lanes take turns, so that a chat does not wait for a file. The
    messages of one sender are delivered in order, because a sender is in only one lane at a time.
    """

    def __init__(self, legs: Callable[[], Iterable[DataChannels]], budget: Budget) -> None:
        self._legs = legs
        self._budget = budget
        self._inboxes: dict[DataChannels, deque[_Message]] = {}
        # For each sender, the bytes relayed so far; the sender with the fewest is next. `_turn` is the number of bytes
        # that the last chosen sender had when it was chosen. A new sender begins with `_turn`.
        self._turns: dict[DataChannels, int] = {}
        self._turn = 0
        self._lanes = _Lane(is_long=True), _Lane(is_long=False)
        self.allowance = Allowance(DELIVERY_RATE, DELIVERY_BURST)

    def take(self, sender: DataChannels, label: str, content: str | bytes) -> None:
        """Relay a message, now or when the budget allows it. While it waits, it occupies its sender's window."""
        message = _Message(sender, label, content, size_of(content))
        sender.hold(message.size)
        if sender not in self._inboxes:
            self._turns[sender] = max(self._turn, self._turns.get(sender, 0))
        self._inboxes.setdefault(sender, deque()).append(message)
        self._budget.admit(self)

    def deliver(self, now: float) -> float | None:
        """Make the next step of a lane. Return its cost: 0 when the budget is used up, None when no message waits."""
        if self.allowance.grow(now) <= 0:
            return 0.0
        while (lane := self._next_lane()) is not None:
            if (cost := self._advance(lane)) is not None:
                # A step is never split, so it may cost a little more than the budget has left.
                self.allowance.left -= cost
                return cost
        self._turns.clear()
        self._turn = 0
        return None

    def _next_lane(self) -> _Lane | None:
        """Return the lane with work that has the lowest cost so far; None if no message waits."""
        least = min((lane.spent for lane in self._lanes if lane.work), default=None)
        for lane in self._lanes:
            if lane.work is None and (batch := self._batch(lane)):
                lane.senders = {message.sender for message in batch}
                lane.work = self._deliveries(batch)
                # A lane gains no advantage from having been idle.
                lane.spent = lane.spent if least is None else max(lane.spent, least)
        return min((lane for lane in self._lanes if lane.work), key=lambda lane: lane.spent, default=None)

    def _advance(self, lane: _Lane) -> float | None:
        """Make the next step of a lane's work. Return its cost; None when the work is finished."""
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
        """Return the senders whose next message belongs to this lane and that have no message in the other lane."""
        busy = set().union(*(each.senders for each in self._lanes if each is not lane))
        return [each for each, inbox in self._inboxes.items() if inbox[0].is_long == lane.is_long and each not in busy]

    def _deliveries(self, batch: list[_Message]) -> Iterator[float]:
        """Send the messages to each receiver in turn. Yield the cost of receiving them, then that of each receiver."""
        yield sum(map(_pieces, batch))
        for receiver in list(self._legs()):
            sent = [each for each in batch if each.sender is not receiver and receiver.send(each.label, each.content)]
            yield _LOOK + sum(map(_pieces, sent))
        for message in batch:
            message.sender.release(message.size)


def _pieces(message: _Message) -> int:
    """Return how many packets a message needs if it shares none."""
    return 1 + message.size // _PIECE
