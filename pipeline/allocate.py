"""How many weights each synapse group keeps, given one sparsity for the network.

LAMPS (Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", arXiv:2010.07611): the
score of a weight is its square over the sum of the squares of all weights of its group that are
not smaller; the lowest scores of the whole network go.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.network import Network


def lamps_counts(network: Network, sparsity: float, fixed: dict[str, float]) -> dict[str, int]:
    """Return how many weights each synapse group keeps, at least one each.

    Parameters
    ----------
    sparsity : share of all weights to remove, [0, 1)
    fixed : sparsity of groups that do not take part, by name
    """
    counts = {}
    free = [s for s in network.synapses if s.name not in fixed]
    for synapse in network.synapses:
        if synapse.name in fixed:
            counts[synapse.name] = max(1, round(synapse.weight.size * (1.0 - fixed[synapse.name])))
    if not free:
        return counts
    scores = [lamps_scores(synapse.weight) for synapse in free]
    everything = np.concatenate(scores)
    n_keep = max(len(free), round(everything.size * (1.0 - sparsity)))
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
