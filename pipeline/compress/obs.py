"""Second-order pruning: the order of Optimal Brain Surgeon, the update of group OBS.

Symbols (Hassibi & Stork 1993; Frantar et al., arXiv:2208.11580; SBC, arXiv:2506.03996)::

    W      weights of one synapse group, (rows, d_in)
    H      damped Hessian shared by the rows, (d_in, d_in)
    S      support of a row: the weights it keeps
    w_S    group-OBS solution on S: argmin (w - w0) H (w - w0)^T with w = 0 off S,
           that is w_S = H_SS^-1 (H w0)_S
    score  w_p^2 / [H_SS^-1]_pp: the loss of removing p next

All rows compete: each round removes the lowest scores of the whole matrix, then every row is
refitted. With one removal per round this is OBS; :func:`keep_schedule` sets how many rounds there
are, and with them the cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import CalibrationError, CompressionError

# below glibc's largest mmap threshold, so that the allocator reuses memory instead of mapping it
_REFIT_BYTES = 24 << 20
_MULTIPLY_ADD_BUDGET = 2.2e11


@dataclass(frozen=True)
class Pruned:
    """A pruned synapse group.

    Attributes
    ----------
    weight : (rows, d_in) float64, zero off the mask
    mask : (rows, d_in) bool, True where a weight is kept
    loss : predicted increase of the objective, (w - w0) H (w - w0)^T / 2 summed over rows
    n_rounds : rounds of removal
    """

    weight: NDArray[np.float64]
    mask: NDArray[np.bool_]
    loss: float
    n_rounds: int


def prune(
    W: NDArray[np.float64], H: NDArray[np.float64], n_keep: int,
    allowed: NDArray[np.bool_] | None = None,
) -> Pruned:
    """Return ``W`` with ``n_keep`` weights left, chosen and updated by second order.

    Ties in the score are broken by position, so that a repeated run gives the same mask.

    Parameters
    ----------
    W : (rows, d_in) float64
    H : (d_in, d_in) float64, positive definite
    n_keep : weights to keep, 1 .. rows * d_in; fewer are kept if fewer are allowed
    allowed : (rows, d_in) bool, False where a weight is zero and must stay so; all by default.
        Weights that are merely zero score zero and are removed first.

    Raises
    ------
    CompressionError
        If ``n_keep`` would empty the matrix or exceeds it.
    CalibrationError
        If ``H`` is not positive definite.
    """
    if not 1 <= n_keep <= W.size:
        raise CompressionError(
            f"{n_keep} of {W.size} weights to keep; at least one must stay (NetX cannot load an "
            "all-zero layer): lower the sparsity"
        )
    if allowed is None:
        allowed = np.ones(W.shape, dtype=np.bool_)
    n_keep = min(n_keep, int(allowed.sum()))
    if np.count_nonzero(W) <= n_keep < allowed.sum():
        # the zeros it came with are enough: nothing is lost, so nothing is refitted
        return Pruned(W.copy(), W != 0, 0.0, 0)
    return prune_along(W, H, allowed, keep_schedule((W.shape[0], W.shape[1]), n_keep))


def prune_along(
    W: NDArray[np.float64], H: NDArray[np.float64], allowed: NDArray[np.bool_], schedule: list[int]
) -> Pruned:
    """Return ``W`` pruned in rounds to each of the numbers of weights in ``schedule``."""
    weight, inverse_diagonal = torch.from_numpy(W).clone(), _inverse_diagonal(H)
    mask = torch.from_numpy(allowed)
    reference = torch.from_numpy(W) @ torch.from_numpy(H)
    for n_left in schedule:
        score = torch.where(mask, weight.square() / inverse_diagonal, -torch.inf)
        n_removed = W.size - min(n_left, int(mask.sum()))
        removed = torch.argsort(score.flatten(), stable=True)[:n_removed]
        mask = torch.ones(W.size, dtype=torch.bool).index_fill_(0, removed, False).view(W.shape)
        weight, inverse_diagonal = _refit(reference, torch.from_numpy(H), mask)
    change = weight.numpy() - W
    loss = 0.5 * float(np.sum((change @ H) * change))
    return Pruned(weight.numpy(), mask.numpy(), loss, len(schedule))


def keep_schedule(shape: tuple[int, int], n_keep: int) -> list[int]:
    """Return how many weights stay after each round, largest first, ending at ``n_keep``.

    The finest schedule whose refits fit a budget of arithmetic: small matrices lose a few weights
    per round; large ones start with one cut to a few times the target, then lose a fifth at a time;
    where even that is too much, one cut does it all.
    On nmnist_mlp's first layer (512 x 2312, 90 %) a first cut to twice the target has 1 % more
    loss than one to four times the target, in an eighth of the time; one to 1.5 times has 3 % more
    in a fifteenth (benchmarks/bench_pruning_schedule.py).
    """
    size = shape[0] * shape[1]
    if n_keep == size:
        return []
    several, double = min(1.0, 4 * n_keep / size), min(1.0, 2 * n_keep / size)
    schedules = (
        (1.0, 0.98), (1.0, 0.95), (1.0, 0.9), (several, 0.9), (several, 0.8), (double, 0.8),
        (n_keep / size, 1.0),
    )
    for first, ratio in schedules:
        counts = _geometric(size, first, ratio, n_keep)
        # a refit of k weights costs about k^3 multiply-adds
        if sum(2.0 * shape[0] * (count / shape[0]) ** 3 for count in counts) < _MULTIPLY_ADD_BUDGET:
            break
    return counts


def _geometric(size: int, first: float, ratio: float, n_keep: int) -> list[int]:
    counts, n_left = [], size * (first if first < 1.0 else ratio)
    while ratio < 1.0 and n_left > n_keep:
        counts.append(int(n_left))
        n_left *= ratio
    return [*counts, n_keep]


def _inverse_diagonal(H: NDArray[np.float64]) -> Tensor:
    """Return the diagonal of H^-1, (1, d_in)."""
    return torch.cholesky_inverse(cholesky(torch.from_numpy(H))).diagonal()[None, :]


def cholesky(H: Tensor) -> Tensor:
    """Return the lower Cholesky factor of ``H`` (..., d, d).

    Raises
    ------
    CalibrationError
        If ``H`` is not positive definite.
    """
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(H)
    if bool((info != 0).any()) or not bool(torch.isfinite(factor).all()):
        raise CalibrationError(
            "the curvature is not positive definite after damping; use more calibration samples "
            "or raise 'calibration.damping' in the recipe"
        )
    return factor


def _refit(reference: Tensor, H: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the group-OBS solution on ``mask`` and the diagonals of the rows' H_SS^-1.

    Parameters
    ----------
    reference : (rows, d_in), W0 H
    """
    weight = torch.zeros_like(reference)
    inverse_diagonal = torch.ones_like(reference)
    for rows, support, valid in support_batches(mask, _REFIT_BYTES):
        H_SS = gather_square(H, support, valid)
        H_SS_inv = torch.cholesky_inverse(cholesky(H_SS))
        target = torch.where(valid, reference[rows[:, None], support], 0.0)
        solution = (H_SS_inv @ target[..., None])[..., 0]
        row_index = rows[:, None].expand_as(support)[valid]
        weight[row_index, support[valid]] = solution[valid]
        inverse_diagonal[row_index, support[valid]] = H_SS_inv.diagonal(dim1=-2, dim2=-1)[valid]
    return weight, inverse_diagonal


def support_batches(mask: Tensor, max_bytes: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return rows grouped by the size of their support, as padded index arrays.

    Returns
    -------
    list of (rows (b,), support (b, k) column indices, valid (b, k) bool); rows with an empty
    support are left out; b k^2 float64 take at most ``max_bytes``, or b is 1
    """
    sizes = mask.sum(dim=1)
    order = torch.argsort(sizes, stable=True)
    order = order[sizes[order] > 0]
    batches, begin = [], 0
    while begin < len(order):
        end = begin + 1
        while end < len(order) and (end + 1 - begin) * _square_bytes(sizes[order[end]]) < max_bytes:
            end += 1
        rows = order[begin:end]
        k = int(sizes[rows[-1]])
        # a stable descending sort of the mask lists the kept columns first, in order
        support = torch.argsort(mask[rows].to(torch.int8), dim=1, descending=True, stable=True)
        valid = torch.arange(k)[None, :] < sizes[rows][:, None]
        batches.append((rows, support[:, :k], valid))
        begin = end
    return batches


def _square_bytes(size: Tensor) -> int:
    return 8 * int(size) ** 2


def gather_square(H: Tensor, support: Tensor, valid: Tensor) -> Tensor:
    """Return H[S, S] of each row, (b, k, k), identity where a support is padded."""
    square = H[support[:, :, None], support[:, None, :]]
    square = square * (valid[:, :, None] & valid[:, None, :])
    padding = torch.diag_embed((~valid).to(H.dtype))
    return square + padding
