"""What --dry-run says there is to do is what is then done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sweeps import CHEAP, GRID, n_outcomes, sweep_of

from pipeline.sweep.estimate import Estimate, estimate
from pipeline.sweep.plan import make_plan


def dry(model: Path, grid: dict[str, Any], out: Path, n_workers: int = 1) -> Estimate:
    driver = sweep_of(model, grid, out)
    return estimate(make_plan(driver.space, driver.model, out), n_workers)


def n_levels(out: Path) -> int:
    return len(list((out / ".store" / "bank").glob("*.npz")))


def test_what_is_told_is_what_is_done_and_then_nothing_is_left(
    net_model: Path, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    out = sweep(net_model, {**GRID, "sparsity": [0.3], "bits": [3]}).out  # the network is known
    before = n_levels(out), n_outcomes(out)
    grid = {**GRID, "sparsity": [0.3, 0.6, 0.8], "sensitivity": True}
    told = dry(net_model, grid, out)
    assert (told.n_configurations, told.n_done, told.n_settings) == (12, 2, 6)
    sweep(net_model, grid)
    assert told.n_levels == n_levels(out) - before[0]
    assert told.n_evaluations == n_outcomes(out) - before[1] == 5
    # two layers at 3 + 2 places of a cross, its crossing counted once
    assert told.n_probes == len(list((out / ".store" / "sensitivity").glob("*.json"))) == 8
    left = dry(net_model, grid, out)
    assert (left.n_done, left.n_levels, left.n_evaluations, left.n_probes) == (12, 0, 0, 0)
    assert left.left_s == 0.0


def test_rates_are_those_of_the_folder_and_processes_share_the_work(
    net_model: Path, sweep: Callable[..., Any]
) -> None:
    small = {**GRID, "sparsity": [0.3], "bits": [3]}
    told = dry(net_model, small, net_model.parent / "out")
    assert told.n_levels is None and told.levels_per_layer == 1
    assert not told.rates.is_level_measured and not told.rates.is_evaluation_measured
    out = sweep(net_model, small).out
    told = dry(net_model, GRID, out)
    assert told.rates.is_level_measured and told.rates.is_evaluation_measured
    (outcome,) = (json.loads(p.read_text()) for p in (out / ".store" / "outcomes").glob("*.json"))
    assert told.rates.evaluation_s == outcome["elapsed_s"]
    alone, shared = (replace(told, n_workers=n).left_s for n in (1, 4))
    start_s = replace(told, n_workers=10**9).left_s
    assert shared - start_s == pytest.approx((alone - start_s) / 4, rel=1e-3)


def test_what_shares_no_levels_is_not_counted_as_if_it_did(
    net_model: Path, sweep: Callable[..., Any]
) -> None:
    own = {"recipe": {**CHEAP, "compress": {"pruning": "magnitude", "sequential": True}},
           "sparsity": [0.3, 0.6], "bits": [8], "sensitivity": False,
           "layers": {"dense2": {"bits": [3, 8]}}}
    out = sweep(net_model, {**own, "sparsity": [0.3], "layers": {"dense2": {"bits": [3]}}}).out
    told = dry(net_model, own, out)
    # once measured, an evaluation holds its own compression
    assert told.rates.is_evaluation_measured and (told.n_levels, told.n_evaluations) == (0, 3)
