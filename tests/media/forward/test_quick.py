"""Calls into C that keep the interpreter lock while another thread computes."""

import ctypes
import operator
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest

from media import aiortc_adapter as adapter
from media.forward import fastpath, quick
from media.forward.datagrams import Inbox, Outbox, sockaddr
from media.forward.fastpath import FastPath
from media.forward.memory import SLOTS_IN, SLOTS_OUT

# No test in this module uses the database.
pytestmark = pytest.mark.once

CALLS = 3000


@pytest.fixture
def rival() -> Iterator["count[int]"]:
    """Count the steps of a thread that computes and takes the interpreter lock whenever it can."""
    stopping, steps = threading.Event(), count()

    def compute() -> None:
        while not stopping.is_set():
            next(steps)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=compute)
    thread.start()
    yield steps
    stopping.set()
    thread.join(10)
    sys.setswitchinterval(before)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets, of which the second is bound."""
    with socket.socket(type=socket.SOCK_DGRAM) as first, socket.socket(type=socket.SOCK_DGRAM) as second:
        first.setblocking(False)
        second.setblocking(False)
        second.bind(("127.0.0.1", 0))
        yield first, second


def steps_during(rival: "count[int]", call: Callable[..., Any], *arguments: Any) -> int:
    """Return how many steps the rival takes during many calls. No Python code runs between these calls."""
    calls: list[Callable[[], Any]] = [rival.__reduce__, *[partial(call, *arguments)] * CALLS, rival.__reduce__]
    results: list[Any] = list(map(operator.call, calls))
    before, after = (int(re.findall(r"\d+", str(each))[0]) for each in (results[0], results[-1]))
    return after - before


def lets_go(rival: "count[int]", call: Callable[..., Any], *arguments: Any) -> bool:
    """Whether the rival gets the interpreter lock during such calls.

    Repeat the calls for up to a minute, because the rival may have to wait on a busy machine.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if steps_during(rival, call, *arguments):
            return True
    return False


def test_call_keeps_the_interpreter_where_sockets_do_not(
    rival: "count[int]", sockets: tuple[socket.socket, socket.socket]
) -> None:
    first, second = sockets
    name = sockaddr(*second.getsockname())
    kept = quick.function(ctypes.cast(quick.libc.sendto, ctypes.c_void_p).value or 0, *quick.libc.sendto.argtypes)
    assert steps_during(rival, kept, first.fileno(), b"x", 1, 0, name, len(name)) == 0
    assert lets_go(rival, first.sendto, b"x", second.getsockname())


def test_turn_of_the_fast_path_keeps_the_interpreter(
    rival: "count[int]", sockets: tuple[socket.socket, socket.socket]
) -> None:
    library = fastpath.load()
    if library is None:
        pytest.skip("the fast path is not compiled")
    path = FastPath(
        library,
        sockets[1].fileno(),
        adapter.srtp_addresses(),
        Inbox(SLOTS_IN),
        Outbox(SLOTS_OUT),
        longest_batch=1,
    )
    assert steps_during(rival, path.run_turn, path.address, 0.0) == 0
    assert lets_go(rival, library.fastpath_turn, path.memory, 0.0)
    path.close()


def test_datagram_arrives(sockets: tuple[socket.socket, socket.socket]) -> None:
    first, second = sockets
    quick.send(first.fileno(), b"hello", sockaddr(*second.getsockname()))
    assert second.recv(100) == b"hello"


def test_a_refusal_of_the_kernel_raises(sockets: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(OSError, match="too long"):
        quick.send(sockets[0].fileno(), bytes(70000), sockaddr("127.0.0.1", 9))
