"""The scale of a quantization grid, in steps that an integer threshold can absorb.

LIF dynamics are linear below threshold: weights and threshold may be scaled together. A grid of
step 2^k on the chip stands for the step ``2^k * vth / vth'`` in the weights' own unit once the
threshold mantissa becomes the integer vth'. Choosing vth' chooses the scale, with no rounding left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compress.gptq import Grid, Quantized, Quantizer
from pipeline.errors import CompressionError

_N_CANDIDATES = 24
_STRIDE = 4  # first every fourth candidate, then those around the best
_SMALLEST_FRACTION = 0.2


@dataclass(frozen=True)
class Scaling:
    """How a scale is chosen.

    Attributes
    ----------
    rule : maximum (the finest grid that clips nothing), error (least squared rounding error) or
        hessian (least loss of the quantizer, that is error weighted by H)
    is_power_of_two : whether only scales by powers of two are tried; free otherwise
    """

    rule: str = "hessian"
    is_power_of_two: bool = False


@dataclass(frozen=True)
class ScaledGrid:
    """A grid, the threshold that goes with it, and what quantization on it gave.

    Attributes
    ----------
    vth_mant : threshold mantissa of the quantized layer
    step_exp : k, the grid's step on the chip is 2^k
    """

    grid: Grid
    vth_mant: int
    step_exp: int
    quantized: Quantized


def search_scale(
    quantizer: Quantizer,
    weight: NDArray[np.float64],
    vth_mant: int,
    codes: tuple[int, int],
    full_scale_step_exp: int,
    max_vth_mant: int,
    scaling: Scaling = Scaling(),
) -> ScaledGrid:
    """Return the best grid by the rule among scales from one that clips nothing to a fifth of it.

    Parameters
    ----------
    weight : the weights ``quantizer`` holds, any shape, in the unit of ``vth_mant``
    vth_mant : threshold mantissa the weights belong to
    codes : smallest and largest code
    full_scale_step_exp : k of the grid that fills the chip's weight range
    max_vth_mant : largest threshold mantissa allowed; k is lowered until the search fits below

    Raises
    ------
    CompressionError
        If no weight has a sign the codes can hold, or all weights round to zero.
    """
    low, high = codes
    widest = max(
        weight.max() / high if high > 0 else 0.0, weight.min() / low if low < 0 else 0.0
    )
    if widest <= 0:
        raise CompressionError(
            f"no weight has a sign that codes {low}..{high} can hold; raise the bits of this layer"
        )
    step_exp = full_scale_step_exp
    while step_exp > 1 and 2**step_exp * vth_mant / (widest * _SMALLEST_FRACTION) > max_vth_mant:
        step_exp -= 1
    thresholds = _thresholds(2**step_exp * vth_mant / widest, vth_mant, max_vth_mant, scaling)
    grids = [Grid(2**step_exp * vth_mant / float(t), low, high) for t in thresholds]
    if scaling.rule == "error":
        best = int(np.argmin([_rounding_error(weight, grid) for grid in grids]))
        grids, thresholds = grids[best : best + 1], thresholds[best : best + 1]
    trials: dict[int, ScaledGrid] = {}

    def attempt(chosen: Iterable[int]) -> None:
        for i in set(chosen) - set(trials):
            quantized = quantizer.quantize(grids[i])
            trials[i] = ScaledGrid(grids[i], thresholds[i], step_exp, quantized)

    attempt(range(0, len(grids), _STRIDE))
    best = min(trials, key=lambda i: (trials[i].quantized.loss, i))
    attempt(range(max(0, best - _STRIDE + 1), min(len(grids), best + _STRIDE)))
    usable = [trials[i] for i in sorted(trials) if trials[i].quantized.codes.any()]
    if not usable:
        raise CompressionError(
            "every weight rounds to zero (NetX cannot load an all-zero layer); raise the bits"
        )
    return min(usable, key=lambda trial: trial.quantized.loss)


def search_step(
    quantizer: Quantizer, weight: NDArray[np.float64], vth_mant: int, codes: tuple[int, int],
    full_scale_step_exp: int,
) -> ScaledGrid:
    """Return the best grid of steps 2^k where no threshold can take up a scale.

    Tried are the finest that clips nothing and the two finer ones; arguments as in
    :func:`search_scale`.

    Raises
    ------
    CompressionError
        If all weights round to zero.
    """
    low, high = codes
    widest = max(weight.max() / max(high, 1), weight.min() / min(low, -1), 2.0)
    unclipped = min(full_scale_step_exp, int(np.ceil(np.log2(widest))))
    trials = [
        ScaledGrid(grid, vth_mant, step_exp, quantizer.quantize(grid))
        for step_exp in range(max(1, unclipped - 2), unclipped + 1)
        for grid in [Grid(2.0**step_exp, low, high)]
    ]
    usable = [trial for trial in trials if trial.quantized.codes.any()]
    if not usable:
        raise CompressionError(
            "every weight rounds to zero (NetX cannot load an all-zero layer); raise the bits"
        )
    return min(usable, key=lambda trial: trial.quantized.loss)


def _thresholds(
    unclipped: float, vth_mant: int, max_vth_mant: int, scaling: Scaling
) -> list[int]:
    """Return the candidates, ascending.

    Parameters
    ----------
    unclipped : threshold, not rounded, at which the widest weight just fits the grid
    """
    if scaling.is_power_of_two:
        doubled = vth_mant * 2.0 ** np.arange(-12, 13)
        usable = doubled[(doubled == np.rint(doubled)) & (doubled <= max_vth_mant)]
        fits = usable[usable <= unclipped]
        # the finest that clips nothing, and the two that clip some
        start = len(fits) - 1 if len(fits) else 0
        n = 1 if scaling.rule == "maximum" else 3
        return [int(t) for t in usable[start : start + n]]
    n = 1 if scaling.rule == "maximum" else _N_CANDIDATES
    # the threshold is rounded down: the grid gets wider, and still nothing is clipped
    first = max(1.0, np.floor(unclipped))
    ideal = first / np.geomspace(1.0, _SMALLEST_FRACTION, _N_CANDIDATES)[:n]
    return sorted({int(t) for t in np.clip(np.rint(ideal), 1, max_vth_mant)})


def _rounding_error(weight: NDArray[np.float64], grid: Grid) -> float:
    codes = np.clip(np.rint(weight / grid.step), grid.low, grid.high)
    return float(np.square(codes * grid.step - weight).sum())
