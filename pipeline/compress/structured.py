"""Whole inputs pruned for all rows together, so that sources fall silent and cores shrink.

Removing input channel g (one input, or the ky kx positions of a convolution's input channel) from
every row at once costs tr(W_g [H_inv]_gg^-1 W_g^T) / 2: group OBS, summed over rows that share H.
All rows keep one support, so one H_inv serves them, and the greedy order is exact at d_in^3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.compress.linalg import cholesky, inverse

_BLOCK_FRAC = 0.01


def input_mask(W: Tensor, H: Tensor, channel_size: int, n_channels: int) -> Tensor:
    """Return which inputs stay, (d_in,) bool, ``n_channels`` channels of ``channel_size`` each.

    Parameters
    ----------
    W : (rows, d_in), channels contiguous
    H : (d_in, d_in) positive definite
    """
    alive = torch.arange(len(H) // channel_size, device=W.device)
    weight, H_inv = W.clone(), inverse(H)
    while len(alive) > n_channels:
        block = max(1, int(_BLOCK_FRAC * len(alive)))
        score = _joint_score(weight, H_inv, channel_size)
        removed = torch.argsort(score, stable=True)[: min(block, len(alive) - n_channels)]
        goes = torch.zeros(len(alive), dtype=torch.bool, device=W.device)
        goes[removed] = True
        weight, H_inv = _downdate(weight, H_inv, goes.repeat_interleave(channel_size))
        alive = alive[~goes]
    mask = torch.zeros(len(H) // channel_size, dtype=torch.bool, device=W.device)
    mask[alive] = True
    return mask.repeat_interleave(channel_size)


def _joint_score(weight: Tensor, H_inv: Tensor, size: int) -> Tensor:
    """Return the loss of removing each channel next, (n_channels,)."""
    n = len(H_inv) // size
    channel = torch.arange(n, device=weight.device)
    blocks = H_inv.view(n, size, n, size)[channel, :, channel, :]
    by_channel = weight.view(len(weight), n, size).permute(1, 2, 0)
    solved = torch.cholesky_solve(by_channel, cholesky(blocks))
    return 0.5 * (by_channel * solved).sum(dim=(1, 2))


def _downdate(weight: Tensor, H_inv: Tensor, goes: Tensor) -> tuple[Tensor, Tensor]:
    pull = torch.cholesky_solve(H_inv[goes], cholesky(H_inv[goes][:, goes]))
    weight = (weight - weight[:, goes] @ pull)[:, ~goes]
    H_inv = H_inv[~goes][:, ~goes] - H_inv[~goes][:, goes] @ pull[:, ~goes]
    return weight, H_inv
