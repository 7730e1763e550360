"""What a search covers: levels each layer may take, objectives, limits, as strict YAML.

In: a YAML file. Out: a :class:`SearchSpace`, and settings made of levels per layer. A file::

    recipe: {evaluate: {n_validation: 500}}    # any keys of a recipe, common to all
    target: loihi1
    sparsity: [0.5, 0.7, 0.8, 0.9, 0.95]       # each layer takes one of these
    bits: [2, 3, 4, 8]                         # and one of these
    objectives: [accuracy, executed_synops]    # the first is weighed against the others
    constraints: {max_loss_points: 1.0, cores: 10, memory_bits: 400000}
    n_trials: 200                              # beyond the uniform grid, which is always measured
    seed: 0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from hardware_targets import Target
from pipeline.errors import RecipeError
from pipeline.recipe import Bits, Count, Recipe, Sparsity
from pipeline.strict_yaml import read_strict
from pipeline.sweep.refusals import refuse_wide_weights
from pipeline.sweep.space import Axis, Section, Setting, Space, base_recipe, find_target, validated

Objective = Literal["accuracy", "executed_synops", "effective_synops", "memory_bits", "cores",
                    "energy"]
Level = tuple[float, Bits]  # sparsity and bits
Levels = dict[str, Level]  # by layer


class Constraints(Section):
    """Limits that a winner keeps to; an absent or null one does not bind, but for the accuracy.

    Attributes
    ----------
    max_loss_points : accuracy on validation below the network as trained, in points
    """

    max_loss_points: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    cores: Count | None = None
    memory_bits: Count | None = None


class SearchFile(Section):
    """The keys of a search file."""

    recipe: dict[str, Any] = Field(default_factory=dict)
    target: str | None = None
    sparsity: Axis[Sparsity]
    bits: Axis[Bits]
    objectives: Axis[Objective] = ("accuracy", "executed_synops")
    constraints: Constraints = Constraints()
    n_trials: Count = 200
    seed: Annotated[int, Field(ge=0, strict=True)] = 0


@dataclass(frozen=True)
class SearchSpace:
    """A search file, read and checked.

    Attributes
    ----------
    base : recipe that all settings share
    text : the file with its target, as it is kept in the study folder
    """

    path: Path
    file: SearchFile
    base: Recipe
    target: Target
    text: str

    @property
    def cost(self) -> str:
        """The objective that is weighed against accuracy first."""
        return next(name for name in self.file.objectives if name != "accuracy")

    @property
    def grid(self) -> list[Level]:
        """Every level that a layer may take."""
        return [(sparsity, bits) for sparsity in self.file.sparsity for bits in self.file.bits]

    def uniform(self, layers: Sequence[str]) -> list[Setting]:
        """Return the uniform grid: one level for all layers, and one sparsity by the recipe's rule.

        The former are settings of levels like any other, so that none is measured twice.
        """
        rule = self.base.compress.allocation
        shared = [] if rule == "uniform" else [
            self._setting({"allocation": rule, "sparsity": sparsity, "bits": bits},
                          {"sparsity": sparsity, "bits": bits}) for sparsity, bits in self.grid]
        return shared + [
            self._setting({"allocation": "uniform", "sparsity": level[0], "bits": level[1]},
                          _own_levels(dict.fromkeys(layers, level))) for level in self.grid]

    def setting(self, levels: Mapping[str, Level], origin: str) -> Setting:
        """Return the setting in which each layer has its own level."""
        axes: dict[str, Any] = {"allocation": origin}
        for layer, (sparsity, bits) in levels.items():
            axes |= {f"{layer}.sparsity": sparsity, f"{layer}.bits": bits}
        return self._setting(axes, _own_levels(levels))

    def space_of(self, settings: list[Setting]) -> Space:
        """Return settings as a sweep runs them."""
        return Space(self.path, tuple(settings), (self.target,), (), False, self.text, "search")

    def _setting(self, axes: dict[str, Any], changes: dict[str, Any]) -> Setting:
        content = self.base.model_dump(mode="json")
        content["compress"] |= changes
        return Setting(axes, validated(str(self.path), content))


def _own_levels(levels: Mapping[str, Level]) -> dict[str, Any]:
    """Return what a recipe that gives every layer its own level has in ``compress``."""
    return {"layers": {layer: {"sparsity": sparsity, "bits": bits}
                       for layer, (sparsity, bits) in levels.items()}}


def load_search(path: Path, default_target: str) -> SearchSpace:
    """Return the space of a search file.

    Raises
    ------
    RecipeError
        With the key path: bad keys or values, a contradictory space, levels too wide for the
        target.
    TargetError
        If the target is unknown.
    """
    file = read_strict(path, SearchFile)
    compress = file.recipe.get("compress") or {}
    fixed = [key for key in ("sparsity", "bits", "layers") if key in compress]
    if fixed:
        raise RecipeError(
            f"{path}: recipe.compress.{fixed[0]}: is what is searched; leave it out there")
    if compress.get("sequential"):
        raise RecipeError(
            f"{path}: recipe.compress.sequential: a search puts configurations together from a "
            "bank of layers compressed on their own; leave it out, or set it to false")
    if str(compress.get("pattern", "unstructured")) != "unstructured":
        raise RecipeError(
            f"{path}: recipe.compress.pattern: '{compress['pattern']}' takes no sparsity per "
            "layer; leave it out, and sweep the patterns (make sweep)")
    if "accuracy" not in file.objectives or len(file.objectives) < 2:
        raise RecipeError(
            f"{path}: objectives: {', '.join(file.objectives)}; must be accuracy and at least one "
            "cost")
    target = find_target(file.target or default_target)
    text = yaml.safe_dump(
        file.model_dump(mode="json", exclude_none=True) | {"target": target.name},
        sort_keys=False)
    found = SearchSpace(path, file, base_recipe(path, file.recipe), target, text)
    _refuse_unpriced(found)
    refuse_wide_weights(path, tuple(found.uniform(("*",))), (target,))
    return found


def _refuse_unpriced(space: SearchSpace) -> None:
    """Raise RecipeError if energy is an objective and the target has no prices at all."""
    if "energy" in space.file.objectives and not priced_sets(space.target):
        raise RecipeError(
            f"{space.path}: objectives.energy: target '{space.target.name}' has no prices; take "
            "executed_synops, or a target with prices (spikefit targets list)")


def priced_sets(target: Target) -> list[str]:
    """Return the names of the price sets that price synops."""
    return [name for name, prices in target.price_sets.items()
            if any(getattr(prices, event).value is not None for event in (
                "synop_dense", "synop_sparse", "synop_conv", "synop_run_length"))]
