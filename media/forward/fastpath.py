"""The fast path: a compiled library that forwards ordinary packets without the interpreter.

Nearly every packet is the next packet of its stream, and receivers get it with a few fields changed. For these packets,
the interpreter costs more than the work itself, above all after a sleep, when the caches are cold. So `fastpath.c`
reads a burst, forwards these packets and leaves the rest to Python. The library has no state of its own: Python and C
share the memory that both need (`media/forward/memory.py`). Without the library, Python forwards everything.

    python -m media.forward.fastpath

compiles the library with $CC, cc, gcc, clang, or Zig from the package `ziglang`. Compiling needs the headers of libc,
but not those of Python.
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

from media.congestion.acknowledgement import Report
from media.forward import quick
from media.forward.datagrams import Inbox, Outbox, address_in_memory
from media.forward.memory import HEADER, ffi
from media.forward.repair import OVERHEAD

logger = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
SOURCE = _FOLDER / "fastpath.c"
# Forbid fused multiply-add, so that jitter is the same on every machine.
FLAGS = ("-std=c11", "-O2", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-ffp-contract=off")
_ZIG = (sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline")
_COMPILE_SECONDS = 120
_WITHOUT = "The focus forwards in Python: calls work, but need more CPU time. Install a C compiler and try again."


class FastPath:
    """The fast path of one socket. Its `memory`, a `struct fastpath`, has counters. Read them only between turns."""

    def __init__(
        self, library: Any, fd: int, srtp: tuple[int, int], inbox: Inbox, outbox: Outbox, *, longest_batch: int
    ) -> None:
        """Serve a socket.

        :param srtp: the addresses of libsrtp's functions that encrypt and decrypt.
        :param inbox: an inbox with SLOTS_IN slots.
        :param outbox: an outbox with SLOTS_OUT slots. No slot is in use before or after a turn.
        """
        self._library = library
        # The inbox and the outbox must live as long as `memory`, which points into them.
        self._inbox, self._outbox = inbox, outbox
        self.memory: Any = ffi.new("struct fastpath *")
        memory = self.memory
        memory.fd, memory.longest_batch = fd, longest_batch
        memory.protect, memory.unprotect = srtp
        memory.headers_in, memory.slots_in = inbox.header_address, ffi.cast("uint8_t *", inbox.addresses[0])
        memory.headers_out, memory.iovecs_out = outbox.header_address, outbox.iovec_address
        memory.slots_out = ffi.cast("uint8_t *", outbox.addresses[0])
        self._verdicts = memoryview(ffi.buffer(memory.verdicts))
        # A turn waits for nothing, so the loop keeps the interpreter lock during a turn.
        turn = address_in_memory(ffi.addressof(library, "fastpath_turn"))
        # The C function and its argument. `turn` calls them.
        self.run_turn = quick.function(turn, quick.ADDRESS, quick.TIME)
        self.address = address_in_memory(memory)
        read = address_in_memory(ffi.addressof(library, "fastpath_acknowledge"))
        self._acknowledge = quick.function(read, quick.ADDRESS, quick.ADDRESS, quick.NUMBER, quick.ADDRESS)
        self._report: Any = ffi.new("struct report *")
        self._report_address = address_in_memory(self._report)
        report = self._report
        self._times = [memoryview(ffi.buffer(each)).cast("B").cast("d") for each in (report.sent_at, report.arrived_at)]
        self._counts = [memoryview(ffi.buffer(each)).cast("B").cast("i") for each in (report.sizes, report.probes)]

    def turn(self, now: float) -> tuple[int, bytes]:
        """Read up to SLOTS_IN datagrams that have arrived, and forward those that the fast path can handle.

        Return how many datagrams were read, and the verdict on each. The caller must handle the datagrams that are not
        SETTLED, and stop using GSO for the destinations in the outbox's `gso_unsupported`.
        """
        memory = self.memory
        count = self.run_turn(self.address, now)
        if memory.gso_unsupported_count:
            self._outbox.gso_unsupported.update(memory.gso_unsupported[0 : memory.gso_unsupported_count])
            memory.gso_unsupported_count = 0
        return count, self._verdicts[:count].tobytes()

    def acknowledge(self, departures: Any, feedback: bytes) -> Report:
        """Return what transport-wide feedback says about the packets of a `struct departures`.

        :raises ValueError: when it is malformed.
        """
        address = address_in_memory(departures)
        if self._acknowledge(address, feedback, len(feedback), self._report_address):
            raise ValueError("the feedback is malformed")
        count = self._report.arrived
        sent_at, arrived_at = (column[:count].tolist() for column in self._times)
        sizes, probes = (column[:count].tolist() for column in self._counts)
        return Report(sent_at, arrived_at, [size + OVERHEAD for size in sizes], probes, self._report.lost)

    def assign(self, name: bytes, leg: Any) -> None:
        """From now on, treat media from this sockaddr as the leg's. Its `struct leg` must live until `release`."""
        if self._library.fastpath_assign(self.memory, name, leg):
            raise MemoryError

    def release(self, name: bytes) -> None:
        """Leave media from a sockaddr to Python from now on."""
        self._library.fastpath_release(self.memory, name)

    def close(self) -> None:
        """Forget all sockaddrs."""
        self._library.fastpath_clear(self.memory)


def load() -> Any:
    """Return the compiled library; None if it is not compiled for this source and machine."""
    if not library_path.exists():
        return None
    try:
        return ffi.dlopen(str(library_path))
    except OSError as error:
        logger.warning("The fast path was compiled, but cannot be loaded: %s", error)
        return None


def library_path_of(folder: Path) -> Path:
    """Return the path of the library. Its name is a hash of the source, so no library of another source is loaded."""
    made_of = hashlib.sha256(repr([SOURCE.read_text(), HEADER, *FLAGS]).encode()).hexdigest()
    return folder / f"_fastpath-{made_of[:12]}-{platform.machine()}.so"


# Computed once: the library must fit the structures as this process has read them, even if the files change later.
library_path = library_path_of(_FOLDER)


def compilers() -> list[list[str]]:
    """Return the commands that may compile C on this machine, the preferred one first."""
    named = [os.environ["CC"].split()] if os.environ.get("CC", "").strip() else []
    found = [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)]
    return [*named, *found, *([list(_ZIG)] if find_spec("ziglang") else [])]


def compile_library() -> Path:
    """Compile the library unless it exists, and return its path.

    :raises RuntimeError: when no compiler succeeds; the message says why the first one failed.
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
    """Move a library into place atomically, and remove the libraries that it replaces.

    :raises OSError: when the folder cannot be written.
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
