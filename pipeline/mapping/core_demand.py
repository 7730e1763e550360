"""What a layer asks of its cores: any region of it as a core would hold it, against every limit.

In: a layer, its synapse groups made ready, the cores it must reach. Out: pieces, and the limit that
one breaks. Which regions are tried is in :mod:`pipeline.mapping.slices` and
:mod:`pipeline.mapping.tile_grid`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_targets import Target
from pipeline.mapping.conv_tiles import ConvTiles
from pipeline.mapping.placement import Format, Region, neurons_in
from pipeline.mapping.synapse_format import Stored, Widths, measure_dense, shortest
from pipeline.network import Layer


@dataclass(frozen=True)
class DenseBlock:
    """Dense synapses, ready to be asked for the columns of a region.

    Attributes
    ----------
    mask : (n_source, n_neurons) bool, nonzero weights
    shape : of the layer
    """

    mask: NDArray[np.bool_]
    shape: tuple[int, ...]
    widths: Widths
    formats: tuple[Format, ...]
    max_words: int | None

    def stored(self, region: Region) -> Stored:
        """Return the group on a region in the format that takes least memory."""
        if len(region) == 1:
            own = self.mask[:, slice(*region[0])]
        else:
            own = np.ascontiguousarray(self.mask[:, neurons_in(region, self.shape)])
        sources = np.arange(len(own), dtype=np.int32)
        return shortest(
            measure_dense(own, self.widths), sources, self.widths, self.formats, self.max_words)

    def fan_in(self) -> NDArray[np.int64]:
        """Return the nonzero synapses of each neuron of the layer, (n_neurons,)."""
        return np.asarray(np.count_nonzero(self.mask, axis=0))


@dataclass(frozen=True)
class Piece:
    """What one core of a layer holds."""

    region: Region
    stored: tuple[Stored, ...]
    n_neurons: int
    n_output_axons: int


@dataclass(frozen=True)
class Excess:
    """A limit of a core, and what a piece would need of it."""

    limit: str
    value: int
    bound: int

    @property
    def ratio(self) -> float:
        """How many times the bound is needed."""
        return self.value / self.bound


@dataclass(frozen=True)
class Demand:
    """A layer to cut, with all that is asked of its cores.

    Attributes
    ----------
    groups : of the layer, in the order of ``Layer.stored_groups``
    rates : per group (n_source,) float64, spikes of each source neuron in any unit
    reach : (n_neurons,) int64, cores of other layers each neuron sends its spikes to
    feeds_itself : (n_neurons,) bool, whether it sends them to the layer's own cores
    max_neurons : of a core, given the delays that its neurons wait for
    least : pieces there must be at least; ``reason`` says why
    """

    layer: Layer
    target: Target
    groups: tuple[ConvTiles | DenseBlock, ...]
    rates: tuple[NDArray[np.float64], ...]
    reach: NDArray[np.int64]
    feeds_itself: NDArray[np.bool_]
    max_neurons: int
    least: int = 1
    reason: Excess | None = None

    def piece(self, region: Region, n_pieces: int) -> Piece:
        """Return a region as a core would hold it, if the layer had so many pieces."""
        neurons = neurons_in(region, self.layer.shape)
        # a layer that feeds itself is taken to reach all its own cores: never too few
        n_axons = self.reach[neurons].sum() + n_pieces * self.feeds_itself[neurons].sum()
        return Piece(
            region, tuple(group.stored(region) for group in self.groups), len(neurons),
            int(n_axons))

    def excess(self, piece: Piece) -> Excess | None:
        """Return the limit that a piece breaks by the largest factor, None if it keeps to all."""
        capacities = self.target.capacities
        bits = sum(group.memory_bits for group in piece.stored)
        index = self.target.synapses.index_bits.value
        uses = (
            ("neurons", piece.n_neurons, self.max_neurons),
            ("indexed neurons", piece.n_neurons if piece.stored else 0,
             1 << index[-1] if index else None),
            ("synapse memory", bits, capacities.synapse_memory_bits_per_core.value),
            ("words per axon", max((group.peak_words for group in piece.stored), default=0),
             capacities.words_per_axon.value),
            ("input axons", sum(len(group.sources) for group in piece.stored),
             capacities.input_axons_per_core.value),
            ("output axons", piece.n_output_axons, capacities.output_axons_per_core.value),
            # a core holds neurons of one layer: one group
            ("neuron groups", 1, capacities.neuron_groups_per_core.value),
        )
        broken = [Excess(what, n, bound) for what, n, bound in uses if bound and n > bound]
        return max(broken, key=lambda excess: excess.ratio, default=None)

    def busiest(self, pieces: list[Piece]) -> float:
        """Return the most synaptic operations that one piece executes, weighted by the rates."""
        return max(
            float(sum(rate[group.sources] @ group.executed
                      for rate, group in zip(self.rates, piece.stored, strict=True)))
            for piece in pieces
        )
