"""The way into the fast path: what C and Python share of the forwarding, and the compiled library, where there is one.

Nearly all packets are the next ones of their streams, and receivers get them with a few fields changed. For those the
interpreter costs more than what is done to them, most of all after a sleep, when it finds its caches cold. So
`fastpath.c` reads a burst, forwards them and leaves the rest to Python. What it needs to know stands in memory that
both look into (`fastpath.h`): there is no second truth, and without the library Python does all of it.

    python -m media.fastpath

compiles it with the compiler that there is: $CC, cc, gcc, clang, or Zig's from its package `ziglang`. It needs the
headers of libc, and nothing of Python's.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, overload

from cffi import FFI

from media.datagrams import Inbox, Outbox

_FOLDER = Path(__file__).parent
_SOURCE, _HEADER = _FOLDER / "fastpath.c", _FOLDER / "fastpath.h"
_FLAGS = ("-std=c11", "-O2", "-g", "-fPIC", "-shared", "-Wall", "-Wextra")
_COMPILE_SECONDS = 120

ffi: Final[Any] = FFI()
ffi.cdef(_HEADER.read_text())
_limits: dict[str, int] = ffi.typeof("enum limits").relements
_verdicts: dict[str, int] = ffi.typeof("enum verdict").relements
SLOTS_IN, SLOTS_OUT, SLOT_SIZE = _limits["SLOTS_IN"], _limits["SLOTS_OUT"], _limits["SLOT_SIZE"]
KEPT, ARENA_SIZE, ELEMENT_IDS = _limits["KEPT"], _limits["ARENA_SIZE"], _limits["ELEMENT_IDS"]
UNTOUCHED, DECRYPTED, SETTLED = _verdicts["UNTOUCHED"], _verdicts["DECRYPTED"], _verdicts["SETTLED"]

T = TypeVar("T")


class Shared(Generic[T]):
    """An attribute that stands in its object's `memory`, where the fast path finds it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Shared[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(instance.memory, self._name)

    def __set__(self, instance: Any, value: T) -> None:
        setattr(instance.memory, self._name, value)


class FastPath:
    """The fast path of one socket. Between turns its counters may be read in `memory`, its `struct fastpath`."""

    def __init__(self, library: Any, fd: int, srtp: tuple[int, int], inbox: Inbox, *, longest_train: int) -> None:
        """Serve a socket. `srtp` has the addresses of libsrtp's functions that encrypt and decrypt."""
        self._library = library
        self._inbox, self._outbox = inbox, Outbox(SLOTS_OUT)
        self.memory: Any = ffi.new("struct fastpath *")
        memory = self.memory
        memory.fd, memory.longest_train = fd, longest_train
        memory.protect, memory.unprotect = srtp
        memory.headers_in, memory.slots_in = inbox.header_address, ffi.cast("uint8_t *", inbox.addresses[0])
        memory.headers_out, memory.iovecs_out = self._outbox.header_address, self._outbox.iovec_address
        memory.slots_out = ffi.cast("uint8_t *", self._outbox.addresses[0])
        self._verdicts = memoryview(ffi.buffer(memory.verdicts))

    def turn(self, now: float) -> tuple[int, bytes]:
        """Take what has arrived, as much as the inbox holds.

        Return how many datagrams there were, and the verdict on each. The caller must take those that are not SETTLED.
        """
        count: int = self._library.fastpath_turn(self.memory, now)
        return count, self._verdicts[:count].tobytes()

    def take_refused(self) -> set[int]:
        """Take the addresses in memory of those sockaddrs that trains could not be sent to."""
        memory = self.memory
        refused = {memory.refused[i] for i in range(memory.refusals)}
        memory.refusals = 0
        return refused

    def assign(self, name: bytes, leg: Any) -> None:
        """Let media from a sockaddr be a leg's; its `struct leg` must live until that is over."""
        if self._library.fastpath_assign(self.memory, name, leg):
            raise MemoryError

    def release(self, name: bytes) -> None:
        """Let media from a sockaddr be nobody's."""
        self._library.fastpath_release(self.memory, name)

    def close(self) -> None:
        """Forget all sockaddrs."""
        self._library.fastpath_clear(self.memory)


def load() -> Any:
    """Return the compiled library; None where nobody has compiled it for this source and machine."""
    path = _compiled()
    return ffi.dlopen(str(path)) if path.exists() else None


def _compiled() -> Path:
    """Return where the library is to be: another source is another file, so that nobody ever loads an old one."""
    source = hashlib.sha256(_SOURCE.read_bytes() + _HEADER.read_bytes()).hexdigest()[:12]
    return _FOLDER / f"_fastpath-{source}-{platform.machine()}.so"


def _compilers() -> list[list[str]]:
    """Return the commands that may compile C here, the preferred one first."""
    named = [os.environ["CC"].split()] if os.environ.get("CC", "").strip() else []
    found = [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)]
    return [*named, *found, [sys.executable, "-m", "ziglang", "cc"]]


def compile_library() -> Path:
    """Compile the library where that is not done yet, and return its path.

    :raises RuntimeError: when no compiler makes it; the message has what the last one said.
    """
    target = _compiled()
    if target.exists():
        return target
    made = target.with_suffix(f".{os.getpid()}")
    said = "there is none"
    for compiler in _compilers():
        command = [*compiler, *_FLAGS, "-o", str(made), str(_SOURCE)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
            continue
        if done.returncode == 0:
            made.replace(target)
            for old in set(_FOLDER.glob("_fastpath-*.so")) - {target}:
                old.unlink(missing_ok=True)
            return target
        said = done.stderr.strip()
    made.unlink(missing_ok=True)
    raise RuntimeError(f"No C compiler has compiled {_SOURCE.name}: {said}")


if __name__ == "__main__":
    try:
        print(f"The fast path is compiled: {compile_library().name}")  # noqa: T201
    except RuntimeError as error:
        print(f"{error}\nThe focus forwards in Python alone, which costs more per packet.", file=sys.stderr)  # noqa: T201
