"""Which core goes to which tile of which chip: short ways for many spikes.

In: the pieces of all layers and the traffic between them. Out: a slot (chip, x, y) for each. What
is made small is the sum over messages of tile hops, |dx| + |dy| on a chip; from chip to chip, whose
ways no target publishes, columns + rows are added, more than any way on one chip. This is an
objective, not a price: the account counts hops and off-chip messages apart.

Cores start in network order along a snake of tiles and, as another start, one after another where
those before are nearest, always the core with most traffic to them next. Both are improved by swaps
drawn by the seed, and the better one is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_targets import Target
from pipeline.mapping import kernels_placement as kernels

_MOVES_PER_CORE = 500
_MOST_MOVES = 500_000


@dataclass(frozen=True)
class Traffic:
    """Spikes from core to core, both directions of a pair added up, in compressed rows.

    Attributes
    ----------
    indptr : (n_cores + 1,) int64
    partners : int64, ascending for each core; a core is not its own
    weights : float64, spikes in the unit of the rates
    """

    indptr: NDArray[np.int64]
    partners: NDArray[np.int64]
    weights: NDArray[np.float64]


def traffic_of(
    n_cores: int, senders: NDArray[np.int64], receivers: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> Traffic:
    """Return the traffic of (sender, receiver, weight) triples, but of what stays on a core."""
    apart = senders != receivers
    a, b, w = senders[apart], receivers[apart], weights[apart]
    keys = np.concatenate([a * n_cores + b, b * n_cores + a])
    pairs, where = np.unique(keys, return_inverse=True)
    sums = np.bincount(where, weights=np.concatenate([w, w]), minlength=len(pairs))
    counts = np.bincount(pairs // n_cores, minlength=n_cores)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Traffic(indptr, (pairs % n_cores).astype(np.int64), sums.astype(np.float64))


def arrange(
    n_cores: int, traffic: Traffic, target: Target, n_chips: int, seed: int,
    orders: tuple[NDArray[np.int64], ...] = (),
) -> NDArray[np.int64]:
    """Return (n_cores, 3) chip, tile x and tile y of each core.

    Parameters
    ----------
    orders : other orders of the cores to start with along the snake, as (n_cores,) int64
    """
    slots = _slots(target, n_chips)
    capacities = target.capacities
    crossing = float(capacities.tile_columns.value + capacities.tile_rows.value)
    lists = (traffic.indptr, traffic.partners, traffic.weights)
    n_moves = min(_MOVES_PER_CORE * n_cores, _MOST_MOVES) if len(traffic.partners) else 0
    generator = np.random.default_rng(seed)
    moves = np.column_stack([
        generator.integers(n_cores, size=n_moves), generator.integers(len(slots), size=n_moves)])
    in_order = np.arange(n_cores)
    starts = [np.argsort(order, kind="stable") for order in (in_order, *orders)]
    if n_moves:
        starts.append(kernels.fill_greedily(_by_pull(traffic), slots, *lists, crossing))
    ways = []
    for slot_of in starts:
        kernels.swap_while_shorter(slot_of, moves, slots, *lists, crossing)
        ways.append(kernels.total_way(slot_of, slots, *lists, crossing))
    best: NDArray[np.int64] = slots[starts[int(np.argmin(ways))]]
    return best


def _by_pull(traffic: Traffic) -> NDArray[np.int64]:
    """Return the cores, each with more traffic to those before it than any after it."""
    n_cores = len(traffic.indptr) - 1
    pull, order = np.zeros(n_cores), np.empty(n_cores, dtype=np.int64)
    for rank in range(n_cores):
        core = int(pull.argmax())
        own = slice(traffic.indptr[core], traffic.indptr[core + 1])
        pull[traffic.partners[own]] += traffic.weights[own]  # -inf stays what it is
        pull[core] = -np.inf
        order[rank] = core
    return order


def _slots(target: Target, n_chips: int) -> NDArray[np.int64]:
    """Return (n_slots, 3) chip, x and y of every core there is, along a snake of tiles."""
    capacities = target.capacities
    columns, rows = capacities.tile_columns.value, capacities.tile_rows.value
    y, x = np.divmod(np.arange(columns * rows), columns)
    x = np.where(y % 2, columns - 1 - x, x)
    n_tiles = columns * rows
    chip = np.repeat(np.arange(n_chips), n_tiles)
    tiles = np.column_stack([chip, np.tile(x, n_chips), np.tile(y, n_chips)])
    return np.repeat(tiles, capacities.cores_per_tile.value, axis=0).astype(np.int64)
