"""Where a search begins: the best shares of levels that losses of single layers predict.

In: for each layer its levels, each with a loss and a cost. Out: a front of allocations. The loss of
an allocation is predicted as the sum over its layers of how far the network's output spikes move on
calibration samples when that layer alone is compressed (van Rossum distance); costs add up as well.
So the front is found by dynamic programming over the layers, keeping after each only what is not
dominated, as SPDY does with times (Frantar, Alistarh, arXiv:2201.13096).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.recipe import Bits
from pipeline.search.space import Levels, SearchSpace

if TYPE_CHECKING:
    from pipeline.compress_synapse import CompressedSynapse
    from pipeline.sweep.trial import Bench

_MOST_KEPT = 2000  # allocations after each layer; thinned evenly in the logarithm of the cost


@dataclass(frozen=True)
class Option:
    """One level of one layer: what it costs and what is lost by it."""

    level: tuple[float, Bits]
    cost: float
    loss: float


def allocations(options: dict[str, list[Option]], n: int) -> list[Levels]:
    """Return up to ``n`` allocations of the predicted front, from the cheapest to the best."""
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


def options_of(space: SearchSpace, bench: Bench) -> dict[str, list[Option]]:
    """Return the levels of every layer with predicted loss and cost; they are in the bank then."""
    from pipeline.levels import Curves, allocate_levels

    recipe = space.base
    network, calibration = bench.network, bench.calibration(recipe)
    bank = bench.bank(recipe)
    spikes = bench.calibration_samples(recipe).spikes
    curves = Curves(network, calibration, spikes, bank, lambda _: None)
    layers = list(dict.fromkeys(network.layer_of(s.name).name for s in network.compressible))
    found: dict[str, list[Option]] = {layer: [] for layer in layers}
    for sparsity in space.file.sparsity:
        for bits in space.file.bits:
            level = (sparsity, bits)
            setting = space.setting(dict.fromkeys(layers, level), "levels")
            chosen = allocate_levels(network, calibration, setting.recipe, spikes, bank)
            for layer in layers:
                names = [s.name for s in network.layer(layer).groups if s.name in chosen]
                loss = sum(curves.distance(name, chosen[name]) for name in names)
                cost = sum(_cost(space, bench, bank.get(name, chosen[name])) for name in names)
                found[layer].append(Option(level, cost, loss))
            bank.forget()
    return found


def _cost(space: SearchSpace, bench: Bench, part: CompressedSynapse) -> float:
    """Return memory in bits, or the synops of a sample at the rates of the calibration."""
    n_nonzero = int(np.count_nonzero(part.codes))
    if space.cost in ("memory_bits", "cores"):
        return float(n_nonzero * part.level.bits)
    layer = bench.network.layer_of(part.name)
    n_positions = int(np.prod(layer.shape[1:])) if part.codes.ndim == 4 else 1
    curvature = bench.calibration(space.base).curvatures[part.name]
    return float(n_nonzero * n_positions * curvature.input_rate * bench.network.n_steps)


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
