"""Where a search begins: the best shares of levels that losses of single layers predict.

In: for each layer its levels, each with a loss and a cost, as measured by
:mod:`pipeline.search.predict`. Out: a front of allocations. The loss of an allocation is predicted
as the sum over its layers of how far the network's output spikes move on calibration samples when
that layer alone is compressed (van Rossum distance); costs add up as well. So the front is found by
dynamic programming over the layers, keeping after each only what is not dominated, as SPDY does
with times (Frantar, Alistarh, arXiv:2201.13096).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.search.space import Level, Levels
from pipeline.sweep.results import Result

_MOST_KEPT = 2000  # allocations after each layer; thinned evenly in the logarithm of the cost
# what has no price before it is placed follows the events
_COST_OF = {"energy": "executed_synops"}


@dataclass(frozen=True)
class Option:
    """One level of one layer: what it costs and what is lost by it."""

    level: Level
    cost: float
    loss: float


def options_of(
    predicted: Mapping[Level, Result], layers: Sequence[str], cost: str
) -> dict[str, list[Option]]:
    """Return the levels of every layer; those that could not be made or placed are left out."""
    column = _COST_OF.get(cost, cost)
    return {
        layer: [Option(level, found[layer][column], found[layer]["loss"])
                for level, found in predicted.items() if "failure" not in found]
        for layer in layers}


def allocations(options: Mapping[str, Sequence[Option]], n: int) -> list[Levels]:
    """Return up to ``n`` allocations of the predicted front, from the cheapest to the best."""
    if not all(options.values()):
        return []
    cost, loss = np.zeros(1), np.zeros(1)
    chosen = np.zeros((1, 0), dtype=np.int64)
    for own in options.values():
        costs, losses = np.array([o.cost for o in own]), np.array([o.loss for o in own])
        index = np.indices((len(cost), len(own))).reshape(2, -1)
        cost, loss = cost[index[0]] + costs[index[1]], loss[index[0]] + losses[index[1]]
        chosen = np.column_stack([chosen[index[0]], index[1]])
        kept = _spread_over(cost, _front(cost, loss), _MOST_KEPT)
        cost, loss, chosen = cost[kept], loss[kept], chosen[kept]
    picked = _spread_over(cost, np.arange(len(cost)), n)
    return [
        {layer: options[layer][choice].level for layer, choice in zip(options, row, strict=True)}
        for row in chosen[picked].tolist()]


def _front(cost: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which points no other dominates, by rising cost."""
    order = np.lexsort((loss, cost))
    best = np.minimum.accumulate(loss[order])
    is_better = np.append(True, loss[order][1:] < best[:-1])
    return np.asarray(order[is_better])


def _spread_over(
    cost: NDArray[np.float64], among: NDArray[np.int64], n: int
) -> NDArray[np.int64]:
    """Return up to ``n`` of some points, even in the logarithm of the cost; both ends are in."""
    if len(among) <= n:
        return among
    position = np.log(np.maximum(cost[among], 1e-9))
    wanted = np.linspace(position[0], position[-1], n)
    nearest = np.abs(position[:, None] - wanted[None]).argmin(axis=0)
    return np.asarray(among[np.unique(nearest)])
