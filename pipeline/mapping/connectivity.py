"""Which neuron reaches which: a synapse group as a sparse matrix from source to target neurons.

In: a :class:`~pipeline.network.Synapse`; out: compressed rows, one per source neuron, columns in
C, Y, X order. Stored positions are kept even where a weight is zero, because a dense format
executes them; ``eliminate_zeros`` is the caller's choice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.mapping.placement import Region
from pipeline.network import Network, Synapse


def unrolled(network: Network, synapse: Synapse) -> csr_array:
    """Return all stored synapses of a group as (n_source, n_target), explicit zeros included.

    The matrix owns its arrays: a caller may change it without changing the network.
    """
    in_shape = network.shape_of(synapse.source)
    out_shape = network.layer_of(synapse.name).shape
    if synapse.geometry is None:
        n_out, n_in = synapse.weight.shape
        return csr_array(
            (
                synapse.weight.T.flatten(),
                np.tile(np.arange(n_out, dtype=np.int32), n_in),
                np.arange(n_in + 1, dtype=np.int64) * n_out,
            ),
            shape=(n_in, n_out),
        )
    rows, columns, values = _conv_triplets(synapse, in_shape, out_shape)
    shape = (int(np.prod(in_shape)), int(np.prod(out_shape)))
    order = np.lexsort((columns, rows))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return csr_array((values[order], columns[order].astype(np.int32), indptr), shape=shape)


def rows_of_region(
    synapse: Synapse, in_shape: tuple[int, ...], region: Region, out_shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Return the nonzero synapses of a convolution to one region of its layer, by source.

    Returns
    -------
    sources : (n,) int32, source neurons with a synapse, ascending
    indptr : (n + 1,) int64
    indices : int32, target neurons of each source, ascending, numbered within the region
    """
    rows, columns, values = _conv_triplets(synapse, in_shape, out_shape, region)
    kept = values != 0
    rows, columns = rows[kept], columns[kept]
    order = np.lexsort((columns, rows))
    sources, counts = np.unique(rows, return_counts=True)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return sources.astype(np.int32), indptr, columns[order].astype(np.int32)


def _conv_triplets(
    synapse: Synapse, in_shape: tuple[int, ...], out_shape: tuple[int, ...],
    region: Region | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return source, target and weight of every synapse of a convolution; padding stores none.

    Targets are numbered within the region, by default the whole layer.
    """
    geometry = synapse.geometry
    assert geometry is not None
    c_out, c_in_group, ky, kx = synapse.weight.shape
    channels, ys, xs = region or tuple((0, size) for size in out_shape)
    grid = np.meshgrid(
        np.arange(*channels), np.arange(c_in_group), np.arange(ky), np.arange(kx),
        np.arange(*ys), np.arange(*xs), indexing="ij",
    )
    co, ci, dy, dx, oy, ox = (axis.ravel() for axis in grid)
    y = oy * geometry.stride[0] - geometry.padding[0] + dy * geometry.dilation[0]
    x = ox * geometry.stride[1] - geometry.padding[1] + dx * geometry.dilation[1]
    channel = co // (c_out // geometry.groups) * c_in_group + ci
    inside = (y >= 0) & (y < in_shape[1]) & (x >= 0) & (x < in_shape[2])
    source = (channel * in_shape[1] + y) * in_shape[2] + x
    height, width = ys[1] - ys[0], xs[1] - xs[0]
    target = ((co - channels[0]) * height + oy - ys[0]) * width + ox - xs[0]
    return source[inside], target[inside], synapse.weight[co, ci, dy, dx][inside]
