r"""What a layer's NIR nodes say in continuous numbers, in the chip's integers.

In: the neuron node and the synapse nodes that feed it. Out: a layer, with integer weights where a
common step of 8 bits exists, else float, and ledger entries for all that was rounded. Neurons are
taken by the forward Euler steps that :mod:`pipeline.export_nir` states. Below threshold they are
linear: ``r`` and ``w_in`` go into the weights, and a scale, free in each layer, makes weights and
threshold large on the chip. ``nir.LIF`` is a neuron whose current decays at once; to ``nir.IF`` a
spike adds r W, without dt, as snnTorch (jeshraghian/snntorch#452) and NIR's Lava example have it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.ingest.integer_scale import SINGLE_PRECISION, Floats, integer_scale, rounded
from pipeline.ledger import LedgerEntry
from pipeline.network import ConvGeometry, Layer, Shape, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron

MAX_NEURONS = 1 << 22  # of one layer; four chips of Loihi 2 hold as many


@dataclass(frozen=True)
class Group:
    """Synapses in their node's units, the bias of each row, and the shape that they make."""

    synapse: Synapse
    bias: Floats
    shape: Shape


@dataclass(frozen=True)
class _Dynamics:
    """One value of each channel: dt over both time constants, weight and bias per step."""

    a_syn: Floats
    a_mem: Floats
    gain: Floats
    bias: Floats
    threshold: Floats


def read_group(name: str, node: Any, source: str, in_shape: Shape) -> Group:
    """Return the synapses of a Linear, Affine, Conv2d or SumPool2d node that reads ``in_shape``."""
    kind = type(node).__name__
    if kind in ("Linear", "Affine"):
        weight = np.asarray(node.weight, dtype=np.float64)
        if weight.ndim != 2:
            raise _unsupported(name, f"{kind} with weights {weight.shape}",
                               "one Linear (out, in) behind a Flatten")
        bias = node.bias if kind == "Affine" else np.zeros(1)
        return Group(Synapse(name, source, weight), _rows(bias, weight), weight.shape[:1])
    if len(in_shape) != 3:
        raise CheckpointError(f"node '{name}': {kind} reads {in_shape}, not feature maps")
    if kind == "SumPool2d":
        kernel, groups, dilation = _pair(name, "kernel_size", node.kernel_size), in_shape[0], (1, 1)
        if math.prod(kernel) * groups > MAX_NEURONS:
            raise CheckpointError(f"node '{name}', key 'kernel_size': {kernel} is too large")
        weight, bias = np.ones((groups, 1, *kernel)), np.zeros(1)
    else:
        weight, bias = np.asarray(node.weight, dtype=np.float64), node.bias
        groups, dilation = int(node.groups), _pair(name, "dilation", node.dilation)
    stride = _pair(name, "stride", node.stride)
    padding = _padding(name, node.padding, weight.shape, stride, dilation)
    geometry = ConvGeometry(stride, padding, dilation, groups)
    shape = conv_output_shape(weight.shape, geometry, in_shape)
    synapse = Synapse(name, source, weight, geometry, is_fixed=kind == "SumPool2d")
    return Group(synapse, _rows(bias, weight), shape)


def read_layer(
    name: str, node: Any, groups: list[Group], late: NDArray[np.int64] | None, dt: float
) -> tuple[Layer, list[LedgerEntry]]:
    """Return the layer of a neuron node and what was rounded or rescaled.

    Parameters
    ----------
    groups : one whose source is ``name`` itself closes a loop
    late : axonal delay of each neuron in steps, or of all; None for none
    """
    shape = groups[0].shape
    if min(shape) < 1 or math.prod(shape) > MAX_NEURONS:
        raise CheckpointError(f"node '{name}': {shape} are no neurons, or over {MAX_NEURONS}")
    dynamics = _dynamics(name, node, shape, dt)
    bias, weights = dynamics.bias, []
    for group in groups:
        synapse = group.synapse
        if group.shape != shape:
            raise CheckpointError(f"node '{synapse.name}' makes {group.shape}, others {shape}")
        if (group.bias[dynamics.a_syn < 1 - SINGLE_PRECISION] != 0).any():
            raise _unsupported(synapse.name, f"a bias through the synaptic filter of '{name}'",
                               "v_leak, which acts on the voltage")
        bias = bias + dynamics.gain * group.bias
        weights.append(
            synapse.weight * dynamics.gain.reshape(-1, *[1] * (synapse.weight.ndim - 1)))
    scale, is_integer = integer_scale(weights, dynamics.threshold, bias)
    neuron, ledger = _neuron(name, dynamics, bias * scale, scale, is_integer)
    ledger = _scaling(name, weights, dynamics.gain, scale, is_integer) + ledger
    if type(node).__name__ == "IF":
        ledger.append(LedgerEntry(name, "a spike to an IF taken to add r W, without dt", 1, 1))
    synapses = [_scaled(group.synapse, weight * scale, is_integer)
                for group, weight in zip(groups, weights, strict=True)]
    loop = next((replace(s, name=f"{name}.recurrent") for s in synapses if s.source == name), None)
    fed = [synapse for synapse in synapses if synapse.source != name]
    fed = [replace(s, name=name if len(fed) == 1 else f"{name}.{s.name}") for s in fed]
    delay = None if late is None or not late.any() else tuple(
        _per_channel(name, "delay", late, shape).tolist())
    return Layer(name, tuple(fed), neuron, shape, delay, loop), ledger


def _unsupported(name: str, problem: str, nearest: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"node '{name}': {problem} is not supported; nearest: {nearest}")


def _rows(bias: Any, weight: NDArray[Any]) -> Floats:
    return np.broadcast_to(np.asarray(bias, dtype=np.float64), len(weight))


def _pair(name: str, key: str, value: Any, least: int = 1) -> tuple[int, int]:
    one, other = (int(item) for item in np.broadcast_to(np.asarray(value), 2))
    if min(one, other) < least:
        raise CheckpointError(f"node '{name}', key '{key}': {one, other} is below {least}")
    return (one, other)


def _padding(
    name: str, padding: Any, weight_shape: Shape, stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int]:
    if not isinstance(padding, str):
        return _pair(name, "padding", padding, least=0)
    y, x = (step * (size - 1) for step, size in zip(dilation, weight_shape[2:], strict=True))
    if padding == "same" and (stride != (1, 1) or y % 2 or x % 2):
        raise _unsupported(name, f"Conv2d with padding 'same', stride {stride} and kernel "
                           f"{weight_shape[2:]}", "an odd kernel and stride 1, or numbers")
    return (0, 0) if padding == "valid" else (y // 2, x // 2)


def _dynamics(name: str, node: Any, shape: Shape, dt: float) -> _Dynamics:
    kind, ones = type(node).__name__, np.ones(shape[0])

    def of(key: str) -> Floats:
        return _per_channel(name, key, np.asarray(getattr(node, key), dtype=np.float64), shape)

    def per_step(key: str) -> Floats:
        tau = of(key)
        if (tau < dt * (1 - SINGLE_PRECISION)).any():
            raise _unsupported(name, f"{kind} with {key} {tau.min():g} s below a step of {dt:g} s",
                               "a smaller dt to read the file with")
        return dt / tau

    threshold = of("v_threshold")
    if of("v_reset").any() or (threshold <= 0).any():
        raise _unsupported(name, f"{kind} with v_reset other than 0 or v_threshold not above 0",
                           "v_leak and v_threshold less v_reset")
    if kind == "IF":
        return _Dynamics(ones, 0 * ones, of("r"), 0 * ones, threshold)
    a_syn, w_in = (ones, ones) if kind == "LIF" else (per_step("tau_syn"), of("w_in"))
    a_mem = per_step("tau" if kind == "LIF" else "tau_mem")
    return _Dynamics(a_syn, a_mem, a_syn * w_in * a_mem * of("r"), a_mem * of("v_leak"), threshold)


def _per_channel(name: str, key: str, values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Return one value of each channel, (channels,), of one value of each neuron or of all."""
    if values.size not in (1, math.prod(shape)):
        raise CheckpointError(
            f"node '{name}', key '{key}': {values.size} values for neurons {shape}")
    if values.size == 1:
        return np.full(shape[0], values.ravel()[0])
    rows: NDArray[Any] = values.reshape(shape[0], -1)
    if (rows != rows[:, :1]).any():
        raise _unsupported(name, f"{key} that differs within a feature map",
                           "one value per map, or a Linear in place of the Conv2d")
    return rows[:, 0]


def _scaling(
    name: str, weights: list[Floats], gain: Floats, scale: float, is_integer: bool
) -> list[LedgerEntry]:
    n = sum(weight.size for weight in weights)
    floats = "" if is_integer else "; weights stay floats, they have no common step of 8 bits"
    what = {
        "weights times w_in and r": bool((np.abs(gain - 1) > SINGLE_PRECISION).any()),
        f"weights, threshold and bias times {scale:.9g}{floats}": scale != 1.0 or not is_integer,
    }
    return [LedgerEntry(name, change, n, n) for change, is_made in what.items() if is_made]


def _scaled(synapse: Synapse, weight: Floats, is_integer: bool) -> Synapse:
    if not is_integer:
        return replace(synapse, weight=weight)
    whole = np.rint(weight).astype(np.int32)
    return replace(
        synapse, weight=whole, weight_bits=inferred_weight_bits(whole) if whole.any() else 1)


def _neuron(
    name: str, dynamics: _Dynamics, bias: Floats, scale: float, is_integer: bool
) -> tuple[CubaNeuron, list[LedgerEntry]]:
    """Return the neurons in integers; biases stay floats as long as the weights do."""
    ledger: list[LedgerEntry] = []
    shared: list[int] = []
    each: list[tuple[int, ...] | None] = []
    for what, values in (
        ("current decays", np.minimum(4096 * dynamics.a_syn, 4096)),
        ("voltage decays", np.minimum(4096 * dynamics.a_mem, 4096)),
        ("thresholds", dynamics.threshold * scale),
    ):
        whole, entries = rounded(name, what, values)
        ledger += entries
        is_shared = bool((whole == whole[0]).all())
        shared.append(round(float(whole.mean())))
        each.append(None if is_shared else tuple(whole.tolist()))
    if shared[2] < 1:
        raise _unsupported(name, "v_threshold that rounds to 0 beside the weights' integers",
                           "smaller weights")
    biases: tuple[float, ...] | None = tuple(bias.tolist()) if bias.any() else None
    if bias.any() and is_integer:
        whole, entries = rounded(name, "biases", bias)
        biases, ledger = tuple(whole.tolist()), ledger + entries
    neuron = CubaNeuron(
        shared[0], shared[1], shared[2], channel_current_decay=each[0],
        channel_voltage_decay=each[1], channel_vth_mant=each[2], bias=biases)
    return neuron, ledger
