"""The nouns: a spiking network as a graph of layers of neurons, fed by synapse groups, and joins.

Everything between ingest and export speaks of a :class:`Network`. Weights and thresholds share one
unit, Loihi's integer weight unit (SLAYER's weight times its ``scale``, usually 64); a weight array
is float64 while a network is being compressed and int32 once it is quantized. Neurons are in
:mod:`pipeline.neuron`. Nothing here knows SLAYER, NetX or a chip.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from pipeline.errors import UnsupportedLayerError
from pipeline.layer import INPUT as INPUT
from pipeline.layer import ConvGeometry as ConvGeometry
from pipeline.layer import Layer as Layer
from pipeline.layer import Shape as Shape
from pipeline.layer import Synapse as Synapse
from pipeline.network_checks import check_delay, check_family, check_join, check_synapse
from pipeline.neuron import check_neuron

_DECISIVE = ("name", "source", "geometry", "part")  # of a synapse group, besides its weights


@dataclass(frozen=True)
class Join:
    """Spikes of several sources as one source: no neurons, no step of its own.

    Attributes
    ----------
    kind : add (spikes of one neuron in all sources are summed: 0, 1, 2, ...) or concat (channels
        one after another)
    shape : of the joined spikes; (features,) joins sources flattened in C, Y, X order
    """

    name: str
    kind: Literal["add", "concat"]
    sources: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Readout:
    """What the output layer's neurons say.

    Attributes
    ----------
    quantity : spikes, or voltage of neurons that never fire, in weight units
    n_outputs : the neurons are averaged in so many groups of neighbors; None leaves them as
        they are
    """

    quantity: Literal["spikes", "voltage"] = "spikes"
    n_outputs: int | None = None


@dataclass(frozen=True)
class Network:
    """Layers in an order in which every source precedes its targets.

    Attributes
    ----------
    input_shape : (c, y, x) or (features,) of the input, binary spikes or integers
    n_steps : time steps of one sample
    joins : sources that are made of others; each joins only the input, layers and joins before it

    Raises
    ------
    UnsupportedLayerError
        If a synapse does not fit between its source and its layer, two layers share a name, a
        join does not fit its sources, or parameters per channel do not fit the channels or the
        chip.
    CheckpointError
        If a weight is not finite.
    """

    name: str
    input_shape: Shape
    n_steps: int
    layers: tuple[Layer, ...]
    joins: tuple[Join, ...] = ()
    readout: Readout = Readout()

    def __post_init__(self) -> None:
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        waiting = list(self.joins)
        for layer in self.layers:
            if layer.name in shapes:
                raise UnsupportedLayerError(f"two layers are named '{layer.name}'")
            while waiting and all(source in shapes for source in waiting[0].sources):
                join = waiting.pop(0)
                check_join(join, shapes)
                shapes[join.name] = join.shape
            for synapse in layer.synapses:
                check_synapse(synapse, layer, shapes)
            if layer.recurrent is not None:
                check_synapse(layer.recurrent, layer, {layer.name: layer.shape})
            check_neuron(layer.name, layer.neuron, layer.n_channels)
            check_family(layer)
            check_delay(layer)
            shapes[layer.name] = layer.shape
        if waiting:
            raise UnsupportedLayerError(
                f"join '{waiting[0].name}': a source of {', '.join(waiting[0].sources)} is not a "
                "layer before the one that uses it"
            )

    @property
    def synapses(self) -> tuple[Synapse, ...]:
        """All synapse groups from layer to layer, in layer order; recurrent ones are not here."""
        return tuple(synapse for layer in self.layers for synapse in layer.synapses)

    @property
    def compressible(self) -> tuple[Synapse, ...]:
        """The groups of ``synapses`` whose weights are the user's own, and may be changed."""
        return tuple(synapse for synapse in self.synapses if not synapse.is_fixed)

    @property
    def stored_synapses(self) -> tuple[Synapse, ...]:
        """The groups of ``synapses`` that a core stores: those of driven neurons are none."""
        return tuple(
            synapse for layer in self.layers if not layer.is_driven for synapse in layer.synapses)

    @property
    def is_chain(self) -> bool:
        """Whether every layer has one group, from the layer before it."""
        sources = (INPUT, *(layer.name for layer in self.layers))
        return all(
            [synapse.source for synapse in layer.synapses] == [source]
            for layer, source in zip(self.layers, sources, strict=False)
        )

    @property
    def is_integer(self) -> bool:
        """Whether every weight is an integer of the chip."""
        return all(group.is_integer for layer in self.layers for group in layer.groups)

    @property
    def sparsity(self) -> float:
        """Share of all weights that are zero, 0 to 1."""
        stored = self.stored_synapses
        n_weights = sum(synapse.n_weights for synapse in stored)
        n_nonzero = sum(int(np.count_nonzero(synapse.weight)) for synapse in stored)
        return (n_weights - n_nonzero) / max(n_weights, 1)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what decides the spikes and how they are joined, 32 hex digits."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.input_shape, self.joins, self.readout)).encode())
        for layer in self.layers:
            own: Any = (layer.name, layer.neuron, layer.shape, layer.axonal_delay)
            digest.update(repr(own).encode())
            for group in layer.groups:
                own = [getattr(group, f.name) for f in fields(group) if f.name in _DECISIVE]
                digest.update(repr((own, group.weight.shape, group.weight.dtype.str)).encode())
                digest.update(np.ascontiguousarray(group.weight).data)
        return digest.hexdigest()

    def shape_of(self, source: str) -> Shape:
        """Return the shape of the input, of a layer's output or of a join."""
        if source == INPUT:
            return self.input_shape
        shapes = {part.name: part.shape for part in self.layers}
        shapes |= {part.name: part.shape for part in self.joins}
        return shapes[source]

    def layer_of(self, synapse_name: str) -> Layer:
        """Return the layer that holds a synapse group."""
        return next(
            layer for layer in self.layers if any(s.name == synapse_name for s in layer.groups)
        )

    def layer(self, name: str) -> Layer:
        """Return the layer ``name``."""
        return next(layer for layer in self.layers if layer.name == name)

    def synapse(self, name: str) -> Synapse:
        """Return the synapse group ``name``."""
        return next(synapse for synapse in self.synapses if synapse.name == name)

    def with_layers(self, layers: tuple[Layer, ...]) -> Network:
        """Return a network with other layers and everything else the same."""
        return replace(self, layers=layers)
