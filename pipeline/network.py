"""The nouns: a spiking network as layers of neurons, each fed by one or more synapse groups.

Everything between ingest and export speaks of a :class:`Network`. Weights and thresholds share one
unit, Loihi's integer weight unit (SLAYER's weight times its ``scale``, usually 64); a weight array
is float64 while a network is being compressed and int32 once it is quantized. Nothing here knows
SLAYER, NetX or a chip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT

INPUT = "input"
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
    """

    name: str
    source: str
    weight: NDArray[Any]
    geometry: ConvGeometry | None = None
    weight_bits: int | None = None
    allowed: NDArray[np.bool_] | None = None

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
        return float(np.mean(self.weight == 0))


@dataclass(frozen=True)
class CubaNeuron:
    r"""Current-based leaky integrate-and-fire neurons that share their parameters.

    .. math::
        u_t &= u_{t-1} (4096 - d_u) / 4096 + 64 \sum W s_t \\
        v_t &= v_{t-1} (4096 - d_v) / 4096 + u_t, \qquad
        s_t = [v_t > 64\,\vartheta], \quad v_t \leftarrow 0 \text{ on a spike}

    Attributes
    ----------
    current_decay, voltage_decay : d_u and d_v, 0..4096; d_u = 4096 is a LIF, d_v = 0 an IF neuron
    vth_mant : threshold mantissa, in weight units
    channel_vth_mant : threshold mantissa of each channel (of each neuron after dense synapses), in
        place of ``vth_mant``, which stays the layer's nominal one; None where all share that one.
        Only the emulator runs it: NetX and SLAYER hold one threshold per layer
    """

    current_decay: int
    voltage_decay: int
    vth_mant: int
    channel_vth_mant: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Layer:
    """Neurons of one kind and shape, and the synapse groups whose currents they add.

    Attributes
    ----------
    shape : (c, y, x) after convolutions, (features,) after dense synapses
    """

    name: str
    synapses: tuple[Synapse, ...]
    neuron: CubaNeuron
    shape: Shape

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))

    @property
    def n_channels(self) -> int:
        """Number of channels; after dense synapses every neuron is one."""
        return self.shape[0]


@dataclass(frozen=True)
class Network:
    """Layers in an order in which every source precedes its targets.

    Attributes
    ----------
    input_shape : (c, y, x) or (features,) of the binary input spikes
    n_steps : time steps of one sample

    Raises
    ------
    UnsupportedLayerError
        If a synapse does not fit between its source and its layer, two layers share a name, or
        thresholds per channel do not fit the channels or the chip.
    CheckpointError
        If a weight is not finite.
    """

    name: str
    input_shape: Shape
    n_steps: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for layer in self.layers:
            if layer.name in shapes:
                raise UnsupportedLayerError(f"two layers are named '{layer.name}'")
            for synapse in layer.synapses:
                _check_synapse(synapse, layer, shapes)
            _check_thresholds(layer)
            shapes[layer.name] = layer.shape

    @property
    def synapses(self) -> tuple[Synapse, ...]:
        """All synapse groups, in layer order."""
        return tuple(synapse for layer in self.layers for synapse in layer.synapses)

    @property
    def is_integer(self) -> bool:
        """Whether every weight is an integer of the chip."""
        return all(synapse.is_integer for synapse in self.synapses)

    @property
    def sparsity(self) -> float:
        """Share of all weights that are zero, 0 to 1."""
        n_weights = sum(synapse.weight.size for synapse in self.synapses)
        return sum(int(np.sum(s.weight == 0)) for s in self.synapses) / n_weights

    def shape_of(self, source: str) -> Shape:
        """Return the shape of a layer's output or of the input."""
        if source == INPUT:
            return self.input_shape
        return next(layer.shape for layer in self.layers if layer.name == source)

    def layer_of(self, synapse_name: str) -> Layer:
        """Return the layer that holds a synapse group."""
        return next(
            layer for layer in self.layers if any(s.name == synapse_name for s in layer.synapses)
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


def conv_output_shape(weight_shape: Shape, geometry: ConvGeometry, in_shape: Shape) -> Shape:
    """Return (c_out, y, x) of a convolution over (c_in, y, x)."""
    extent = [
        (in_shape[1 + axis] + 2 * geometry.padding[axis]
         - geometry.dilation[axis] * (weight_shape[2 + axis] - 1) - 1)
        // geometry.stride[axis] + 1
        for axis in (0, 1)
    ]
    return (weight_shape[0], extent[0], extent[1])


def _check_synapse(synapse: Synapse, layer: Layer, shapes: dict[str, Shape]) -> None:
    if synapse.source not in shapes:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': its source '{synapse.source}' is not an earlier layer; "
            "recurrent and dangling connections are not supported"
        )
    in_shape = shapes[synapse.source]
    if synapse.geometry is None:
        expected: Shape = (layer.n_neurons, int(np.prod(in_shape)))
        fits = synapse.weight.shape == expected
    else:
        expected = (layer.shape[0], in_shape[0] // synapse.geometry.groups, -1, -1)
        fits = (
            len(in_shape) == 3 and synapse.weight.ndim == 4
            and synapse.weight.shape[:2] == expected[:2]
            and conv_output_shape(synapse.weight.shape, synapse.geometry, in_shape) == layer.shape
        )
    if not fits:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': weight of shape {synapse.weight.shape} does not connect "
            f"'{synapse.source}' {in_shape} to {layer.shape}"
        )
    if not np.isfinite(synapse.weight).all():
        n_bad = int(np.sum(~np.isfinite(synapse.weight)))
        raise CheckpointError(
            f"layer '{layer.name}': {n_bad} of {synapse.weight.size} weights are not finite; "
            "the checkpoint is damaged or its training diverged"
        )


def _check_thresholds(layer: Layer) -> None:
    thresholds = layer.neuron.channel_vth_mant
    if thresholds is None:
        return
    if len(thresholds) != layer.n_channels:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': {len(thresholds)} thresholds for {layer.n_channels} channels; "
            "give one per channel, or one per layer (vth_mant alone)"
        )
    outside = [vth for vth in thresholds if not 1 <= vth <= MAX_EXACT_VTH_MANT]
    if outside:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': threshold mantissa {outside[0]} of a channel is outside "
            f"1..{MAX_EXACT_VTH_MANT}; scale the layer's weights and thresholds together"
        )
