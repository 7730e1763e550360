"""The space of a sweep: its order, and what is refused before any work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sweeps import REPOSITORY

from pipeline.errors import RecipeError, TargetError
from pipeline.sweep.methods import PRESETS
from pipeline.sweep.refusals import check_layers
from pipeline.sweep.space import Space, load_space


@pytest.fixture
def space(tmp_path: Path) -> Callable[..., Space]:
    def load(**grid: Any) -> Space:
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(grid, sort_keys=False))
        return load_space(path, "loihi1")

    return load


def test_axes_nest_in_the_documented_order(space: Callable[..., Space]) -> None:
    found = space(
        bits=[8, 2], sparsity=[0.5, 0.9], method=["sbc", "magnitude"], n_calibration=[10, 30],
        layers={"fc1": {"bits": [4, 6]}}, target=["loihi2", "loihi1"])
    seen = [tuple(s.axes.values()) for s in found.settings]
    assert list(found.settings[0].axes) == [
        "n_calibration", "method", "sparsity", "bits", "fc1.bits"]
    assert seen == [(n, m, s, b, f) for n in (10, 30) for m in ("sbc", "magnitude")
                    for s in (0.5, 0.9) for b in (8, 2) for f in (4, 6)]
    assert [t.name for t in found.targets] == ["loihi2", "loihi1"]
    assert found.n_configurations == 64


def test_axes_that_are_absent_have_the_value_of_the_recipe(space: Callable[..., Space]) -> None:
    found = space(recipe={"compress": {"sparsity": 0.7, "bits": "ternary"}})
    (setting,) = found.settings
    assert setting.axes == {
        "n_calibration": 100, "method": "recipe", "sparsity": 0.7, "bits": "ternary"}
    assert setting.recipe.compress.sequential is False
    assert [t.name for t in found.targets] == ["loihi1"]


def test_a_recipe_may_be_sequential(space: Callable[..., Space]) -> None:
    found = space(recipe={"compress": {"sequential": True}}, bits=[4, 8])
    assert all(s.recipe.compress.sequential for s in found.settings)


def test_methods_are_presets_or_settings_over_them(space: Callable[..., Space]) -> None:
    by_name = {s.axes["method"]: s.recipe for s in space(method=list(PRESETS)).settings}
    assert by_name["sbc"].compress.importance == "output"
    assert by_name["sbc-paper"].compress.importance == "uniform"
    assert by_name["sbc-paper"].calibration.curvature == "smp"
    assert by_name["exactobs"].calibration.curvature == "obc"
    assert by_name["magnitude"].compress.pruning == "magnitude"
    own = space(method={"mine": {"base": "exactobs", "grid": "error"}, "sbc": {}}).settings
    assert own[0].recipe.compress.grid == "error"
    assert own[0].recipe.calibration.curvature == "obc"


def test_layers_multiply_and_come_before_patterns(space: Callable[..., Space]) -> None:
    found = space(
        recipe={"compress": {"layers": {"fc*": {"bits": 5}}}},
        layers={"fc0": {"bits": [2, 8], "sparsity": [0.1, 0.2]}})
    assert len(found.settings) == 4
    for setting in found.settings:
        layers = setting.recipe.compress.layers
        assert next(iter(layers)) == "fc0"
        assert layers["fc0"].bits == setting.axes["fc0.bits"]
        assert layers["fc0"].sparsity == setting.axes["fc0.sparsity"]


@pytest.mark.parametrize(("grid", "message"), [
    ({"bits": []}, "bits.*at least 1 item"),
    ({"bits": [4, 4]}, "bits.*4 more than once"),
    ({"bits": [9]}, "bits.0.*neither a whole number from 1 to 8 nor 'ternary'"),
    ({"sparsity": [1.0]}, "sparsity.0.*less than 1"),
    ({"n_calibration": [0]}, "n_calibration.0.*greater than or equal to 1"),
    ({"sparsty": [0.5]}, "sparsty: unknown key; known keys here: .*sparsity"),
    ({"method": ["sbx"]}, "no preset 'sbx'; there are sbc, sbc-paper, exactobs, magnitude"),
    ({"method": {"mine": {"bits": 4}}}, "method.mine.bits: .*axis of its own"),
    ({"method": {"mine": {"device": "cuda"}}}, "method.mine.device: .*under 'recipe'"),
    ({"method": {"mine": {"prunning": "admm"}}}, "method.mine.*prunning"),
    ({"recipe": {"compress": {"bits": 4}}, "bits": [2, 3]}, "bits: an axis, and fixed"),
    ({"recipe": {"calibration": {"n_samples": 4}}, "n_calibration": [2]}, "n_calibration: an axis"),
    ({"recipe": {"compress": {"layers": {"fc0": {"bits": 3}}}}, "layers": {"fc0": {"bits": [4]}}},
     "layers.fc0.bits: an axis, and fixed"),
    ({"layers": {"fc0": {}}}, "layers.fc0: neither bits nor sparsity"),
    ({"method": {"a": {}, "b": {}}}, "'.*method a.*' and '.*method b.*' are the same"),
    ({"recipe": {"compress": {"pattern": "2:4"}}, "sparsity": [0.1, 0.2]}, "are the same"),
    ({"recipe": {"compress": {"sparsity": 2}}}, "recipe:\n.*compress.sparsity"),
])
def test_what_is_empty_or_contradictory_is_refused_with_its_place(
    space: Callable[..., Space], grid: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=r"(?s)sweep\.yaml.*" + message):
        space(**grid)


def test_unknown_targets_and_bits_they_cannot_hold_are_refused(
    space: Callable[..., Space], tmp_path: Path
) -> None:
    with pytest.raises(TargetError, match="loihi3"):
        space(target=["loihi3"])
    path = tmp_path / "narrow.yaml"
    path.write_text(yaml.safe_dump({
        "base": "loihi1", "name": "narrow", "description": "a chip of narrow weights",
        "synapses": {"weight_bits": {
            "value": [1, 2, 3, 4], "unit": "bits", "status": "assumed", "source": "a test"}}}))
    with pytest.raises(RecipeError, match="bits: 8 bits, target 'narrow' stores at most 4"):
        space(bits=[4, 8], target=[str(path)])
    with pytest.raises(RecipeError, match="layers.fc0.bits: 6 bits"):
        space(bits=[4], layers={"fc0": {"bits": [6]}}, target=[str(path)])
    assert space(bits=[4, "ternary"], target=[str(path)]).n_configurations == 2


def test_layers_are_checked_against_the_network(space: Callable[..., Space]) -> None:
    check_layers(space(layers={"fc0": {"bits": [2, 3]}}), ["fc0", "fc1"])
    with pytest.raises(RecipeError, match="layers.fc9: no layer of this name.*fc0, fc1"):
        check_layers(space(layers={"fc9": {"bits": [2, 3]}}), ["fc0", "fc1"])
    with pytest.raises(RecipeError, match="bits: every layer has its own"):
        check_layers(space(bits=[2, 3], layers={"fc0": {"bits": [4]}}), ["fc0"])


def test_a_dry_run_imports_neither_torch_nor_lava(net_model: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump({"bits": [2, 3], "sparsity": [0.1, 0.5]}))
    code = (
        "import sys, pathlib; from pipeline.sweep.command import sweep; "
        f"sweep(pathlib.Path({str(tmp_path / 'grid.yaml')!r}), {str(net_model)!r}, 'loihi1', "
        f"pathlib.Path({str(tmp_path / 'out')!r}), 2, True); "
        "print([m for m in ('torch', 'lava', 'optuna', 'numba') if m in sys.modules])")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    first, *_, last = done.stdout.splitlines()
    assert first == "4 configurations, 0 of them computed" and last == "[]"
    assert not (tmp_path / "out").exists()
