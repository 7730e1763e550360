"""What each row of a matrix does by itself, compiled: removing inputs, gathering, rounding.

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


@njit(cache=True, nogil=True)
def subtract_row(weight, H_inv, n, p, i):
    """Subtract row p from row i as often as makes its entry in column p 0."""
    share = H_inv[i, p] / H_inv[p, p]
    weight[i] -= share * weight[p]
    for j in range(n):
        H_inv[i, j] -= share * H_inv[p, j]


@njit(cache=True, nogil=True)
def remove_greedily(weight, H_inv, first, block, order, scores):
    """Remove inputs of a row one block after the other, those of the least scores.

    Parameters
    ----------
    weight, H_inv : (k,) and (k, k) float64, overwritten
    first, block : inputs of the first block, and of the others
    order, scores : (n,) set: the inputs in the order of removal, and the score of each

    Returns
    -------
    whether all pivots were positive
    """
    alive, n_alive, n_done, size = np.arange(len(weight)), len(weight), 0, first
    while n_done < len(order) and n_alive > 0:
        score = np.empty(n_alive)
        for i in range(n_alive):
            score[i] = 0.5 * weight[i] * weight[i] / H_inv[i, i]
        removed = np.argsort(score, kind="mergesort")[: min(size, len(order) - n_done)]
        stays = np.ones(n_alive, dtype=np.bool_)
        for p in removed:
            order[n_done], scores[n_done] = alive[p], score[p]
            n_done += 1
        # what goes is eliminated from what goes later, then, row by row, from what stays
        for a in range(len(removed)):
            p = removed[a]
            stays[p] = False
            if not 0.0 < H_inv[p, p] < np.inf:
                return False
            for later in removed[a + 1 :]:
                subtract_row(weight, H_inv, n_alive, p, later)
        for i in range(n_alive):
            if stays[i]:
                for p in removed:
                    subtract_row(weight, H_inv, n_alive, p, i)
        left = np.flatnonzero(stays)
        for i in range(len(left)):
            weight[i], alive[i] = weight[left[i]], alive[left[i]]
            for j in range(len(left)):
                H_inv[i, j] = H_inv[left[i], left[j]]
        n_alive, size = len(left), block
    return True


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
