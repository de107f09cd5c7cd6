"""The wheel of the Python client works without this project beside it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.services import ROOT

pytestmark = pytest.mark.once

_PIP = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--no-input"]
_USE = "import sbe_client, sbe_client.bot, sys; print(sbe_client.__file__); sbe_client.Client('http://h').close()"


def test_wheel_has_the_version_of_the_project_and_can_be_imported(tmp_path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    source = ROOT / "clients" / "python"
    # As `make client-python` builds it.
    run([*_PIP, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(source)])
    wheel = tmp_path / f"sbe_client-{version}-py3-none-any.whl"
    target = tmp_path / "target"
    run([*_PIP, "install", "--no-deps", "--target", str(target), str(wheel)])
    assert (target / "sbe_client" / "py.typed").exists()
    # Without the directory of the project on the path.
    said = run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(target)!r}); {_USE}"], tmp_path
    )
    assert said.strip() == str(target / "sbe_client" / "__init__.py")


def run(command: list[str], folder: Path = ROOT) -> str:
    """Run a command to its end, and return what it has printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
