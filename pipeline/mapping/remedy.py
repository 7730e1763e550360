"""What would make a network fit that does not: narrower weights, more zeros, formats, chips.

In: a :class:`~pipeline.mapping.partition.Partition` that failed. Out: a clause for its message.
Each remedy is tried by placing the changed network, one change at a time; none is estimated.
Zeros are put where weights are smallest, the same share in every group that may be changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.mapping.chips import is_held, spread
from pipeline.mapping.partition import Misfit, Partition
from pipeline.mapping.placement import Format, Placement
from pipeline.network import Network, Synapse

_STEPS = 20  # sparsities tried are multiples of one in so many
_MOST_CHIPS = 16  # that are tried


def what_would_fit(partition: Partition, layer: str | None, max_chips: int, seed: int) -> str:
    """Return what would make a layer fit its cores, or with None the network so many chips."""
    network, formats = partition.network, partition.formats

    def fits(changed: Network, allowed: tuple[Format, ...] | None = formats) -> bool:
        tried = Partition(changed, partition.target, allowed, partition.rates)
        if layer is None:
            return is_held(tried, max_chips, seed)
        cut = tried.cut({})
        # layers are cut from the last one back: those after this one did fit
        names = [part.name for part in network.layers]
        return not isinstance(cut, Misfit) or names.index(cut.layer) < names.index(layer)

    found = [
        *_bits(network, layer, partition, fits),
        *_sparsity(network, layer, fits),
        *(["any format of the target"] if formats and fits(network, None) else []),
    ]
    where = "in this layer" if layer else "in every layer"
    if found:
        return f"what would fit, {where}: {', or '.join(found)}"
    return (
        f"neither fewer bits nor {1 - 1 / _STEPS:.0%} zeros {where} would fit: make it smaller, "
        "or choose a larger target"
    )


def what_chips_would_fit(partition: Partition, n_cores: int, seed: int) -> str:
    """Return how many chips would hold a network of so many cores as it is."""
    capacities = partition.target.capacities
    n_chips = ceil(n_cores / capacities.cores_per_chip.value)
    if capacities.off_chip_axons_per_core.value is not None:
        # what may leave a chip can ask for more cores; arranging very many takes long
        found = spread(partition, _MOST_CHIPS, seed) if n_chips <= _MOST_CHIPS else None
        if not isinstance(found, Placement):
            return f"as it is, it takes {n_chips} chips at least"
        n_chips = found.n_chips
    return f"as it is, it fits {n_chips} chips"


def _bits(
    network: Network, layer: str | None, partition: Partition, fits: Callable[[Network], bool]
) -> list[str]:
    """Return the widest weights that fit."""
    def narrowed(width: int) -> Network:
        return _changed(network, layer, lambda group: replace(
            group, weight_bits=min(group.weight_bits or 8, width)))

    widest = max((group.weight_bits or 8 for group in _groups(network, layer)), default=0)
    for width in reversed(partition.target.synapses.weight_bits.value):
        if width < widest and fits(narrowed(width)):
            return [f"weights of {width} bits"]
    return []


def _sparsity(
    network: Network, layer: str | None, fits: Callable[[Network], bool]
) -> list[str]:
    """Return the fewest zeros that fit, in steps, by halving the range."""
    def thinned(step: int) -> Network:
        return _changed(network, layer, lambda group: replace(
            group, weight=_without_smallest(group.weight, step / _STEPS)))

    low, high = 0, _STEPS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(thinned(middle)) else (middle, high)
    return [] if high == _STEPS else [f"a sparsity of {high / _STEPS:.2f}"]


def _groups(network: Network, layer: str | None) -> list[Synapse]:
    return [group for part in network.layers if layer in (None, part.name)
            for group in part.stored_groups]


def _changed(
    network: Network, layer: str | None, change: Callable[[Synapse], Synapse]
) -> Network:
    layers = []
    for part in network.layers:
        if layer in (None, part.name):
            part = replace(
                part, synapses=tuple(g if g.is_fixed else change(g) for g in part.synapses),
                recurrent=None if part.recurrent is None else change(part.recurrent))
        layers.append(part)
    return network.with_layers(tuple(layers))


def _without_smallest(weight: NDArray[Any], frac: float) -> NDArray[Any]:
    """Return the weights with at least this share of zeros, those that are least first."""
    n_zeros = round(frac * weight.size)
    if n_zeros == 0:
        return weight
    thinned = weight.copy()
    thinned.ravel()[np.argpartition(np.abs(weight).ravel(), n_zeros - 1)[:n_zeros]] = 0
    return thinned
