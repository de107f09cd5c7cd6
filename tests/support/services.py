"""Real services for tests: a private Redis, a private PostgreSQL, and real processes of our own.

All of them listen on free ports of 127.0.0.1, keep their files in a temporary directory, run as an ordinary
user, and are stopped by process ID.

    python -m tests.support.services -- COMMAND…             runs tests on PostgreSQL and Redis
    python -m tests.support.services --beside -- COMMAND…    runs tests on SQLite; some of them also use these two

If such a command runs inside another one, it shares the services of the outer command and the files prepared there.
"""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import psycopg

from tests.support.scratch import in_memory
from tests.support.zygote import Copy, copy

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 30.0
_STOP_SECONDS = 10.0
SECRET_KEY = "only-for-tests" * 4
# The variables by which `python -m tests.support.services` names its services to the tests.
_CLUSTER, _REDIS = "SBE_TEST_CLUSTER_URL", "SBE_TEST_CLUSTER_REDIS_URL"
# The variable with the directory for files, such as migrated databases, that all commands of one run share.
SHARED = "SBE_TEST_SHARED"


def free_port() -> int:
    """Return a TCP port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool], what: str, *, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait for a condition, which is checked every 20 ms.

    :raises TimeoutError: when it does not become true in time; the text names the condition.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


# --- Services of others -----------------------------------------------------------------------------------


def _ordinary_user() -> pwd.struct_passwd | None:
    """Return the user to switch to, because PostgreSQL refuses to run as root. None when this process is not root's."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise LookupError("there is no ordinary user to run a service as")


def _as_ordinary_user() -> list[str]:
    """Return the prefix that runs a command as an ordinary user, and ends it if this process is killed."""
    user = _ordinary_user()
    become = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []
    return ["setpriv", *become, "--pdeathsig", "INT"]


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    """Make a directory that belongs to the ordinary user, and remove it afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="sbe-service-", dir=in_memory()))
    if user := _ordinary_user():
        os.chown(directory, user.pw_uid, user.pw_gid)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _running(command: list[str], directory: Path, answers: Callable[[], bool]) -> Iterator[None]:
    """Run a service until the end of the block. The block begins once the service answers."""
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_as_ordinary_user(), *command],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # An interrupt at the terminal is for the tests; they stop their services afterwards.
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or answers(), command[0])
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended at once: {log.read_text(errors='replace')}")
        yield
    finally:
        _stop(process, signal.SIGINT)


def _stop(process: subprocess.Popen[bytes] | Copy, with_signal: signal.Signals) -> int:
    """End a process, with a signal that it can handle first, and return its exit status."""
    if process.poll() is None:
        process.send_signal(with_signal)
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(_STOP_SECONDS)


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run a Redis that stores nothing on disk; yields its URL."""
    port = free_port()

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    program = _program("redis-server")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with _private_directory() as directory, _running([program, *options], directory, answers):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def postgresql(*, autovacuum: bool = True) -> Iterator[str]:
    """Run a PostgreSQL cluster that may lose everything in a crash; yields the URL of an empty database.

    Tests of statistics need `autovacuum=False`: autovacuum does not see the rows of a test's open transaction, and
    would replace the statistics that the test made.
    """
    port = free_port()
    url = f"postgresql://sbe@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=2):
            return True
        return False

    with _private_directory() as directory:
        data = directory / "data"
        _call(
            [_program("initdb"), "-D", str(data), "-U", "sbe", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            directory,
        )
        speed = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=400"]
        speed += [] if autovacuum else ["autovacuum=off"]
        options = [f"unix_socket_directories={directory}", "listen_addresses=127.0.0.1", *speed]
        settings = [word for option in options for word in ("-c", option)]
        command = [_program("postgres"), "-D", str(data), "-p", str(port), *settings]
        with _running(command, directory, answers):
            yield new_database(url)


def new_database(url: str, *, template: str = "template1") -> str:
    """Make another database in the cluster of `url`, a copy of `template`, and return its URL."""
    name = f"sbe_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    return f"{url.rpartition('/')[0]}/{name}"


def _call(command: list[str], directory: Path) -> None:
    """Run a command to completion as the ordinary user."""
    done = subprocess.run([*_as_ordinary_user(), *command], cwd=directory, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.decode(errors='replace')}")


def _program(name: str) -> str:
    """Return the path of a program. PostgreSQL's programs are in a separate folder for each version.

    :raises FileNotFoundError: when it is missing; the text names the package.
    """
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, reversed(versions))])
    if found := shutil.which(name, path=path):
        return found
    raise FileNotFoundError(f"{name} is missing: `make test` installs it, or apt-get install redis-server postgresql")


@contextlib.contextmanager
def gateway(configuration: str, files: Mapping[str, str]) -> Iterator[Path]:
    """Run nginx with this text inside its `http` block; yields its directory, where the relative paths begin.

    `files` are written there first, readable for the ordinary user that nginx runs as.
    """
    with _private_directory() as directory:
        for name, text in files.items():
            (directory / name).write_text(text)
        paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        temporary = " ".join(f"{name}_temp_path {name};" for name in paths)
        whole = (
            f"daemon off; pid pid; error_log stderr; events {{}} http {{ access_log off; {temporary} {configuration} }}"
        )
        (directory / "nginx.conf").write_text(whole)
        command = [_program("nginx"), "-p", str(directory), "-c", "nginx.conf", "-e", "stderr"]
        with _running(command, directory, (directory / "pid").exists):
            yield directory


# --- Our own processes ------------------------------------------------------------------------------------


def manage(*arguments: str, variables: Mapping[str, str]) -> str:
    """Run a management command to its end and return what it printed.

    :raises RuntimeError: when it fails; the text has what it printed to standard error.
    """
    with tempfile.TemporaryDirectory(prefix="sbe-manage-") as directory:
        output, errors = Path(directory, "output"), Path(directory, "errors")
        words = ["manage.py", *arguments]
        if copy(words, process_environment(variables), errors, output=output).wait(120):
            raise RuntimeError(f"{' '.join(words)}: {errors.read_text()}")
        return output.read_text()


# Runs several management commands in one process: starting a process for each takes longer than the commands do.
_SEVERAL = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "sbe_enabler.settings"
for command in sys.argv[1:]:
    execute_from_command_line(["manage.py", *command.split()])
"""


def _run(arguments: list[str], variables: Mapping[str, str]) -> str:
    """Run Python with these arguments to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=process_environment(variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}")
    return done.stdout


def spawn(log: Path, *arguments: str, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start Python with these arguments. The process ends with this one, and its output goes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, *arguments],
            cwd=ROOT,
            env=process_environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@contextlib.contextmanager
def copied(log: Path, *arguments: str, variables: Mapping[str, str]) -> Iterator[Copy]:
    """Run one of our processes until the block ends.

    It starts as a copy of the zygote, which is faster. Its output goes to `log`.
    """
    process = copy(arguments, process_environment(variables), log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


@contextlib.contextmanager
def spawned(
    log: Path, *arguments: str, variables: Mapping[str, str], ends_with: signal.Signals = signal.SIGKILL
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start Python like `spawn`, and stop it when the block ends."""
    process = spawn(log, *arguments, variables=variables)
    try:
        yield process
    finally:
        process.send_signal(ends_with)
        process.wait(20)


def process_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of one of our processes: `variables`, and nothing from a developer's shell."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", "SBE_SECRET_KEY": SECRET_KEY, **variables}


@dataclass(frozen=True)
class Backend:
    """A migrated database that any number of servers may share, with the variables that name it and an API key."""

    variables: Mapping[str, str]
    api_key: str

    def execute(self, statement: str) -> None:
        """Run a statement directly on the database, not through the servers."""
        if url := self.variables.get("DATABASE_URL"):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(statement.encode())
        else:
            path = Path(self.variables["SBE_STATE_DIR"]) / "db.sqlite3"
            with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE_SECONDS)) as file, file:
                file.execute(statement)


@dataclass
class Server:
    """One `manage.py serve` on a port of its own, with the Dev Server and the test page.

    Use it as a context manager, or call `start` and `stop`. With `anew` it starts as an operator starts it, not as a
    copy of a process that has imported modules already. Measure only such servers.
    """

    backend: Backend
    directory: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    anew: bool = False
    _process: "subprocess.Popen[bytes] | Copy | None" = None

    @property
    def base_url(self) -> str:
        """Return the address of the server, without a slash at its end."""
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """Return a TLS context that trusts the usual authorities and the server's own certificate."""
        return ssl.create_default_context(cafile=self._certificate)

    @property
    def _certificate(self) -> str | None:
        return self.variables.get("SBE_TLS_CERTIFICATE")

    @property
    def api_key(self) -> str:
        """Return an API key that the server knows."""
        return self.backend.api_key

    @property
    def pid(self) -> int:
        """Return the process ID."""
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    def log(self) -> str:
        """Return everything that the server has logged, across restarts."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.directory / f"server-{self.port}.log"

    def start(self) -> "Server":
        """Start the process and wait until it is healthy."""
        self.directory.mkdir(parents=True, exist_ok=True)
        variables = {"SBE_STATE_DIR": str(self.directory), "SBE_API_KEY": self.api_key, "SBE_DEV_SERVER": "1"}
        variables |= {**self.backend.variables, **self.variables}
        arguments = ["manage.py", "serve", "--port", str(self.port)]
        if self.anew:
            self._process = spawn(self._log_path, *arguments, variables=variables)
        else:
            self._process = copy(arguments, process_environment(variables), self._log_path)
        try:
            wait_until(self._is_healthy_or_gone, "the server is healthy")
        except TimeoutError:
            self.kill()
            raise
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended at once: {self.log()}")
        return self

    def _is_healthy_or_gone(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        # Polling must leave the processor to the server that starts.
        asking = HTTPConnection("127.0.0.1", self.port, timeout=5)
        if self._certificate:
            asking = HTTPSConnection("127.0.0.1", self.port, timeout=5, context=self.trust)
        with contextlib.closing(asking), contextlib.suppress(OSError, HTTPException):
            asking.request("GET", "/healthz")
            return asking.getresponse().status == HTTPStatus.OK
        return False

    def stop(self) -> int:
        """Ask the process to end and wait for it; return its exit status."""
        return _stop(self._process, signal.SIGTERM) if self._process else 0

    def kill(self) -> None:
        """Kill the process."""
        if self._process:
            _stop(self._process, signal.SIGKILL)

    def restart(self) -> None:
        """Stop, and start on the same port with the same database."""
        self.stop()
        self.start()

    def __enter__(self) -> "Server":
        """Start."""
        return self.start()

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self.stop()


class Backends:
    """Makes migrated databases: migrates one of each kind, then copies it.

    Close it when done; databases and services end with it.
    """

    def __init__(self, directory: Path, shared: Path | None = None) -> None:
        """Keep files under `directory`, and those that the processes of a test run share under `shared`."""
        self._directory, self._shared = directory, shared or directory
        self._shared.mkdir(parents=True, exist_ok=True)
        self._stack = contextlib.ExitStack()
        self._static = self._shared / "static"
        self._cluster: tuple[str, str] | None = None

    def close(self) -> None:
        """Stop the services that were started."""
        self._stack.close()

    def sqlite(self) -> Backend:
        """Return a fresh SQLite database, with everything else in memory."""
        template = self._shared / "template"
        key = self._key(self._shared / "sqlite", lambda: {"SBE_STATE_DIR": str(template)})[-1]
        state = self._directory / uuid.uuid4().hex
        state.mkdir()
        shutil.copy(template / "db.sqlite3", state)
        return Backend({"SBE_STATE_DIR": str(state), "SBE_STATIC_DIR": str(self._static)}, key)

    def grown(self) -> Backend:
        """Return a fresh PostgreSQL database, and Redis."""
        cluster, redis_url = self._services()
        note = (self._shared if _CLUSTER in os.environ else self._directory) / "postgresql"
        state = {"SBE_STATE_DIR": str(self._directory)}
        template, key = self._key(note, lambda: {**state, "DATABASE_URL": new_database(cluster)})
        database = new_database(template, template=template.rpartition("/")[2])
        variables = {"DATABASE_URL": database, "REDIS_URL": redis_url, "SBE_STATIC_DIR": str(self._static)}
        return Backend(variables, key)

    def _services(self) -> tuple[str, str]:
        """Return the URLs of PostgreSQL and Redis: those of the test run if there are any, otherwise our own."""
        if self._cluster is None:
            given = os.environ.get(_CLUSTER), os.environ.get(_REDIS)
            self._cluster = (
                given[0] or self._stack.enter_context(postgresql()),
                given[1] or self._stack.enter_context(redis()),
            )
        return self._cluster

    def _key(self, note: Path, variables: Callable[[], dict[str, str]]) -> tuple[str, str]:
        """Prepare a database, or read the file (`note`) of the process that has prepared one.

        Return the database's URL, if any, and an API key.
        """
        with (self._shared / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not note.exists():
                named = variables()
                note.write_text(f"{named.get('DATABASE_URL', '')} {self._prepare(named)}")
            url, _, key = note.read_text().partition(" ")
        return url, key

    def _prepare(self, variables: dict[str, str]) -> str:
        """Migrate a database, collect the static files, and return a new API key."""
        Path(variables["SBE_STATE_DIR"]).mkdir(parents=True, exist_ok=True)
        named = {**variables, "SBE_STATIC_DIR": str(self._static)}
        commands = ["migrate --verbosity 0", "collectstatic --noinput --verbosity 0", "create_api_key tests"]
        if self._static.exists():
            del commands[1]
        return _run(["-c", _SEVERAL, *commands], named).strip()


@contextlib.contextmanager
def _common() -> Iterator[dict[str, str]]:
    """Start services for the commands inside, unless an outer command has. Yields variables that name the services."""
    if _CLUSTER in os.environ:
        yield {name: os.environ[name] for name in (_CLUSTER, _REDIS, SHARED)}
        return
    with (
        postgresql(autovacuum=False) as database_url,
        redis() as redis_url,
        tempfile.TemporaryDirectory(prefix="sbe-shared-", dir=in_memory()) as directory,
    ):
        yield {_CLUSTER: database_url, _REDIS: redis_url, SHARED: directory}


def main(arguments: list[str]) -> int:
    """Run the command after `--` with PostgreSQL and Redis named in its environment; return its exit status."""
    beside = arguments[:1] == ["--beside"]
    if arguments[beside : beside + 1] != ["--"] or not arguments[beside + 1 :]:
        print("usage: python -m tests.support.services [--beside] -- COMMAND…", file=sys.stderr)  # noqa: T201
        return 2
    with _common() as common:
        variables = {**os.environ, **common}
        if not beside:
            variables |= {
                "SBE_TEST_DATABASE_URL": new_database(common[_CLUSTER]),
                "SBE_TEST_REDIS_URL": common[_REDIS],
            }
        command = subprocess.Popen(arguments[beside + 1 :], env=variables)
        while True:
            # An interrupt at the terminal also reaches the command. Ignore it here, so that the command finishes by
            # itself.
            with contextlib.suppress(KeyboardInterrupt):
                return command.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
