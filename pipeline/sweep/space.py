"""What a sweep covers: a base recipe and axes, as strict YAML, and the grid they span.

In: a YAML file. Out: :class:`Setting` s in grid order, each with its complete recipe. A file::

    recipe: {evaluate: {n_validation: 500}}    # any keys of a recipe, common to all
    n_calibration: [30, 100]
    method: [sbc, magnitude]                   # presets, or names with their own settings:
    # method: {sbc: {}, grouped: {base: sbc, pattern: inputs}}
    sparsity: [0.5, 0.8, 0.9, 0.95]
    bits: [2, 3, 4, 8]
    layers:                                    # each list is one more axis
      blocks.0: {bits: [4, 8], sparsity: [0.5, 0.9]}
    target: [loihi1, loihi2]
    sensitivity: true                          # each layer alone at each level as well

An axis that is absent has the one value of the recipe, ``target`` that of the command line. Grid
order: axes nest as listed here, those of layers as the file has them; the target varies fastest.
``compress.sequential`` is false unless the recipe says otherwise: a layer then depends on the dense
network alone, so that configurations are put together from the layer bank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hardware_targets import Target
from pipeline.artifact import content_hash
from pipeline.errors import RecipeError
from pipeline.recipe import Bits, Count, Recipe, Sparsity
from pipeline.strict_yaml import read_strict
from pipeline.sweep.methods import changes_of
from pipeline.sweep.refusals import (
    refuse_contradictions,
    refuse_duplicates,
    refuse_wide_weights,
)

Value = TypeVar("Value")
Axes = dict[str, str | float | int]


def _each_once(values: tuple[Value, ...]) -> tuple[Value, ...]:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} more than once; leave the others out")
    return values


Axis = Annotated[tuple[Value, ...], Field(min_length=1), AfterValidator(_each_once)]
Methods = Axis[str] | Annotated[dict[str, dict[str, Any]], Field(min_length=1)]


class Section(BaseModel):
    """A part of a file, every key known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LayerAxes(Section):
    """Levels of one layer."""

    bits: Axis[Bits] | None = None
    sparsity: Axis[Sparsity] | None = None


class SweepFile(Section):
    """The keys of a sweep file."""

    recipe: dict[str, Any] = Field(default_factory=dict)
    n_calibration: Axis[Count] | None = None
    method: Methods | None = None
    sparsity: Axis[Sparsity] | None = None
    bits: Axis[Bits] | None = None
    layers: dict[str, LayerAxes] = Field(default_factory=dict)
    target: Axis[str] | None = None
    sensitivity: bool = True


@dataclass(frozen=True)
class Setting:
    """One configuration, whatever the target.

    Attributes
    ----------
    axes : the value on every axis, by name; of layers ``blocks.0.bits``
    """

    axes: Axes
    recipe: Recipe

    @cached_property
    def identity(self) -> str:
        """A hash of all in the recipe that the network depends on."""
        content = self.recipe.model_dump(mode="json", include={"calibration", "compress"})
        if ":" in self.recipe.compress.pattern:
            del content["compress"]["sparsity"]  # N of every M: the pattern is the sparsity
        return content_hash(content)

    @property
    def label(self) -> str:
        """The configuration in words."""
        return ", ".join(f"{name} {value}" for name, value in self.axes.items())


@dataclass(frozen=True)
class Space:
    """A grid: settings in order, each on every target.

    Attributes
    ----------
    layer_axes : layers with axes of their own
    kind : what it is of; names the files of the results
    """

    path: Path
    settings: tuple[Setting, ...]
    targets: tuple[Target, ...]
    layer_axes: tuple[str, ...]
    has_sensitivity: bool
    text: str
    kind: Literal["sweep", "search"] = "sweep"

    @property
    def n_configurations(self) -> int:
        """Settings times targets."""
        return len(self.settings) * len(self.targets)


def load_space(path: Path, default_target: str) -> Space:
    """Return the space of a sweep file.

    Raises
    ------
    RecipeError
        With the key path: bad keys or values, an empty or contradictory space.
    TargetError
        If a target is unknown.
    """
    file = read_strict(path, SweepFile)
    refuse_contradictions(path, file)
    settings = tuple(_settings(path, file))
    refuse_duplicates(path, settings)
    targets = tuple(find_target(name) for name in file.target or (default_target,))
    refuse_wide_weights(path, settings, targets)
    text = yaml.safe_dump(
        file.model_dump(mode="json", exclude_none=True) | {"target": [t.name for t in targets]},
        sort_keys=False)
    return Space(path, settings, targets, tuple(file.layers), file.sensitivity, text)


def _settings(path: Path, file: SweepFile) -> Iterator[Setting]:
    base = base_recipe(path, file.recipe)
    methods = changes_of(path, file.method)
    own: list[tuple[str, str, tuple[Any, ...]]] = [
        (layer, what, values) for layer, axes in file.layers.items()
        for what in ("sparsity", "bits") if (values := getattr(axes, what)) is not None]
    grid = product(
        file.n_calibration or (base.calibration.n_samples,), methods,
        file.sparsity or (base.compress.sparsity,), file.bits or (base.compress.bits,),
        *(values for _, _, values in own))
    for n_samples, method, sparsity, bits, *levels in grid:
        axes: Axes = {"n_calibration": n_samples, "method": method, "sparsity": sparsity,
                      "bits": bits}
        layers = {name: level.model_dump() for name, level in base.compress.layers.items()}
        for (layer, what, _), value in zip(own, levels, strict=True):
            axes[f"{layer}.{what}"] = value
            # before any pattern of the recipe: the first match wins
            layers = {layer: {**layers.pop(layer, {}), what: value}, **layers}
        chosen = {**methods[method]}
        curvature = chosen.pop("curvature", base.calibration.curvature)
        content = base.model_dump(mode="json")
        content["calibration"] |= {"n_samples": n_samples, "curvature": curvature}
        content["compress"] |= {**chosen, "sparsity": sparsity, "bits": bits, "layers": layers}
        yield Setting(axes, validated(f"{path}: method.{method}", content))


def base_recipe(path: Path, given: dict[str, Any]) -> Recipe:
    """Return the recipe that all settings share, not sequential unless it is told so."""
    content = {**given}
    compress = content.get("compress", {})
    if isinstance(compress, dict):
        content["compress"] = {"sequential": False, **compress}
    return validated(f"{path}: recipe", content)


def validated(where: str, content: dict[str, Any]) -> Recipe:
    """Return a recipe of plain values.

    Raises
    ------
    RecipeError
        With the key path of every problem.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(
            f"  {'.'.join(map(str, e['loc']))}: {e['msg']} (found {e['input']!r})"
            for e in error.errors())
        raise RecipeError(f"{where}:\n{problems}") from None


def find_target(name: str) -> Target:
    """Return a target by name or file.

    Raises
    ------
    TargetError
        If there is none, or its file is damaged.
    """
    from hardware_targets import TargetFileError, load_target
    from pipeline.errors import TargetError

    try:
        return load_target(name)
    except TargetFileError as error:
        raise TargetError(str(error)) from None
