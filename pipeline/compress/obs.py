"""The order of Optimal Brain Surgeon: exact, in blocks, and after one-shot pre-elimination.

Symbols (Hassibi & Stork 1993; Frantar et al., arXiv:2208.11580, algorithm 1; SBC)::

    W       weights of one synapse group, (rows, d_in)
    H_inv   inverse of the damped Hessian of the inputs a row still has
    score   w_p^2 / (2 [H_inv]_pp): the loss of removing p next
    B       weights removed between two updates of H_inv

Each row removes its lowest scores, B at a time, and takes the update of group OBS with Woodbury's
identity; B = 1 is rank-1 OBS. A row's removals are a trace of scores; the whole matrix takes the
cheapest removals off the heads of all traces, which needs one row's H_inv in memory, not all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.compress.kernels_rows import remove_greedily
from pipeline.compress.linalg import cholesky, inverse, not_positive_definite
from pipeline.compress.pattern import UNSTRUCTURED, parse

_COMPILED_UP_TO = 1024  # inputs; of larger matrices BLAS takes the blocks


@dataclass(frozen=True)
class Greedy:
    """How finely OBS is followed.

    Attributes
    ----------
    block_frac : B as a share of d_in; 0 is B = 1
    eliminate_frac : share of the removals made at once, by the first scores, before the blocks
    """

    block_frac: float = 0.0
    eliminate_frac: float = 0.0

    def block(self, d_in: int) -> int:
        """Return B."""
        return max(1, int(self.block_frac * d_in))


def obs_mask(
    W: Tensor, H: Tensor, candidates: Tensor, n_keep: int, greedy: Greedy = Greedy(),
    pattern: str = UNSTRUCTURED,
) -> Tensor:
    """Return the mask of ``n_keep`` weights that greedy OBS leaves, (rows, d_in) bool.

    Parameters
    ----------
    W : (rows, d_in)
    H : (d_in, d_in) positive definite
    candidates : (rows, d_in) bool, the weights that may stay
    """
    H_inv = inverse(H)
    n_removed = int(candidates.sum()) - n_keep
    at_once_frac = greedy.eliminate_frac * n_removed / max(1, int(candidates.sum()))
    traces = [
        _trace(W[row], H, H_inv, candidates[row], greedy.block(len(H)), at_once_frac, pattern, None)
        for row in range(len(W))
    ]
    rows = torch.cat([torch.full_like(order, row) for row, (order, _) in enumerate(traces)])
    orders = torch.cat([order for order, _ in traces])
    # a removal cannot come before the earlier ones of its row: its score counts as at least theirs
    scores = torch.cat([torch.cummax(score, dim=0).values if len(score) else score
                        for _, score in traces])
    first = torch.argsort(scores, stable=True)[: max(0, n_removed)]
    mask = candidates.clone()
    mask[rows[first], orders[first]] = False
    return mask


def obs_rows(W: Tensor, H: Tensor, candidates: Tensor, n_keep: Tensor, block: int = 1) -> Tensor:
    """Return the mask that leaves each row its own number of weights, (rows, d_in) bool.

    Parameters
    ----------
    n_keep : (rows,) integers
    block : B, the weights removed at once
    """
    mask, H_inv = candidates.clone(), inverse(H)
    for row in range(len(W)):
        n_removed = int(candidates[row].sum()) - int(n_keep[row])
        order, _ = _trace(
            W[row], H, H_inv, candidates[row], block, 0.0, UNSTRUCTURED, n_removed)
        mask[row, order] = False
    return mask


def _trace(
    w: Tensor, H: Tensor, H_inv_all: Tensor, candidates: Tensor, block: int, at_once_frac: float,
    pattern: str, n_removed: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the inputs a row loses, in order, and the score of each at its removal.

    Parameters
    ----------
    at_once_frac : share of the row's candidates removed before the blocks
    n_removed : None removes all, as far as the pattern lets them go
    """
    alive = torch.nonzero(candidates)[:, 0]
    left = len(alive) if n_removed is None else n_removed
    # candidates only: what is gone already takes no part, its row and column of H drop out
    is_whole = len(alive) == len(w)
    weight = w[alive] if is_whole else _refit_row(w, H, alive)
    H_inv = H_inv_all if is_whole else inverse(H[alive][:, alive])
    size = int(at_once_frac * len(alive)) or block
    if pattern == UNSTRUCTURED and w.device.type == "cpu" and len(alive) <= _COMPILED_UP_TO:
        positions, scores = _removed(weight, H_inv, size, block, min(left, len(alive)))
        return alive[positions], scores
    room = _room(pattern, candidates)
    orders, found = [], []
    while left > 0 and len(alive):
        score = 0.5 * weight.square() / H_inv.diagonal()
        removed = torch.argsort(score, stable=True)
        removed = room.admit(alive[removed], removed)[: min(size, left)]
        if not len(removed):
            break
        orders.append(alive[removed])
        found.append(score[removed])
        room.take(alive[removed])
        weight, H_inv, alive = _downdate(weight, H_inv, alive, removed)
        left -= len(removed)
        size = block
    empty = alive[:0]
    return torch.cat([empty, *orders]), torch.cat([weight[:0], *found])


def _removed(
    weight: Tensor, H_inv: Tensor, first: int, block: int, n_removed: int
) -> tuple[Tensor, Tensor]:
    """Return the positions removed, in order, and the score of each at its removal."""
    order, scores = np.empty(n_removed, dtype=np.int64), np.empty(n_removed)
    if not remove_greedily(
            weight.numpy().copy(), H_inv.numpy().copy(), first, block, order, scores):
        raise not_positive_definite()
    return torch.from_numpy(order), torch.from_numpy(scores)


def _refit_row(w: Tensor, H: Tensor, alive: Tensor) -> Tensor:
    target = (H @ w)[alive][:, None]
    return torch.cholesky_solve(target, cholesky(H[alive][:, alive]))[:, 0]


def _downdate(
    weight: Tensor, H_inv: Tensor, alive: Tensor, removed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weight, H_inv and inputs without the removed ones (Woodbury's identity)."""
    factor = cholesky(H_inv[removed][:, removed])
    pull = torch.cholesky_solve(H_inv[removed], factor)
    stays = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    stays[removed] = False
    weight = (weight - weight[removed] @ pull)[stays]
    left = torch.nonzero(stays)[:, 0]
    square = H_inv[left[:, None], left[None, :]]
    square -= H_inv[left[:, None], removed[None, :]] @ pull[:, left]
    return weight, square, alive[stays]


class _Room:
    """How many more removals each group of M inputs allows under N:M; unlimited otherwise."""

    def __init__(self, m: int, room: Tensor | None) -> None:
        self._m, self._room = m, room

    def admit(self, inputs: Tensor, positions: Tensor) -> Tensor:
        """Return the positions that may go, in the order given."""
        if self._room is None:
            return positions
        groups = inputs // self._m
        # rank of each input among those of its group, in the order given
        same = groups[:, None] == groups[None, :]
        rank = torch.tril(same, diagonal=-1).sum(dim=1)
        return positions[rank < self._room[groups]]

    def take(self, inputs: Tensor) -> None:
        """Note that the inputs are gone."""
        if self._room is not None:
            gone = torch.bincount(inputs // self._m, minlength=len(self._room))
            self._room = self._room - gone


def _room(pattern: str, candidates: Tensor) -> _Room:
    if pattern == UNSTRUCTURED:
        return _Room(1, None)
    n, m = parse(pattern)
    inputs = torch.nonzero(candidates)[:, 0]
    size = torch.bincount(inputs // m, minlength=-(-len(candidates) // m))
    return _Room(m, (size - n).clamp(min=0))
