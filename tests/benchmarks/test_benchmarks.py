"""The benchmarks start, and write figures in the documented form."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.services import ROOT

pytestmark = pytest.mark.once


def test_every_benchmark_can_be_imported_without_settings() -> None:
    names = [f"benchmarks.{path.stem}" for path in (ROOT / "benchmarks").glob("[a-z]*.py")]
    assert len(names) > 10
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-c", f"import {', '.join(names)}, docs.images.take"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=100)


@pytest.mark.deep
def test_bench_large_writes_a_row_for_each_size(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.large", "--sizes", "2,3", "--rounds", "1"]
    subprocess.run([*command, "--out", str(tmp_path / "rows.json")], cwd=ROOT, check=True, timeout=100)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["n"] for row in rows] == [2, 3]
    for row in rows:
        assert 0 < row["loop_ms_longest"] <= row["loop_ms_total"]
        assert isinstance(row["neighbour_delay_ms_p999"], float)
    # Each further participant makes the offer longer.
    assert 0 < rows[0]["offer_bytes"] < rows[1]["offer_bytes"]


@pytest.mark.deep
def test_bench_neighbour_writes_a_row_for_each_attack(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.neighbour", "--members", "3", "--seconds", "1"]
    subprocess.run([*command, "--out", str(tmp_path / "rows.json")], cwd=ROOT, check=True, timeout=100)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["attack"] for row in rows] == ["crowd", "holds", "sources"]
    for row in rows:
        assert 0 <= row["neighbour_delay_ms_p999"] <= row["neighbour_delay_ms_max"]
