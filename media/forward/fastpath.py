"""The fast path, where it is compiled: a library that forwards ordinary packets without the interpreter.

Nearly all packets are the next ones of their streams, and receivers get them with a few fields changed. For those the
interpreter costs more than what is done to them, most of all after a sleep, when it finds its caches cold. So
`fastpath.c` reads a burst, forwards them and leaves the rest to Python. What it needs to know stands in memory that
both look into (`media/forward/memory.py`): there is no second truth, and without the library Python does all of it.

    python -m media.forward.fastpath

compiles it with the compiler that there is: $CC, cc, gcc, clang, or Zig's from its package `ziglang`. It needs the
headers of libc, and nothing of Python's.
"""

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from media.forward import quick
from media.forward.datagrams import Inbox, Outbox, address_in_memory
from media.forward.memory import HEADER, ffi

logger = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
SOURCE = _FOLDER / "fastpath.c"
# No fused multiplication and addition, so that jitter is the same everywhere; and for every machine of the kind.
FLAGS = ("-std=c11", "-O2", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-ffp-contract=off")
_ZIG = (sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline")
_COMPILE_SECONDS = 120
_WITHOUT = "The focus forwards in Python alone: all works, but costs more. Run this again once there is a C compiler."


class FastPath:
    """The fast path of one socket. Between turns its counters may be read in `memory`, its `struct fastpath`."""

    def __init__(
        self, library: Any, fd: int, srtp: tuple[int, int], inbox: Inbox, outbox: Outbox, *, longest_batch: int
    ) -> None:
        """Serve a socket. `srtp` has the addresses of libsrtp's functions that encrypt and decrypt.

        The inbox has SLOTS_IN slots, the outbox SLOTS_OUT, of which none is in use before and after each turn.
        """
        self._library = library
        # `memory` points into both.
        self._inbox, self._outbox = inbox, outbox
        self.memory: Any = ffi.new("struct fastpath *")
        memory = self.memory
        memory.fd, memory.longest_batch = fd, longest_batch
        memory.protect, memory.unprotect = srtp
        memory.headers_in, memory.slots_in = inbox.header_address, ffi.cast("uint8_t *", inbox.addresses[0])
        memory.headers_out, memory.iovecs_out = outbox.header_address, outbox.iovec_address
        memory.slots_out = ffi.cast("uint8_t *", outbox.addresses[0])
        self._verdicts = memoryview(ffi.buffer(memory.verdicts))
        # Nothing in a turn waits, so the loop keeps the interpreter meanwhile.
        turn = address_in_memory(ffi.addressof(library, "fastpath_turn"))
        self._turn = quick.function(turn, quick.ADDRESS, quick.TIME)
        self._address = address_in_memory(memory)

    def turn(self, now: float) -> tuple[int, bytes]:
        """Take what has arrived, as much as the inbox holds.

        Return how many datagrams there were, and the verdict on each. The caller must take those that are not SETTLED.
        Where a GSO batch was refused, the outbox says so.
        """
        memory = self.memory
        count = self._turn(self._address, now)
        if memory.gso_unsupported_count:
            self._outbox.gso_unsupported.update(memory.gso_unsupported[0 : memory.gso_unsupported_count])
            memory.gso_unsupported_count = 0
        return count, self._verdicts[:count].tobytes()

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
    if not library_path.exists():
        return None
    try:
        return ffi.dlopen(str(library_path))
    except OSError as error:
        logger.warning("The fast path was compiled, but cannot be loaded: %s", error)
        return None


def library_path_of(folder: Path) -> Path:
    """Return where the library is to be. What was made of something else has another name, and is never loaded."""
    made_of = hashlib.sha256(repr([SOURCE.read_text(), HEADER, *FLAGS]).encode()).hexdigest()
    return folder / f"_fastpath-{made_of[:12]}-{platform.machine()}.so"


# As this process knows the structures, whatever becomes of the files.
library_path = library_path_of(_FOLDER)


def compilers() -> list[list[str]]:
    """Return the commands that may compile C here, the preferred one first."""
    named = [os.environ["CC"].split()] if os.environ.get("CC", "").strip() else []
    found = [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)]
    return [*named, *found, *([list(_ZIG)] if find_spec("ziglang") else [])]


def compile_library() -> Path:
    """Compile the library where that is not done yet, and return its path.

    :raises RuntimeError: when that cannot be done; the message says why the first compiler could not.
    """
    if library_path.exists():
        return library_path
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, library_path.name)
        for compiler in compilers():
            command = [*compiler, *FLAGS, "-o", str(made), str(SOURCE)]
            try:
                subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=True)  # noqa: S603
                _put(made)
            except subprocess.CalledProcessError as error:
                said = said or error.stderr.strip() or str(error)
            except (OSError, subprocess.TimeoutExpired) as error:
                said = said or str(error)
            else:
                return library_path
    raise RuntimeError(f"{SOURCE.name} was not compiled: {said or 'there is no C compiler'}")


def _put(made: Path) -> None:
    """Put a library in its place, in one step, and remove those that it replaces.

    :raises OSError: when that is not allowed.
    """
    beside = library_path.with_suffix(f".{os.getpid()}")
    shutil.copyfile(made, beside)
    beside.replace(library_path)
    for old in set(library_path.parent.glob(f"_fastpath-*-{platform.machine()}.so")) - {library_path}:
        old.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        print(f"The fast path is compiled: {compile_library().name}")  # noqa: T201
    except RuntimeError as error:
        print(error, _WITHOUT, sep="\n", file=sys.stderr)  # noqa: T201
