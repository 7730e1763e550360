"""Convolutions on tiles of their layer, counted without unrolling a synapse.

In: a convolution, the shapes on both sides, a region (c, y, x) of the layer. Out: which source
neurons reach it, how often, and what its kernels take. A source neuron (ci, y, x) reaches the
region by kernel position (ky, kx) in every output channel of its group or in none, and whether in
y does not depend on x:

    n(ci, y, x) = sum over ky, kx of K(ci, ky, kx) A(ky, y) B(kx, x)

with K the channels of the region with a weight there (those that are not zero, or all), and A, B in
{0, 1}: whether output y (x) under that kernel position lies in the region.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.mapping.connectivity import rows_of_region
from pipeline.mapping.placement import Format, Region
from pipeline.mapping.synapse_format import (
    Stored,
    Widths,
    kernel_words,
    measure_rows,
    shortest,
)
from pipeline.network import Synapse


@dataclass
class ConvTiles:
    """One convolution, ready to be asked for its regions.

    Attributes
    ----------
    in_shape, out_shape : (c, y, x)
    formats : that the group may take
    max_words : of one list; None where nothing limits it
    """

    synapse: Synapse
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    widths: Widths
    formats: tuple[Format, ...]
    max_words: int | None
    _channels: dict[tuple[int, int], _ChannelBlock] = field(default_factory=dict)

    def stored(self, region: Region) -> Stored:
        """Return the group on a region in the format that takes least memory."""
        if "conv" not in self.formats:
            return self._unrolled(region)
        shared = self._shared(region)
        unrolled: tuple[Format, ...] = tuple(f for f in self.formats if f != "conv")
        # what no unrolled format goes below: a word a list, and the nonzero weights alone
        least = max(len(shared.sources) * self.widths.word,
                    int(shared.effective.sum(dtype=np.int64)) * self.widths.synapse_bits)
        is_too_long = self.max_words is not None and shared.peak_words > self.max_words
        if not unrolled or (least >= shared.memory_bits and not is_too_long):
            return shared
        other = self._unrolled(region)
        if self.max_words is not None and other.peak_words > self.max_words:
            return shared
        return other if is_too_long or other.memory_bits < shared.memory_bits else shared

    def reached_from(self, region: Region) -> tuple[tuple[int, int], ...]:
        """Return the box (c, y, x) of source neurons under the kernels over a region."""
        geometry = self.synapse.geometry
        assert geometry is not None
        c_in_group = self.synapse.weight.shape[1]
        per_group = self.out_shape[0] // geometry.groups
        (begin, end), *plane = region
        box = [(begin // per_group * c_in_group, ((end - 1) // per_group + 1) * c_in_group)]
        for axis, (low, high) in enumerate(plane):
            reach = geometry.dilation[axis] * (self.synapse.weight.shape[2 + axis] - 1)
            first = low * geometry.stride[axis] - geometry.padding[axis]
            last = (high - 1) * geometry.stride[axis] - geometry.padding[axis] + reach
            size = self.in_shape[1 + axis]
            first, last = min(max(first, 0), size), min(last + 1, size)
            box.append((first, max(first, last)))
        return tuple(box)

    def fan_in(self) -> NDArray[np.int64]:
        """Return the nonzero synapses of each neuron of the layer, (n_neurons,)."""
        geometry, weight = self.synapse.geometry, self.synapse.weight
        assert geometry is not None
        inside = []  # per axis, (output, kernel): whether an input is there, or padding
        for axis in (0, 1):
            start = np.arange(self.out_shape[1 + axis]) * geometry.stride[axis]
            at = start[:, None] - geometry.padding[axis] + (
                np.arange(weight.shape[2 + axis]) * geometry.dilation[axis])
            inside.append(((at >= 0) & (at < self.in_shape[1 + axis])).astype(np.int64))
        n_nonzero = (weight != 0).sum(axis=1, dtype=np.int64)
        return np.asarray(np.matmul(inside[0], np.matmul(n_nonzero, inside[1].T)).ravel())

    def _block(self, channels: tuple[int, int]) -> _ChannelBlock:
        if channels not in self._channels:
            self._channels[channels] = _channel_block(self, channels)
        return self._channels[channels]

    def _shared(self, region: Region) -> Stored:
        block = self._block(region[0])
        channels, ys, xs = self.reached_from(region)
        hits_y = self._hits(0, region[1], ys)
        hits_x = self._hits(1, region[2], xs)
        own = slice(*channels)
        effective = np.matmul(hits_y.T, np.matmul(block.n_nonzero[own], hits_x))
        executed = (block.n_channels[own, None, None]
                    * hits_y.sum(axis=0)[:, None] * hits_x.sum(axis=0))
        reached = effective > 0
        c, y, x = np.nonzero(reached)
        sources = ((c + channels[0]) * self.in_shape[1] + y + ys[0]) * self.in_shape[2] + x + xs[0]
        used = block.n_nonzero[own].any(axis=(1, 2))
        words = block.words[own] * used
        n_hits = int(hits_y.sum(axis=0).max(initial=0)) * int(hits_x.sum(axis=0).max(initial=0))
        return Stored(
            "conv",
            int(words.sum()) * self.synapse.weight[0, 0].size * self.widths.word,
            int(words.max(initial=0)) * n_hits,
            sources.astype(np.int32), effective[reached].astype(np.int32),
            executed[reached].astype(np.int32))

    def _hits(
        self, axis: int, outputs: tuple[int, int], inputs: tuple[int, int]
    ) -> NDArray[np.int64]:
        """Return A or B of the module: (kernel, inputs) 0 or 1."""
        geometry = self.synapse.geometry
        assert geometry is not None
        kernel = np.arange(self.synapse.weight.shape[2 + axis])[:, None]
        shifted = (np.arange(*inputs)[None] + geometry.padding[axis]
                   - kernel * geometry.dilation[axis])
        output, rest = np.divmod(shifted, geometry.stride[axis])
        hits = (rest == 0) & (output >= outputs[0]) & (output < outputs[1])
        return np.asarray(hits, dtype=np.int64)

    def _unrolled(self, region: Region) -> Stored:
        sources, indptr, indices = rows_of_region(
            self.synapse, self.in_shape, region, self.out_shape)
        n_posts = int(np.prod([end - begin for begin, end in region]))
        measured = measure_rows(indptr, indices, n_posts, self.widths)
        return shortest(measured, sources, self.widths, self.formats, self.max_words)


@dataclass(frozen=True)
class _ChannelBlock:
    """The kernels of some output channels, by input channel.

    Attributes
    ----------
    n_nonzero : (c_in, ky, kx) int64, K of the module: output channels with a nonzero weight
    n_channels : (c_in,) int64, output channels of the block in the group of the input channel
    words : (c_in,) int64, memory words of one kernel position
    """

    n_nonzero: NDArray[np.int64]
    n_channels: NDArray[np.int64]
    words: NDArray[np.int64]


def _channel_block(tiles: ConvTiles, channels: tuple[int, int]) -> _ChannelBlock:
    weight, geometry = tiles.synapse.weight, tiles.synapse.geometry
    assert geometry is not None
    c_in_group, *kernel = weight.shape[1:]
    per_group = tiles.out_shape[0] // geometry.groups
    n_nonzero = np.zeros((tiles.in_shape[0], *kernel), dtype=np.int64)
    n_channels = np.zeros(tiles.in_shape[0], dtype=np.int64)
    for group in range(channels[0] // per_group, (channels[1] - 1) // per_group + 1):
        begin = max(channels[0], group * per_group)
        end = min(channels[1], (group + 1) * per_group)
        inputs = slice(group * c_in_group, (group + 1) * c_in_group)
        n_nonzero[inputs] = np.count_nonzero(weight[begin:end], axis=0)
        n_channels[inputs] = end - begin
    distinct, where = np.unique(n_channels, return_inverse=True)
    return _ChannelBlock(n_nonzero, n_channels, kernel_words(distinct, tiles.widths)[where])
