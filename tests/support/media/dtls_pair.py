"""Two ends of a secure transport, in memory or over UDP sockets on loopback."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aioice import stun

from media.aiortc_adapter import Certificate
from media.transport.dtls import Role, State, Transport

SECONDS = 10.0


class End:
    """A transport that records its states, the data it receives and the datagrams it sends."""

    def __init__(self, role: Role, certificate: Certificate | None = None, **options: Any) -> None:
        self.certificate = certificate or Certificate()
        self.states: list[State] = []
        self.sent: list[bytes] = []
        self.data: asyncio.Queue[bytes] = asyncio.Queue()
        self.deliver: Callable[[bytes], None] = lambda datagram: None
        self._reached = {state: asyncio.Event() for state in State}
        self.transport = Transport(
            self.certificate, role, self._send, on_state=self._changed, on_data=self.data.put, **options
        )

    async def reach(self, state: State) -> None:
        """Wait until the transport has announced this state."""
        await asyncio.wait_for(self._reached[state].wait(), SECONDS)

    def _changed(self, state: State) -> None:
        self.states.append(state)
        self._reached[state].set()

    def _send(self, datagram: bytes) -> None:
        self.sent.append(datagram)
        self.deliver(datagram)


@asynccontextmanager
async def watched_loop() -> AsyncIterator[None]:
    """Fail when an exception reaches the loop, or a task is left behind."""
    reached: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reached.append(context))
    before = asyncio.all_tasks()
    gc.freeze()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    # A task whose exception was not retrieved reports that when it is deleted.
    gc.collect()
    gc.unfreeze()
    assert not reached
    assert not left


def join(one: End, other: End) -> None:
    """Deliver the datagrams of each end to the other, one turn of the loop later."""
    loop = asyncio.get_running_loop()

    def reach(end: End, datagram: bytes) -> None:
        loop.call_soon(end.transport.feed, datagram)

    one.deliver, other.deliver = partial(reach, other), partial(reach, one)


def pair(**options: Any) -> tuple[End, End]:
    """Return a server and a client that are joined but not started."""
    server, client = End("server", **options), End("client")
    join(server, client)
    return server, client


async def connected() -> tuple[End, End]:
    """Return a server and a client that are connected."""
    server, client = pair()
    server.transport.start(client.certificate.fingerprints)
    client.transport.start(server.certificate.fingerprints)
    await server.reach(State.CONNECTED)
    await client.reach(State.CONNECTED)
    return server, client


async def close(*ends: End) -> None:
    for end in ends:
        await end.transport.close()


def mutate(datagram: bytes, chance: random.Random) -> bytes:
    """Return a datagram with some bytes changed, cut off, added or repeated."""
    broken = bytearray(datagram)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(broken)) if broken else 0
        match chance.randrange(5):
            case 0 if broken:
                broken[at] = chance.randrange(256)
            case 1 if broken:
                broken[at] ^= 1 << chance.randrange(8)
            case 2:
                del broken[at:]
            case 3:
                broken[at:at] = chance.randbytes(chance.randint(1, 64))
            case _:
                broken[at : at + 2] = chance.choice([b"\0\0", b"\xff\xff", b"\x80\0"])
    return bytes(broken)


def check(ufrag: str, password: str, remote: str = "them", **attributes: Any) -> bytes:
    """Return a binding request as a browser sends it."""
    request = stun.Message(
        stun.Method.BINDING,
        stun.Class.REQUEST,
        attributes={"USERNAME": f"{ufrag}:{remote}", "PRIORITY": 1, "ICE-CONTROLLING": 7, **attributes},
    )
    request.add_message_integrity(password.encode())
    return bytes(request)
