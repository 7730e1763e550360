"""A study: nothing computed twice, nothing lost, a failure does not end the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweeps import GRID, write_net_model

from pipeline.compress_synapse import Level
from pipeline.errors import CompressionError, OutputError, RecipeError
from pipeline.sweep import claimed_bank
from pipeline.sweep import trial as trial_module
from pipeline.sweep.claimed_bank import ClaimedBank
from pipeline.sweep.results import write_whole

Counts = dict[str, int]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Counts of masks, levels, evaluations and prices that are computed in this process."""
    counts: Counts = {"masks": 0, "levels": 0, "outcomes": 0, "prices": 0, "traces": 0}

    def count(owner: Any, name: str, what: str) -> None:
        true = getattr(owner, name)

        def counting(*arguments: Any, **more: Any) -> Any:
            counts[what] += 1
            return true(*arguments, **more)

        monkeypatch.setattr(owner, name, counting)

    count(claimed_bank.LayerBank, "pruned", "masks")
    count(claimed_bank.LayerBank, "_compress", "levels")
    count(trial_module, "_outcome", "outcomes")
    count(trial_module, "price", "prices")
    count(trial_module, "emulate", "traces")
    return counts


def taken(counts: Counts) -> Counts:
    found = dict(counts)
    counts.update(dict.fromkeys(counts, 0))
    return found


NOTHING = {"masks": 0, "levels": 0, "outcomes": 0, "prices": 0, "traces": 0}


def test_each_layer_is_compressed_once_a_level_and_what_ignores_the_target_once(
    net_model: Path, sweep: Callable[..., Any], counted: Counts
) -> None:
    written = sweep(net_model, GRID)
    assert [t.status for t in written.trials] == ["fits"] * 8
    # 2 layers x 2 sparsities x 2 bits; 4 settings on 2 targets
    assert counted == {"masks": 4, "levels": 8, "outcomes": 4, "prices": 8, "traces": 4}
    masks = list((written.out / ".store" / "masks").glob("*.npz"))
    assert len(masks) == 4


def test_a_repeated_sweep_computes_nothing_and_touches_no_file(
    net_model: Path, sweep: Callable[..., Any], counted: Counts, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = sweep(net_model, GRID)
    taken(counted)
    before = {p: p.stat().st_mtime_ns for p in first.out.rglob("*") if p.is_file()}

    def refuse(*_: Any) -> Any:
        raise AssertionError("nothing is to be prepared")

    monkeypatch.setattr("pipeline.sweep.driver.prepare", refuse)
    again = sweep(net_model, GRID)
    assert counted == NOTHING and again.trials == first.trials
    after = {p: p.stat().st_mtime_ns for p in first.out.rglob("*") if p.is_file()}
    assert after == before or set(after) - set(before) <= {first.out / ".store/locks/pages.lock"}


@pytest.mark.parametrize(("change", "expected"), [
    ({"bits": [3, 8, 4]}, {"masks": 0, "levels": 4, "outcomes": 2, "prices": 4, "traces": 2}),
    ({"sparsity": [0.3, 0.6, 0.8]},
     {"masks": 2, "levels": 4, "outcomes": 2, "prices": 4, "traces": 2}),
    ({"target": ["loihi1", "loihi2", "loihi2-compiler"]},
     {"masks": 0, "levels": 0, "outcomes": 0, "prices": 4, "traces": 4}),
    ({"bits": [8]}, NOTHING),
])
def test_a_grid_with_one_more_value_computes_only_that(
    net_model: Path, sweep: Callable[..., Any], counted: Counts, change: dict[str, Any],
    expected: Counts,
) -> None:
    grid = GRID
    before = {t.key: t for t in sweep(net_model, grid).trials}
    taken(counted)
    after = sweep(net_model, {**grid, **change}).trials
    assert counted == expected
    assert all(before.get(t.key, t) == t for t in after)
    assert sum(t.key in before for t in after) == min(8, len(after))


def test_masks_are_kept_so_that_more_bits_do_not_prune_again(
    net_model: Path, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = GRID
    sweep(net_model, grid)

    def refuse(*_: Any) -> Any:
        raise AssertionError("pruned again")

    monkeypatch.setattr("pipeline.bank.prune_synapse", refuse)
    assert [t.status for t in sweep(net_model, {**grid, "bits": [5]}).trials] == ["fits"] * 4


def test_a_configuration_that_fails_is_told_with_its_reason_and_the_rest_goes_on(
    net_model: Path, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, counted: Counts
) -> None:
    true = ClaimedBank._compress

    def failing(self: ClaimedBank, name: str, level: Level) -> Any:
        if (name, level.bits) == ("dense2", 3):
            raise CompressionError("synapse 'dense2': no grid; raise the bits")
        return true(self, name, level)

    monkeypatch.setattr(ClaimedBank, "_compress", failing)
    trials = sweep(net_model, GRID).trials
    failed = [t for t in trials if t.status == "failed"]
    assert [t.axes["bits"] for t in failed] == [3] * 4
    assert {t.reason for t in failed} == {"synapse 'dense2': no grid; raise the bits"}
    assert all(t.accuracy_frac is None and t.energy == () for t in failed)
    assert sum(t.status == "fits" for t in trials) == 4
    taken(counted)
    assert sweep(net_model, GRID).trials == trials and counted == NOTHING


def test_a_defect_in_one_configuration_is_told_and_tried_again_next_time(
    net_model: Path, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = trial_module._outcome

    def broken(bench: Any, recipe: Any, integers: Any) -> Any:
        if recipe.compress.bits == 3:
            raise ZeroDivisionError("a bug")
        return true(bench, recipe, integers)

    with monkeypatch.context() as patch:
        patch.setattr(trial_module, "_outcome", broken)
        trials = sweep(net_model, GRID).trials
    assert [t.reason for t in trials if t.status == "failed"] == ["ZeroDivisionError: a bug"] * 4
    assert [t.status for t in sweep(net_model, GRID).trials] == ["fits"] * 8


def test_what_does_not_fit_a_target_is_told_with_the_limit(
    tmp_path: Path, dense_chain: Callable[..., Any], sweep: Callable[..., Any]
) -> None:
    model = write_net_model(tmp_path / "wide", dense_chain((12, 300, 5), n_steps=20))
    tiny = tmp_path / "tiny.yaml"
    tiny.write_text(json.dumps({
        "base": "loihi1", "name": "tiny", "description": "a chip of a neuron a core",
        "capacities": {"neurons_per_core": {
            "value": 1, "unit": "neurons", "status": "assumed", "source": "a test"}}}))
    grid = {**GRID, "target": ["loihi1", str(tiny)], "bits": [8]}
    trials = sweep(model, grid).trials
    assert [t.status for t in trials] == ["fits", "does not fit"] * 2
    assert ["tiny" in t.reason for t in trials[1::2]] == [True, True], trials[1].reason
    assert all(t.accuracy_frac is not None and t.n_cores is None for t in trials[1::2])


def test_a_calibration_size_the_split_does_not_hold_fails_alone(
    net_model: Path, sweep: Callable[..., Any]
) -> None:
    recipe = {k: v for k, v in GRID["recipe"].items() if k != "calibration"}
    trials = sweep(net_model, {**GRID, "recipe": recipe, "bits": [8],
                               "n_calibration": [20, 999]}).trials
    assert [t.status for t in trials] == ["fits"] * 4 + ["failed"] * 4
    assert "999 of each are needed" in trials[-1].reason


def test_a_damaged_result_is_computed_again(
    net_model: Path, sweep: Callable[..., Any], counted: Counts
) -> None:
    first = sweep(net_model, GRID)
    taken(counted)
    path = next((first.out / ".store" / "prices").glob("*.json"))
    path.write_text("{")
    again = sweep(net_model, GRID)
    assert counted["prices"] == 1 and counted["outcomes"] == counted["levels"] == 0
    assert [(t.key, t.energy) for t in again.trials] == [(t.key, t.energy) for t in first.trials]


def test_a_study_of_another_network_is_refused(
    net_model: Path, sweep: Callable[..., Any], tmp_path: Path, dense_chain: Callable[..., Any]
) -> None:
    out = sweep(net_model, {**GRID, "bits": [8]}).out
    other = write_net_model(tmp_path / "other", dense_chain((12, 16, 5), n_steps=20, seed=5))
    with pytest.raises(RecipeError, match="holds a study of model 'small'; name another folder"):
        sweep(other, GRID, out)
    (net_model / "network.net").write_bytes((other / "network.net").read_bytes())
    with pytest.raises(RecipeError, match="'small' with another checkpoint"):
        sweep(net_model, GRID, out)


def test_results_of_another_version_are_kept_apart(
    net_model: Path, sweep: Callable[..., Any], counted: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {t.key for t in sweep(net_model, GRID).trials}
    taken(counted)
    monkeypatch.setattr("pipeline.line.code_version", lambda: "another version")
    after = sweep(net_model, GRID)
    assert not before & {t.key for t in after.trials} and counted["outcomes"] == 4
    assert len(list((after.out / ".store" / "outcomes").glob("*.json"))) == 8


def test_unknown_layers_are_refused_before_anything_is_compressed(
    net_model: Path, sweep: Callable[..., Any], counted: Counts
) -> None:
    with pytest.raises(RecipeError, match="layers.nowhere: no layer of this name"):
        sweep(net_model, {**GRID, "layers": {"nowhere": {"bits": [2, 4]}}})
    assert counted == NOTHING


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    net_model: Path, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="study folder .*cannot be written.*OUT="):
        sweep(net_model, GRID, tmp_path / "file" / "out")


def test_a_full_disk_ends_the_sweep_and_what_was_computed_stays(
    net_model: Path, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, counted: Counts
) -> None:
    import errno

    left = [6]

    def full(path: Path, text: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_whole(path, text)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.sweep.results.write_whole", full)
        with pytest.raises(OutputError, match="No space left.*what was computed before is kept"):
            sweep(net_model, GRID)
    n_before = taken(counted)
    written = sweep(net_model, GRID)
    assert [t.status for t in written.trials] == ["fits"] * 8
    assert counted["levels"] == 8 - n_before["levels"]
    assert not list(written.out.rglob("*.tmp"))
