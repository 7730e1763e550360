"""The weights that stay, updated for those that go: group OBS, in both its forms.

Symbols (Frantar et al., arXiv:2208.11580, eq. 5; SBC, arXiv:2506.03996)::

    S, P    weights a row keeps, weights it loses
    kept    w_S = H_SS^-1 (H w0)_S, the least-squares refit; costs |S|^3
    removed w   = w0 - H^-1[:, P] (H^-1[P, P])^-1 w0_P, group OBS; costs |P|^3

The two are equal; the cheaper one is used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.compress.linalg import cholesky, gather_square, inverse, support_batches

# below glibc's largest mmap threshold, so that the allocator reuses memory instead of mapping it
_BATCH_BYTES = 24 << 20


def refit(W: Tensor, H: Tensor, mask: Tensor) -> Tensor:
    """Return the weights on ``mask`` of least loss, (rows, d_in), zero off it.

    Parameters
    ----------
    W : (rows, d_in) the weights before pruning
    H : (d_in, d_in) positive definite
    mask : (rows, d_in) bool
    """
    if bool(mask.all()):
        return W.clone()
    if mask.sum() > 0.6 * mask.numel():
        return _from_removed(W, H, mask)
    return refit_with_scores(W @ H, H, mask, needs_inverse=False)[0]


def refit_with_scores(
    WH: Tensor, H: Tensor, mask: Tensor, needs_inverse: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the least-squares weights on ``mask`` and diag(H_SS^-1) of each row.

    Parameters
    ----------
    WH : (rows, d_in), W0 H
    needs_inverse : whether the second result is wanted; ones otherwise
    """
    weight, inverse_diagonal = torch.zeros_like(WH), torch.ones_like(WH)
    for rows, support, valid in support_batches(mask, _BATCH_BYTES):
        factor = cholesky(gather_square(H, support, valid))
        target = torch.where(valid, WH[rows[:, None], support], 0.0)[..., None]
        row_index = rows[:, None].expand_as(support)[valid]
        if needs_inverse:
            H_SS_inv = torch.cholesky_inverse(factor)
            solution = (H_SS_inv @ target)[..., 0]
            diagonal = H_SS_inv.diagonal(dim1=-2, dim2=-1)
            inverse_diagonal[row_index, support[valid]] = diagonal[valid]
        else:
            solution = torch.cholesky_solve(target, factor)[..., 0]
        weight[row_index, support[valid]] = solution[valid]
    return weight, inverse_diagonal


def _from_removed(W: Tensor, H: Tensor, mask: Tensor) -> Tensor:
    """Return the same weights from the removed side."""
    H_inv, weight = inverse(H), W.clone()
    for rows, removed, valid in support_batches(~mask, _BATCH_BYTES):
        w_P = torch.where(valid, W[rows[:, None], removed], 0.0)[..., None]
        factor = cholesky(gather_square(H_inv, removed, valid))
        pull = torch.cholesky_solve(w_P, factor)[..., 0]
        for row, columns, amount, ok in zip(rows, removed, pull, valid, strict=True):
            weight[row] -= amount[ok] @ H_inv[columns[ok]]
    return torch.where(mask, weight, 0.0)


def loss(W: Tensor, W0: Tensor, H: Tensor) -> Tensor:
    """Return the increase of the objective of each row, (w - w0) H (w - w0)^T / 2, (rows,)."""
    change = W - W0
    return 0.5 * ((change @ H) * change).sum(dim=1)
