"""A trial's numbers are those of the line with the same recipe; the test split is never read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sweeps import GRID, RECIPE, write_net_model

from hardware_targets import load_target
from pipeline.line import Line
from pipeline.model_folder import find_model
from pipeline.recipe import load_recipe


@pytest.fixture
def line_of(tmp_path: Path) -> Callable[..., Line]:
    """The line of a recipe file, up to date as far as the energy account."""

    def run(model: Path, recipe: Path, target: str) -> Line:
        out = tmp_path / f"line-{recipe.stem}-{target}"
        line = Line(find_model(str(model)), load_recipe(recipe), load_target(target), out,
                    tmp_path / "artifacts")
        line.run("emulate")
        line.run("energy")
        return line

    return run


def same_samples_in_both_splits(model: Path) -> None:
    """Give the test split the samples of the validation split: a sweep reads only the latter."""
    with np.load(model / "spikes.npz") as archive:
        arrays = dict(archive)
    for what in ("spikes", "labels"):
        arrays[f"test_{what}"] = arrays[f"validation_{what}"]
    np.savez(model / "spikes.npz", **arrays)


@pytest.mark.parametrize("grid", [
    {"sparsity": [0.6], "bits": [3], "target": ["loihi1", "loihi2"]},
    {"sparsity": [0.3], "bits": ["ternary"], "method": ["magnitude"], "n_calibration": [7]},
    {"sparsity": [0.3], "bits": [4], "method": ["exactobs", "sbc-paper"],
     "layers": {"dense2": {"bits": [8], "sparsity": [0.0]}}},
    {"sparsity": [0.5], "bits": [4], "method": {"seq": {"sequential": True}}},
    {"sparsity": [0.5], "bits": [4], "method": {"shared": {
        "allocation": "loss", "bits_allocation": "loss", "pruning": "admm"}}},
    {"sparsity": [0.5], "bits": [4], "method": {"narrow": {"pattern": "neurons"}}},
], ids=["targets", "ternary", "layers", "sequential", "allocated", "neurons"])
def test_a_trial_equals_the_line_with_its_recipe(
    net_model: Path, sweep: Callable[..., Any], line_of: Callable[..., Line], grid: dict[str, Any]
) -> None:
    same_samples_in_both_splits(net_model)
    recipe = {k: v for k, v in RECIPE.items() if k != "calibration" or "n_calibration" not in grid}
    written = sweep(net_model, {"recipe": recipe, **grid})
    assert written.trials
    for trial in written.trials:
        line = line_of(net_model, written.out / f"recipes/{trial.recipe_key}.yaml", trial.target)
        assert_equals_line(trial, line)


@pytest.mark.parametrize("sparsity", [0.2, 0.7])
def test_a_trial_of_convolutions_equals_the_line(
    tmp_path: Path, conv_chain: Callable[..., Any], sweep: Callable[..., Any],
    line_of: Callable[..., Line], sparsity: float,
) -> None:
    model = write_net_model(tmp_path / "conv", conv_chain())
    same_samples_in_both_splits(model)
    written = sweep(model, {"recipe": RECIPE, "sparsity": [sparsity], "bits": [4]})
    (trial,) = written.trials
    assert_equals_line(trial, line_of(
        model, written.out / f"recipes/{trial.recipe_key}.yaml", trial.target))


def assert_equals_line(trial: Any, line: Line) -> None:
    evaluation, energy = line.value("emulate"), line.value("energy")
    integers, placement = line.value("quantize"), line.value("place")
    assert (trial.accuracy_dense_frac, trial.accuracy_frac) == evaluation.validation
    assert trial.sparsity_frac == integers.sparsity
    assert trial.n_cores == len(placement.cores)
    assert trial.memory_bits == sum(core.synapse_bits for core in placement.cores)
    for event in ("effective_synops", "executed_synops"):
        assert getattr(trial, event) == energy.counts[event].sum(axis=1).mean()
    assert len(trial.energy) == len(energy.price_sets)
    for ours, theirs in zip(trial.energy, energy.price_sets, strict=True):
        assert ours.prices == theirs.name and ours.unpriced == tuple(sorted(theirs.unpriced))
        if theirs.by_event_pj:
            assert ours.total_pj == theirs.total_pj
            assert (ours.low_pj, ours.high_pj) == theirs.band_pj
        else:
            assert ours.total_pj is None and not ours.is_complete
    assert [(p.layer, p.n_nonzero) for p in trial.layers] == [
        (layer.name, sum(int((s.weight != 0).sum()) for s in layer.stored_groups))
        for layer in integers.network.layers]


def test_the_test_split_is_never_read(net_model: Path, sweep: Callable[..., Any]) -> None:
    with np.load(net_model / "spikes.npz") as archive:
        arrays = {name: array for name, array in archive.items() if not name.startswith("test")}
    np.savez(net_model / "spikes.npz", **arrays)
    assert all(t.status == "fits" for t in sweep(net_model, GRID).trials)


def test_sensitivity_is_one_layer_alone(net_model: Path, sweep: Callable[..., Any]) -> None:
    from pipeline.emulate import accuracy
    from pipeline.network_file import read_network
    from pipeline.stage_calls import model_split

    written = sweep(net_model, {**GRID, "sparsity": [0.0, 0.6], "sensitivity": True})
    rows = written.document["sensitivity"]
    # two layers, two values on each of two axes
    assert [(r["layer"], r["axis"], r["value"]) for r in rows] == [
        (layer, axis, value) for axis, values in (("sparsity", (0.0, 0.6)), ("bits", (3, 8)))
        for value in values for layer in ("dense1", "dense2")]
    crossing = [r for r in rows if r["value"] in (0.0, 8)]
    assert len({(r["layer"], r["accuracy_frac"]) for r in crossing}) == 2
    # nothing pruned at 8 bits is the network as trained, up to its threshold
    dense = read_network(str(net_model / "network.net"), 20).network
    data = model_split(find_model(str(net_model)), "validation", 20)
    assert written.document["accuracy_dense_frac"] == accuracy(dense, data.spikes, data.labels)
    assert all(r["sparsity_frac"] > 0.3 for r in rows if r["value"] == 0.6)


def test_recipes_of_a_sweep_are_complete_and_load(
    net_model: Path, sweep: Callable[..., Any]
) -> None:
    written = sweep(net_model, GRID)
    for trial in written.trials:
        path = written.out / "recipes" / f"{trial.recipe_key}.yaml"
        recipe = load_recipe(path)
        assert recipe.compress.bits == trial.axes["bits"]
        assert yaml.safe_load(path.read_text()) == recipe.model_dump(mode="json")
