"""Quantization on a grid: GPTQ's column loop on each row's own support, or plain rounding.

Symbols (Frantar et al., arXiv:2210.17323; SBC, arXiv:2506.03996)::

    W      weights of one synapse group, (rows, d_in), zero off the support
    H      damped Hessian, (d_in, d_in)
    U      upper Cholesky factor of H_SS^-1, H_SS^-1 = U^T U
    Q      quantized weights, codes times a step
    err    (w - q) / U_jj, the error of column j in units that make its loss err^2 / 2

A column is rounded, and its error is carried into the columns that are still free, so that the
membrane potential changes least. Act-order visits the most active inputs first, while most columns
are still free to take their errors. Pruned weights are outside the support and stay zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compress.kernels_rows import round_rows
from pipeline.compress.linalg import (
    cholesky,
    gather_square,
    on_device,
    support_batches,
)

_COLUMN_BLOCK = 64
# on CUDA few large batches: there the column loop's cost is in its number of steps
_FACTOR_BYTES = {"cpu": 24 << 20, "cuda": 512 << 20}


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
    loss : predicted increase of the objective over the input, (q - w) H (q - w)^T / 2 over rows
    n_out_of_grid : weights that fell outside the grid (in GPTQ after taking the error of earlier
        columns) and were clipped
    """

    codes: NDArray[np.int16]
    loss: float
    n_out_of_grid: int


class Quantizer(Protocol):
    """Rounds the weights it holds on any grid."""

    def quantize(self, grid: Grid) -> Quantized:
        """Return the codes of all weights on ``grid``."""


class NearestQuantizer:
    """Rounds each weight to the nearest code: the baseline, also called RTN.

    Parameters
    ----------
    W : (rows, d_in) float64, zero off the support
    H : (d_in, d_in) float64, only to state the loss
    """

    def __init__(self, W: NDArray[np.float64], H: NDArray[np.float64]) -> None:
        self._W, self._H = W, H

    def quantize(self, grid: Grid) -> Quantized:
        """Return the codes of all weights on ``grid``."""
        rounded = np.rint(self._W / grid.step)
        codes = np.clip(rounded, grid.low, grid.high)
        change = codes * grid.step - self._W
        loss = 0.5 * float(np.sum((change @ self._H) * change))
        return Quantized(codes.astype(np.int16), loss, int((codes != rounded).sum()))


class GptqQuantizer:
    """Quantizes one synapse group on any grid; the factorizations are made once.

    Parameters
    ----------
    W : (rows, d_in) float64
    H : (d_in, d_in) float64, positive definite
    mask : (rows, d_in) bool, the support
    is_act_ordered : whether inputs are visited by falling activity instead of in order
    device : cpu or cuda
    """

    def __init__(
        self, W: NDArray[np.float64], H: NDArray[np.float64], mask: NDArray[np.bool_],
        is_act_ordered: bool = False, device: str = "cpu",
    ) -> None:
        where = on_device(device)
        self._W = torch.from_numpy(W).to(where)
        hessian = torch.from_numpy(H).to(where)
        support_of = torch.from_numpy(mask).to(where)
        order = torch.arange(W.shape[1], device=where)
        if is_act_ordered:
            order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
        self._batches = []
        if mask.all():
            # every row shares one factor
            columns = order[None, :].expand(W.shape)
            last_first = order.flip(0)
            factor = _upper_factor_reversed(hessian[last_first][:, last_first][None])
            rows = torch.arange(len(W), device=where)
            self._batches.append((rows, columns, support_of, factor))
        else:
            for rows, support, valid in support_batches(
                support_of, _FACTOR_BYTES[where.type], order):
                # backwards, as the factor wants it
                factor = _upper_factor_reversed(
                    gather_square(hessian, support.flip(1), valid.flip(1)))
                self._batches.append((rows, support, valid, factor))

    def quantize(self, grid: Grid) -> Quantized:
        """Return the codes of all weights on ``grid``."""
        codes = torch.zeros(self._W.shape, dtype=torch.int16, device=self._W.device)
        loss, n_out = 0.0, 0
        for rows, support, valid, factor in self._batches:
            weight = torch.where(valid, self._W[rows[:, None], support], 0.0)
            if weight.device.type == "cpu" and len(factor) == len(rows):
                rounded = _round_on_own_supports(weight, valid, factor, grid)
            else:
                rounded = _column_loop(weight, factor, grid)
            batch_codes, batch_loss, batch_out = rounded
            index = rows[:, None].expand_as(support)[valid]
            codes[index, support[valid]] = batch_codes[valid]
            loss += batch_loss
            n_out += batch_out
        return Quantized(codes.cpu().numpy(), loss, n_out)


def _upper_factor_reversed(H: Tensor) -> Tensor:
    """Return U with H^-1 = U^T U, (b, k, k), from H with its rows and columns in reverse.

    Reversed, the lower factor L of that matrix is an upper one, R R^T = H, and U is its inverse,
    the reverse of L's: one factorization instead of three, and H^-1 is never formed.
    """
    L = cholesky(H)
    identity = torch.eye(H.shape[-1], dtype=H.dtype, device=H.device).expand_as(H)
    R: Tensor = torch.linalg.solve_triangular(L, identity, upper=False)
    return R.flip(-1, -2).contiguous()


def _round_on_own_supports(
    weight: Tensor, valid: Tensor, U: Tensor, grid: Grid
) -> tuple[Tensor, float, int]:
    """Return what :func:`_column_loop` returns, each row by itself, for factors of their own."""
    codes = np.zeros(weight.shape, dtype=np.int16)
    losses, n_outs = np.zeros(len(weight)), np.zeros(len(weight), dtype=np.int64)
    round_rows(weight.numpy(), valid.sum(dim=1).numpy(), U.numpy(), grid.step, grid.low, grid.high,
               codes, losses, n_outs)
    return torch.from_numpy(codes), float(losses.sum()), int(n_outs.sum())


def _column_loop(weight: Tensor, U: Tensor, grid: Grid) -> tuple[Tensor, float, int]:
    """Return codes (b, k) int16, loss and the number of clipped weights."""
    free = weight.clone()
    codes = torch.zeros(weight.shape, dtype=torch.int16, device=weight.device)
    n_out = torch.zeros((), dtype=torch.int64, device=weight.device)
    loss = 0.0
    n_columns = weight.shape[1]
    for begin in range(0, n_columns, _COLUMN_BLOCK):
        end = min(begin + _COLUMN_BLOCK, n_columns)
        errors = torch.zeros(
            (len(weight), end - begin), dtype=weight.dtype, device=weight.device
        )
        for j in range(begin, end):
            rounded = torch.round(free[:, j] / grid.step)
            code = rounded.clamp(grid.low, grid.high)
            n_out += (code != rounded).sum()
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
    return codes, loss, int(n_out)
