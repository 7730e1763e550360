"""What a layer receives: spikes of its sources times weights, summed per step.

In: a layer of an integer network and the spikes of its sources. Out: (n, t, n_neurons) sums. Each
group is laid out once; spikes are followed one by one, or, where they are many, by matrix product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import kernels, kernels_graded
from pipeline.connectivity import unrolled
from pipeline.network import Layer, Network, Shape, Synapse
from pipeline.neuron import ResonatorNeuron, SigmaDeltaNeuron

# Above this density a dense row, which vectorizes, beats a compressed one: at 5 % they are even, at
# 25 % it is three to four times as fast (2312 x 512, 2 to 10 % of the inputs active, two cores). A
# matrix product in float32 was slower than either up to 30 % of the inputs active.
_DENSE_ROW_DENSITY = 0.06

Rows = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


class Accumulator:
    """The synapses of one layer, laid out for the kernels.

    What a layer receives does not depend on its thresholds: to try several, accumulate once and
    run the neurons (:func:`pipeline.emulate.run_neurons`) for each.
    """

    def __init__(self, network: Network, layer: Layer) -> None:
        if not all(synapse.is_integer for synapse in layer.synapses):
            raise TypeError("only an integer network can be emulated; quantize it first")
        self._network, self._layer = network, layer
        self._weights = [_layout(network, synapse) for synapse in layer.synapses]
        self._is_complex = isinstance(layer.neuron, ResonatorNeuron)
        self._wraps = isinstance(layer.neuron, SigmaDeltaNeuron)

    def run(self, outputs: dict[str, NDArray[np.uint8]]) -> NDArray[np.int32]:
        """Return the sum of weights of each step, (n, t, n_neurons).

        Of resonators (2, n, t, n_neurons), from real and from imaginary weights.

        Parameters
        ----------
        outputs : spikes (n, *shape, t) of, at least, every source of the layer
        """
        sources = [source_spikes(self._network, outputs, s.source) for s in self._layer.synapses]
        n_samples, n_steps = len(sources[0]), sources[0].shape[-1]
        shape: Shape = (n_samples, n_steps, self._layer.n_neurons)
        acc = np.zeros((2, *shape) if self._is_complex else shape, dtype=np.int32)
        for synapse, source, weights in zip(
                self._layer.synapses, sources, self._weights, strict=True):
            total = acc[int(synapse.part == "imag")] if self._is_complex else acc
            if self._wraps and synapse.kind == "conv":
                total = np.zeros_like(acc)  # each convolution wraps by itself
            spikes = np.ascontiguousarray(source).reshape(n_samples, -1, n_steps)
            if isinstance(weights, tuple):
                indptr, index, value = weights
                kernels.accumulate_sparse(spikes, indptr, index, value, total)
            else:
                kernels.accumulate_dense(spikes, weights, total)
            if self._wraps and synapse.kind == "conv":
                kernels_graded.wrap_24(total)
                acc += total
        return acc


def source_spikes(
    network: Network, outputs: dict[str, NDArray[np.uint8]], source: str
) -> NDArray[np.uint8]:
    """Return the spikes (n, *shape, t) of the input, a layer or a join of those in ``outputs``."""
    if source in outputs:
        return outputs[source]
    join = next(join for join in network.joins if join.name == source)
    parts = [source_spikes(network, outputs, name) for name in join.sources]
    if len(join.shape) == 1:
        parts = [part.reshape(len(part), -1, part.shape[-1]) for part in parts]
    if join.kind == "concat":
        return np.concatenate(parts, axis=1)
    kind: Any = np.uint8 if all(part.dtype == np.uint8 for part in parts) else np.int32
    total: NDArray[np.uint8] = np.sum(parts, axis=0, dtype=kind)
    return total


def _layout(network: Network, synapse: Synapse) -> NDArray[Any] | Rows:
    """Return (in, out) rows for a dense matrix, compressed rows for a sparse one or a conv."""
    if synapse.kind == "dense" and 1.0 - synapse.sparsity > _DENSE_ROW_DENSITY:
        # half the bytes to read where they suffice, which is nearly always
        kind = np.int16 if np.abs(synapse.weight).max() < 1 << 15 else np.int32
        return np.ascontiguousarray(synapse.weight.T, dtype=kind)
    matrix = unrolled(network, synapse)
    matrix.eliminate_zeros()
    return matrix.indptr.astype(np.int64), matrix.indices, matrix.data.astype(np.int32)
