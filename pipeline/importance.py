r"""How much an error of each neuron's potential matters to the network's output.

In: the dense integer network and its firing rates. Out: one factor per channel of every layer.
SBC weighs the potential errors of all rows of a layer alike; but an error of a neuron that nearly
never spikes, or that few listen to, is worth less. To first order an error of mean square ``e``
changes the spikes of neuron r with energy rate_r e / theta^2, and each changed spike moves the
potential of neuron o behind it by W_or k(t), k the kernel of its two filters. Carried back from the
output::

    S_r = rate_r / theta^2 * sum over o, t of S_o (W_or k(t))^2,    S = rate / theta^2 at the output

The factor makes the losses of rows, and of layers, comparable: they are all errors of the output.
Graded relays send errors on as they are: rate / theta^2 is 1 there, and k is one step.
This is ours, not the paper's; what it brings is in ``make bench-sbc``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.lower import without_joins
from pipeline.network import Layer, Network, Synapse
from pipeline.neuron import CubaNeuron, Neuron, RelayNeuron

_KERNEL_STEPS = 4096
_LARGEST_LOG = 400.0  # of an importance, either way; beyond it only ratios are kept
_LEAST_RATE_FRAC = 0.01  # of the layer's mean: a neuron silent in calibration may still spike


def output_importance(
    network: Network, rates: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the importance of each channel of each layer, (channels,) float64, positive.

    Parameters
    ----------
    rates : spikes per step of each channel, by layer name
    """
    if not all(isinstance(layer.neuron, (CubaNeuron, RelayNeuron)) for layer in network.layers):
        # the first-order argument is about thresholds and resets of CUBA neurons
        return {layer.name: np.ones(layer.n_channels) for layer in network.layers}
    network = without_joins(network)
    # of mean 1, and the logarithm of what that is: over 100 layers it leaves the range of floats
    shares, logs = dict[str, NDArray[np.float64]](), dict[str, float]()
    for layer in reversed(network.layers):
        consumers = [s for s in network.synapses if s.source == layer.name]
        targets = [network.layer_of(synapse.name) for synapse in consumers]
        common = max((logs[target.name] for target in targets), default=0.0)
        received = np.zeros(layer.n_channels) if consumers else np.ones(layer.n_channels)
        for synapse, target in zip(consumers, targets, strict=True):
            factor = _kernel_energy(target.neuron) * float(np.exp(logs[target.name] - common))
            received += factor * _carried_back(layer, synapse, shares[target.name])
        # a neuron without consumers would get zero: nothing may be free
        received = np.maximum(received, 1e-6 * received.mean() + 1e-300)
        importance = _gain(layer, rates[layer.name]) * received
        shares[layer.name] = importance / importance.mean()
        logs[layer.name] = common + float(np.log(importance.mean()))
    most = max(logs.values())
    shift = most if max(most, -min(logs.values())) > _LARGEST_LOG else 0.0
    return {name: share * float(np.exp(max(logs[name] - shift, -_LARGEST_LOG)))
            for name, share in shares.items()}


def _gain(layer: Layer, rates: NDArray[np.float64]) -> NDArray[np.float64] | float:
    """Return the energy of what a layer sends otherwise for an error of mean square 1."""
    if not isinstance(layer.neuron, CubaNeuron) or not layer.neuron.fires:
        return 1.0  # relays, and neurons read by their voltage, have no threshold
    rate = np.maximum(rates, _LEAST_RATE_FRAC * rates.mean() + 1e-12)
    gain: NDArray[np.float64] = rate / layer.neuron.vth_mant**2
    return gain


def _carried_back(
    layer: Layer, synapse: Synapse, importance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sum over targets of importance times squared weight, per channel of the source."""
    square = np.square(synapse.weight.astype(np.float64))
    if synapse.geometry is None:
        by_input = importance @ square.reshape(len(importance), -1)
        return np.asarray(by_input.reshape(layer.n_channels, -1).mean(axis=1))
    groups = synapse.geometry.groups
    by_group = (importance[:, None] * square.sum(axis=(2, 3))).reshape(
        groups, len(importance) // groups, -1).sum(axis=1)
    # each weight of a kernel meets a source neuron once in stride_y stride_x positions
    return np.asarray(by_group.reshape(-1) / float(np.prod(synapse.geometry.stride)))


def _kernel_energy(neuron: Neuron) -> float:
    """Return the sum of the squared response of the potential to one spike."""
    if not isinstance(neuron, CubaNeuron):
        return 1.0
    keep_u, keep_v = 1 - neuron.current_decay / 4096, 1 - neuron.voltage_decay / 4096
    u, v, energy = 1.0, 0.0, 0.0
    for _ in range(_KERNEL_STEPS):
        v = keep_v * v + u
        u *= keep_u
        energy += v * v
    return energy
