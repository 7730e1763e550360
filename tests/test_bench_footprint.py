"""The benchmark of footprints: its short mode runs, and what it writes agrees with itself."""

from __future__ import annotations

import csv
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "footprint"


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run."""
    out = tmp_path_factory.mktemp("footprint")
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "footprint"), "--short", "--workers", "1",
         "--models", "nmnist_mlp", "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "footprint.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def require_consistent(rows: list[dict[str, str]]) -> None:
    """Require what no choice of a format can change, and what the best of them must be."""
    points: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in rows:
        at = tuple(row[name] for name in ("model", "target", "sparsity", "bits"))
        points.setdefault(at, {})[row["stored"]] = row
    for point in points.values():
        assert set(point) == {"best", "lists", "dense"}
        best, lists, dense = point["best"], point["lists"], point["dense"]
        for same in ("accuracy_frac", "zeros_frac", "effective_synops", "stored_bits"):
            assert best[same] == lists[same] == dense[same]
        for row in point.values():
            assert row["status"] == "fits"
            assert float(row["executed_synops"]) >= float(row["effective_synops"])
            assert int(row["memory_bits"]) == sum(
                int(row[f"{name}_bits"]) for name in ("dense", "run-length", "sparse", "conv"))
        assert int(dense["dense_bits"]) == int(dense["memory_bits"])
        assert int(best["memory_bits"]) <= int(lists["memory_bits"]) <= int(dense["memory_bits"])


@pytest.mark.slow
def test_a_short_run_writes_table_csv_and_a_figure_that_agree(short: Path) -> None:
    rows = rows_of(short)
    assert len(rows) == 2 * 2 * 2 * 3  # sparsity, bits, targets, ways to store
    require_consistent(rows)
    table = (short / "footprint.md").read_text(encoding="utf-8")
    assert table.count("\n| ") == 2 * (1 + 1 + 4)  # of each target, under two lines of headings
    for row in rows:
        assert f"{float(row['executed_synops']):,.0f}" in table
    figure = ET.fromstring((short / "footprint.svg").read_text(encoding="utf-8"))
    lines = [node for node in figure.iter() if node.tag.endswith("polyline")]
    assert len(lines) == 2 * 2 * (2 * 3 + 1)  # bits and ways, three measures, energy of one target


def test_the_stored_results_agree_with_themselves() -> None:
    rows = rows_of(RESULTS)
    assert len(rows) == 2 * 2 * 6 * 3 * 3
    require_consistent(rows)
    ET.parse(RESULTS / "footprint.svg")
