"""The README does as it says: its commands run as pasted, and its links lead somewhere."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.services import ROOT, Server

pytestmark = pytest.mark.once

README = (ROOT / "README.md").read_text()
_END = "=== end of the command, with exit status"


def _shell_block() -> str:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(block)


def _lines_of_the_table() -> list[tuple[str, str]]:
    """Return flow and command of each row."""
    return re.findall(r"^\| (\d) \|[^|]*\| `(.*)` \|$", README, re.MULTILINE)


def _status_lines(output: str) -> list[str]:
    return re.findall(r"^HTTP/1\.1 (\d+)", output, re.MULTILINE)


def _header(output: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*?)\r?$", output, re.MULTILINE | re.IGNORECASE)
    assert found, f"no {name} in {output}"
    return found[1]


def _folder(tmp_path: Path, server: Server) -> Path:
    """Make what the commands find around them: the examples, and the key of the demo."""
    folder = tmp_path / "project"
    (folder / "var").mkdir(parents=True)
    (folder / "var" / "demo_api_key").write_text(server.api_key)
    (folder / "docs").symlink_to(ROOT / "docs")
    return folder


def test_the_seven_flows_run_as_pasted(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve()
    commands = [command for _, command in _lines_of_the_table()]
    assert {flow for flow, _ in _lines_of_the_table()} == set("1234567")
    (log,) = re.findall(r"`(curl -s \"\$E/sessions/\$ID/events.*?)`", README)
    sessions = f"{server.base_url}/sessions?username=bob"
    bob = f'ID=$(curl -s {sessions} -H "Authorization: Api-Key $KEY" | grep -o \'"id":"[^"]*\' | cut -d\\" -f4)'
    script = "\n".join(
        f'{command}\necho "\n{_END} $?"' for command in [_shell_block(), *commands, f'{bob}; {log} -H "$BOB"']
    )
    assert "http://127.0.0.1:8000" in script
    done = subprocess.run(
        ["bash", "-c", script.replace("http://127.0.0.1:8000", server.base_url)],
        cwd=_folder(tmp_path, server),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "curl: (" not in done.stderr, done.stderr
    outputs = re.split(rf"{_END} (\d+)\n", done.stdout)
    assert outputs[1::2] == ["0"] * (len(commands) + 2), done.stdout
    answered, modified, rejected, held, accepted, resumed, accepted_again, moved, taken, accepted_at_last = outputs[
        2:-3:2
    ]

    for output, state in [
        (answered, "accepted"),
        (rejected, "mod-rejected"),
        (accepted, "mod-accepted"),
        (accepted_again, "mod-accepted"),
        (accepted_at_last, "mod-accepted"),
    ]:
        assert _status_lines(output) == ["204"], output
        assert _header(output, "x-state") == state
        assert _header(output, "x-correlator")
    mod_ids = [output.strip() for output in (modified, held, resumed, taken)]
    assert all(re.fullmatch(r"[\w-]{16,}", mod_id) for mod_id in mod_ids), mod_ids
    assert len(set(mod_ids)) == len(mod_ids)
    assert _status_lines(moved) == ["204", "200"], moved
    assert _header(moved, "x-state") == "mod-sent"
    assert '"outcome":"moving"' in moved.replace(" ", "")
    for told in ("invitation-received", "mod-received", "mod-rejected", "participant-moving", "participant-moved"):
        assert (f'"{told}"' in outputs[-3]) == (told != "mod-rejected"), outputs[-3]


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link.partition("#")[0]).exists()]
    assert missing == []


def test_every_address_that_it_names_is_served(serve: Callable[..., Server]) -> None:
    server = serve()
    named = re.findall(r"<http://127\.0\.0\.1:8000([^>]*)>", README) + re.findall(r"`(/api/\S+)`", README)
    assert named
    for path in named:
        assert httpx.get(f"{server.base_url}{path}").status_code == 200, path


def test_every_command_of_make_that_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {word for line in re.findall(r"\bmake ([a-z -]+)", README) for word in shlex.split(line)}
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {"run", "run-lan"} <= named & targets
