"""The benchmark of SBC: its short mode runs, resumes, repeats itself; what its tables say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARK = ROOT / "benchmarks" / "sbc"
# what may differ between two runs of one cell
TIMES = ("compress_s", "match_s", "done")


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARK), *options], cwd=ROOT, capture_output=True, text=True,
        timeout=300)


def cells(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "cells.jsonl").read_text(encoding="utf-8").splitlines()
    return {result["key"]: result for result in map(json.loads, lines)}


def untimed(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in TIMES}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run; copied by those who change it."""
    folder = tmp_path_factory.mktemp("bench")
    result = bench("--short", "--out", str(folder))
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "results"))


@pytest.mark.slow
def test_short_mode_fills_every_table(finished: Path) -> None:
    text = (finished / "tables.md").read_text(encoding="utf-8")
    for title in ("nmnist_cnn: Pruning, ", "nmnist_cnn: Quantization of", "nmnist_cnn: Calibration",
                  "nmnist_cnn: Pruning and quantization together", "predicted / executed loss",
                  "synops per sample, pruning", "synops per sample, joint", "seconds to compress",
                  "what `pruning: auto` took", "nmnist_mlp: Quantization of"):
        assert title in text
    assert "Refused" not in text
    results = cells(finished)
    assert len(results) == 8
    for result in results.values():
        assert 0 <= result["accuracy"] <= 1 and result["dense_accuracy"] > 0.9
        assert result["synops"]["effective"] <= result["synops"]["executed"]
        for layer in result["layers"]:
            assert 0 < layer["n_kept"] <= layer["n_weights"]
            assert layer["executed_loss"] >= 0 and layer["quantization_loss"] >= 0


@pytest.mark.slow
def test_a_second_run_computes_nothing_and_prints_the_same_tables(folder: Path) -> None:
    before = (folder / "cells.jsonl").read_bytes()
    result = bench("--short", "--out", str(folder))
    assert result.returncode == 0
    assert "8 cells, 0 to compute" in result.stderr
    assert (folder / "cells.jsonl").read_bytes() == before
    assert result.stdout.strip() == (folder / "tables.md").read_text(encoding="utf-8").strip()


@pytest.mark.slow
def test_a_torn_line_and_a_wrong_key_are_computed_again_and_come_out_the_same(
    folder: Path
) -> None:
    before = cells(folder)
    path = folder / "cells.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    # the first shared its pruning with another cell and is alone now
    chosen = [next(i for i, line in enumerate(lines) if json.loads(line)[name] == value)
              for name, value in (("table", "joint"), ("method", "magnitude"))]
    torn, renamed = (lines[i] for i in chosen)
    wrong = json.loads(renamed)
    wrong["key"] = "0" * 24
    kept = [line for i, line in enumerate(lines) if i not in chosen]
    path.write_text("\n".join([*kept, json.dumps(wrong), torn[: len(torn) // 2]]),
                    encoding="utf-8")
    result = bench("--short", "--out", str(folder))
    assert result.returncode == 0, result.stderr
    assert "8 cells, 2 to compute" in result.stderr
    after = cells(folder)
    assert after.pop("0" * 24) == wrong
    assert {k: untimed(r) for k, r in after.items()} == {k: untimed(r) for k, r in before.items()}


@pytest.mark.slow
def test_interrupting_keeps_what_is_done_and_exits_130(tmp_path: Path) -> None:
    # one worker: its first result is there long before its last
    process = subprocess.Popen(
        [sys.executable, str(BENCHMARK), "--short", "--workers", "1", "--tables",
         "pruning", "--out", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True)
    path = tmp_path / "cells.jsonl"
    end = time.monotonic() + 200
    while not (path.exists() and path.read_bytes().endswith(b"\n")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command to continue" in messages and "Traceback" not in messages
    assert 1 <= len(cells(tmp_path)) < 4


@pytest.mark.parametrize("options", [
    ("--models", "nmnist_mpl"), ("--tables", "prunning"), ("--workers", "0"), ("--workers", "x")])
def test_a_bad_option_is_refused_with_what_is_allowed(options: tuple[str, str]) -> None:
    result = bench("--short", *options)
    assert result.returncode == 2
    assert options[0] in result.stderr and "Traceback" not in result.stderr


def test_the_plan_has_every_cell_once_and_tables_share_results(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK))
    from plan import Keys, Measurement, full_plan, groups
    from run import Store, missing

    plan = full_plan()
    places = {(c.table, c.model, c.method, c.column, c.seed) for c in plan}
    assert len(places) == len(plan)
    keys = Keys(Measurement())
    todo = missing(plan, Store(Path("nowhere")), keys)
    # 100 samples at 95 % stand in the pruning table as well
    assert len(plan) - len(todo) == 3 * 3 * 4
    regrouped = [cell for group in groups(todo) for cell in group]
    assert sorted(map(keys.of, regrouped)) == sorted(map(keys.of, todo))
    assert keys.of(plan[0]) != Keys(Measurement(n_test=10)).of(plan[0])


def test_prose_is_not_part_of_the_code_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK))
    from plan import _without_prose

    code = 'def f(x):\n    return x + 1\n'
    told = '"""Module."""\n# why\ndef f(x):\n    """Return more."""\n    return x + 1\n'
    assert _without_prose(code) == _without_prose(told)
    assert _without_prose(code) != _without_prose(code.replace("1", "2"))


def test_goals_are_read_off_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK))
    from plan import full_plan
    from reach import goals
    from summary import Summary

    def result(cell: Any) -> dict[str, float]:
        # 97 % loses 0.7 points, which is allowed; 99 % loses 3.6
        lost = {"97 %": 0.007, "99 %": 0.036}.get(cell.column, 0.0)
        behind = 0.01 if cell.method.startswith("ExactOBS") and cell.column != "98 %" else 0.0
        return {"accuracy": 0.95 - lost - behind, "dense_accuracy": 0.95}

    plan = [c for c in full_plan() if (c.model, c.table) == ("nmnist_mlp", "pruning")]
    at_97, at_99, sbc, _ = goals(Summary([(c, result(c)) for c in plan]), "nmnist_mlp", "pruning")
    assert at_97.endswith("within 0.7 pp: reached") and "94.30 vs dense 95.00" in at_97
    assert at_99.endswith("within 3.5 pp: **missed**")
    assert sbc.endswith("**missed**")  # level at 98 %
    partly = [(c, result(c) if c.seed < 3 else None) for c in plan]
    assert all("not all run" in line for line in goals(Summary(partly), "nmnist_mlp", "pruning"))
