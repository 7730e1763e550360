"""A network of Lava processes that NetX has no words for, wired by us from the same processes.

In: a lowered integer :class:`~pipeline.network.Network`. Out: one LIF process per layer, fed by a
Dense, DelayDense or Conv process per synapse group. Only ``lava_worker`` imports this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.lif.process import LIF
from numpy.typing import NDArray

from pipeline.connectivity import unrolled
from pipeline.network import INPUT, MAX_AXONAL_DELAY, Layer, Network, Synapse


@dataclass(frozen=True)
class WiredLayer:
    """The processes of a layer.

    Attributes
    ----------
    inputs : ports that take the network's input, with whether they take it as (x, y, c)
    """

    name: str
    neuron: Any
    synapses: tuple[Any, ...]
    inputs: tuple[tuple[Any, bool], ...]


def wire(network: Network, n_message_bits: int) -> list[WiredLayer]:
    """Return the processes of every layer, connected; the input's ports are left open.

    Parameters
    ----------
    n_message_bits : of the input; 0 for binary spikes
    """
    neurons: dict[str, Any] = {}
    layers = []
    for layer in network.layers:
        neuron = neurons[layer.name] = _neuron(layer)
        processes, inputs = [], []
        groups = (*layer.synapses, *([layer.recurrent] if layer.recurrent else []))
        for synapse in groups:
            delays = _source_delays(network, synapse, synapse is layer.recurrent)
            n_bits = n_message_bits if synapse.source == INPUT else 0
            process = _synapse(network, synapse, delays, n_bits)
            is_spatial = isinstance(process, Conv)
            if synapse.source == INPUT:
                inputs.append((process.s_in, is_spatial))
            else:
                _feed(neurons[synapse.source].s_out, process.s_in, is_spatial)
            _deliver(process.a_out, neuron.a_in, is_spatial)
            processes.append(process)
        layers.append(WiredLayer(layer.name, neuron, tuple(processes), tuple(inputs)))
    return layers


def _neuron(layer: Layer) -> Any:
    neuron = layer.neuron
    shape = layer.shape[::-1]
    bias = np.zeros(layer.n_neurons) if neuron.bias is None else np.repeat(
        neuron.bias, layer.n_neurons // layer.n_channels)
    return LIF(
        # lava adds 1 to du
        shape=shape, du=neuron.current_decay - 1, dv=neuron.voltage_decay, vth=neuron.vth_mant,
        bias_mant=bias.reshape(layer.shape).T.astype(np.int32), bias_exp=6)


def _source_delays(
    network: Network, synapse: Synapse, is_recurrent: bool
) -> NDArray[np.int64] | None:
    """Return the axonal delay of every source neuron; a recurrent group has none of its own."""
    if synapse.source == INPUT or is_recurrent:
        return None
    layer = network.layer(synapse.source)
    if layer.axonal_delay is None:
        return None
    return np.repeat(np.array(layer.axonal_delay), layer.n_neurons // layer.n_channels)


def _synapse(
    network: Network, synapse: Synapse, delays: NDArray[np.int64] | None, n_bits: int
) -> Any:
    """Return the process of a group; with delays a convolution is unrolled."""
    if delays is not None:
        # Lava's convolution knows no delays: its dense synapses do
        weight = unrolled(network, synapse).toarray().T.astype(np.int32)
        return DelayDense(
            weights=weight, delays=np.tile(delays, (len(weight), 1)), max_delay=MAX_AXONAL_DELAY)
    if synapse.geometry is None:
        return Dense(weights=synapse.weight.astype(np.int32), num_message_bits=n_bits)
    geometry = synapse.geometry
    # as stock NetX does: SLAYER correlates, Lava convolves, and its axes are (x, y)
    kernel = synapse.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    return Conv(
        weight=kernel.astype(np.int32), input_shape=network.shape_of(synapse.source)[::-1],
        padding=geometry.padding[::-1], stride=geometry.stride[::-1],
        dilation=geometry.dilation[::-1], groups=geometry.groups,
        num_message_bits=n_bits)


def _feed(port: Any, synapse: Any, is_spatial: bool) -> None:
    if is_spatial or len(port.shape) == 1:
        port.connect(synapse)
    else:
        port.transpose([2, 1, 0]).flatten().connect(synapse)


def _deliver(port: Any, neuron: Any, is_spatial: bool) -> None:
    """Connect synapses to neurons; those of unrolled convolutions come in C, Y, X order."""
    if is_spatial or len(neuron.shape) == 1:
        port.connect(neuron)
    else:
        port.reshape(neuron.shape[::-1]).transpose([2, 1, 0]).connect(neuron)
