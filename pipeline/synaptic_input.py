"""What a layer receives: spikes of its sources times weights, summed per step.

In: a layer of an integer network and the spikes of its sources. Out: (n, t, n_neurons) sums. Each
group is laid out once, as dense rows, compressed rows or a kernel; spikes are followed one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import kernels_graded, kernels_synapses
from pipeline.mapping.connectivity import unrolled
from pipeline.network import Layer, Network, Shape, Synapse
from pipeline.neuron import RelayNeuron, ResonatorNeuron, SigmaDeltaNeuron

# Above this density dense rows beat compressed ones: at 0.5 % they are even, at 3 % dense rows take
# half the time (2312 x 512, 2 to 10 % of the inputs active, two cores).
_DENSE_ROW_DENSITY = 0.01
_N_CHANNELS = 8  # of a group's output; with fewer, as in pooling, a convolution is unrolled
_WIDTH = 32  # rows are a multiple of it: no remainder that does not vectorize

_Reached = tuple[NDArray[np.int64], NDArray[np.int64]]


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
        self._wraps = isinstance(layer.neuron, (SigmaDeltaNeuron, RelayNeuron))

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
        # nobody reads what is empty: the first group of a plain layer sets it
        acc = np.zeros((2, *shape), np.int32) if self._is_complex else np.empty(shape, np.int32)
        for k, (synapse, source, weights) in enumerate(
                zip(self._layer.synapses, sources, self._weights, strict=True)):
            spikes = np.ascontiguousarray(source).reshape(n_samples, -1, n_steps)
            if self._wraps and synapse.kind == "conv":  # each convolution wraps by itself
                total = np.empty_like(acc)
                weights.accumulate(spikes, False, total)
                kernels_graded.wrap_24(total)
                acc = total if k == 0 else acc + total
            else:
                part = acc[int(synapse.part == "imag")] if self._is_complex else acc
                weights.accumulate(spikes, self._is_complex or k > 0, part)
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


@dataclass(frozen=True)
class _DenseRows:
    """Rows of weights in the fewest bytes that hold them.

    Attributes
    ----------
    rows : (in + 1, width) int8, int16 or int32, see :func:`kernels_synapses.accumulate_dense`
    shift : lowest bits that are zero in all weights, and not in ``rows``
    sum_dtype : in which rows are added
    n_per_sum : rows that can be added in it
    """

    rows: NDArray[Any]
    shift: int
    sum_dtype: Any
    n_per_sum: int

    @staticmethod
    def of(weight: NDArray[np.int32]) -> _DenseRows:
        """Return the rows of a matrix (out, in)."""
        n_out, n_in = weight.shape
        bits = int(np.bitwise_or.reduce(weight, axis=None))
        shift = (bits & -bits).bit_length() - 1 if bits else 0
        low, high = int(weight.min()) >> shift, int(weight.max()) >> shift
        n_per_sum = _at_once(np.iinfo(np.int16).max // max(1, -low, high))
        dtype: Any
        sum_dtype: Any
        if n_per_sum:
            dtype, sum_dtype = np.int8 if -128 <= low and high <= 127 else np.int16, np.int16
        else:
            dtype, sum_dtype, n_per_sum = np.int32, np.int32, _at_once(np.iinfo(np.int32).max)
        rows = np.zeros((n_in + 1, -(-n_out // _WIDTH) * _WIDTH), dtype=dtype)
        rows[:n_in, :n_out] = (weight >> shift).astype(dtype).T
        return _DenseRows(rows, shift, sum_dtype, n_per_sum)

    def accumulate(self, spikes: NDArray[Any], is_begun: bool, acc: NDArray[np.int32]) -> None:
        sums = np.zeros((len(spikes), self.rows.shape[1]), dtype=self.sum_dtype)
        kernels_synapses.accumulate_dense(
            spikes, self.rows, self.shift, self.n_per_sum, is_begun, sums, acc)


@dataclass(frozen=True)
class _SparseRows:
    """Fan-outs of all inputs, one after the other: (in + 1,) int64, (k,) int32, (k,) int32."""

    indptr: NDArray[np.int64]
    index: NDArray[np.int32]
    value: NDArray[np.int32]

    def accumulate(self, spikes: NDArray[Any], is_begun: bool, acc: NDArray[np.int32]) -> None:
        kernels_synapses.accumulate_sparse(
            spikes, self.indptr, self.index, self.value, is_begun, acc)


@dataclass(frozen=True)
class _Kernel:
    """A convolution as it spreads from an input, see :func:`kernels_synapses.accumulate_conv`.

    Attributes
    ----------
    shape, out_shape : (y, x) of the input, (y, x, groups, c_out / groups) of the output
    weights : (c_in, ky, kx, c_out / groups) int32
    rows, columns : what each reaches, and where that begins
    """

    shape: Shape
    out_shape: Shape
    weights: NDArray[np.int32]
    rows: _Reached
    columns: _Reached

    @staticmethod
    def of(synapse: Synapse, in_shape: Shape, out_shape: Shape) -> _Kernel:
        """Return the convolution of an input of (c, y, x)."""
        geometry = synapse.geometry
        assert geometry is not None
        n_groups, (c_out, n_in_each, n_y, n_x) = geometry.groups, synapse.weight.shape
        grouped = synapse.weight.reshape(n_groups, c_out // n_groups, n_in_each, n_y, n_x)
        weights = grouped.transpose(0, 2, 3, 4, 1).reshape(in_shape[0], n_y, n_x, -1)
        rows, columns = (
            _reached(in_shape[1 + axis], out_shape[1 + axis], synapse.weight.shape[2 + axis],
                     geometry.stride[axis], geometry.padding[axis], geometry.dilation[axis])
            for axis in (0, 1)
        )
        return _Kernel(
            in_shape[1:], (*out_shape[1:], n_groups, c_out // n_groups),
            np.ascontiguousarray(weights, dtype=np.int32), rows, columns)

    def accumulate(self, spikes: NDArray[Any], is_begun: bool, acc: NDArray[np.int32]) -> None:
        """Set or add the sums of all steps."""
        sums = np.empty((len(spikes), *self.out_shape), dtype=np.int32)
        kernels_synapses.accumulate_conv(
            spikes, self.shape, self.weights, self.rows[0], self.rows[1], self.columns[0],
            self.columns[1], is_begun, sums, acc)


def _reached(
    n_in: int, n_out: int, n_taps: int, stride: int, padding: int, dilation: int
) -> _Reached:
    """Return where each input's taps and targets along one axis begin, and those in pairs."""
    tap, target = (axis.ravel() for axis in np.indices((n_taps, n_out)))
    source = target * stride - padding + tap * dilation
    inside = np.flatnonzero((source >= 0) & (source < n_in))
    order = inside[np.argsort(source[inside], kind="stable")]
    begin = np.searchsorted(source[order], np.arange(n_in + 1))
    return begin, np.stack([tap[order], target[order]], axis=1)


def _layout(network: Network, synapse: Synapse) -> _DenseRows | _SparseRows | _Kernel:
    """Return rows (in, out) of a dense matrix, compressed ones of a sparse matrix or a conv."""
    geometry = synapse.geometry
    if geometry and len(synapse.weight) >= _N_CHANNELS * geometry.groups:
        return _Kernel.of(
            synapse, network.shape_of(synapse.source), network.layer_of(synapse.name).shape)
    if geometry is None and 1.0 - synapse.sparsity > _DENSE_ROW_DENSITY:
        return _DenseRows.of(synapse.weight)
    matrix = unrolled(network, synapse)
    matrix.eliminate_zeros()
    return _SparseRows(
        matrix.indptr.astype(np.int64), matrix.indices, matrix.data.astype(np.int32))


def _at_once(n_rows: int) -> int:
    return n_rows - n_rows % kernels_synapses.N_ROWS_AT_ONCE
