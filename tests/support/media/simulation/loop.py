"""An event loop with virtual time: when nothing is left to do, its clock jumps to the next timer."""

import asyncio
import os
import selectors
import socket
from asyncio import Future
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

from media.forward.datagrams import SO_TIMESTAMPNS

Outcome = TypeVar("Outcome")
Arguments = TypeVarTuple("Arguments")


class _Selector(selectors.EpollSelector):
    """Never waits. `now` is the virtual time in seconds.

    `settle` is called before time passes. It waits until all datagrams that were sent have arrived at their sockets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.settle: Callable[[], object] = int

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready. If nothing is, let the time until the next timer pass."""
        events = super().select(0)
        if events or timeout == 0:
            return events
        self.settle()
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("the simulation waits for something that never comes")
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with virtual time. Work for other threads is done at once, so that each run is the same."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual time."""
        return self._virtual.now

    def before_time_passes(self, settle: Callable[[], object]) -> None:
        """Call this function each time before the clock moves."""
        self._virtual.settle = settle

    def add_reader(self, fd: Any, callback: Callable[[Unpack[Arguments]], Any], *args: *Arguments) -> None:
        """Watch a socket. The kernel's times of arrival are switched off, because they are not virtual."""
        with socket.socket(fileno=os.dup(fd)) as watched:
            watched.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
        super().add_reader(fd, callback, *args)

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Arguments]], Outcome],
        *args: *Arguments,
    ) -> "Future[Outcome]":
        """Do the work at once, in this thread."""
        future: Future[Outcome] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def simulate(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
