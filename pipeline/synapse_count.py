"""How many synapses a group has, without unrolling it.

In: a :class:`~pipeline.network.Synapse` and its network. Out: a number. The padding of a
convolution has no synapses.
"""

from __future__ import annotations

import numpy as np

from pipeline.network import Network, Synapse


def n_synapses(network: Network, synapse: Synapse, *, nonzero_only: bool = False) -> int:
    """Return the synapses between neurons that a group stands for, zeros included unless asked."""
    geometry = synapse.geometry
    if geometry is None:
        return int(np.count_nonzero(synapse.weight)) if nonzero_only else synapse.weight.size
    stored = synapse.weight != 0 if nonzero_only else np.ones(synapse.weight.shape, dtype=np.bool_)
    in_shape = network.shape_of(synapse.source)
    out_shape = network.layer_of(synapse.name).shape
    n_used = []  # by kernel row, then column: output positions whose input lies inside
    for axis in range(2):
        start = np.arange(out_shape[1 + axis]) * geometry.stride[axis] - geometry.padding[axis]
        at = start + np.arange(synapse.weight.shape[2 + axis])[:, None] * geometry.dilation[axis]
        n_used.append(((at >= 0) & (at < in_shape[1 + axis])).sum(axis=1))
    return int(n_used[0] @ stored.sum(axis=(0, 1)) @ n_used[1])
