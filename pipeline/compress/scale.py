"""The scale of a quantization grid, chosen by its loss, in steps an integer threshold can absorb.

LIF dynamics are linear below threshold: weights and threshold may be scaled together. A grid of
step 2^k on the chip stands for the step ``2^k * vth / vth'`` in the weights' own unit once the
threshold mantissa becomes the integer vth'. Choosing vth' chooses the scale, with no rounding left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compress.gptq import GptqQuantizer, Grid, Quantized
from pipeline.errors import CompressionError

_N_CANDIDATES = 24
_SMALLEST_FRACTION = 0.2


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
    quantizer: GptqQuantizer,
    weight: NDArray[np.float64],
    vth_mant: int,
    codes: tuple[int, int],
    full_scale_step_exp: int,
    max_vth_mant: int,
) -> ScaledGrid:
    """Return the grid of least loss among scales from one that clips nothing down to a fifth of it.

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
        If no weight has a sign the codes can hold.
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
    ideal = 2**step_exp * vth_mant / (widest * np.geomspace(1.0, _SMALLEST_FRACTION, _N_CANDIDATES))
    thresholds = np.unique(np.clip(np.rint(ideal), 1, max_vth_mant).astype(int))
    trials = []
    for threshold in thresholds:
        grid = Grid(2**step_exp * vth_mant / float(threshold), low, high)
        trials.append(ScaledGrid(grid, int(threshold), step_exp, quantizer.quantize(grid)))
    usable = [trial for trial in trials if trial.quantized.codes.any()]
    if not usable:
        raise CompressionError(
            "every weight rounds to zero (NetX cannot load an all-zero layer); raise the bits"
        )
    return min(usable, key=lambda trial: trial.quantized.loss)
