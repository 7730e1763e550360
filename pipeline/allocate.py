"""How many weights each synapse group keeps, given one sparsity for the network.

Four rules: the same share everywhere; LAMPS; least total loss, where the loss of a group is its
predicted potential error relative to the potential itself; least total loss, where the loss is the
measured distance of the network's output spikes when that group alone is compressed.

LAMPS (Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", arXiv:2010.07611): the
score of a weight is its square over the sum of the squares of all weights of its group that are
not smaller; the lowest scores of the whole network go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CompressionError
from pipeline.network import Network


@dataclass(frozen=True)
class LossCurve:
    """The loss of one synapse group at some numbers of weights kept.

    Attributes
    ----------
    n_keep : (m,) int64, ascending
    loss : (m,) float64, in a unit that all curves share
    """

    n_keep: NDArray[np.int64]
    loss: NDArray[np.float64]


def uniform_counts(network: Network, sparsity: float, fixed: Mapping[str, float]) -> dict[str, int]:
    """Return how many weights each synapse group keeps when all lose the same share."""
    return {
        s.name: max(1, round(s.n_weights * (1.0 - fixed.get(s.name, sparsity))))
        for s in network.compressible
    }


def lamps_counts(network: Network, sparsity: float, fixed: Mapping[str, float]) -> dict[str, int]:
    """Return how many weights each synapse group keeps, at least one each.

    Parameters
    ----------
    sparsity : share of all weights to remove, [0, 1)
    fixed : sparsity of groups that do not take part, by name
    """
    counts = {}
    free = [s for s in network.compressible if s.name not in fixed]
    for synapse in network.compressible:
        if synapse.name in fixed:
            counts[synapse.name] = max(1, round(synapse.n_weights * (1.0 - fixed[synapse.name])))
    if not free:
        return counts
    scores = [lamps_scores(synapse.weight) for synapse in free]
    everything = np.concatenate(scores)
    n_weights = sum(synapse.n_weights for synapse in free)
    n_keep = max(len(free), round(n_weights * (1.0 - sparsity)))
    # stable order: ties, frequent in quantized weights, go to the earlier group
    order = np.argsort(-everything, kind="stable")[:n_keep]
    owner = np.repeat(np.arange(len(free)), [len(score) for score in scores])
    kept = np.bincount(owner[order], minlength=len(free))
    for synapse, n in zip(free, kept, strict=True):
        counts[synapse.name] = max(1, int(n))
    return counts


def lamps_scores(weight: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the LAMPS score of every weight, flattened, in (0, 1]; zero weights score zero."""
    square = np.square(weight.astype(np.float64).ravel())
    order = np.argsort(square, kind="stable")
    not_smaller = np.cumsum(square[order][::-1])[::-1]
    scores = np.empty(square.size)
    scores[order] = square[order] / np.where(not_smaller > 0, not_smaller, 1.0)
    return scores


def least_loss_counts(curves: Mapping[str, LossCurve], n_total: int) -> dict[str, int]:
    """Return the numbers of weights that sum to ``n_total`` at the least total loss.

    Curves are interpolated (the logarithm of the loss over the logarithm of the number) and made
    convex; then the cheapest weights go first, which is optimal for convex curves.

    Parameters
    ----------
    n_total : weights to keep; met exactly unless all curves end before. Below what the curves begin
        with, groups share it in proportion to that, at least one each
    """
    names = list(curves)
    grids = [_interpolated(curves[name]) for name in names]
    slope = np.concatenate([-np.diff(g.loss) / np.diff(g.n_keep) for g in grids])
    width = np.concatenate([np.diff(g.n_keep) for g in grids])
    owner = np.repeat(np.arange(len(names)), [len(g.n_keep) - 1 for g in grids])
    kept = _at_most(np.array([g.n_keep[0] for g in grids]), n_total)
    left = n_total - int(kept.sum())
    for i in np.argsort(-slope, kind="stable"):
        step = min(int(width[i]), left)
        if step <= 0:
            break
        kept[owner[i]] += step
        left -= step
    return {name: int(n) for name, n in zip(names, kept, strict=True)}


def least_loss_bits(
    losses: Mapping[str, Mapping[int, float]], n_keep: Mapping[str, int], mean_bits: int
) -> dict[str, int]:
    """Return the bits of each group, at most ``mean_bits`` on average over kept weights.

    Every group starts at its fewest bits; the step that saves most loss per bit spent goes first,
    as long as any fits. Steps that skip a number of bits are considered too.

    Parameters
    ----------
    losses : loss of each group by its bits, in a unit that all groups share

    Raises
    ------
    CompressionError
        If even the fewest bits of every group exceed the mean.
    """
    budget = mean_bits * sum(n_keep.values())
    bits = {name: min(by_bits) for name, by_bits in losses.items()}
    if sum(bits[name] * n_keep[name] for name in bits) > budget:
        raise CompressionError(
            f"compress.bits: a mean of {mean_bits} cannot be shared out among layers of at least "
            f"{min(bits.values())} bits; raise it, or set 'bits_allocation: uniform'"
        )
    while True:
        left = budget - sum(bits[name] * n_keep[name] for name in bits)
        steps = [
            ((losses[name][bits[name]] - loss) / ((more - bits[name]) * n_keep[name]), name, more)
            for name in bits for more, loss in losses[name].items()
            if more > bits[name] and (more - bits[name]) * n_keep[name] <= left
            and loss < losses[name][bits[name]]
        ]
        if not steps:
            return bits
        _, name, more = max(steps)
        bits[name] = more


_N_POINTS = 200


def _at_most(counts: NDArray[np.int64], n_total: int) -> NDArray[np.int64]:
    """Return the counts, made smaller in proportion if they exceed ``n_total``, at least 1."""
    if counts.sum() <= n_total:
        return counts
    exact = counts * n_total / counts.sum()
    smaller: NDArray[np.int64] = np.maximum(1, np.floor(exact)).astype(np.int64)
    left = n_total - int(smaller.sum())
    smaller[np.argsort(smaller - exact, kind="stable")[: max(0, left)]] += 1
    largest = int(smaller.argmax())
    smaller[largest] = max(1, smaller[largest] + min(0, left))
    return smaller


def _interpolated(curve: LossCurve) -> LossCurve:
    """Return the lower convex hull of the curve at many numbers of weights."""
    first, last = int(curve.n_keep[0]), int(curve.n_keep[-1])
    n_keep = np.unique(np.rint(np.geomspace(first, last, _N_POINTS)).astype(np.int64))
    floor = max(float(curve.loss.max()) * 1e-9, 1e-300)
    loss = np.exp(np.interp(
        np.log(n_keep), np.log(curve.n_keep), np.log(np.maximum(curve.loss, floor))))
    hull: list[int] = []
    for i in range(len(n_keep)):
        while len(hull) >= 2 and _is_above(n_keep, loss, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return LossCurve(n_keep[hull], loss[hull])


def _is_above(
    x: NDArray[np.int64], y: NDArray[np.float64], left: int, middle: int, right: int
) -> bool:
    """Return whether the middle point is on or above the line between the others."""
    rise = (y[right] - y[left]) * (x[middle] - x[left])
    return bool((y[middle] - y[left]) * (x[right] - x[left]) >= rise)
