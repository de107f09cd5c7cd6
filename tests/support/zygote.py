"""A process that has imported the libraries of our servers, and forks copies of itself that become servers.

Imports take half of a server's start, and the tests start seventy servers. None of our own modules is imported here, so
a copy reads the settings from its own environment.

    python -m tests.support.zygote    reads a line of JSON for each copy, and writes a line with its process ID
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Libraries to import before forking. None of them starts a thread, installs a reactor or reads settings.
_IMPORTED = """
asyncio concurrent.futures ctypes decimal email.message email.parser html http.client http.cookies logging.config
sqlite3 ssl uuid zoneinfo
aioice aiortc asgiref.sync attr autobahn.twisted.websocket av cffi channels_redis click cryptography.fernet
cryptography.x509 dns.resolver httpx hyperlink ifaddr incremental msgpack OpenSSL psycopg psycopg.types pycparser pyee
pygments.formatters pygments.lexers pylibsrtp redis.asyncio segno service_identity sqlparse
twisted.internet.asyncioreactor twisted.internet.ssl twisted.protocols.policies twisted.python.log twisted.web.http
uritemplate uvloop yaml
zope.interface django.core.handlers.asgi django.core.handlers.wsgi django.core.management
django.db.backends.postgresql.base
django.db.backends.sqlite3.base django.db.models django.forms django.template.defaulttags django.urls
django.views.generic
"""
# linux/prctl.h
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36


class Copy:
    """A process that a zygote has made for us. It is a child of this process, like a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None
        self._asking = threading.Lock()

    def poll(self) -> int | None:
        """Return the copy's exit status, or None while the copy runs."""
        with self._asking:
            if self._status is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                self._status = os.waitstatus_to_exitcode(status) if ended else None
            return self._status

    def wait(self, timeout: float) -> int:
        """Wait until the copy ends, and return its exit status.

        :raises subprocess.TimeoutExpired: when it has not ended after this many seconds.
        """
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send the copy a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the copy to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the copy."""
        self.send_signal(signal.SIGKILL)


def copy(arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, output: Path | None = None) -> Copy:
    """Start Python with these arguments, of which the first is a file. The copy ends with this process.

    What it prints goes to `log`. If `output` is given, standard output goes there instead.
    """
    order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
    order["output"] = str(output or log)
    zygote, turn = _zygote()
    with turn:
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        zygote.stdin.write(json.dumps(order).encode() + b"\n")
        zygote.stdin.flush()
        return Copy(int(zygote.stdout.readline()))


@cache
def _zygote() -> tuple["subprocess.Popen[bytes]", threading.Lock]:
    """Start the zygote of this process. It exits when its input is closed."""
    # A copy's parent ends at once. This makes the zygote's parent adopt the copy.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    command = [sys.executable, "-u", "-m", "tests.support.zygote"]
    pipe = subprocess.PIPE
    started = subprocess.Popen(command, cwd=ROOT, env=kept, stdin=pipe, stdout=pipe, start_new_session=True)
    return started, threading.Lock()


# --- In the zygote ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Fork a copy for each line of input. The copy runs the program that the line names."""
    for name in _IMPORTED.split():
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin.buffer:
        order = json.loads(line)
        if (pid := _fork()) == 0:
            _become(**order)
            return
        print(pid, flush=True)  # noqa: T201


def _fork() -> int:
    """Fork twice: return the copy's process ID, and 0 in the copy as soon as it is an orphan."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        between = os.getpid()
        if (pid := os.fork()) == 0:
            os.close(reading)
            os.close(writing)
            while os.getppid() == between:
                time.sleep(0.001)
            return 0
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.wait()
    os.close(writing)
    with os.fdopen(reading) as numbers:
        return int(numbers.read())


def _become(arguments: list[str], environment: dict[str, str], log: str, output: str) -> None:
    """Run a file as the main program of this process."""
    os.setsid()
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    opened = [os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666) for path in (output, log)]
    for descriptor, file in enumerate((os.open(os.devnull, os.O_RDONLY), *opened)):
        os.dup2(file, descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    main_module: Any = sys.modules["__main__"]
    main_module.__file__ = arguments[0]
    gc.unfreeze()
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
