"""A media node: its port, its conferences and its clock. A node runs on an event loop of its own."""

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from media.aiortc_adapter import Certificate
from media.focus.conference import Conference
from media.focus.inspection import NodeCounts
from media.focus.liveness import SILENT_SECONDS
from media.focus.port import Port
from media.focus.quota import TICK_SECONDS
from media.focus.relay import Budget
from media.focus.services import Reports, Services
from media.messages import ConferenceView, Result, Task
from media.sdp.writer import LocalEnd
from media.transport.dtls import Handshakes

logger = logging.getLogger(__name__)

Outcome = TypeVar("Outcome")

# When a node stops, wait at most this long for its tasks to end, and as long again for its legs to close.
_GOODBYE_SECONDS = 2.0
# How many legs are ticked before the loop reads from the network again.
LEGS_AT_ONCE = 10
# Make a new certificate for new conferences after this time. aiortc's certificates expire after 30 days, and a
# conference must end before its certificate expires.
CERTIFICATE_SECONDS = 7 * 86400.0
# While the loop waits for the interpreter lock, another thread may hold the lock this long. The loop waits for the lock
# each time after it has polled the network. With Python's default (5 ms), packets would be up to 5 ms late.
_SWITCH_SECONDS = 0.0001
# Thresholds of the garbage collector. A collection stops the loop for one or two microseconds per object. So most
# collections examine few objects. Full collections are rare: one takes 100 ms with a conference of 40 participants.
_THRESHOLDS = 700, 10, 1_500


@cache
def prepare_interpreter() -> None:
    """Prevent this process's other threads and its garbage collector from stopping a node's loop for long.

    Call this function when all modules are loaded. From then on, the garbage collector ignores the existing objects.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


@dataclass(frozen=True)
class Settings:
    """Where a node listens and how it forwards."""

    bind: str = "127.0.0.1"
    # 0 takes a free port.
    port: int = 0
    # The addresses at which clients reach the node. If there are none, clients use the address on which the node
    # listens.
    announce: tuple[str, ...] = ()
    # The TCP port for participants whose networks block UDP; None for no such port.
    tcp_port: int | None = None
    # Whether to use the fast path, if it is compiled.
    fast: bool = True


class Node:
    """A media node. It calls the methods of `reports` on its own loop."""

    def __init__(
        self,
        settings: Settings,
        reports: Reports,
        *,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Bind the port.

        :param now: a clock in seconds, instead of the loop's own.
        :raises OSError: when the port cannot be bound.
        """
        self._reports = reports
        self._clock = now
        self._port = Port(settings.bind, settings.port, tcp_port=settings.tcp_port, fast=settings.fast)
        self._conferences: dict[str, Conference] = {}
        self._handshakes = Handshakes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deliveries = Budget()
        self._executions: set[asyncio.Task[Result]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._legs_ticked = 0
        # Descriptions are read and written in this thread, one at a time.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="media-sdp")
        host, port = self._port.address
        addresses = settings.announce or (host,)
        self.candidates = tuple((address, port) for address in addresses)
        tcp = self._port.tcp
        self.tcp_candidates = () if tcp is None else tuple((address, tcp.address[1]) for address in addresses)

    async def start(self) -> None:
        """Start the node on the running loop."""
        self._renew()
        self._port.open(self._services.now)
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        by = "the compiled fast path" if self._port.is_fast else "Python alone"
        logger.info("media node: listening on %s port %s, forwarding by %s", *self._port.address, by)
        if self._port.tcp is not None:
            logger.info("media node: also listening on %s TCP port %s", *self._port.tcp.address)

    def _renew(self) -> None:
        """Make a certificate for new conferences, on the running loop."""
        certificate = Certificate()
        loop = asyncio.get_running_loop()
        now = self._clock or loop.time
        self._renew_at = now() + CERTIFICATE_SECONDS
        self._services = Services(
            port=self._port,
            certificate=certificate,
            local=LocalEnd(
                fingerprints=certificate.fingerprints,
                candidates=self.candidates,
                tcp_candidates=self.tcp_candidates,
            ),
            handshakes=self._handshakes,
            reports=self._reports,
            now=now,
            spawn=self._spawn,
            aside=self._aside,
            deliveries=self._deliveries,
        )

    async def execute(self, conference_id: str, task: Task, view: ConferenceView) -> Result:
        """Carry out a task and return its result. If the caller is cancelled, the task still runs to its end."""
        work = asyncio.get_running_loop().create_task(self._execute(conference_id, task, view))
        self._executions.add(work)
        work.add_done_callback(self._executions.discard)
        return await asyncio.shield(work)

    async def _execute(self, conference_id: str, task: Task, view: ConferenceView) -> Result:
        conference = await self._current(conference_id, view.generation)
        try:
            return await conference.execute(task, view)
        finally:
            if not (conference.participants or conference.tasks):
                self._close(conference)

    async def _current(self, conference_id: str, generation: int) -> Conference:
        """Return the conference of this ID and generation. Close an earlier generation of it first."""
        conference = self._conferences.get(conference_id)
        if conference is not None and conference.generation < generation:
            await conference.end()
            conference = None
        return conference or self._open(conference_id, generation)

    def _open(self, conference_id: str, generation: int) -> Conference:
        """Open a conference with a certificate that will not expire during the conference."""
        if self._services.now() >= self._renew_at:
            self._renew()
        conference = self._conferences[conference_id] = Conference(conference_id, self._services, generation)
        return conference

    def _close(self, conference: Conference) -> None:
        conference.close()
        if self._conferences.get(conference.id) is conference:
            del self._conferences[conference.id]

    def held(self) -> dict[str, int]:
        """Return the conferences that the node serves, with the generation of each. Call it on the node's loop."""
        return {id_: conference.generation for id_, conference in self._conferences.items()}

    def abandon(self, lost: Mapping[str, int]) -> None:
        """Stop serving conferences of these generations. Call this method on the node's loop.

        A conference with an unfinished task is not closed. So call this method again while `held` returns some of them.
        """
        for id_, generation in lost.items():
            conference = self._conferences.get(id_)
            if conference is not None and conference.generation == generation and not conference.tasks:
                logger.info("conference %s: ended, or served by another media node; it is closed here", id_)
                self._close(conference)

    async def stop(self) -> None:
        """Close every leg, the port and the thread for descriptions."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        if self._executions:
            await asyncio.wait(self._executions, timeout=_GOODBYE_SECONDS)
        for conference in self._conferences.values():
            conference.close()
        self._conferences.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_GOODBYE_SECONDS)
        self._port.close()
        self._writer.shutdown(cancel_futures=True)

    # --- Inspection: call it on the node's loop ---------------------------------------------------------------

    @property
    def conferences(self) -> Mapping[str, Conference]:
        """The conferences that the node serves, by ID."""
        return MappingProxyType(self._conferences)

    def counts(self) -> NodeCounts:
        """Return the node's counts."""
        now, port = self._services.now(), self._port
        legs = [leg for conference in self._conferences.values() for leg in conference.legs()]
        return NodeCounts(
            conferences=len(self._conferences),
            tasks=sum(conference.tasks for conference in self._conferences.values()),
            legs=len(legs),
            connected_legs=sum(leg.is_connected for leg in legs),
            silent_legs=sum(now - leg.addresses.seen_at > SILENT_SECONDS for leg in legs),
            worst_loss=max((leg.lost(now) for leg in legs), default=0.0),
            received=port.received,
            sent=port.sent,
            sent_by_python=port.sent_by_python,
            undelivered=port.undelivered,
            unprotected=port.unprotected,
            strangers=port.strangers,
            faults=port.faults,
            tcp_connections=port.tcp.connections if port.tcp is not None else 0,
            tcp_dropped=port.tcp.dropped if port.tcp is not None else 0,
            is_fast=port.is_fast,
        )

    @property
    def is_fast(self) -> bool:
        """Whether packets take the compiled fast path."""
        return self._port.is_fast

    def stop_ticking(self) -> None:
        """Stop the periodic work. The caller may then call the conferences' `tick` itself."""
        if self._ticker is not None:
            self._ticker.cancel()

    # --- Background work --------------------------------------------------------------------------------------

    async def _aside(self, work: Callable[[], Outcome]) -> Outcome:
        """Do work on a description in the thread for descriptions, while the loop continues."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        """Call `tick` of all conferences periodically, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for conference in list(self._conferences.values()):
                try:
                    await self._let_tick(conference)
                except Exception:
                    logger.exception("conference %s: the tick failed", conference.id)

    async def _let_tick(self, conference: Conference) -> None:
        """Run one `tick` of a conference, and close the conference if it is deserted.

        After every LEGS_AT_ONCE legs of the node, the loop handles the packets that have arrived.
        """
        for _ in conference.tick(self._services.now()):
            self._legs_ticked += 1
            if self._legs_ticked % LEGS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if conference.is_deserted(self._services.now()):
            self._close(conference)
