"""The recipe: what to do with a model, as strict YAML with every default visible.

In: a YAML file, or nothing. Out: a frozen :class:`Recipe`. An empty recipe is the default one;
``spikefit check`` prints it complete. A recipe with everything in it::

    calibration: {n_samples: 100, damping: 0.01}
    compress:
      method: sbc
      sparsity: 0.9
      bits: 4
      match_rates: true
      layers:
        blocks.0: {bits: 8}
        "blocks.*": {sparsity: 0.5}
    evaluate: {n_validation: 500, n_test: 1000}
    verify: {n_samples: 20, lava_time_limit_s: 150}
    energy: {n_samples: 100}
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import RecipeError
from pipeline.strict_yaml import read_strict

Sparsity = Annotated[float, Field(ge=0.0, lt=1.0)]
Bits = Annotated[int, Field(ge=1, le=8, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CalibrationRecipe(_Section):
    """Calibration: how many samples of its split, and the damping of the curvature.

    Attributes
    ----------
    damping : added to the diagonal, as a share of its mean (facts: about 1 % serves)
    """

    n_samples: Count = 100
    damping: float = Field(default=0.01, gt=0.0, le=10.0)


class LayerLevel(_Section):
    """Overrides of the global level for the layers whose name matches a pattern."""

    sparsity: Sparsity | None = None
    bits: Bits | None = None


class CompressRecipe(_Section):
    """Compression: sparsity of the whole network, shared out by LAMPS, and weight bits.

    Attributes
    ----------
    match_rates : after quantization, adjust each layer's threshold so that its calibration rate
        returns to the dense network's
    layers : by layer name or shell pattern, first match wins; a layer with its own sparsity leaves
        the global one to the others
    """

    method: Literal["sbc"] = "sbc"
    sparsity: Sparsity = 0.9
    bits: Bits = 4
    match_rates: bool = True
    layers: dict[str, LayerLevel] = Field(default_factory=dict)


class EvaluateRecipe(_Section):
    """Samples of the validation and test splits on which accuracy is measured."""

    n_validation: Count = 500
    n_test: Count = 1000


class VerifyRecipe(_Section):
    """Test samples on which SLAYER, emulator and Lava must agree, and Lava's time limit.

    A run that exceeds the limit is started once more: Lava rarely hangs by itself.
    """

    n_samples: Count = 20
    lava_time_limit_s: float = Field(default=150.0, gt=0.0)


class EnergyRecipe(_Section):
    """Test samples over which events are counted."""

    n_samples: Count = 100


class Recipe(_Section):
    """All choices of a deployment."""

    calibration: CalibrationRecipe = CalibrationRecipe()
    compress: CompressRecipe = CompressRecipe()
    evaluate: EvaluateRecipe = EvaluateRecipe()
    verify: VerifyRecipe = VerifyRecipe()
    energy: EnergyRecipe = EnergyRecipe()


def load_recipe(path: Path | None) -> Recipe:
    """Return the recipe in ``path``, or the default recipe if None."""
    return Recipe() if path is None else read_strict(path, Recipe)


def level_overrides(recipe: CompressRecipe, layers: list[str]) -> dict[str, LayerLevel]:
    """Return the override of each layer that has one.

    Raises
    ------
    RecipeError
        If a pattern matches no layer.
    """
    overrides: dict[str, LayerLevel] = {}
    for pattern, level in recipe.layers.items():
        matched = [layer for layer in layers if fnmatchcase(layer, pattern)]
        if not matched:
            raise RecipeError(
                f"compress.layers.{pattern}: matches no layer; the layers are {', '.join(layers)}"
            )
        for layer in matched:
            overrides.setdefault(layer, level)
    return overrides
