"""Joins rewritten as synapse groups: what Lava and a chip have in their place.

In: an integer network. Out: one without joins that spikes the same. A sum of sources is a group
from each with the same weights; a concatenation is a group from each with its share of the weights.
Both add up in the neuron, one step after the spikes left, as the joined group would.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.network import Join, Network, Synapse


def without_joins(network: Network) -> Network:
    """Return the network with every group from one layer or the input."""
    if not network.joins:
        return network
    layers = tuple(
        replace(layer, synapses=tuple(
            part for synapse in layer.synapses for part in _parts(network, synapse)))
        for layer in network.layers
    )
    return replace(network, layers=layers, joins=())


def _parts(network: Network, synapse: Synapse) -> list[Synapse]:
    """Return the groups, one a source, that a group from a join is; itself from anything else."""
    join = next((join for join in network.joins if join.name == synapse.source), None)
    if join is None:
        return [synapse]
    if join.kind == "concat" and synapse.geometry is not None and synapse.geometry.groups > 1:
        synapse = _ungrouped(synapse)
    parts, begin = [], 0
    for index, source in enumerate(join.sources):
        part = replace(synapse, name=f"{synapse.name}[{index}]", source=source)
        if join.kind == "concat":
            n_channels = _n_channels(network, join, source)
            part = _trimmed(_share(part, join, begin, n_channels))
            begin += n_channels
        parts.extend(_parts(network, part))
    return parts


def _n_channels(network: Network, join: Join, source: str) -> int:
    shape = network.shape_of(source)
    return int(np.prod(shape)) if len(join.shape) == 1 else shape[0]


def _share(synapse: Synapse, join: Join, begin: int, n_channels: int) -> Synapse:
    """Return the group with the weights of some channels of the join only."""
    # after dense synapses a channel is as many columns as it has neurons
    size = 1 if synapse.geometry is not None else int(np.prod(join.shape[1:]))
    chosen = slice(begin * size, (begin + n_channels) * size)
    allowed = None if synapse.allowed is None else synapse.allowed[:, chosen]
    n_absent = int(np.sum(~allowed)) if synapse.n_absent and allowed is not None else 0
    return replace(synapse, weight=synapse.weight[:, chosen], allowed=allowed, n_absent=n_absent)


def _trimmed(synapse: Synapse) -> Synapse:
    """Return a convolution without the margin of its kernel in which no weight is allowed.

    Where kernels of several sizes were joined into one of the largest, each gets its own back.
    """
    geometry, allowed = synapse.geometry, synapse.allowed
    if geometry is None or allowed is None or not allowed.any():
        return synapse
    used = np.argwhere(allowed.any(axis=(0, 1)))
    size = np.array(allowed.shape[2:])
    margin = np.minimum(used.min(axis=0), size - 1 - used.max(axis=0))
    padding, dilation = np.array(geometry.padding), np.array(geometry.dilation)
    margin = np.minimum(margin, padding // dilation)
    if not margin.any():
        return synapse
    rows, columns = (slice(m, n - m) for m, n in zip(margin, size, strict=True))
    top, left = (int(p) for p in padding - margin * dilation)
    allowed = allowed[:, :, rows, columns]
    return replace(
        synapse, weight=synapse.weight[:, :, rows, columns], allowed=allowed,
        geometry=replace(geometry, padding=(top, left)),
        n_absent=int(np.sum(~allowed)) if synapse.n_absent else 0)


def _ungrouped(synapse: Synapse) -> Synapse:
    """Return a grouped convolution with zeros between its groups."""
    assert synapse.geometry is not None
    groups = synapse.geometry.groups
    geometry = replace(synapse.geometry, groups=1)
    allowed = None if synapse.allowed is None else _spread(synapse.allowed, groups)
    return replace(
        synapse, weight=_spread(synapse.weight, groups), geometry=geometry, allowed=allowed)


def _spread(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    c_out, c_in, *kernel = weight.shape
    spread = np.zeros((c_out, c_in * groups, *kernel), dtype=weight.dtype)
    for group in range(groups):
        rows = slice(group * c_out // groups, (group + 1) * c_out // groups)
        spread[rows, group * c_in : (group + 1) * c_in] = weight[rows]
    return spread
