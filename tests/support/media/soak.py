"""Six synthetic participants act on a node at random, for a given time.

They join, leave, hold and resume, are muted, share their screens, move to another device, or disappear. They answer the
focus's offers, reject them, or let them expire. They send media all the time. The soak fails when

- a task is not answered,
- anything above the level INFO is logged,
- a participant does not receive another participant's media at the end,
- or memory, file descriptors, tasks or threads have increased.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

from media.focus.node import Node, Settings
from media.reports import Connection, Notice, Sample, Verdict
from tests.support.media.by_json import by_json
from tests.support.media.synthetic import Peer, SyntheticConference

_PARTICIPANTS = 6
_TASK_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
# Each source sends one packet per turn. A track's history then covers half a minute, and sending takes little processor
# time.
_TURN_SECONDS = 0.05
# The memory that Python's allocator and the tracks' histories use varies by up to this much. A larger increase is a
# leak.
_BREATH_MIB = 16.0


class SoakError(Exception):
    """The run has failed, or has left something behind."""


@dataclass(frozen=True)
class Holdings:
    """The memory, descriptors, tasks and threads of the process."""

    mib: float
    descriptors: int
    threads: int
    tasks: int

    @classmethod
    def now(cls) -> "Holdings":
        """Return the present holdings of this process. Call it on its loop."""
        process = psutil.Process()
        mib = process.memory_info().rss / 2**20
        return cls(mib, process.num_fds(), process.num_threads(), len(asyncio.all_tasks()))


class _Complaints(logging.Handler):
    """Collects log records that should not exist."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@dataclass
class Soak:
    """A conference with random actions."""

    chance: random.Random
    peers: dict[str, Peer] = field(default_factory=dict)
    vanished: list[Peer] = field(default_factory=list)
    lost_ids: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def leg_lost(self, conference: str, participant: str, leg: str) -> None:
        """Record that a leg is lost."""
        self.lost_ids.append(participant)

    def speaker_changed(self, conference: str, participant: str) -> None:
        """Ignore the report."""

    def connection_changed(self, conference: str, participant: str, connection: Connection) -> None:
        """Ignore the report."""

    def connection_judged(self, conference: str, participant: str, verdict: Verdict, since: float) -> None:
        """Ignore the records of connections."""

    def sampled(self, conference: str, samples: list[Sample]) -> None:
        """Ignore samples of quality."""

    def noticed(self, conference: str, participant: str, notice: Notice) -> None:
        """Ignore the notice."""

    async def run(self, seconds: float) -> Holdings:
        """Act for this many seconds. Return the holdings after the first half, when all participants had left."""
        node = Node(Settings(), self)
        await node.start()
        self._node = node
        self.conference = SyntheticConference("soak", self._execute)
        try:
            await self._half(seconds / 2)
            middle = Holdings.now()
            await self._half(seconds / 2)
            self._compare(middle, Holdings.now())
        finally:
            await node.stop()
        return middle

    async def _execute(self, conference: str, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return await asyncio.wait_for(by_json(self._node)(conference, kind, payload), _TASK_SECONDS)

    async def _half(self, seconds: float) -> None:
        """Act at random, check the result, and have all participants leave."""
        end = time.monotonic() + seconds
        async with self._sending():
            while time.monotonic() < end:
                await self._let_lost_go()
                await self._do_something()
                await asyncio.sleep(self.chance.random() * _PAUSE_SECONDS)
        await self._come_to_rest()
        await self._require_all_media()
        for id_ in list(self.peers):
            await self.conference.leave(self.peers.pop(id_))
        while self.vanished:
            await self.vanished.pop().close()

    def _compare(self, before: Holdings, after: Holdings) -> None:
        if after.mib > before.mib + _BREATH_MIB:
            raise SoakError(f"memory has grown: {before} -> {after}")
        if (after.descriptors, after.threads) != (before.descriptors, before.threads) or after.tasks > before.tasks:
            raise SoakError(f"something is left: {before} -> {after}")

    # --- Actions ------------------------------------------------------------------------------------------

    async def _do_something(self) -> None:
        """Do one of the actions that are possible now."""
        absent = [id_ for id_ in map(str, range(_PARTICIPANTS)) if id_ not in self.conference.participants]
        choices = ["hold", "mute", "modify", "screen", "move", "leave", "vanish"] if self.peers else []
        weights = [4, 3, 3, 1, 2, 1, 0.1][: len(choices)]
        if absent:
            choices.append("join")
            weights.append(4)
        if self.conference.offered:
            choices += ["answer", "expire", "reject"]
            weights += [30, 1, 1]
        if not choices:
            # All have disappeared, and the node has not noticed yet.
            return
        (choice,) = self.chance.choices(choices, weights)
        self.done[choice] += 1
        if choice == "join":
            await self._join(self.chance.choice(absent))
        elif choice == "answer":
            await self.conference.answer_one()
        elif choice in ("expire", "reject"):
            await self.conference.withdraw_one(rejected=choice == "reject")
        else:
            id_ = self.chance.choice(list(self.peers))
            await getattr(self, f"_{choice}")(id_, self.peers[id_])

    async def _join(self, id_: str) -> None:
        peer = self.peers[id_] = Peer(id_)
        await self.conference.join(peer, settle=False)
        await self.conference.update()

    async def _hold(self, id_: str, peer: Peer) -> None:
        state = self.conference.participants[id_].state
        await self.conference.set_state(peer, *(("accepted", "resume") if state == "on-hold" else ("on-hold", "hold")))

    async def _mute(self, id_: str, peer: Peer) -> None:
        self.conference.participants[id_].muted = self.chance.choice([[], ["audio"], ["video"], ["audio", "video"]])
        await self.conference.update()

    async def _modify(self, id_: str, peer: Peer) -> None:
        await self.conference.renegotiate(peer)

    async def _screen(self, id_: str, peer: Peer) -> None:
        if len(peer.sources) < 3:
            peer.share_screen()
        await self.conference.renegotiate(peer)

    async def _move(self, id_: str, peer: Peer) -> None:
        await self.conference.set_state(peer, "moving", "move")
        await peer.close()
        await self._join(id_)

    async def _leave(self, id_: str, peer: Peer) -> None:
        del self.peers[id_]
        await self.conference.leave(peer)

    async def _vanish(self, id_: str, peer: Peer) -> None:
        """Stop checking and reading. The node has to notice that."""
        self.vanished.append(self.peers.pop(id_))
        peer.fall_silent()

    async def _let_lost_go(self) -> None:
        """Remove the participants whose legs the node has reported as lost."""
        while self.lost_ids:
            id_ = self.lost_ids.pop()
            if id_ in self.conference.participants and id_ not in self.peers:
                self.done["lost"] += 1
                self.conference.dismiss(id_)
                await self.conference.update()

    @contextlib.asynccontextmanager
    async def _sending(self) -> AsyncIterator[None]:
        """Send media from all peers during the block."""
        task = asyncio.create_task(self._send_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def _send_on(self) -> None:
        while True:
            for peer in self.peers.values():
                peer.send([source.packet() for source in peer.sources])
            await asyncio.sleep(_TURN_SECONDS)

    # --- Checks -------------------------------------------------------------------------------------------

    async def _come_to_rest(self) -> None:
        """Remove participants that have disappeared, end all holds, mutes and moves, and settle all offers."""
        for id_ in set(self.conference.participants) - set(self.peers):
            self.conference.dismiss(id_)
        for id_, peer in self.peers.items():
            self.conference.participants[id_].muted = []
            self.conference.participants[id_].state = "accepted"
            # Rejected tracks are offered again after an offer of the participant.
            await self.conference.renegotiate(peer)
        await self.conference.update()
        await self.conference.settle()

    async def _require_all_media(self) -> None:
        """Require that each participant receives all tracks of the others."""
        await asyncio.sleep(0.2)
        before = {id_: peer.received for id_, peer in self.peers.items()}
        for peer in self.peers.values():
            peer.send([source.packet() for source in peer.sources])
        await asyncio.sleep(0.5)
        total = sum(len(peer.sources) for peer in self.peers.values())
        for id_, peer in self.peers.items():
            got, wanted = peer.received - before[id_], total - len(peer.sources)
            # More is possible, because a packet can be retransmitted.
            if got < wanted:
                raise SoakError(f"{id_} gets {got} of {wanted} streams")


async def soak(seconds: float, seed: int) -> str:
    """Act for this many seconds, and return what happened.

    :raises SoakError: when the run has failed, or has left something behind.
    """
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        run = Soak(random.Random(seed))
        holdings = await run.run(seconds)
    finally:
        logging.getLogger().removeHandler(complaints)
    if complaints.said:
        raise SoakError("it was logged:\n" + "\n".join(complaints.said[:20]))
    happened = ", ".join(f"{count} {name}" for name, count in sorted(run.done.items()))
    return f"{run.conference.tasks} tasks: {happened}; {holdings}"
