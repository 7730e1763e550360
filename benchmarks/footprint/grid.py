"""The grid of the footprint: what is measured, and every point of it as the sweep left it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.model_folder import find_model
from pipeline.sweep.driver import Sweep
from pipeline.sweep.plan import Plan, make_plan
from pipeline.sweep.progress import Progress
from pipeline.sweep.results import prepare_folder
from pipeline.sweep.space import Space, load_space
from pipeline.sweep.trials import Trial, trials_of

MODELS = ("nmnist_mlp", "nmnist_cnn")
TARGETS = ("loihi1", "loihi2")
SPARSITY = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
BITS = (8, 4, 2)
# how synapses may be stored: as each core needs least memory; the same, but no kernel is shared;
# as full matrices
STORED: dict[str, list[str] | None] = {
    "best": None, "lists": ["dense", "run-length", "sparse"], "dense": ["dense"]}
N_VALIDATION, N_COUNTED = 500, 100


@dataclass(frozen=True)
class Point:
    """One network on one target, stored in one way.

    Attributes
    ----------
    stored : of ``STORED``
    bits_by_format : memory, for each format that a core chose
    """

    model: str
    stored: str
    trial: Trial
    bits_by_format: dict[str, int]

    @property
    def at(self) -> tuple[str, str, float, int]:
        """Model, target, sparsity and bits: all but how it is stored."""
        axes = self.trial.axes
        return self.model, self.trial.target, float(axes["sparsity"]), int(axes["bits"])

    @property
    def stored_bits(self) -> str:
        """Bits of the weights as they are stored, per layer; fewer than asked if fewer hold all."""
        bits = list(dict.fromkeys(layer.weight_bits for layer in self.trial.layers))
        return "/".join(str(b) for b in bits if b)

    @property
    def formats(self) -> str:
        """The formats, the one with most memory first; some only if it has 1 % at least."""
        most = sorted(self.bits_by_format.items(), key=lambda pair: -pair[1])
        total = sum(self.bits_by_format.values())
        return ", ".join(name for name, bits in most if bits >= 0.01 * total)


def points_of(
    models: tuple[str, ...], studies: Path, n_workers: int, *, is_short: bool, may_run: bool
) -> Iterator[Point]:
    """Yield every point there is, having computed what was missing if that is allowed."""
    for model in models:
        for stored in STORED:
            plan = _computed(model, stored, studies / f"footprint-{model}", n_workers,
                             is_short=is_short, may_run=may_run)
            for trial, price in zip(trials_of(plan, {}), _prices(plan), strict=True):
                yield Point(model, stored, trial, price.get("bits_by_format", {}))


def _computed(
    model: str, stored: str, out: Path, n_workers: int, *, is_short: bool, may_run: bool
) -> Plan:
    prepare_folder(out)
    space, found = _space(out, stored, is_short), find_model(model)
    if may_run:
        # the same folder: networks are compressed and evaluated once, and placed thrice
        Sweep(space, found, out, n_workers, Progress()).run()
    return make_plan(space, found, out)


def _space(out: Path, stored: str, is_short: bool) -> Space:
    n_validation, n_counted = (50, 10) if is_short else (N_VALIDATION, N_COUNTED)
    grid: dict[str, Any] = {
        "recipe": {"evaluate": {"n_validation": n_validation}, "energy": {"n_samples": n_counted},
                   "place": {"formats": STORED[stored]}},
        "sparsity": [0.0, 0.9] if is_short else list(SPARSITY),
        "bits": [8, 4] if is_short else list(BITS),
        "target": list(TARGETS), "sensitivity": False,
    }
    path = out / f"{stored}.yaml"
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    return load_space(path, TARGETS[0])


def _prices(plan: Plan) -> list[dict[str, Any]]:
    """Return what the store holds for each trial, in the same order."""
    return [
        plan.store.load("prices", entry.price_keys[index]) or {}
        for entry in plan.entries for index in range(len(plan.space.targets))
        if plan.store.load("outcomes", entry.key) is not None
        and ("failure" in (plan.store.load("outcomes", entry.key) or {})
             or plan.store.load("prices", entry.price_keys[index]) is not None)
    ]
