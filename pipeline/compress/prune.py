"""Pruning one synapse group: a mask by the algorithm asked for, then the refit of what stays.

``auto`` climbs a ladder, cheapest first, and stops at the first algorithm whose loss on sampled
rows is within ``loss_margin`` of greedy OBS run on the same rows with as many weights each. What
it took, and by how much it differs, is part of the result. Where none is, the best one is taken;
the greedy rungs, whose cost grows as rows d_in^3, are left out where they would take minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compress.admm import admm_mask, swap
from pipeline.compress.linalg import cholesky, on_device
from pipeline.compress.obs import Greedy, obs_mask, obs_rows
from pipeline.compress.pattern import UNSTRUCTURED, keep_best
from pipeline.compress.refit import loss, refit
from pipeline.compress.structured import input_mask
from pipeline.errors import CompressionError

INPUTS = "inputs"
_SAMPLE_BUDGET, _MOST_SAMPLED = 2.5e10, 16  # multiply-adds of the greedy order, rows
# rows d_in^3 of a matrix that greedy rungs still take: half a minute on two cores
_CLIMB_BUDGET = 1.5e11
_BLOCK_FRAC, _ELIMINATE_FRAC = 0.02, 0.75
_EXACT_UP_TO = 256  # inputs; larger matrices compare with blocks of 2 %


@dataclass(frozen=True)
class Pruning:
    """How a synapse group is pruned.

    Attributes
    ----------
    algorithm : auto, obs (rank-1), blocks (Woodbury), eliminate (one-shot, then blocks), admm,
        swaps (ADMM refined by swaps), magnitude
    pattern : unstructured, N:M, or inputs (whole input channels, always by joint OBS)
    is_refitted : whether what stays is updated; False only makes sense as a baseline
    loss_margin : of auto, as a share of the greedy loss
    device : cpu or cuda
    """

    algorithm: str = "auto"
    pattern: str = UNSTRUCTURED
    is_refitted: bool = True
    loss_margin: float = 0.0
    device: str = "cpu"


@dataclass(frozen=True)
class Pruned:
    """A pruned synapse group.

    Attributes
    ----------
    weight : (rows, d_in) float64, zero off the mask
    mask : (rows, d_in) bool, True where a weight is kept
    loss : predicted increase of the objective, (w - w0) H (w - w0)^T / 2 summed over rows
    algorithm : what made the mask
    relative_loss : of auto, its loss over that of greedy OBS on the sampled rows; None otherwise
    """

    weight: NDArray[np.float64]
    mask: NDArray[np.bool_]
    loss: float
    algorithm: str
    relative_loss: float | None = None


def prune(
    W: NDArray[np.float64], H: NDArray[np.float64], n_keep: int,
    allowed: NDArray[np.bool_] | None = None, pruning: Pruning = Pruning(), channel_size: int = 1,
) -> Pruned:
    """Return ``W`` with ``n_keep`` weights left, chosen and updated by second order.

    Ties in a score are broken by position, so that a repeated run gives the same mask.

    Parameters
    ----------
    W : (rows, d_in) float64
    H : (d_in, d_in) float64, positive definite
    n_keep : weights to keep, 1 .. rows * d_in; fewer are kept if fewer are allowed. N:M keeps
        what the pattern lets stay, whatever ``n_keep``; ``inputs`` the nearest whole number.
    allowed : (rows, d_in) bool, False where a weight is zero and must stay so; all by default.
        Weights that are merely zero are the first to go by greedy OBS and by magnitude; ADMM may
        give one a value.
    channel_size : inputs per input channel, for the pattern ``inputs``

    Raises
    ------
    CompressionError
        If ``n_keep`` would empty the matrix or exceeds it, or the pattern makes no sense.
    CalibrationError
        If ``H`` is not positive definite.
    DeviceError
        If the device is absent.
    """
    if not 1 <= n_keep <= W.size:
        raise CompressionError(
            f"{n_keep} of {W.size} weights to keep; at least one must stay (NetX cannot load an "
            "all-zero layer): lower the sparsity"
        )
    device = on_device(pruning.device)
    weight, hessian = (torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (W, H))
    candidates = torch.ones_like(weight, dtype=torch.bool)
    if allowed is not None:
        candidates = torch.from_numpy(allowed).to(device)
    if pruning.pattern == INPUTS:
        mask, algorithm, ratio = _whole_inputs(weight, hessian, candidates, n_keep, channel_size)
    else:
        if pruning.pattern != UNSTRUCTURED:
            n_keep = int(keep_best(weight, candidates, W.size, pruning.pattern).sum())
        n_keep = min(n_keep, int(candidates.sum()))
        mask, algorithm, ratio = _mask(weight, hessian, candidates, n_keep, pruning)
    is_unchanged = not bool(torch.count_nonzero(torch.where(mask, 0.0, weight)))
    if is_unchanged or not pruning.is_refitted:
        result = torch.where(mask, weight, 0.0)
    else:
        result = refit(weight, hessian, mask)
    total = float(loss(result, weight, hessian).sum())
    return Pruned(result.cpu().numpy(), mask.cpu().numpy(), total, algorithm, ratio)


_NOTHING = "nothing to remove"
Found = tuple[Tensor, str, float | None]


def _mask(W: Tensor, H: Tensor, candidates: Tensor, n_keep: int, pruning: Pruning) -> Found:
    cholesky(H)  # a Hessian that is not positive definite is refused whatever the algorithm
    is_any = pruning.pattern == UNSTRUCTURED
    if is_any and int(torch.count_nonzero(W)) <= n_keep < int(candidates.sum()):
        # the zeros it came with are enough: nothing is lost, so nothing is refitted
        return W != 0, _NOTHING, None
    if n_keep == int(candidates.sum()):
        return candidates, _NOTHING, None
    if pruning.algorithm == "auto":
        return _climb(W, H, candidates, n_keep, pruning)
    maker = _MAKERS[pruning.algorithm]
    return maker(W, H, candidates, n_keep, pruning.pattern), pruning.algorithm, None


def _climb(W: Tensor, H: Tensor, candidates: Tensor, n_keep: int, pruning: Pruning) -> Found:
    """Return the mask of the cheapest algorithm within the margin, its name and its ratio."""
    if pruning.pattern != UNSTRUCTURED:
        mask = admm_mask(W, H, candidates, n_keep, pruning.pattern)
        return swap(W, H, mask, candidates, pruning.pattern), "swaps", None
    n_sample = int(np.clip(_SAMPLE_BUDGET / len(H) ** 3, 1, min(len(W), _MOST_SAMPLED)))
    rows = torch.linspace(0, len(W) - 1, n_sample, device=W.device).round().long()
    block = 1 if len(H) <= _EXACT_UP_TO else Greedy(_BLOCK_FRAC).block(len(H))
    mask, best = candidates, (candidates, "", float("inf"))
    is_affordable = len(W) * len(H) ** 3 <= _CLIMB_BUDGET
    for algorithm in ("admm", "swaps", *(("eliminate", "blocks") if is_affordable else ())):
        mask = (
            swap(W, H, mask, candidates) if algorithm == "swaps"
            else _MAKERS[algorithm](W, H, candidates, n_keep, UNSTRUCTURED)
        )
        reference = obs_rows(W[rows], H, candidates[rows], mask[rows].sum(dim=1), block)
        ratio = _relative_loss(W[rows], H, mask[rows], reference)
        if ratio < best[2]:
            best = (mask, algorithm, ratio)
        if ratio <= 1.0 + pruning.loss_margin:
            break
    return best


def _relative_loss(W: Tensor, H: Tensor, mask: Tensor, reference: Tensor) -> float:
    ours, theirs = (float(loss(refit(W, H, m), W, H).sum()) for m in (mask, reference))
    if theirs > 0:
        return ours / theirs
    return 1.0 if ours <= 0 else float("inf")


def _whole_inputs(
    W: Tensor, H: Tensor, candidates: Tensor, n_keep: int, channel_size: int
) -> Found:
    per_channel = len(W) * channel_size
    n_channels = max(1, round(n_keep / per_channel))
    kept = input_mask(W, H, channel_size, n_channels)
    return candidates & kept[None, :], "whole inputs by joint OBS", None


def _swapped(W: Tensor, H: Tensor, candidates: Tensor, n_keep: int, pattern: str) -> Tensor:
    return swap(W, H, admm_mask(W, H, candidates, n_keep, pattern), candidates, pattern)


def _by_greedy(greedy: Greedy) -> Callable[[Tensor, Tensor, Tensor, int, str], Tensor]:
    return lambda W, H, candidates, n_keep, pattern: obs_mask(
        W, H, candidates, n_keep, greedy, pattern
    )


_MAKERS: dict[str, Callable[[Tensor, Tensor, Tensor, int, str], Tensor]] = {
    "obs": _by_greedy(Greedy()),
    "blocks": _by_greedy(Greedy(_BLOCK_FRAC)),
    "eliminate": _by_greedy(Greedy(_BLOCK_FRAC, _ELIMINATE_FRAC)),
    "admm": admm_mask,
    "swaps": _swapped,
    "magnitude": lambda W, H, candidates, n_keep, pattern: keep_best(
        W.abs(), candidates, n_keep, pattern
    ),
}
