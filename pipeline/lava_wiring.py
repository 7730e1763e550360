"""A network of Lava processes that NetX has no words for, wired by us from the same processes.

In: a lowered integer :class:`~pipeline.network.Network`. Out: one process of neurons per layer, fed
by a Dense, DelayDense or Conv process per synapse group; what encodes the input takes it without
synapses, as in NetX. Only ``lava_worker`` imports this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.graded.process import GradedVec
from lava.proc.lif.process import LIF
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta
from lava.utils.weightutils import SignMode
from numpy.typing import NDArray

from pipeline.graded import encodes, is_graded
from pipeline.mapping.connectivity import unrolled
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.network_checks import MAX_AXONAL_DELAY
from pipeline.neuron import CubaNeuron, RelayNeuron, ResonatorNeuron

_GRADED_BITS = 24


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
        if encodes(layer):
            layers.append(WiredLayer(
                layer.name, neuron, (), ((neuron.a_in, len(layer.shape) == 3),)))
            continue
        processes, inputs = [], []
        groups = (*layer.synapses, *([layer.recurrent] if layer.recurrent else []))
        for synapse in groups:
            delays = _source_delays(network, synapse, synapse is layer.recurrent)
            n_bits = n_message_bits if synapse.source == INPUT else \
                _GRADED_BITS * is_graded(network.layer(synapse.source))
            process = _synapse(network, synapse, delays, n_bits)
            is_spatial = isinstance(process, Conv)
            if synapse.source == INPUT:
                inputs.append((process.s_in, is_spatial))
            else:
                _feed(neurons[synapse.source].s_out, process.s_in, is_spatial)
            _deliver(process.a_out, _receiver(layer, neuron, synapse), is_spatial)
            processes.append(process)
        layers.append(WiredLayer(layer.name, neuron, tuple(processes), tuple(inputs)))
    return layers


def _receiver(layer: Layer, neuron: Any, synapse: Synapse) -> Any:
    if not isinstance(layer.neuron, ResonatorNeuron):
        return neuron.a_in
    return neuron.a_imag_in if synapse.part == "imag" else neuron.a_real_in


def _neuron(layer: Layer) -> Any:
    neuron = layer.neuron
    shape = layer.shape[::-1]
    if isinstance(neuron, ResonatorNeuron):
        return _resonator(neuron, shape)
    if isinstance(neuron, RelayNeuron):
        return GradedVec(shape=shape, vth=0)
    bias = np.zeros(layer.n_neurons) if neuron.bias is None else np.repeat(
        neuron.bias, layer.n_neurons // layer.n_channels)
    bias = bias.reshape(layer.shape).T.astype(np.int32)
    if isinstance(neuron, CubaNeuron):
        return LIF(
            # lava adds 1 to du
            shape=shape, du=neuron.current_decay - 1, dv=neuron.voltage_decay, vth=neuron.vth_mant,
            bias_mant=bias, bias_exp=6)
    if neuron.role == "sigma":
        return Sigma(shape=shape)
    # exponents as stock NetX gives them
    common = {"shape": shape, "vth": neuron.vth_mant, "cum_error": neuron.is_cumulative,
              "spike_exp": 6, "state_exp": 6}
    if neuron.role == "delta":
        return Delta(**common)
    mode = ActivationMode.RELU if neuron.activation == "relu" else ActivationMode.UNIT
    return SigmaDelta(**common, bias=bias, act_mode=mode)


def _resonator(neuron: ResonatorNeuron, shape: tuple[int, ...]) -> Any:
    """Return the process with exactly these integers.

    It takes period and decay, and truncates the sine and cosine it makes of them: those of values
    half a step higher are sure to come out.
    """
    sine, cosine = (neuron.sin_decay + 0.5) / 4096, (neuron.cos_decay + 0.5) / 4096
    kind = RF if neuron.kind == "rf" else RF_IZ
    return kind(
        shape=shape, period=2 * np.pi / np.arctan2(sine, cosine), alpha=1 - np.hypot(sine, cosine),
        state_exp=6, decay_bits=12, vth=neuron.vth_mant)


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
            weights=weight, delays=np.tile(delays, (len(weight), 1)), max_delay=MAX_AXONAL_DELAY,
            num_message_bits=n_bits, **_sign_mode(weight))
    if synapse.geometry is None:
        weight = synapse.weight.astype(np.int32)
        return Dense(weights=weight, num_message_bits=n_bits, **_sign_mode(weight))
    geometry = synapse.geometry
    # as stock NetX does: SLAYER correlates, Lava convolves, and its axes are (x, y)
    kernel = synapse.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    return Conv(
        weight=kernel.astype(np.int32), input_shape=network.shape_of(synapse.source)[::-1],
        padding=geometry.padding[::-1], stride=geometry.stride[::-1],
        dilation=geometry.dilation[::-1], groups=geometry.groups,
        num_message_bits=n_bits)


def _sign_mode(weight: NDArray[np.int32]) -> dict[str, Any]:
    """Return the mode of a matrix that Lava would take for inhibitory, and clip at -255."""
    return {"sign_mode": SignMode.MIXED} if weight.min() < -255 else {}


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
