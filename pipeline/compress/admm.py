"""A mask by ADMM, and its refinement by swaps: the cheap way that is also the better one.

ADMM splits min (w - w0) H (w - w0)^T / 2 with at most n weights into a quadratic problem in V and a
projection Z on the n largest, coupled by U with strength rho (Boyd et al. 2011, section 9.1; for
pruning: Boza, arXiv:2401.02938; Meng et al., ALPS, arXiv:2406.07831)::

    V = (H w0 + rho (Z - U)) (H + rho I)^-1      Z = top n of V + U      U = U + V - Z

rho grows geometrically: first the quadratic decides, then the mask settles. One eigendecomposition
of H serves every rho. H is scaled to unit diagonal first, so that magnitudes compare.

Swaps (in the manner of subspace pursuit, Dai & Milenkovic 2009, with OBS scores): add the inputs of
the steepest gradient, refit, remove the lowest OBS scores in a few rounds, keep it if the loss
fell. Greedy OBS never takes a removal back; this does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.compress.pattern import UNSTRUCTURED, keep_best
from pipeline.compress.refit import loss, refit_with_scores

_FIRST_RHO, _GROWTH, _N_ITERATIONS = 0.01, 1.1, 60
_WIDEN_FRAC, _N_REMOVAL_ROUNDS, _MAX_SWAPS = 0.5, 3, 24
_SMALLEST_WIDEN_FRAC = 0.02
_SWAP_BUDGET = 4e11  # multiply-adds of all refits of one synapse group


def admm_mask(
    W: Tensor, H: Tensor, candidates: Tensor, n_keep: int, pattern: str = UNSTRUCTURED
) -> Tensor:
    """Return a mask of ``n_keep`` weights, (rows, d_in) bool.

    Parameters
    ----------
    W : (rows, d_in)
    H : (d_in, d_in) positive definite
    candidates : (rows, d_in) bool, the weights that may stay
    """
    scale = H.diagonal().sqrt()
    # only a mask comes of this: float32 is enough, and twice as fast
    eigenvalue, Q = torch.linalg.eigh((H / scale[:, None] / scale[None, :]).float())
    eigenvalue = eigenvalue.clamp(min=1e-6)
    scaled = W * scale
    # importance may make W tiny; a power of two keeps it in float32's range and every digit
    _, exponent = math.frexp(float(scaled.abs().max()))
    scaled = (scaled * math.ldexp(1.0, -exponent)).float()
    Z, U = scaled.clone(), torch.zeros_like(scaled)
    WH_Q = (scaled @ Q) * eigenvalue
    mask, rho = candidates, _FIRST_RHO
    for _ in range(_N_ITERATIONS):
        V = ((WH_Q + rho * ((Z - U) @ Q)) / (eigenvalue + rho)) @ Q.T
        target = V + U
        mask = keep_best(target.square(), candidates, n_keep, pattern)
        Z = torch.where(mask, target, 0.0)
        U = target - Z
        rho *= _GROWTH
    return mask


def swap(
    W: Tensor, H: Tensor, mask: Tensor, candidates: Tensor, pattern: str = UNSTRUCTURED
) -> Tensor:
    """Return a mask of as many weights whose loss after refit is lower, or ``mask`` itself.

    Parameters
    ----------
    W : (rows, d_in) the weights before pruning
    mask : (rows, d_in) bool, where to start
    """
    n_keep, WH = int(mask.sum()), W @ H
    n_most = int(candidates.sum())
    weight, inverse_diagonal = refit_with_scores(WH, H, mask)
    lowest, widen_frac = float(loss(weight, W, H).sum()), _WIDEN_FRAC
    for _ in range(_affordable_swaps(mask)):
        n_more = min(int(widen_frac * n_keep), n_most - n_keep)
        if n_more < 1 or widen_frac < _SMALLEST_WIDEN_FRAC:
            break
        gain = ((weight - W) @ H).square() / H.diagonal()
        trial = mask | keep_best(gain, candidates & ~mask, n_more)
        trial_weight, trial_inverse = refit_with_scores(WH, H, trial)
        for left in range(_N_REMOVAL_ROUNDS - 1, -1, -1):
            n_now = n_keep + n_more * left // _N_REMOVAL_ROUNDS
            trial = keep_best(trial_weight.square() / trial_inverse, trial, n_now,
                              pattern if left == 0 else UNSTRUCTURED)
            trial_weight, trial_inverse = refit_with_scores(WH, H, trial)
        trial_loss = float(loss(trial_weight, W, H).sum())
        if trial_loss < lowest * (1 - 1e-4) and int(trial.sum()) == n_keep:
            lowest, mask, weight = trial_loss, trial, trial_weight
        else:
            widen_frac /= 2
    return mask


def _affordable_swaps(mask: Tensor) -> int:
    """Return how many swaps the budget allows: each refits about four supports, k^3 a row."""
    sizes = mask.sum(dim=1, dtype=torch.float64) * (1 + _WIDEN_FRAC / 2)
    cost = 4 * float((2 * sizes**3).sum())
    return min(_MAX_SWAPS, int(_SWAP_BUDGET / max(cost, 1.0)))
