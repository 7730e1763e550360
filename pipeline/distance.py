"""How far two spike trains are apart, as a leaky membrane sees them.

In: two arrays of spikes, or two networks. Out: their squared van Rossum distance, per sample or per
layer. The exponential filter is the voltage of a neuron with the given decay, without threshold and
in real numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import emulate, run_neurons
from pipeline.graded import depths
from pipeline.network import Network
from pipeline.synaptic_input import Accumulator

_SAMPLES_AT_ONCE = 16


def van_rossum_distance(
    a: NDArray[Any], b: NDArray[Any], voltage_decay: float
) -> NDArray[np.float64]:
    r"""Return the squared van Rossum distance of two spike trains, (n,).

    .. math::
        D = \sum_{i, t} (v^a_{i,t} - v^b_{i,t})^2, \qquad
        v_t = (1 - d_v / 4096)\, v_{t-1} + s_t

    Parameters
    ----------
    a, b : (n, ..., t) integers of one shape
    voltage_decay : d_v, 0 (every difference is remembered to the end) to 4096 (differing spikes
        are counted)

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    M. C. W. van Rossum, "A novel spike distance", Neural Computation 13(4), 2001, eq. 2.1-2.3; in
    steps, without the factor 1 / tau.
    """
    if a.shape != b.shape:
        raise ValueError(f"spikes of shapes {a.shape} and {b.shape} have no distance")
    kept_frac = 1.0 - voltage_decay / 4096
    distances = np.zeros(len(a))
    kind: Any = np.int16 if a.dtype == b.dtype == np.uint8 else np.int64
    for n in range(len(a)):
        # the filter is linear: that of the difference is the difference of the two
        difference = np.subtract(a[n], b[n], dtype=kind).reshape(-1, a.shape[-1])
        v = np.zeros(len(difference))
        for step in np.ascontiguousarray(difference.T):
            v *= kept_frac
            v += step
            distances[n] += v @ v
    return distances


def executed_losses(
    network: Network, dense: Network, spikes: NDArray[np.uint8]
) -> dict[str, float]:
    """Return per layer how far its spikes are from the dense layer's, on the same input.

    What a predicted loss predicts, executed: every layer receives what its dense twin receives, so
    that it answers for itself.

    Parameters
    ----------
    network : compressed, in the shape of ``dense``
    spikes : (n, *input_shape, t) uint8

    Returns
    -------
    By layer name, the mean over samples of :func:`van_rossum_distance` with the leak of the layer's
    neurons.
    """
    accumulators = {layer.name: Accumulator(network, layer) for layer in network.layers}
    sums, reached = dict.fromkeys(accumulators, 0.0), depths(network)
    for begin in range(0, len(spikes), _SAMPLES_AT_ONCE):
        outputs = emulate(dense, spikes[begin : begin + _SAMPLES_AT_ONCE]).spikes
        for layer in network.layers:
            ours, _ = run_neurons(
                layer, accumulators[layer.name].run(outputs), reached[layer.name] - 1)
            sums[layer.name] += float(van_rossum_distance(
                ours, outputs[layer.name], layer.neuron.leak).sum())
    return {name: total / len(spikes) for name, total in sums.items()}
