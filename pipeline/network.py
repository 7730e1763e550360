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
from numpy.typing import NDArray

from pipeline.errors import UnsupportedLayerError
from pipeline.network_checks import check_delay, check_family, check_join, check_synapse
from pipeline.neuron import FAMILY, CubaNeuron, Neuron, RelayNeuron, check_neuron

INPUT = "input"
_DECISIVE = ("name", "source", "geometry", "part")  # of a synapse group, besides its weights
Shape = tuple[int, ...]


@dataclass(frozen=True)
class ConvGeometry:
    """How a kernel moves over its input; pairs are (y, x)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class Synapse:
    """One group of synapses from a source to the layer that holds it.

    Attributes
    ----------
    name : unique in the network; the layer's name where a layer has one group
    source : name of the layer whose spikes arrive, or ``INPUT``
    weight : dense (out, in), conv (c_out, c_in / groups, ky, kx); float64, or int32 when quantized
    geometry : of a convolution; None for dense
    weight_bits : declared precision of an integer weight, 1..8, sign included; None while float
    allowed : bool, shape of the weight: False where the user's own mask forbids a synapse; None
        where there is no mask
    is_fixed : whether the weights stand for something that has none, as pooling, and are to stay
    part : of complex weights, the part these are; they reach that state of a resonator
    n_absent : positions of the array that are no weights, as around kernels that were joined with
        larger ones; ``allowed`` is False there
    """

    name: str
    source: str
    weight: NDArray[Any]
    geometry: ConvGeometry | None = None
    weight_bits: int | None = None
    allowed: NDArray[np.bool_] | None = None
    is_fixed: bool = False
    part: Literal["real", "imag"] = "real"
    n_absent: int = 0

    @property
    def n_weights(self) -> int:
        """Number of weights, zero or not."""
        return self.weight.size - self.n_absent

    @property
    def kind(self) -> Literal["dense", "conv"]:
        """The layer kind as NetX names it."""
        return "dense" if self.geometry is None else "conv"

    @property
    def is_integer(self) -> bool:
        """Whether the weights are integers of the chip."""
        return bool(np.issubdtype(self.weight.dtype, np.integer))

    @property
    def sparsity(self) -> float:
        """Share of weights that are zero, 0 to 1."""
        return 1.0 - int(np.count_nonzero(self.weight)) / self.n_weights


@dataclass(frozen=True)
class Layer:
    """Neurons of one kind and shape, and the synapse groups whose currents they add.

    Attributes
    ----------
    shape : (c, y, x) after convolutions, (features,) after dense synapses
    axonal_delay : steps by which the spikes of each channel leave later, 0..62; None for no delay.
        Spikes of a layer are always those that left
    recurrent : dense synapses from the layer to itself, whose spikes arrive one step after they
        were fired, whatever the axonal delay; None without
    """

    name: str
    synapses: tuple[Synapse, ...]
    neuron: Neuron
    shape: Shape
    axonal_delay: tuple[int, ...] | None = None
    recurrent: Synapse | None = None

    @property
    def cuba(self) -> CubaNeuron:
        """The neuron, for what knows CUBA neurons only.

        Raises
        ------
        UnsupportedLayerError
            If it is of another family.
        """
        if isinstance(self.neuron, CubaNeuron):
            return self.neuron
        raise UnsupportedLayerError(
            f"layer '{self.name}': {FAMILY[type(self.neuron)]} neurons are not supported here; "
            "nearest: cuba blocks"
        )

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))

    @property
    def groups(self) -> tuple[Synapse, ...]:
        """All synapse groups of the layer, the recurrent one last."""
        return self.synapses if self.recurrent is None else (*self.synapses, self.recurrent)

    @property
    def is_driven(self) -> bool:
        """Whether each neuron takes a value of the network's input by itself, not by a synapse.

        CUBA neurons take it through their bias, delta neurons as what they encode; no core stores
        the weights of 1 that stand for this.
        """
        synapse, neuron = self.synapses[0], self.neuron
        if len(self.synapses) > 1 or synapse.source != INPUT or not synapse.is_fixed:
            return False
        if isinstance(neuron, RelayNeuron) or isinstance(neuron, CubaNeuron) and (
                neuron.current_decay != 4096 or neuron.channel_current_decay is not None):
            return False
        weight = synapse.weight
        if synapse.geometry is None:
            return weight.shape[0] == weight.shape[1] and bool(
                (weight == np.eye(len(weight), dtype=weight.dtype)).all())
        return weight.shape[1:] == (1, 1, 1) and synapse.geometry == ConvGeometry(
            groups=len(weight)) and bool((weight == 1).all())

    @property
    def stored_groups(self) -> tuple[Synapse, ...]:
        """The groups whose weights a core stores: all, but those that drive neurons directly."""
        return () if self.is_driven else self.groups

    @property
    def takes_scale(self) -> bool:
        """Whether one scale of all weights can be taken up by the threshold."""
        return isinstance(self.neuron, CubaNeuron) and len(self.synapses) == 1

    @property
    def n_channels(self) -> int:
        """Number of channels; after dense synapses every neuron is one."""
        return self.shape[0]


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
