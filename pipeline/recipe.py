"""The recipe: what to do with a model, as strict YAML with every default visible.

In: a YAML file, or nothing. Out: a frozen :class:`Recipe`. An empty recipe is the default one;
``spikefit check`` prints it complete. A recipe with everything in it::

    calibration: {n_samples: 100, seed: 0, damping: 0.01, curvature: smp}
    compress:
      sparsity: 0.9
      bits: 4                    # 1 to 8, or ternary
      allocation: lamps          # of sparsity to layers: uniform, lamps, loss, sensitivity
      bits_allocation: uniform   # or loss, sensitivity: then bits is the mean over kept weights
      pruning: auto              # obs, blocks, eliminate, admm, swaps, magnitude
      importance: output         # or uniform
      pattern: unstructured      # 2:4 and the like, inputs, neurons
      refit: true
      loss_margin: 0.0
      rounding: gptq             # or nearest
      grid: hessian              # or error, maximum
      scale: free                # or power_of_two
      act_order: true
      sequential: true
      match_rates: layer         # none, channel
      device: cpu
      layers:
        blocks.0: {bits: 8}
        "blocks.*": {sparsity: 0.5}
    place: {formats: null, max_chips: 1, seed: 0}
    evaluate: {n_validation: 500, n_test: 1000}
    verify: {n_samples: 20, lava_time_limit_s: 150}
    energy: {n_samples: 100}
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.errors import RecipeError
from pipeline.strict_yaml import read_strict

Sparsity = Annotated[float, Field(ge=0.0, lt=1.0)]


def _check_bits(value: object) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 8
    if not is_count and value != "ternary":
        raise ValueError(f"{value!r} is neither a whole number from 1 to 8 nor 'ternary'")
    return value


Bits = Annotated[int | Literal["ternary"], BeforeValidator(_check_bits)]
Count = Annotated[int, Field(ge=1, strict=True)]
Seed = Annotated[int, Field(ge=0, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CalibrationRecipe(_Section):
    """Calibration: which samples of its split, and the curvature they give.

    Attributes
    ----------
    seed : 0 takes the first samples of the split, any other seed draws them
    damping : added to the diagonal, as a share of its mean (facts: about 1 % serves)
    curvature : smp, the potential (both filters of the neuron); voltage, its second filter only;
        obc, the input current (no filter), as ExactOBS and GPTQ have it
    """

    n_samples: Count = 100
    seed: Seed = 0
    damping: float = Field(default=0.01, gt=0.0, le=10.0)
    curvature: Literal["smp", "voltage", "obc"] = "smp"


class LayerLevel(_Section):
    """Overrides of the global level for the layers whose name matches a pattern."""

    sparsity: Sparsity | None = None
    bits: Bits | None = None


class CompressRecipe(_Section):
    """Compression: sparsity of the whole network, bits, and how both are reached.

    Attributes
    ----------
    bits : of every layer, or the mean over kept weights where ``bits_allocation`` shares them out
    allocation : how sparsity is shared among layers: by predicted loss (loss), or by the measured
        distance of the network's output spikes (sensitivity), LAMPS or uniform
    pruning : see :class:`pipeline.compress.Pruning`
    pattern : unstructured, N:M (then the pattern is the sparsity), inputs (whole input channels)
        or neurons (whole hidden neurons and channels: layers shrink)
    refit : whether what stays is updated for what goes
    importance : what a potential error of a neuron is worth: the same for all (uniform), or what
        it does to the output (output), see :mod:`pipeline.importance`
    loss_margin : of ``pruning: auto``, as a share of the loss of greedy OBS
    rounding : gptq or nearest
    grid : how a scale is chosen, see :class:`pipeline.compress.Scaling`
    sequential : each layer sees the compressed input and aims at the dense potential
    match_rates : after quantization, adjust thresholds so that calibration rates return to the
        dense network's; per layer, or per channel, which no stock NetX file can hold
    layers : by layer name or shell pattern, first match wins; a layer with its own sparsity leaves
        the global one to the others
    """

    sparsity: Sparsity = 0.9
    bits: Bits = 4
    allocation: Literal["uniform", "lamps", "loss", "sensitivity"] = "lamps"
    bits_allocation: Literal["uniform", "loss", "sensitivity"] = "uniform"
    pruning: Literal["auto", "obs", "blocks", "eliminate", "admm", "swaps", "magnitude"] = "auto"
    pattern: str = Field(default="unstructured", pattern=r"^(unstructured|inputs|neurons|\d+:\d+)$")
    refit: bool = True
    importance: Literal["uniform", "output"] = "output"
    loss_margin: float = Field(default=0.0, ge=-0.5, le=10.0)
    rounding: Literal["gptq", "nearest"] = "gptq"
    grid: Literal["hessian", "error", "maximum"] = "hessian"
    scale: Literal["free", "power_of_two"] = "free"
    act_order: bool = True
    sequential: bool = True
    match_rates: Literal["none", "layer", "channel"] = "layer"
    device: Literal["cpu", "cuda"] = "cpu"
    layers: dict[str, LayerLevel] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_pattern(self) -> CompressRecipe:
        if ":" not in self.pattern:
            return self
        n, m = map(int, self.pattern.split(":"))
        if not 1 <= n <= m:
            raise ValueError(f"pattern: '{self.pattern}' is not N:M with 1 <= N <= M, as in '2:4'")
        return self


class PlaceRecipe(_Section):
    """Placement on cores.

    Attributes
    ----------
    formats : that synapses may take, of those the target has; None for all
    max_chips : that may be used; as few are as hold the network
    seed : of the search for short ways between cores
    """

    formats: tuple[Literal["dense", "run-length", "sparse", "conv"], ...] | None = Field(
        default=None, min_length=1)
    max_chips: Count = 1
    seed: Seed = 0


class EvaluateRecipe(_Section):
    """Samples of the validation and test splits on which accuracy is measured."""

    n_validation: Count = 500
    n_test: Count = 1000


class VerifyRecipe(_Section):
    """Test samples on which SLAYER, emulator and Lava must agree, and Lava's time limit.

    The limit is for building the network and its first step, and for every step after it. A run
    that exceeds it is started once more: Lava rarely hangs by itself.
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
    place: PlaceRecipe = PlaceRecipe()
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
