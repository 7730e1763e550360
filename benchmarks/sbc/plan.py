"""What the benchmark computes: cells, each one recipe on one network, and the tables they fill.

In: nothing but the recipe's defaults. Out: a list of :class:`Cell`. Two cells of equal recipe, as
those that two tables share, have one key and are computed once. "+" marks a method with all the
advantages of SBC+ that apply to it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.artifact import content_hash
from pipeline.model_folder import find_model
from pipeline.recipe import Recipe

MODELS = ("nmnist_mlp", "nmnist_lif", "nmnist_cnn")
TABLES = ("pruning", "quantization", "joint", "calibration")
SEEDS = (1, 2, 3)
N_SAMPLES = 100
SPARSITIES = (0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.99)
BITS: tuple[int | str, ...] = (8, 7, 6, 5, 4, 3, 2, "ternary")
JOINT = ((0.9, 4), (0.9, 3), (0.95, 4), (0.95, 3))
CALIBRATION_SIZES = (3, 10, 30, 100, 500)
CALIBRATION_SPARSITY = 0.95
SLAYER_BITS = 8  # the precision of the networks as trained: pruning alone

# to be raised when a cell is measured in another way
_MEASUREMENT = 1
_PIPELINE = Path(find_model.__code__.co_filename).parent
_SOURCES = (
    "compress_synapse", "bank", "compressor", "levels", "allocate", "importance", "calibrate",
    "match_rates", "quantize", "emulate", "kernels", "neuron_pruning", "distance", "fixedpoint",
)

Sections = dict[str, dict[str, Any]]


def _method(curvature: str | None = None, **compress: Any) -> Sections:
    """Return the recipe sections of a method; what is not said is the recipe's default."""
    return {"calibration": {} if curvature is None else {"curvature": curvature},
            "compress": compress}


# the method of the paper: none of what is ours
_BASE: dict[str, Any] = {
    "importance": "uniform", "allocation": "lamps", "bits_allocation": "uniform",
    "sequential": False, "match_rates": "none", "pruning": "auto", "refit": True,
    "rounding": "gptq", "grid": "hessian", "scale": "free", "act_order": False,
}
_MAGNITUDE = {**_BASE, "pruning": "magnitude"}
_SBC, _SBC_PLUS = _method("smp", **_BASE), _method()
_OBC, _OBC_PLUS = _method("obc", **_BASE), _method("obc")

# at SLAYER's own 8 bits rounding decides nothing: the cheapest, for every method
_ROUNDED = {"rounding": "nearest", "grid": "error"}


def _rounded(methods: dict[str, Sections]) -> dict[str, Sections]:
    return {
        name: {**sections, "compress": {**sections["compress"], **_ROUNDED}}
        for name, sections in methods.items()
    }


METHODS: dict[str, dict[str, Sections]] = {
    "pruning": _rounded({
        "magnitude": _method("smp", **{**_MAGNITUDE, "refit": False}),
        "magnitude +": _method("smp", **{**_MAGNITUDE, "match_rates": "layer"}),
        "ExactOBS": _OBC, "ExactOBS +": _OBC_PLUS, "SBC": _SBC, "SBC+": _SBC_PLUS,
    }),
    "quantization": {
        f"{name}, {grid} grid": {**sections, "compress": {**sections["compress"], "grid": grid}}
        for name, sections in {
            "RTN": _method("smp", **{**_BASE, "rounding": "nearest"}),
            "RTN +": _method("smp", **{**_BASE, "rounding": "nearest", "match_rates": "layer"}),
            "GPTQ (H_OBC)": _OBC, "GPTQ (H_OBC) +": _OBC_PLUS, "SBC": _SBC, "SBC+": _SBC_PLUS,
        }.items()
        for grid in ("maximum", "hessian")
    },
    "joint": {
        # the refit fits weights to each other, which rounding one by one undoes: with and without
        "magnitude, no refit, RTN +": _method(
            "smp", **{**_MAGNITUDE, "refit": False, "rounding": "nearest", "match_rates": "layer"}),
        "magnitude, RTN +": _method(
            "smp", **{**_MAGNITUDE, "rounding": "nearest", "match_rates": "layer"}),
        "ExactOBS, GPTQ (H_OBC)": _OBC, "ExactOBS, GPTQ (H_OBC) +": _OBC_PLUS,
        "SBC": _SBC, "SBC+": _SBC_PLUS,
    },
    "calibration": _rounded({
        "ExactOBS": _OBC, "ExactOBS +": _OBC_PLUS, "SBC": _SBC, "SBC+": _SBC_PLUS,
    }),
}


@dataclass(frozen=True)
class Measurement:
    """What every cell is measured on: samples of the test split, for accuracy and for traces."""

    n_test: int = 1000
    n_traced: int = 100


@dataclass(frozen=True)
class Cell:
    """One entry of a table for one calibration seed, which the recipe holds.

    Attributes
    ----------
    method, column : where it stands in its table
    """

    table: str
    model: str
    method: str
    column: str
    recipe: Recipe

    @property
    def seed(self) -> int:
        """The seed that draws the calibration samples."""
        return self.recipe.calibration.seed

    @property
    def title(self) -> str:
        """A line for the user."""
        return f"{self.model}: {self.table}, {self.column}, {self.method}, seed {self.seed}"

    def spec(self) -> dict[str, Any]:
        """Return what decides the result, as plain JSON: every switch, defaults included."""
        sections = self.recipe.model_dump(mode="json", include={"calibration", "compress"})
        return {"model": self.model, **sections}


def full_plan() -> list[Cell]:
    """Return every cell of the issue's tables."""
    # seed by seed: an interrupted run has all tables, with fewer seeds
    return [cell for seed in SEEDS for model in MODELS for cell in _cells(model, seed)]


def short_plan() -> list[Cell]:
    """Return a few cheap cells of every table, of one seed and at most ten samples."""
    wanted = {
        ("nmnist_cnn", "pruning", "90 %", "magnitude"): 10,
        ("nmnist_cnn", "pruning", "90 %", "ExactOBS"): 10,
        ("nmnist_cnn", "pruning", "90 %", "SBC"): 10,
        ("nmnist_cnn", "pruning", "90 %", "SBC+"): 10,
        ("nmnist_cnn", "quantization", "3 bit", "SBC+, hessian grid"): 10,
        ("nmnist_cnn", "joint", "90 % + 4 bit", "SBC+"): 10,
        ("nmnist_cnn", "calibration", "3", "SBC+"): 3,
        ("nmnist_mlp", "quantization", "3 bit", "RTN, maximum grid"): 3,
    }
    plan = [cell for model in MODELS for cell in _cells(model, SEEDS[0])]
    return [
        replace(cell, recipe=cell.recipe.model_copy(update={
            "calibration": cell.recipe.calibration.model_copy(update={"n_samples": n_samples})}))
        for cell in plan
        if (n_samples := wanted.get((cell.model, cell.table, cell.column, cell.method)))
    ]


def groups(cells: list[Cell]) -> list[list[Cell]]:
    """Return cells by network and calibration, within them by method and mask, in plan order.

    Neighbors share what they can: the bank of a method, the pruned weights of a sparsity.
    """
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        calibration = cell.recipe.calibration.model_dump_json()
        found.setdefault(f"{cell.model} {calibration}", []).append(cell)
    # the smaller tables last, and seed by seed, so that every table soon has its first numbers
    ordered = sorted(found.values(), key=lambda group: (
        group[0].recipe.calibration.n_samples != N_SAMPLES, group[0].seed))
    return [sorted(group, key=_sharing) for group in ordered]


def _sharing(cell: Cell) -> tuple[str, float]:
    method = cell.recipe.compress.model_dump_json(exclude={"sparsity", "bits"})
    return method, cell.recipe.compress.sparsity


def _cells(model: str, seed: int) -> Iterator[Cell]:
    for table in TABLES:
        for method, sections in METHODS[table].items():
            for column, level, n_samples in _columns(table):
                # all of the split is the same samples whatever the seed
                if n_samples == max(CALIBRATION_SIZES) and seed != SEEDS[0]:
                    continue
                recipe = Recipe.model_validate({
                    "calibration": {**sections["calibration"], "seed": seed,
                                    "n_samples": n_samples},
                    "compress": {**sections["compress"], **level},
                })
                yield Cell(table, model, method, column, recipe)


def _columns(table: str) -> list[tuple[str, dict[str, Any], int]]:
    """Return the columns of a table: title, level, calibration samples."""
    if table == "pruning":
        return [(f"{s:.0%}".replace("%", " %"), {"sparsity": s, "bits": SLAYER_BITS}, N_SAMPLES)
                for s in SPARSITIES]
    if table == "quantization":
        return [(b if isinstance(b, str) else f"{b} bit", {"sparsity": 0.0, "bits": b}, N_SAMPLES)
                for b in BITS]
    if table == "joint":
        return [(f"{100 * s:.0f} % + {b} bit", {"sparsity": s, "bits": b}, N_SAMPLES)
                for s, b in JOINT]
    level = {"sparsity": CALIBRATION_SPARSITY, "bits": SLAYER_BITS}
    return [(str(n), level, n) for n in CALIBRATION_SIZES]


class Keys:
    """The key of a cell: a hash of its recipe, its network, the measurement and the code."""

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement
        self._checkpoints: dict[str, str] = {}
        self.code = code_hash()

    def of(self, cell: Cell) -> str:
        """Return the key of a cell, 24 hex digits."""
        if cell.model not in self._checkpoints:
            model = find_model(cell.model)
            self._checkpoints[cell.model] = content_hash(
                *(path.read_bytes() for path in (model.checkpoint, model.folder / "model.yaml")))
        return content_hash(
            cell.spec(), self._checkpoints[cell.model], self._measurement.n_test,
            self._measurement.n_traced, _MEASUREMENT, self.code)[:24]


def code_hash() -> str:
    """Return a hash of the code that results depend on; comments and docstrings do not count."""
    files = [*sorted((_PIPELINE / "compress").glob("*.py")),
             *(_PIPELINE / f"{name}.py" for name in _SOURCES)]
    return content_hash([[path.name, _without_prose(path.read_text(encoding="utf-8"))]
                         for path in files])


def _without_prose(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
