"""A network namespace of its own for one browser, and a link to it that a benchmark impairs at will.

All UDP of the browser passes through this process: two TUN devices, and a thread that delays and drops the packets
between them as `tests.support.media.path.Path` says. The web server is reached through a relay that impairs nothing,
so only media is affected.

    link = Link(web_port)
    link.start()
    link.down.rate = 500_000                # towards the browser
    browser = launch(executable_path=link.wrapped(CHROMIUM))
"""

import asyncio
import contextlib
import ctypes
import fcntl
import heapq
import os
import selectors
import shlex
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path as File

from tests.support.media.path import Path

# The addresses of the two ends.
NEAR, FAR = "10.214.0.1", "10.214.0.2"
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN_NO_PI = 0x400454CA, 0x1001
_LARGEST_PACKET = 2048
_CHUNK = 65536


@dataclass
class Way:
    """One direction of the link: what it does to packets, and what it has carried."""

    path: Path = field(default_factory=lambda: Path(delay=0.0))
    octets: int = 0
    # The longest wait in the queue since this was last set to 0, in seconds.
    longest_wait: float = 0.0

    def change(self, **values: float | None) -> None:
        """Change attributes of the path. What was set before is forgotten."""
        for name, value in {**_CLEAN, **values}.items():
            setattr(self.path, name, value)

    def send(self, packet: bytes, now: float) -> float | None:
        """Return when a packet arrives; None if it is lost."""
        arrives_at = self.path.send(len(packet), now)
        self.longest_wait = max(self.longest_wait, self.path.waiting(now))
        if arrives_at is not None:
            self.octets += len(packet)
        return arrives_at


_CLEAN: dict[str, float | None] = {"delay": 0.0, "rate": None, "queue": 0.3, "loss": 0.0, "burst": 1.0, "jitter": 0.0}


class Link:
    """The namespace and its link. `web_port` is the port of the server on 127.0.0.1, on both sides."""

    def __init__(self, web_port: int) -> None:
        self.down, self.up = Way(), Way()
        self._web_port = web_port
        self._ready = threading.Event()
        self._ends: dict[int, tuple[int, Way]] = {}
        self._listener: socket.socket | None = None
        self._namespace = ""
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._relays: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Make the namespace and the link."""
        near = _tun("near0", f"{NEAR}/30")
        self._near = near
        self._thread.start()
        await asyncio.to_thread(self._ready.wait)
        assert self._listener is not None
        await asyncio.start_server(self._relay, sock=self._listener)

    def wrapped(self, program: str, folder: File) -> str:
        """Return the path of a script in `folder` that runs a program in the namespace."""
        script = folder / "in-namespace"
        script.write_text(f'#!/bin/sh\nexec nsenter --net={shlex.quote(self._namespace)} -- {program} "$@"\n')
        script.chmod(0o755)
        return str(script)

    # --- In a thread of its own, which belongs to the namespace ------------------------------------------------

    def _run(self) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace can be made")
        self._namespace = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        far = _tun("far0", f"{FAR}/30")
        subprocess.run(["ip", "route", "add", "default", "via", NEAR], check=True)
        self._listener = socket.create_server(("127.0.0.1", self._web_port))
        self._ends = {self._near: (far, self.down), far: (self._near, self.up)}
        self._ready.set()
        self._carry()

    def _carry(self) -> None:
        """Carry packets from one end to the other, for ever."""
        # When each packet arrives, and where.
        due: list[tuple[float, int, int, bytes]] = []
        count = 0
        with selectors.DefaultSelector() as selector:
            for end in self._ends:
                selector.register(end, selectors.EVENT_READ)
            while True:
                wait = max(0.0, due[0][0] - time.monotonic()) if due else None
                for key, _ in selector.select(wait):
                    packet = os.read(key.fd, _LARGEST_PACKET)
                    other, way = self._ends[key.fd]
                    arrives_at = way.send(packet, time.monotonic())
                    if arrives_at is not None:
                        count += 1
                        heapq.heappush(due, (arrives_at, count, other, packet))
                now = time.monotonic()
                while due and due[0][0] <= now:
                    _, _, other, packet = heapq.heappop(due)
                    with contextlib.suppress(OSError):
                        os.write(other, packet)

    # --- The web server ----------------------------------------------------------------------------------------

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a connection in the namespace with the web server outside."""
        with contextlib.suppress(OSError):
            there, to = await asyncio.open_connection("127.0.0.1", self._web_port)
            await asyncio.gather(_copy(reader, to), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


def _tun(name: str, address: str) -> int:
    """Make a TUN device in the network namespace of this thread; return its descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    os.set_blocking(device, False)
    subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return device
