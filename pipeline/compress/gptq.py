"""Second-order quantization: GPTQ's column loop on each row's own support.

Symbols (Frantar et al., arXiv:2210.17323; SBC, arXiv:2506.03996)::

    W      weights of one synapse group, (rows, d_in), zero off the support
    H      damped Hessian, (d_in, d_in)
    U      upper Cholesky factor of H_SS^-1, H_SS^-1 = U^T U
    Q      quantized weights, codes times a step
    err    (w - q) / U_jj, the error of column j in units that make its loss err^2 / 2

A column is rounded, and its error is carried into the columns that are still free, so that the
membrane potential changes least. Pruned weights are outside the support and stay zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compress.obs import cholesky, gather_square, support_batches

_COLUMN_BLOCK = 64
_FACTOR_BYTES = 512 << 20  # few large batches: the column loop's cost is in its number of steps


@dataclass(frozen=True)
class Grid:
    """A uniform grid: codes from ``low`` to ``high`` times ``step`` (in the unit of W)."""

    step: float
    low: int
    high: int


@dataclass(frozen=True)
class Quantized:
    """A quantized synapse group.

    Attributes
    ----------
    codes : (rows, d_in) int16
    loss : predicted increase of the objective over the input, sum of err^2 / 2
    n_out_of_grid : weights that the error of earlier columns pushed outside the grid, clipped
    """

    codes: NDArray[np.int16]
    loss: float
    n_out_of_grid: int


class GptqQuantizer:
    """Quantizes one synapse group on any grid; the factorizations are made once.

    Parameters
    ----------
    W : (rows, d_in) float64
    H : (d_in, d_in) float64, positive definite
    mask : (rows, d_in) bool, the support
    """

    def __init__(
        self, W: NDArray[np.float64], H: NDArray[np.float64], mask: NDArray[np.bool_]
    ) -> None:
        self._W = torch.from_numpy(W)
        self._batches = []
        hessian = torch.from_numpy(H)
        if mask.all():
            # every row shares one factor
            columns = torch.arange(W.shape[1])[None, :].expand(W.shape)
            everywhere = torch.ones(W.shape, dtype=torch.bool)
            factor = _upper_factor(hessian[None])
            self._batches.append((torch.arange(len(W)), columns, everywhere, factor))
        else:
            for rows, support, valid in support_batches(torch.from_numpy(mask), _FACTOR_BYTES):
                factor = _upper_factor(gather_square(hessian, support, valid))
                self._batches.append((rows, support, valid, factor))

    def quantize(self, grid: Grid) -> Quantized:
        """Return the codes of all weights on ``grid``."""
        codes = torch.zeros(self._W.shape, dtype=torch.int16)
        loss, n_out = 0.0, 0
        for rows, support, valid, factor in self._batches:
            weight = torch.where(valid, self._W[rows[:, None], support], 0.0)
            batch_codes, batch_loss, batch_out = _column_loop(weight, factor, grid)
            index = rows[:, None].expand_as(support)[valid]
            codes[index, support[valid]] = batch_codes[valid]
            loss += batch_loss
            n_out += batch_out
        return Quantized(codes.numpy(), loss, n_out)


def _upper_factor(H: Tensor) -> Tensor:
    """Return U with H^-1 = U^T U, (b, k, k)."""
    inverse = torch.cholesky_inverse(cholesky(H))
    return cholesky(inverse).transpose(-1, -2).contiguous()


def _column_loop(weight: Tensor, U: Tensor, grid: Grid) -> tuple[Tensor, float, int]:
    """Return codes (b, k) int16, loss and the number of clipped weights."""
    free = weight.clone()
    codes = torch.zeros(weight.shape, dtype=torch.int16)
    loss, n_out = 0.0, 0
    n_columns = weight.shape[1]
    for begin in range(0, n_columns, _COLUMN_BLOCK):
        end = min(begin + _COLUMN_BLOCK, n_columns)
        errors = torch.zeros((len(weight), end - begin), dtype=weight.dtype)
        for j in range(begin, end):
            rounded = torch.round(free[:, j] / grid.step)
            code = rounded.clamp(grid.low, grid.high)
            n_out += int((code != rounded).sum())
            error = (free[:, j] - code * grid.step) / U[:, j, j]
            free[:, j + 1 : end] -= error[:, None] * U[:, j, j + 1 : end]
            codes[:, j] = code.to(torch.int16)
            errors[:, j - begin] = error
        loss += 0.5 * float(errors.square().sum())
        if end < n_columns:
            # the columns beyond the block receive all its errors at once
            later = U[:, begin:end, end:]
            if len(later) == 1:
                free[:, end:] -= errors @ later[0]
            else:
                free[:, end:] -= torch.bmm(errors[:, None, :], later)[:, 0]
    return codes, loss, n_out
