"""A search finds what its space holds, again and again the same, and computes nothing twice."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sweeps import write_net_model

from pipeline.errors import OutputError, RecipeError
from pipeline.search.seeds import Option, allocations
from pipeline.search.space import load_search

RECIPE = {"calibration": {"n_samples": 20}, "evaluate": {"n_validation": 20, "n_test": 20},
          "energy": {"n_samples": 10}}
SEARCH: dict[str, Any] = {
    "recipe": RECIPE, "target": "loihi1", "sparsity": [0.3, 0.7], "bits": [3, 8], "n_trials": 20}


@pytest.fixture
def searched(tmp_path: Path) -> Callable[..., Any]:
    """Run of a search in this process."""
    from pipeline.model_folder import find_model
    from pipeline.search.driver import Search
    from pipeline.sweep.progress import Progress

    def run(model: Path, file: dict[str, Any], out: str = "out", workers: int = 1) -> Any:
        path = tmp_path / "search.yaml"
        path.write_text(yaml.safe_dump(file))
        return Search(load_search(path, "loihi1"), find_model(str(model)), tmp_path / out,
                      workers, Progress()).run()

    return run


def results(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns
            for p in (folder / ".store").rglob("*") if p.is_file() and "locks" not in p.parts}


def told(written: Any) -> list[dict[str, Any]]:
    """Rows of a search without times."""
    return [{k: v for k, v in row.items() if k != "elapsed_s"}
            for row in written.document["trials"]]


@pytest.mark.parametrize("seed", range(8))
def test_predicted_fronts_are_those_of_all_combinations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = {
        f"l{i}": [Option((float(j), 4), float(rng.integers(1, 40)), float(rng.integers(1, 40)))
                  for j in range(4)] for i in range(3)}
    points = {}
    for combination in itertools.product(*options.values()):
        total = (sum(o.cost for o in combination), sum(o.loss for o in combination))
        points[tuple(o.level for o in combination)] = total
    front = {t for t in points.values()
             if not any(o != t and o[0] <= t[0] and o[1] <= t[1] for o in points.values())}
    found = [points[tuple(levels.values())] for levels in allocations(options, 1000)]
    assert set(found) == front and len(found) == len(front)
    few = [points[tuple(levels.values())] for levels in allocations(options, 3)]
    assert len(few) <= 3 and {min(front), max(front)} <= set(few)


def test_a_search_measures_the_uniform_grid_and_trials_and_again_does_nothing(
    searched: Any, net_model: Path, tmp_path: Path
) -> None:
    first = searched(net_model, SEARCH)
    origins = [trial.axes["allocation"] for trial in first.trials]
    assert origins[:8] == ["lamps"] * 4 + ["uniform"] * 4
    assert set(origins[8:]) == {"searched"} and len(origins) > 8 + 4
    # of two layers at four levels each there are 16, and none is there twice
    levels = [tuple(v for k, v in t.axes.items() if k != "allocation") for t in first.trials[8:]]
    assert len(set(levels)) == len(levels) <= 16
    before = results(tmp_path / "out")
    assert searched(net_model, SEARCH).document == first.document
    assert results(tmp_path / "out") == before


def test_an_interrupted_search_shows_what_there_is_and_continues(
    searched: Any, net_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.search.driver import Search

    true = Search.measure

    def interrupted(self: Search, settings: Any) -> Any:
        if any(s.axes["allocation"] == "searched" for s in settings):
            raise KeyboardInterrupt
        return true(self, settings)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            searched(net_model, SEARCH)
    document = json.loads((tmp_path / "out" / "search.json").read_text())
    assert document["kind"] == "search" and document["n_trials"] == 8
    before = results(tmp_path / "out")
    continued = searched(net_model, SEARCH)
    assert continued.document["n_trials"] > 8
    after = results(tmp_path / "out")
    assert before.items() <= after.items()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Search of small" in page and 'class="uniform"' in page and "search.json" in page


def test_levels_that_cannot_be_predicted_leave_the_rest(
    searched: Any, net_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.errors import CompressionError
    from pipeline.search.predict import Predict

    true = Predict._measure

    def failing(self: Predict, bench: Any) -> Any:
        if self.setting.recipe.compress.layers["dense1"].bits == 3:
            raise CompressionError("no grid")
        return true(self, bench)

    monkeypatch.setattr(Predict, "_measure", failing)
    assert searched(net_model, SEARCH | {"n_trials": 4}).document["n_failed"] == 0


def test_a_folder_of_another_network_and_one_that_takes_nothing_are_refused(
    searched: Any, net_model: Path, tmp_path: Path, dense_chain: Callable[..., Any]
) -> None:
    searched(net_model, SEARCH | {"n_trials": 1})
    other = write_net_model(tmp_path / "other", dense_chain((12, 16, 5), n_steps=20, seed=5))
    with pytest.raises(RecipeError, match="holds a study of model 'small'"):
        searched(other, SEARCH)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written.*OUT="):
        searched(net_model, SEARCH, "file/out")


@pytest.mark.slow
def test_the_winner_is_deployed_as_it_was_measured(net_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(SEARCH | {
        "n_trials": 4, "constraints": {"max_loss_points": 100}}))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "search", "--search", path, "--model", net_model,
         "--out", tmp_path / "out", "--workers", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "winner" / "report.json").read_text())
    chosen = (tmp_path / "out" / "recipes" / "chosen.yaml").read_text()
    assert "deploy    make deploy MODEL=small TARGET=loihi1 RECIPE=" in done.stdout
    assert yaml.safe_load(chosen)["compress"]["sequential"] is False
    document = json.loads((tmp_path / "out" / "search.json").read_text())
    least = min(document["trials"], key=lambda r: (
        r["executed_synops_per_sample"], -r["accuracy_frac"], r["key"]))
    assert report["accuracy"]["validation"]["compressed_frac"] == least["accuracy_frac"]
    assert (tmp_path / "out" / "winner" / "network.net").is_file()


@pytest.mark.slow
def test_a_stopped_and_a_killed_search_continue_and_find_the_same(
    searched: Any, net_model: Path, tmp_path: Path
) -> None:
    file, out = SEARCH | {"bits": [3, 4, 8], "sparsity": [0.3, 0.5, 0.7]}, tmp_path / "cut"
    whole = searched(net_model, file, "whole")
    for stop, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        n_before = len(list(out.glob(".store/outcomes/*.json")))
        driver = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "search", "--search", tmp_path / "search.yaml",
             "--model", net_model, "--out", out, "--no-deploy"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        until = time.monotonic() + 120
        while len(list(out.glob(".store/outcomes/*.json"))) < n_before + 3:
            assert driver.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        os.killpg(driver.pid, stop)  # as a terminal does
        _, errors = driver.communicate(timeout=60)
        assert driver.returncode == code and "Traceback" not in errors, errors
    again = searched(net_model, file, "cut")
    assert told(again) == told(whole)


@pytest.mark.slow
def test_a_search_depends_on_its_seed_alone_and_not_on_workers(
    searched: Any, net_model: Path
) -> None:
    one, two = (searched(net_model, SEARCH, f"out{n}", n) for n in (1, 2))
    assert told(one) == told(two)


def test_trials_are_what_a_deployment_of_their_recipe_is(
    searched: Any, net_model: Path, tmp_path: Path
) -> None:
    from hardware_targets import load_target
    from pipeline.line import Line
    from pipeline.model_folder import find_model
    from pipeline.recipe import load_recipe

    row = searched(net_model, SEARCH).document["trials"][-1]
    recipe = load_recipe(tmp_path / "out" / row["recipe"])
    line = Line(find_model(str(net_model)), recipe, load_target("loihi1"), tmp_path / "line",
                tmp_path / "line" / "store")
    line.run("emulate")
    assert line.value("emulate").validation == (row["accuracy_dense_frac"], row["accuracy_frac"])
    assert recipe.compress.layers.keys() == {"dense1", "dense2"}


@pytest.mark.parametrize(("change", "shown"), [
    ({"sparsity": []}, "sparsity"),
    ({"bits": [3, 3]}, "3 more than once"),
    ({"bits": [9]}, "bits"),
    ({"objectives": ["accuracy"]}, "at least one cost"),
    ({"objectives": ["accuracy", "energy"], "target": "loihi2"}, "has no prices"),
    ({"objectives": ["beauty", "accuracy"]}, "objectives"),
    ({"recipe": {"compress": {"bits": 4}}}, "compress.bits: is what is searched"),
    ({"recipe": {"compress": {"sequential": True}}}, "sequential"),
    ({"recipe": {"compress": {"pattern": "2:4"}}}, "takes no sparsity per layer"),
    ({"constraints": {"cores": 0}}, "constraints.cores"),
    ({"n_trials": 0}, "n_trials"),
    ({"trials": 5}, "unknown key"),
])
def test_spaces_that_are_empty_or_contradictory_are_refused(
    change: dict[str, Any], shown: str, tmp_path: Path
) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(SEARCH | change))
    with pytest.raises(RecipeError) as error:
        load_search(path, "loihi1")
    assert str(path) in str(error.value) and shown in str(error.value), error.value


@pytest.mark.slow
def test_limits_that_nothing_keeps_to_end_with_the_nearest_miss(
    net_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(SEARCH | {"constraints": {"memory_bits": 1}, "n_trials": 2}))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "search", "--search", path, "--model", net_model,
         "--out", tmp_path / "out", "--workers", "1"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "the nearest miss is" in done.stderr and "memory in bits" in done.stderr
