"""A network cut into cores, layer by layer from the last one back.

In: an integer network without joins, a target, firing rates if there are any. Out: the pieces of
each layer, or the limit that a single neuron of a layer breaks. A layer is cut after those it
feeds: how many cores its neurons reach is then known, and its own cut changes nothing for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardware_targets import Target
from pipeline.errors import DesignRuleError
from pipeline.mapping.conv_tiles import ConvTiles
from pipeline.mapping.core_demand import Demand, DenseBlock, Excess, Piece
from pipeline.mapping.placement import Cut, Format
from pipeline.mapping.slices import cut_in_slices
from pipeline.mapping.synapse_format import delay_bits, formats_of, widths_of
from pipeline.mapping.tile_grid import cut_in_tiles
from pipeline.network import INPUT, Layer, Network, Synapse

Rates = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class CutLayer:
    """The pieces of one layer, what decided their number, and the groups each of them stores."""

    pieces: tuple[Piece, ...]
    cut: Cut
    shape: tuple[int, ...]
    synapses: tuple[str, ...]


@dataclass(frozen=True)
class Misfit:
    """A layer of which a single neuron breaks a limit of a core."""

    layer: str
    excess: Excess


@dataclass
class Partition:
    """Cuts a network, again and again if more pieces are asked for; remembers what it measured.

    Attributes
    ----------
    formats : that synapses may take; None for all of the target
    rates : per source (n_neurons,) spikes in any unit; None counts every neuron alike
    """

    network: Network
    target: Target
    formats: tuple[Format, ...] | None = None
    rates: Rates | None = None
    _groups: dict[str, ConvTiles | DenseBlock] = field(default_factory=dict)
    _cuts: dict[tuple[str, int, bytes], CutLayer | Excess] = field(default_factory=dict)

    def cut(self, least: Mapping[str, tuple[int, Excess]]) -> dict[str, CutLayer] | Misfit:
        """Return the pieces of every layer.

        Parameters
        ----------
        least : by layer name, pieces there must be at least, and why
        """
        layers: dict[str, CutLayer] = {}
        for layer in reversed(self.network.layers):
            demand = self._demand(layer, layers, *least.get(layer.name, (1, None)))
            key = (layer.name, demand.least, demand.reach.tobytes())
            if key not in self._cuts:
                found = (cut_in_tiles if len(layer.shape) == 3 else cut_in_slices)(demand)
                self._cuts[key] = found if isinstance(found, Excess) else CutLayer(
                    tuple(found[0]), found[1], layer.shape,
                    tuple(group.name for group in layer.stored_groups))
            result = self._cuts[key]
            if isinstance(result, Excess):
                return Misfit(layer.name, result)
            layers[layer.name] = result
        return {layer.name: layers[layer.name] for layer in self.network.layers}

    def rates_of(self, source: str) -> NDArray[np.float64]:
        """Return (n_source,) spikes of each neuron, in the unit of the rates; 1 without any."""
        size = int(np.prod(self.network.shape_of(source)))
        if self.rates is None:
            return np.ones(size)
        return np.asarray(self.rates[source], dtype=np.float64).reshape(size)

    def _demand(
        self, layer: Layer, after: Mapping[str, CutLayer], least: int, reason: Excess | None
    ) -> Demand:
        reach = np.zeros(layer.n_neurons, dtype=np.int64)
        for later in self.network.layers:
            for index, group in enumerate(later.stored_groups):
                if group.source == layer.name and later.name in after:
                    for piece in after[later.name].pieces:
                        reach[piece.stored[index].sources] += 1
        feeds_itself = np.zeros(layer.n_neurons, dtype=np.bool_)
        if layer.recurrent is not None:
            feeds_itself = (layer.recurrent.weight != 0).any(axis=0)
        groups = layer.stored_groups
        return Demand(
            layer, self.target, tuple(self._group(layer, group) for group in groups),
            tuple(self.rates_of(group.source) for group in groups), reach, feeds_itself,
            self._max_neurons(layer), min(least, layer.n_neurons), reason)

    def _group(self, layer: Layer, synapse: Synapse) -> ConvTiles | DenseBlock:
        if synapse.name not in self._groups:
            self._groups[synapse.name] = self._made_ready(layer, synapse)
        return self._groups[synapse.name]

    def _made_ready(self, layer: Layer, synapse: Synapse) -> ConvTiles | DenseBlock:
        formats = formats_of(synapse, self.target, self.formats)
        if not formats:
            kind = "convolution" if synapse.geometry is not None else "dense synapses"
            raise DesignRuleError(
                f"layer '{layer.name}': {kind} '{synapse.name}' cannot be stored as "
                f"{' or '.join(self.formats or ())} on '{self.target.name}'; allow one of "
                f"{', '.join(formats_of(synapse, self.target, None))}"
            )
        widths = widths_of(synapse, delay_bits(self.network, layer, synapse, self.target),
                           self.target)
        max_words = self.target.capacities.words_per_axon.value
        if synapse.geometry is not None:
            return ConvTiles(synapse, self.network.shape_of(synapse.source), layer.shape, widths,
                             formats, max_words)
        mask = np.ascontiguousarray((synapse.weight != 0).T)
        return DenseBlock(mask, layer.shape, widths, formats, max_words)

    def _max_neurons(self, layer: Layer) -> int:
        """Return the neurons of a core: each delay bit beyond the fewest halves them.

        Loihi 1: compartments <= 2^(13 - delay bits) (S2L L352-355; hardware.md 1.1), which is
        1,024 with the 3 bits there are at least.
        """
        widths = self.target.synapses.delay_bits.value
        most = self.target.capacities.neurons_per_core.value
        if not widths:
            return most
        bits = max((delay_bits(self.network, layer, group, self.target)
                    for group in layer.stored_groups if group.source != INPUT), default=0)
        return max(1, most >> max(0, bits - widths[0]))
