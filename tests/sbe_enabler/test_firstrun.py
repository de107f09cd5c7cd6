"""The first and the second start of `make run` in an empty directory."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from sbe_enabler.firstrun import prepare
from sbe_enabler.management.commands.quickstart import Command
from sbe_enabler.private_files import write_private
from tests.support.services import ROOT, free_port, wait_until

pytestmark = pytest.mark.once


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def quickstart(state: Path) -> Iterator[tuple[str, Path]]:
    """Run `manage.py quickstart` during the block. Yield its address and its output once it listens."""
    port, output = free_port(), state.parent / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "quickstart", "--port", str(port)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "SBE_STATE_DIR": str(state)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # If the tests run in the background, they ignore SIGINT (Ctrl-C), and the process would inherit that.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
    try:
        wait_until(lambda: process.poll() is not None or "Ctrl-C stops" in output.read_text(), "it listens", seconds=60)
        yield f"http://127.0.0.1:{port}", output
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert "Traceback" not in output.read_text()
    finally:
        process.kill()
        process.wait()


def test_first_start_makes_everything_and_the_second_keeps_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with quickstart(state) as (url, output):
        text = output.read_text()
        password = re.search(r"admin / (\S+)", text)
        key = re.search(r"API key for trials: +(\S+)", text)
        assert password
        assert key
        assert f"{url}/?user=alice" in text
        assert mode(state) == 0o700
        assert mode(state / "secret_key") == mode(state / "demo_api_key") == 0o600
        assert (state / "demo_api_key").read_text().strip() == key[1]
        registered = httpx.post(
            f"{url}/sessions", json={"username": "alice"}, headers={"authorization": f"Api-Key {key[1]}"}
        )
        assert registered.status_code == 201
        assert httpx.post(f"{url}/dev/sessions", json={"username": "bob"}).status_code == 201
        assert sign_in(url, password[1]) == "/admin/"
        secret = (state / "secret_key").read_text()
        files = {path: path.stat().st_mtime_ns for path in (state / "static").rglob("*") if path.is_file()}
        assert files

    with quickstart(state) as (url, output):
        assert "shown only once" not in output.read_text()
        assert "API key" not in output.read_text()
        assert (state / "secret_key").read_text() == secret
        assert sign_in(url, password[1]) == "/admin/"
        assert {path: path.stat().st_mtime_ns for path in files} == files


def sign_in(url: str, password: str) -> str | None:
    """Return where the admin redirects a user who logs in."""
    with httpx.Client(base_url=url) as client:
        form = client.get("/admin/login/")
        token = form.cookies["csrftoken"]
        fields = {"username": "admin", "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
        location: str | None = client.post("/admin/login/", data=fields).headers.get("location")
        return location


def test_only_quickstart_writes_secrets(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for arguments in ([], ["serve"], ["migrate", "quickstart"]):
        prepare(arguments, {"SBE_STATE_DIR": str(state)})
    assert not state.exists()


@pytest.mark.parametrize(("given", "kept"), [("", "1"), ("0", "0"), ("1", "1")])
def test_quickstart_enables_the_dev_server_by_default(tmp_path: Path, given: str, kept: str) -> None:
    variables = {"SBE_STATE_DIR": str(tmp_path), "SBE_DEV_SERVER": given}
    prepare(["quickstart"], variables)
    assert variables["SBE_DEV_SERVER"] == kept


def test_configured_secret_key_is_not_written_to_a_file(tmp_path: Path) -> None:
    prepare(["quickstart"], {"SBE_STATE_DIR": str(tmp_path), "SBE_SECRET_KEY": "mine"})
    assert not (tmp_path / "secret_key").exists()


def test_lan_start_serves_the_machines_own_names_over_tls(tmp_path: Path) -> None:
    variables = {"SBE_STATE_DIR": str(tmp_path)}
    prepare(["quickstart", "--lan"], variables)
    assert variables["SBE_TLS"] == "1"
    assert "localhost" in variables["SBE_ALLOWED_HOSTS"].split(",")
    assert Path(variables["SBE_TLS_CERTIFICATE"]).is_file()
    assert mode(Path(variables["SBE_TLS_KEY"])) == 0o600


@pytest.mark.parametrize("test_page", [True, False])
def test_lan_start_shows_a_code_that_registers_a_phone(
    monkeypatch: pytest.MonkeyPatch, settings: Any, test_page: bool
) -> None:
    settings.DEV_SERVER = test_page
    shown: list[str] = []
    monkeypatch.setattr(Command, "print_code", lambda command, url: shown.append(url))
    command = Command(stdout=StringIO())
    command.lan = True
    command.announce("https", "0.0.0.0", 8443)
    assert [url.partition(":8443")[2] for url in shown] == ["/?user=bob&device=phone"] * test_page


def test_start_prints_the_origins_that_are_allowed(settings: Any) -> None:
    settings.ALLOWED_ORIGINS = ["https://one.example", "https://two.example"]
    output = StringIO()
    command = Command(stdout=output)
    command.lan = False
    command.announce("http", "127.0.0.1", 8000)
    assert "https://one.example, https://two.example" in output.getvalue()


def test_existing_secret_is_never_replaced(tmp_path: Path) -> None:
    assert write_private(tmp_path / "secret", "first") is True
    assert write_private(tmp_path / "secret", "second") is False
    assert (tmp_path / "secret").read_text() == "first\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "secret"]


def test_error_names_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.2' || exit 1\n")
    old.chmod(0o755)
    command = [str(ROOT / ".ci/install"), str(old), str(tmp_path / "venv"), "requirements.lock"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "3.9.2" in done.stderr
