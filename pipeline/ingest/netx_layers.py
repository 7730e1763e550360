"""One entry of a NetX file to one Layer: its synapses, and what stock NetX would make of them.

In: an :class:`~pipeline.ingest.netx_hdf5.Entry` and what reaches it. Out: a
:class:`~pipeline.network.Layer`; shapes and kernels are in the file's order, which is (c, y, x) and
not NetX's own. Pooling becomes a convolution of each channel with itself. Resonators have two
synapse groups, of real and of imaginary weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.netx_hdf5 import Entry
from pipeline.ingest.netx_neurons import to_bias, to_delay, to_neuron, with_bias
from pipeline.ingest.netx_values import StoredWeight, bits, note_range, stored_weights
from pipeline.ledger import LedgerEntry
from pipeline.network import ConvGeometry, Layer, Shape, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron, Neuron, ResonatorNeuron

MAX_NEURONS = 1 << 24


def to_shape(entry: Entry) -> Shape:
    """Return the shape an entry declares.

    Raises
    ------
    CheckpointError
        If it has no sizes, sizes below 1, or more neurons than chips hold.
    """
    sizes = entry.whole("shape").ravel().tolist()
    if min(sizes) < 1 or len(sizes) > 4 or int(np.prod(sizes, dtype=object)) > MAX_NEURONS:
        raise CheckpointError(
            f"{entry.at('shape')}: {tuple(sizes[:9])} is not a shape of 1 to {MAX_NEURONS} neurons"
        )
    return tuple(sizes)


def dense(
    entry: Entry, name: str, source: str, in_shape: Shape | None, ledger: list[LedgerEntry]
) -> Layer:
    """Return a dense layer, recurrent if it has weights for that; without dynamics an Affine."""
    n_out = int(np.prod(to_shape(entry)))
    neuron = _neuron_of(entry, name, n_out, ledger)
    kind, n_in = entry.text("type"), None if in_shape is None else int(np.prod(in_shape))
    groups, recurrent = [], None
    for stored in stored_weights(entry, neuron):
        weight = together = stored.matrix(n_out, n_in)
        n_in = weight.shape[1]
        groups.append(stored.group(name, source, weight))
        if kind == "dense_rec" and recurrent is None:
            feedback = StoredWeight(entry, "weight_rec").matrix(n_out, n_out)
            together = np.hstack((weight, feedback))
            recurrent = Synapse(f"{name}.recurrent", name, feedback, None, bits(feedback))
        note_range(name, "dense", together, ledger)
    n_inputs = groups[0].weight.shape[1]
    _note_contradictions(entry, name, {"inFeatures": (n_inputs,), "outFeatures": (n_out,)}, ledger)
    if kind == "dense_comp":
        what = "of type dense_comp, read as dense; stock NetX fails at it"
        ledger.append(LedgerEntry(name, what, 1, 1))
    layer = Layer(name, tuple(groups), neuron, (n_out,), recurrent=recurrent)
    return _finished(entry, layer, n_inputs, ledger)


def conv(
    entry: Entry, name: str, source: str, in_shape: Shape | None, ledger: list[LedgerEntry]
) -> Layer:
    """Return a convolution."""
    shape, in_shape = to_shape(entry), _spatial(entry, in_shape)
    neuron = to_neuron(entry.group("neuron"), name, shape[0], ledger)
    n_groups = int(entry.whole("groups").flat[0])
    geometry = ConvGeometry(
        _pair(entry, "stride", 1), _pair(entry, "padding", 0), _pair(entry, "dilation", 1),
        n_groups)
    groups = []
    for stored in stored_weights(entry, neuron):
        weight = _kernel(stored, n_groups, in_shape)
        note_range(name, "conv", weight, ledger)
        _note_contradictions(entry, name, {
            "inChannels": (in_shape[0],), "outChannels": weight.shape[:1],
            "kernelSize": weight.shape[2:]}, ledger)
        groups.append(stored.group(name, source, weight, geometry=geometry))
        _check_output(entry, groups[-1], in_shape, shape)
    if len(groups) > 1:
        what = "a convolution with complex weights; stock NetX does not load it"
        ledger.append(LedgerEntry(name, what, 1, 1))
    return _finished(entry, Layer(name, tuple(groups), neuron, shape), 0, ledger)


def pool(
    entry: Entry, name: str, source: str, in_shape: Shape | None, ledger: list[LedgerEntry]
) -> Layer:
    """Return pooling as a convolution of each channel with itself.

    SLAYER pads ``size % kernel`` zeros at the end. A convolution pads both sides alike: as many
    zeros before the kernel's first weight make up for those at the beginning.
    """
    shape, in_shape = to_shape(entry), _spatial(entry, in_shape)
    neuron = to_neuron(entry.group("neuron"), name, shape[0], ledger)
    size, stride = _pair(entry, "kernelSize", 1), _pair(entry, "stride", 1)
    if stride != size or _pair(entry, "padding", 0) != (0, 0) \
            or _pair(entry, "dilation", 1) != (1, 1):
        raise UnsupportedLayerError(
            f"{entry.where}: pooling with padding, dilation or a stride other than its kernel "
            f"{size} mixes channels in SLAYER; nearest: conv with groups = channels"
        )
    # per axis: some drop the rest, as the declared shape tells
    end = (_padding(shape, in_shape, 1, size[0]), _padding(shape, in_shape, 2, size[1]))
    geometry = ConvGeometry(stride, end, groups=in_shape[0])
    groups = []
    for stored in stored_weights(entry, neuron):
        kernel = np.pad(_pool_kernel(stored, size, end, in_shape), [(end[0], 0), (end[1], 0)])
        note_range(name, "conv", kernel, ledger)
        tiled = np.tile(kernel, (in_shape[0], 1, 1, 1))
        groups.append(stored.group(name, source, tiled, geometry=geometry, is_fixed=True))
        _check_output(entry, groups[-1], in_shape, shape)
    what = "pooling lowered to a convolution of each channel; stock NetX does not load it"
    ledger.append(LedgerEntry(name, what, 1, 1))
    return _finished(entry, Layer(name, tuple(groups), neuron, shape), 0, ledger)


def _neuron_of(entry: Entry, name: str, n_out: int, ledger: list[LedgerEntry]) -> Neuron:
    """Return the neurons of a dense entry; without any, those whose voltage is a step's sum."""
    if "neuron" in entry:
        return to_neuron(entry.group("neuron"), name, n_out, ledger)
    what = "no neurons: the voltage is this step's sum, as in SLAYER; NetX adds up the steps"
    ledger.append(LedgerEntry(name, what, 1, 1))
    return CubaNeuron(4096, 4096, NEVER_VTH_MANT)


def _kernel(stored: StoredWeight, n_groups: int, in_shape: Shape) -> NDArray[np.int32]:
    """Return the kernel (c_out, c_in / groups, ky, kx) of a convolution."""
    weight = stored.read()
    if weight.ndim == 5 and weight.shape[4] == 1:  # SLAYER's time axis
        weight = weight[..., 0]
    if weight.ndim != 4 or n_groups < 1 or weight.shape[1] * n_groups != in_shape[0] \
            or weight.shape[0] % n_groups:
        raise CheckpointError(
            f"{stored.at}: of shape {weight.shape} in {n_groups} groups does not take "
            f"{in_shape[0]} channels"
        )
    return weight


def _padding(shape: Shape, in_shape: Shape, axis: int, size: int) -> int:
    n = in_shape[axis]
    return 0 if len(shape) == 3 and n // size == shape[axis] else n % size


def _pool_kernel(
    stored: StoredWeight, size: tuple[int, int], end: tuple[int, int], in_shape: Shape
) -> NDArray[np.int32]:
    """Return the kernel (ky, kx) of pooling; one weight stands for all."""
    weight = stored.read()
    n_kernel = (size[0] + end[0]) * (size[1] + end[1])
    if weight.size not in (1, size[0] * size[1]) or n_kernel * in_shape[0] > MAX_NEURONS:
        raise CheckpointError(
            f"{stored.at}: of shape {weight.shape} is not a kernel {size} over {in_shape}"
        )
    return np.full(size, weight.flat[0]) if weight.size == 1 else weight.reshape(size)


def _finished(entry: Entry, layer: Layer, n_inputs: int, ledger: list[LedgerEntry]) -> Layer:
    """Return the layer with its biases and delays."""
    bias = to_bias(entry, layer.n_channels, layer.n_neurons)
    delay = to_delay(entry, layer.name, layer.n_channels, n_inputs, ledger)
    is_conv = layer.synapses[0].kind == "conv"
    in_netx = {
        "drops the delays of convolutions": is_conv,
        "drops the delays of resonators":
            isinstance(layer.neuron, ResonatorNeuron) and not is_conv,
        "does not load recurrent layers with delays": layer.recurrent is not None,
        "delays the input instead, which makes other spikes beside biases": bias is not None,
    }
    if delay is not None:
        ledger.extend(
            LedgerEntry(layer.name, f"delays of spikes kept; stock NetX {what}", len(delay),
                        len(delay))
            for what, is_so in in_netx.items() if is_so)
    return replace(layer, neuron=with_bias(entry, layer.neuron, bias), axonal_delay=delay)


def _spatial(entry: Entry, in_shape: Shape | None) -> Shape:
    if in_shape is None:
        raise CheckpointError(
            f"{entry.where}: the file does not tell the shape of its input and the first layer is "
            f"a {entry.text('type')}; give input_shape as (c, y, x)"
        )
    if len(in_shape) != 3:
        raise CheckpointError(f"{entry.where}: needs (c, y, x), and {in_shape} arrives")
    return in_shape


def _pair(entry: Entry, key: str, low: int) -> tuple[int, int]:
    """Return (y, x) from two numbers, or one for both."""
    values = entry.whole(key).ravel()
    if values.size not in (1, 2) or values.min() < low:
        raise CheckpointError(
            f"{entry.at(key)}: {values[:9].tolist()} is not one or two numbers from {low} up"
        )
    return (int(values[0]), int(values[-1]))


def _check_output(entry: Entry, synapse: Synapse, in_shape: Shape, declared: Shape) -> None:
    assert synapse.geometry is not None
    found = conv_output_shape(synapse.weight.shape, synapse.geometry, in_shape)
    if found != declared:
        raise CheckpointError(
            f"{entry.at('shape')}: declares {declared}; weights and geometry make {found} of "
            f"{in_shape}"
        )


def _note_contradictions(
    entry: Entry, name: str, expected: dict[str, tuple[int, ...]], ledger: list[LedgerEntry]
) -> None:
    """Note keys that NetX does not read and that say other than the weights."""
    for key, sizes in expected.items():
        if key not in entry:
            continue
        found = entry.whole(key).ravel().tolist()
        if found != list(sizes) and not (len(found) == 1 and set(found) == set(sizes)):
            ledger.append(LedgerEntry(
                name, f"{key} says {found[:9]}, the weights {list(sizes)}; not used", 1, 1))
