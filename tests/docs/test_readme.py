"""The README is correct: its commands run as pasted, and its links have targets."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from docs.examples.flows import README, flows, main, preparation
from tests.support.services import ROOT, Backends, Server, free_port

pytestmark = pytest.mark.once

_END = "=== end of the command, with exit status"


@pytest.fixture(scope="module")
def server(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without sessions."""
    with Server(backends.sqlite(), tmp_path_factory.mktemp("server")) as running:
        yield running


def _status_lines(output: str) -> list[str]:
    return re.findall(r"^HTTP/1\.1 (\d+)", output, re.MULTILINE)


def _folder(tmp_path: Path, server: Server) -> Path:
    """Make the directory in which the commands run, with the examples and the API key of the demo."""
    folder = tmp_path / "project"
    (folder / "var").mkdir(parents=True)
    (folder / "var" / "demo_api_key").write_text(server.api_key)
    (folder / "docs").symlink_to(ROOT / "docs")
    return folder


def test_the_seven_flows_run_as_pasted_and_answer_as_written(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve()
    answers, commands = ([flow[place] for flow in flows()] for place in (2, 3))
    assert {number for number, *_ in flows()} == set("1234567")
    (log,) = re.findall(r"^`(curl -s \"\$E/sessions/.*)`$", README, re.MULTILINE)
    pasted = [preparation().replace("http://127.0.0.1:8000", server.base_url), *commands, log]
    done = subprocess.run(
        ["bash", "-c", "\n".join(f'{command}\necho "\n{_END} $?"' for command in pasted)],
        cwd=_folder(tmp_path, server),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    prepared, *outputs = re.split(rf"\n{_END} 0\n", done.stdout)
    assert prepared == outputs.pop() == ""
    events = json.loads(outputs.pop())["events"]
    assert len(outputs) == len(commands) == README.count("```sh\n") - 1
    mod_ids = []
    for command, answer, output in zip(commands, answers, outputs, strict=True):
        if command.startswith("MOD="):
            mod_ids.append(output.strip())
            continue
        assert _status_lines(output) == re.findall(r"\b\d{3}\b", answer), output
        for part in re.findall(r"`(.*?)`", answer):
            assert part.lower() in output.lower(), (command, output)
    assert all(re.fullmatch(r"[\w-]{16,}", mod_id) for mod_id in mod_ids), mod_ids
    assert len(set(mod_ids)) == len(mod_ids) == 4
    types = {event["type"] for event in events}
    assert types >= {"invitation-received", "mod-received", "participant-moving", "participant-moved"}


def test_the_flows_run_all_at_once(server: Server, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "docs/examples/flows.py", server.base_url],
        cwd=_folder(tmp_path, server),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("== Flow ") == len(flows())
    statuses = [
        status for _, _, answer, _ in flows() if "x-state" in answer for status in re.findall(r"\b\d{3}\b", answer)
    ]
    assert _status_lines(done.stdout) == statuses


def test_the_flows_name_the_address_if_no_server_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 2
    assert "--help is no address" in capsys.readouterr().out
    address = f"http://127.0.0.1:{free_port()}"
    assert main([address]) == 1
    assert f"Nothing answers at {address}" in capsys.readouterr().out


def test_every_link_has_a_target() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link.partition("#")[0]).exists()]
    assert missing == []


def test_lines_of_prose_have_at_most_120_characters() -> None:
    """Tables, images and code blocks can be longer."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    prose = {page: re.sub(r"(?ms)^ *```.*?^ *```$|^(?:\||!\[|    ).*?$", "", page.read_text()) for page in pages}
    assert [(page.name, line) for page, text in prose.items() for line in text.splitlines() if len(line) > 120] == []


def test_every_address_that_it_names_is_served(server: Server) -> None:
    named = re.findall(r"<http://127\.0\.0\.1:8000([^>]*)>", README) + re.findall(r"`(/api/\S+)`", README)
    assert named
    for path in named:
        assert httpx.get(f"{server.base_url}{path}", follow_redirects=True).status_code == 200, path


def test_every_command_of_make_that_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {word for line in re.findall(r"\bmake ([a-z -]+)", README) for word in shlex.split(line)}
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {"run", "run-lan"} <= named & targets
