"""Bit-exact integer simulation of a quantized network, batched over samples: the engine.

In: an integer :class:`~pipeline.network.Network` and binary spikes. Out: a :class:`Trace` of every
layer, equal to Lava's fixed-point CPU backend and to SLAYER's own forward, step for step. A layer
is run over the whole time axis before the next, which is valid because networks are feed-forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import kernels
from pipeline.connectivity import unrolled
from pipeline.errors import DataError
from pipeline.network import INPUT, Layer, Network, Synapse

# Above this density a dense row, which vectorizes, beats a compressed one.
_DENSE_ROW_DENSITY = 0.25
_BATCH = 64


@dataclass(frozen=True)
class Trace:
    """Spikes of every layer for some samples.

    Attributes
    ----------
    spikes : per layer and for ``INPUT``, (n, *shape, t) uint8 in {0, 1}
    n_active : per layer, (n, n_neurons) int32: steps at which a neuron had input or nonzero state;
        empty where the backend cannot tell
    """

    spikes: dict[str, NDArray[np.uint8]]
    n_active: dict[str, NDArray[np.int32]]


def emulate(network: Network, spikes: NDArray[np.uint8]) -> Trace:
    """Return the spikes of all layers.

    Parameters
    ----------
    spikes : (n, *network.input_shape, t) uint8 in {0, 1}

    Raises
    ------
    DataError
        If the spikes do not have the network's input shape.
    """
    check_input(network, spikes)
    engine = _Engine(network)
    batches = [engine.run(spikes[i : i + _BATCH]) for i in range(0, len(spikes), _BATCH)]
    return Trace(
        {name: np.concatenate([b.spikes[name] for b in batches]) for name in batches[0].spikes},
        {name: np.concatenate([b.n_active[name] for b in batches]) for name in batches[0].n_active},
    )


def count_output_spikes(network: Network, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the spikes of each output neuron, (n, n_outputs) int64, keeping no other trace."""
    check_input(network, spikes)
    engine, output = _Engine(network), network.layers[-1].name
    counts = [
        engine.run(spikes[i : i + _BATCH]).spikes[output].sum(axis=-1, dtype=np.int64)
        for i in range(0, len(spikes), _BATCH)
    ]
    return np.concatenate(counts)


def accuracy(network: Network, spikes: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the share of samples whose most active output is the label (lowest index on ties)."""
    return float(np.mean(count_output_spikes(network, spikes).argmax(axis=1) == labels))


def channel_rates(spikes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the spikes per neuron and step of each channel, (channels,), of (n, channels, ..., t).

    After dense synapses every neuron is a channel.
    """
    n_spikes = spikes.sum(axis=(0, *range(2, spikes.ndim)), dtype=np.int64)
    return np.asarray(n_spikes / (spikes.size // spikes.shape[1]), dtype=np.float64)


def check_input(network: Network, spikes: NDArray[np.uint8]) -> None:
    """Raise DataError unless the spikes are a non-empty batch in the network's input shape."""
    if spikes.ndim != len(network.input_shape) + 2 or spikes.shape[1:-1] != network.input_shape:
        raise DataError(
            f"input spikes have shape {spikes.shape}; network '{network.name}' takes "
            f"(n, {', '.join(map(str, network.input_shape))}, n_steps): mend 'input_shape' in "
            "model.yaml or the data"
        )
    if 0 in spikes.shape:
        raise DataError(f"input spikes of shape {spikes.shape} hold no sample or no time step")


class Accumulator:
    """The synapses of one layer, laid out for the kernels.

    What a layer receives does not depend on its thresholds: to try several, accumulate once and
    run the neurons (:func:`run_neurons`) for each.
    """

    def __init__(self, network: Network, layer: Layer) -> None:
        if not all(synapse.is_integer for synapse in layer.synapses):
            raise TypeError("only an integer network can be emulated; quantize it first")
        self._layer = layer
        self._weights = [_layout(network, synapse) for synapse in layer.synapses]

    def run(self, outputs: dict[str, NDArray[np.uint8]]) -> NDArray[np.int32]:
        """Return the sum of weights of each step, (n, t, n_neurons).

        Parameters
        ----------
        outputs : spikes (n, *shape, t) of, at least, every source of the layer
        """
        sources = [outputs[synapse.source] for synapse in self._layer.synapses]
        n_samples, n_steps = len(sources[0]), sources[0].shape[-1]
        acc = np.zeros((n_samples, n_steps, self._layer.n_neurons), dtype=np.int32)
        for source, weights in zip(sources, self._weights, strict=True):
            spikes = np.ascontiguousarray(source, dtype=np.uint8).reshape(n_samples, -1, n_steps)
            if isinstance(weights, tuple):
                indptr, index, value = weights
                kernels.accumulate_sparse(spikes, indptr, index, value, acc)
            else:
                kernels.accumulate_dense(spikes, weights, acc)
        return acc


def run_neurons(
    layer: Layer, acc: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return spikes (n, *shape, t) and active steps (n, n_neurons) for accumulated input."""
    n_samples, n_steps, n_neurons = acc.shape
    spikes = np.zeros((n_samples, n_neurons, n_steps), dtype=np.uint8)
    n_active = np.zeros((n_samples, n_neurons), dtype=np.int32)
    neuron = layer.neuron
    kernels.run_cuba(
        acc, neuron.current_decay, neuron.voltage_decay, _thresholds(layer), spikes, n_active
    )
    return spikes.reshape(n_samples, *layer.shape, n_steps), n_active


class _Engine:
    """A network with its weights laid out for the kernels."""

    def __init__(self, network: Network) -> None:
        self._layers = [(layer, Accumulator(network, layer)) for layer in network.layers]

    def run(self, spikes: NDArray[np.uint8]) -> Trace:
        outputs = {INPUT: np.ascontiguousarray(spikes, dtype=np.uint8)}
        n_active: dict[str, NDArray[np.int32]] = {}
        for layer, accumulator in self._layers:
            acc = accumulator.run(outputs)
            outputs[layer.name], n_active[layer.name] = run_neurons(layer, acc)
        return Trace(outputs, n_active)


def _layout(
    network: Network, synapse: Synapse
) -> NDArray[np.int32] | tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (in, out) rows for a dense matrix, compressed rows for a sparse one or a conv."""
    if synapse.kind == "dense" and 1.0 - synapse.sparsity > _DENSE_ROW_DENSITY:
        return np.ascontiguousarray(synapse.weight.T, dtype=np.int32)
    matrix = unrolled(network, synapse)
    matrix.eliminate_zeros()
    return matrix.indptr.astype(np.int64), matrix.indices, matrix.data.astype(np.int32)


def _thresholds(layer: Layer) -> NDArray[np.int32]:
    """Return the threshold mantissa of every neuron, (n_neurons,)."""
    per_channel = layer.neuron.channel_vth_mant or (layer.neuron.vth_mant,) * layer.n_channels
    return np.repeat(np.array(per_channel, np.int32), layer.n_neurons // layer.n_channels)
