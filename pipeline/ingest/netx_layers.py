"""One entry of a NetX file to one Layer: its synapses, and what stock NetX would make of them.

In: an :class:`~pipeline.ingest.netx_hdf5.Entry` and what reaches it. Out: a
:class:`~pipeline.network.Layer`; shapes and kernels are in the file's order, which is (c, y, x) and
not NetX's own. Pooling becomes a convolution of each channel with itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.fixedpoint import MIXED_WEIGHT_RANGE, inferred_weight_bits
from pipeline.ingest.netx_hdf5 import Entry
from pipeline.ingest.netx_neurons import to_bias, to_delay, to_neuron
from pipeline.ledger import LedgerEntry
from pipeline.network import ConvGeometry, Layer, Shape, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron

MAX_NEURONS = 1 << 24
_MAX_WEIGHT = (1 << 17) - 1  # 64 times more than this wraps a current of 24 bits at one spike


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
    if "neuron" in entry:
        neuron = to_neuron(entry.group("neuron"), name, n_out, ledger)
    else:
        neuron = CubaNeuron(4096, 4096, NEVER_VTH_MANT)
        what = "no neurons: the voltage is this step's sum, as in SLAYER; NetX adds up the steps"
        ledger.append(LedgerEntry(name, what, 1, 1))
    weight = _matrix(entry, "weight", n_out, None if in_shape is None else int(np.prod(in_shape)))
    n_in = weight.shape[1]
    together, recurrent = weight, None
    if entry.text("type") == "dense_rec":
        feedback = _matrix(entry, "weight_rec", n_out, n_out)
        together = np.hstack((weight, feedback))
        recurrent = Synapse(f"{name}.recurrent", name, feedback, None, _bits(feedback))
    _note_range(name, "dense", together, ledger)
    _note_contradictions(entry, name, {"inFeatures": (n_in,), "outFeatures": (n_out,)}, ledger)
    synapse = Synapse(name, source, weight, None, _bits(weight))
    layer = Layer(name, (synapse,), neuron, (n_out,), recurrent=recurrent)
    return _finished(entry, layer, n_in, ledger)


def conv(
    entry: Entry, name: str, source: str, in_shape: Shape | None, ledger: list[LedgerEntry]
) -> Layer:
    """Return a convolution."""
    shape, in_shape = to_shape(entry), _spatial(entry, in_shape)
    neuron = to_neuron(entry.group("neuron"), name, shape[0], ledger)
    weight = _weights(entry, "weight")
    if weight.ndim == 5 and weight.shape[4] == 1:  # SLAYER's time axis
        weight = weight[..., 0]
    groups = int(entry.whole("groups").flat[0])
    if weight.ndim != 4 or groups < 1 or weight.shape[1] * groups != in_shape[0] \
            or weight.shape[0] % groups:
        raise CheckpointError(
            f"{entry.at('weight')}: of shape {weight.shape} in {groups} groups does not take "
            f"{in_shape[0]} channels"
        )
    geometry = ConvGeometry(
        _pair(entry, "stride", 1), _pair(entry, "padding", 0), _pair(entry, "dilation", 1), groups)
    _note_range(name, "conv", weight, ledger)
    _note_contradictions(entry, name, {
        "inChannels": (in_shape[0],), "outChannels": weight.shape[:1],
        "kernelSize": weight.shape[2:]}, ledger)
    synapse = Synapse(name, source, weight, geometry, _bits(weight))
    _check_output(entry, synapse, in_shape, shape)
    return _finished(entry, Layer(name, (synapse,), neuron, shape), 0, ledger)


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
    end = [0 if len(shape) == 3 and n // k == shape[axis] else n % k
           for axis, n, k in zip((1, 2), in_shape[1:], size, strict=True)]
    weight = _weights(entry, "weight")
    n_kernel = (size[0] + end[0]) * (size[1] + end[1])
    if weight.size not in (1, size[0] * size[1]) or n_kernel * in_shape[0] > MAX_NEURONS:
        raise CheckpointError(
            f"{entry.at('weight')}: of shape {weight.shape} is not a kernel {size} over {in_shape}"
        )
    kernel = np.full(size, weight.flat[0]) if weight.size == 1 else weight.reshape(size)
    kernel = np.pad(kernel, [(end[0], 0), (end[1], 0)])
    geometry = ConvGeometry(stride, (end[0], end[1]), groups=in_shape[0])
    tiled = np.tile(kernel, (in_shape[0], 1, 1, 1))
    _note_range(name, "conv", kernel, ledger)
    what = "pooling lowered to a convolution of each channel; stock NetX does not load it"
    ledger.append(LedgerEntry(name, what, 1, 1))
    synapse = Synapse(name, source, tiled, geometry, _bits(kernel), is_fixed=True)
    _check_output(entry, synapse, in_shape, shape)
    return _finished(entry, Layer(name, (synapse,), neuron, shape), 0, ledger)


def _finished(entry: Entry, layer: Layer, n_inputs: int, ledger: list[LedgerEntry]) -> Layer:
    """Return the layer with its biases and delays."""
    bias = to_bias(entry, layer.n_channels, layer.n_neurons)
    delay = to_delay(entry, layer.name, layer.n_channels, n_inputs, ledger)
    in_netx = {
        "drops the delays of convolutions": layer.synapses[0].kind == "conv",
        "does not load recurrent layers with delays": layer.recurrent is not None,
        "delays the input instead, which makes other spikes beside biases": bias is not None,
    }
    if delay is not None:
        ledger.extend(
            LedgerEntry(layer.name, f"delays of spikes kept; stock NetX {what}", len(delay),
                        len(delay))
            for what, is_so in in_netx.items() if is_so)
    return replace(layer, neuron=replace(layer.cuba, bias=bias), axonal_delay=delay)


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


def _weights(entry: Entry, key: str) -> NDArray[np.int32]:
    """Return real integer weights, in the shape they are stored in."""
    if entry.is_group(key):
        raise UnsupportedLayerError(
            f"{entry.at(key)}: complex weights, of resonators (RF), are not supported yet; "
            "nearest: CUBA neurons"
        )
    return entry.whole(key, _MAX_WEIGHT)


def _matrix(entry: Entry, key: str, n_out: int, n_in: int | None) -> NDArray[np.int32]:
    """Return weights (out, in); files have them flattened, or with sizes of 1 behind."""
    weight = _weights(entry, key)
    shape = weight.shape[:2] if weight.ndim > 1 else (n_out, weight.size // n_out)
    if shape[0] * shape[1] != weight.size or shape[0] != n_out or n_in not in (None, shape[1]):
        raise CheckpointError(
            f"{entry.at(key)}: of shape {weight.shape} does not connect "
            f"{'its' if n_in is None else n_in} inputs to {n_out} neurons"
        )
    return weight.reshape(shape)


def _check_output(entry: Entry, synapse: Synapse, in_shape: Shape, declared: Shape) -> None:
    assert synapse.geometry is not None
    found = conv_output_shape(synapse.weight.shape, synapse.geometry, in_shape)
    if found != declared:
        raise CheckpointError(
            f"{entry.at('shape')}: declares {declared}; weights and geometry make {found} of "
            f"{in_shape}"
        )


def _bits(weight: NDArray[Any]) -> int | None:
    """Return the bits NetX infers; None where no core holds the weights in 1 to 8."""
    bits = inferred_weight_bits(weight) if weight.any() else 0
    return bits if 1 <= bits <= 8 else None


def _note_range(
    name: str, kind: str, weight: NDArray[np.int32], ledger: list[LedgerEntry]
) -> None:
    """Note weights that stock NetX, or a core, would not take as they are."""
    smallest, largest = int(weight.min()), int(weight.max())
    low, high = MIXED_WEIGHT_RANGE if smallest < 0 else (0, 255)
    n_outside = int(((weight < low) | (weight > high)).sum())
    what, count = "", n_outside
    if kind == "conv":
        if n_outside:
            what = f"outside {low}..{high}: no core holds them, NetX does not check convolutions"
    elif smallest == largest == 0:
        what, count = "all zero: stock NetX cannot load the layer", weight.size
    elif n_outside and (smallest >= 0 or largest <= 0):
        what = f"of one sign up to {max(largest, -smallest)}: NetX shifts the whole matrix to zero"
        count = int(np.count_nonzero(weight))
    elif n_outside:
        what = f"outside {low}..{high}: NetX clips them"
    elif largest < 0 and smallest == low:
        what = f"of {low} among negative ones: Lava clips them to {low + 1}"
        count = int((weight == low).sum())
    if what:
        ledger.append(LedgerEntry(name, f"weights {what}", count, weight.size))
    if smallest < 0 <= largest and _bits(weight) is None and not n_outside:
        ledger.append(LedgerEntry(
            name, "odd weights at full range: a core holds even ones of 8 bits, Lava simulates 9",
            int((weight & 1).sum()), weight.size))


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
