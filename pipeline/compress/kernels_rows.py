"""What each row of a pruned matrix does on its own support, compiled: gathering, rounding.

Rows are independent and run in parallel; nothing is summed over them, so that the number of threads
changes no bit. Arrays: support (b, k) int64 columns of each row, the first ``sizes[row]`` of them
valid; squares and factors (b, k, k) float64.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False
# (numba infers the types of its kernels itself)

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, parallel=True, nogil=True)
def gather_squares(H, support, valid, squares):
    """Set ``squares`` to H[S, S] of each row, identity where a support is padded."""
    for row in prange(len(support)):
        for i in range(support.shape[1]):
            for j in range(support.shape[1]):
                if valid[row, i] and valid[row, j]:
                    squares[row, i, j] = H[support[row, i], support[row, j]]
                else:
                    squares[row, i, j] = 1.0 if i == j else 0.0


@njit(cache=True, parallel=True, nogil=True)
def round_rows(weight, sizes, factors, step, low, high, codes, losses, n_outs):
    """Round column after column, each error carried into the columns that are still free.

    Parameters
    ----------
    weight : (b, k) float64
    factors : upper Cholesky factors of H_SS^-1
    codes : (b, k) int16, set where valid
    losses, n_outs : (b,) set: loss of each row, and how many of its weights were clipped
    """
    for row in prange(len(weight)):
        free, U = weight[row].copy(), factors[row]
        loss, n_out = 0.0, 0
        for j in range(sizes[row]):
            rounded = np.rint(free[j] / step)
            code = min(max(rounded, low), high)
            n_out += code != rounded
            error = (free[j] - code * step) / U[j, j]
            for later in range(j + 1, sizes[row]):
                free[later] -= error * U[j, later]
            codes[row, j] = code
            loss += error * error
        losses[row], n_outs[row] = 0.5 * loss, n_out
