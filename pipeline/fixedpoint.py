"""Loihi's numbers: widths, and the weight grids that NetX infers from a matrix.

The grids are those of ``lava.lib.dl.netx.utils.optimize_weight_bits`` (lava-dl 0.6.0). The
arithmetic of the states is compiled and lives in :mod:`pipeline.kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MIXED_WEIGHT_RANGE = (-256, 254)
MAX_EXACT_VTH_MANT = 4095  # from 4096 up, SLAYER's float32 threshold loses its tie-breaker


def code_range(bits: int) -> tuple[int, int]:
    """Return the smallest and largest code of a mixed-sign grid of ``bits`` bits.

    A 1-bit matrix has no room for a sign: its codes are 0 and 1 and its step is 128, the one-sign
    grid of Loihi (weightutils.truncate_weights of lava-nc drops 8 - bits low bits there).
    """
    return (0, 1) if bits == 1 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def full_scale_step_exp(bits: int) -> int:
    """Return k such that a grid of step 2^k uses the whole weight range at ``bits`` bits.

    2^(9 - b) with mixed signs (facts: NetX infers b bits, bit-exact for b = 2..8), 2^7 at 1 bit.
    """
    return 7 if bits == 1 else 9 - bits


def inferred_weight_bits(weight: NDArray[Any]) -> int:
    """Return the number of bits that NetX infers from an integer weight matrix.

    The largest magnitude fixes the top bit, the common power of two the lowest; a sign costs one
    bit (``optimize_weight_bits``, lava-dl 0.6.0).

    Raises
    ------
    ValueError
        If all weights are zero: NetX divides by zero there.
    """
    largest, smallest = int(weight.max()), int(weight.min())
    if largest == smallest == 0:
        raise ValueError("all weights are zero")
    is_signed = int(smallest < 0 <= largest)
    if is_signed:
        headroom = min(
            127 / largest if largest > 0 else np.inf, -128 / smallest if smallest < 0 else np.inf
        )
    else:
        headroom = 255 / largest if smallest >= 0 else -256 / smallest
    top = int(np.floor(np.log2(headroom))) + is_signed
    common = int(np.bitwise_or.reduce(np.abs(weight.astype(np.int64)), axis=None))
    n_trailing_zeros = min((common & -common).bit_length() - 1, 8)
    return 8 - top - (n_trailing_zeros - is_signed)
