"""Everything a sweep says, as plain JSON: the one source of its table, its JSON and its page.

In: trials and sensitivities. Out: nested dicts and lists. Units are suffixes, shares end in
``_frac``; what does not exist is None. Rows are in grid order.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from pipeline.sweep.fronts import fronts_of
from pipeline.sweep.plan import Plan
from pipeline.sweep.trials import Sensitivity, Trial

SCHEMA_VERSION = 1

Section = dict[str, Any]


def build_document(plan: Plan, trials: list[Trial], sensitivities: list[Sensitivity]) -> Section:
    """Return a sweep as plain JSON values."""
    rows = [trial_row(trial) for trial in trials]
    recipe = plan.recipe
    dense = plan.store.load("dense", plan.dense_key) or {}
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": plan.space.kind,
        "model": {"name": plan.model.name, "description": plan.model.description.description},
        "n_configurations": plan.space.n_configurations,
        "n_settings": len(plan.entries),
        "n_trials": len(rows),
        "n_failed": sum(row["status"] == "failed" for row in rows),
        "n_not_fitting": sum(row["status"] == "does not fit" for row in rows),
        "n_validation_samples": recipe.evaluate.n_validation,
        "n_energy_samples": recipe.energy.n_samples,
        "data_origin": dense.get("origin"),
        "accuracy_dense_frac": dense.get("accuracy_frac"),
        "is_sequential": any(e.setting.recipe.compress.sequential for e in plan.entries),
        "axes": _axes(plan),
        "targets": [
            {"name": target.name, "description": target.description,
             "cores_limit": target.capacities.cores_per_chip.value}
            for target in plan.space.targets],
        "trials": rows,
        "fronts": fronts_of(rows),
        "sensitivity": [
            {"layer": s.layer, "axis": s.axis, "value": s.value,
             "sparsity_frac": s.sparsity_frac, "weight_bits": s.weight_bits,
             "accuracy_frac": s.accuracy_frac, "reason": s.reason}
            for s in sensitivities],
        "space": plan.space.text,
        "versions": {"python": platform.python_version(), "spikefit": metadata.version("spikefit")},
    }


def trial_row(trial: Trial) -> Section:
    """Return one trial, flat but for nothing: a line of ``trials.csv``."""
    row: Section = {
        "key": trial.key, "recipe": f"recipes/{trial.recipe_key}.yaml", **trial.axes,
        "target": trial.target, "status": trial.status, "reason": trial.reason,
        "n_validation_samples": trial.n_samples, "n_energy_samples": trial.n_energy_samples,
        "accuracy_dense_frac": trial.accuracy_dense_frac, "accuracy_frac": trial.accuracy_frac,
        "sparsity_frac": trial.sparsity_frac, "n_neurons": trial.n_neurons,
        "n_cores": trial.n_cores, "memory_bits": trial.memory_bits,
        "effective_synops_per_sample": trial.effective_synops,
        "executed_synops_per_sample": trial.executed_synops,
    }
    for point in trial.energy:
        row |= {
            f"energy_{point.prices}_pj_per_sample": point.total_pj,
            f"energy_{point.prices}_low_pj_per_sample": point.low_pj,
            f"energy_{point.prices}_high_pj_per_sample": point.high_pj,
            f"energy_{point.prices}_is_complete": point.is_complete,
            f"energy_{point.prices}_unpriced": " ".join(point.unpriced),
        }
    for layer in trial.layers:
        row |= {f"{layer.layer}_weight_bits": layer.weight_bits,
                f"{layer.layer}_n_weights": layer.n_weights,
                f"{layer.layer}_n_nonzero": layer.n_nonzero}
    return row | {"elapsed_s": trial.elapsed_s}


def columns_of(rows: list[Section]) -> list[str]:
    """Return the columns of all rows; what only some have stands where they have it."""
    columns: list[str] = []
    for row in rows:
        place = 0
        for name in row:
            if name in columns:
                place = columns.index(name) + 1
            else:
                columns.insert(place, name)
                place += 1
    return columns


def _axes(plan: Plan) -> Section:
    """Return the values on each axis, in grid order."""
    axes: dict[str, list[Any]] = {}
    for entry in plan.entries:
        for name, value in entry.setting.axes.items():
            values = axes.setdefault(name, [])
            if value not in values:
                values.append(value)
    return {**axes, "target": [target.name for target in plan.space.targets]}
