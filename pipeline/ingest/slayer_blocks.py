"""One SLAYER block to one Layer: synapses, neurons, normalization, delays.

In: a block after a forward pass, which fixes its shapes. Out: a :class:`~pipeline.network.Layer`
that computes the same, with pooling lowered to a grouped convolution and normalization folded into
weights and biases. What has no equal on the chip is refused with its reason and what comes nearest.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import UnsupportedLayerError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT
from pipeline.ingest.slayer_norm import FOLDED, folded
from pipeline.network import ConvGeometry, Layer, Shape, Synapse
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron

# slayer prints advice about packages this project does not use, and warns of torch's plans
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), \
        warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lava.lib.dl.slayer import block as slayer_block

cuba = slayer_block.cuba
sigma_delta, rf, rf_iz = slayer_block.sigma_delta, slayer_block.rf, slayer_block.rf_iz
SUPPORTED = ("cuba.Dense, cuba.Conv, cuba.Pool, cuba.Recurrent, cuba.Affine, cuba.Average, "
             "cuba.Flatten, cuba.Input; sigma_delta.Input, Dense, Conv and Output; rf and "
             "rf_iz.Dense and Conv")
AVERAGES = (cuba.Average, sigma_delta.Average, rf.Average, rf_iz.Average)
WITHOUT_NEURONS = (cuba.Flatten, sigma_delta.Flatten, rf.Flatten, rf_iz.Flatten, *AVERAGES)
_CONVOLUTIONS = (cuba.Conv, cuba.Pool, sigma_delta.Conv, rf.Conv, rf_iz.Conv)
_WITH_NEURONS = (cuba.Dense, cuba.Conv, cuba.Pool, cuba.Recurrent, cuba.Affine, cuba.Input)
_NEAREST = {
    "ConvT": "upsample before the network, or a cuba.Dense with the unrolled weights",
    "Unpool": "a cuba.Dense with the unrolled weights",
    "KWTA": "a cuba.Recurrent whose recurrent weights inhibit",
    "TimeDecimation": "decimate the data before the network",
}
_NEAREST_FAMILY = {
    "alif": "cuba blocks: no process of NetX adapts its threshold",
    "adrf": "cuba blocks: NetX would load it as a plain resonator, with other spikes",
    "adrf_iz": "cuba blocks: NetX would load it as a plain resonator, with other spikes",
    "rf": "rf.Dense or rf.Conv",
    "rf_iz": "rf_iz.Dense or rf_iz.Conv",
    "sigma_delta": "sigma_delta.Dense or sigma_delta.Conv",
}


def is_block(module: torch.nn.Module) -> bool:
    """Return whether a module is a block of SLAYER's, supported or not."""
    kinds = (*WITHOUT_NEURONS, *_WITH_NEURONS)
    return isinstance(module, kinds) or type(module).__module__.startswith(slayer_block.__name__)


def check_block(name: str, block: Any) -> None:
    """Raise UnsupportedLayerError for a block, or an option of one, that cannot be expressed."""
    family, kind = type(block).__module__.rsplit(".", 1)[-1], type(block).__name__
    if not isinstance(block, (*WITHOUT_NEURONS, *_WITH_NEURONS)):
        nearest = _NEAREST_FAMILY.get(family) or _NEAREST.get(kind, "see the list")
        raise UnsupportedLayerError(
            f"layer '{name}': block {family}.{kind} is not supported; nearest: {nearest}; "
            f"supported are {SUPPORTED}"
        )
    if getattr(block, "count_log", False):
        raise UnsupportedLayerError(
            f"layer '{name}': event counts in the output (count_log=True) are not supported; "
            "switch them off, the report counts events"
        )
    if isinstance(block, WITHOUT_NEURONS) or block.neuron is None:
        if isinstance(block, cuba.Input) and block.delay_shift:
            raise UnsupportedLayerError(
                f"layer '{name}': a cuba.Input without neurons that delays its input is not "
                "supported; leave it out, or set delay_shift=False"
            )
        return
    for option, is_present in _options(block).items():
        if is_present:
            raise UnsupportedLayerError(f"layer '{name}': {option} is not supported")


def _options(block: Any) -> dict[str, bool]:
    neuron, is_recurrent = block.neuron, isinstance(block, cuba.Recurrent)
    scale, is_affine = neuron.w_scale, isinstance(block, cuba.Affine)
    return {
        "graded spikes (graded_spike=True), which Lava sends as 0 or 1,": neuron.graded_spike,
        "state kept between samples (persistent_state=True)":
            neuron.persistent_state and not is_recurrent,
        "normalization (norm) of a recurrent block, which feeds it back,":
            is_recurrent and neuron.norm is not None,
        "an output without the one-step delay of every core (delay_shift=False)":
            not getattr(block, "delay_shift", True),
        f"scale {scale}, not a power of two,": scale & (scale - 1) != 0,
        f"threshold mantissa {neuron.v_th_mant if not is_affine else 0}, above "
        f"{MAX_EXACT_VTH_MANT} (SLAYER and Loihi part on ties there),":
            not is_affine and neuron.v_th_mant > MAX_EXACT_VTH_MANT,
        "a learned delay that was never set (run the module before you save it)":
            getattr(block, "delay", None) is not None and not block.delay.init,
        "a decay per channel that was never drawn (run the module before you save it)":
            not neuron.shared_param and neuron.current_decay.numel() == 1 and neuron.shape is None,
        f"the normalization {type(neuron.norm).__name__}":
            neuron.norm is not None and not isinstance(neuron.norm, FOLDED),
    }


def to_layer(name: str, block: Any, source: str, in_shape: Shape, out_shape: Shape) -> Layer:
    """Return the layer that a block with neurons is.

    Parameters
    ----------
    in_shape, out_shape : of the block's input and output, without batch and time
    """
    neuron = block.neuron
    synapse = block.input_synapse if isinstance(block, cuba.Recurrent) else \
        None if isinstance(block, cuba.Input) else block.synapse
    group = group_of(name, block, synapse, source, in_shape)
    is_affine = isinstance(block, cuba.Affine)
    parameters = CubaNeuron(
        *((4096, 4096) if is_affine and not block.dynamics else _decays(neuron)),
        NEVER_VTH_MANT if is_affine else int(neuron.v_th_mant),
        channel_current_decay=_per_channel(neuron.cx_current_decay),
        channel_voltage_decay=_per_channel(neuron.cx_voltage_decay),
    )
    layer = Layer(name, (group,), parameters, out_shape, axonal_delay=axonal_delay(block))
    if isinstance(block, cuba.Recurrent):
        recurrent = _integers(block.recurrent_synapse, neuron.w_scale).reshape(out_shape * 2)
        layer = replace(layer, recurrent=Synapse(f"{name}.recurrent", name, recurrent))
    is_without_norm = neuron.norm is None or (is_affine and not block.dynamics)
    return layer if is_without_norm else folded(layer, neuron)


def group_of(name: str, block: Any, synapse: Any, source: str, in_shape: Shape) -> Synapse:
    """Return the synapse group that a block's synapse, or one part of a complex one, is."""
    if isinstance(block, cuba.Input):
        return _input_transform(name, block, source, in_shape)
    takes_messages = getattr(block, "takes_messages", False)
    weight = _integers(synapse, 1 if takes_messages else block.neuron.w_scale)
    if isinstance(block, _CONVOLUTIONS):
        weight = weight[..., 0]
        geometry = ConvGeometry(_pair(synapse.stride), _pair(synapse.padding),
                                _pair(synapse.dilation), synapse.groups)
        if isinstance(block, cuba.Pool):
            return _pooling(name, weight, geometry, source, in_shape)
        allowed = _allowed(block, weight.shape)
        is_shape = allowed is not None and getattr(block, "mask_is_shape", False)
        n_absent = int(np.sum(~allowed)) if is_shape else 0  # type: ignore[operator]
        return Synapse(name, source, weight, geometry, 8 if takes_messages else None, allowed,
                       getattr(block, "has_fixed_weights", False), n_absent=n_absent)
    weight = weight.reshape(len(weight), -1)
    return Synapse(name, source, weight, allowed=_allowed(block, weight.shape))


def _integers(synapse: Any, scale: int) -> NDArray[Any]:
    """Return the weights that a synapse applies, in integer weight units; float64 without a hook.

    After a forward pass ``synapse.weight`` is the folded weight, masked where the block masks.
    """
    hook = synapse.pre_hook_fx if not hasattr(synapse, "_pre_hook_fx") else synapse._pre_hook_fx
    with torch.no_grad():
        weight = synapse.weight if hook is None else hook(synapse.weight)
    array: NDArray[np.float64] = (weight.detach().double() * scale).numpy()
    return array.astype(np.int32) if np.array_equal(array, np.rint(array)) else array


def _pooling(
    name: str, weight: NDArray[Any], geometry: ConvGeometry, source: str, in_shape: Shape
) -> Synapse:
    """Return pooling as a convolution of each channel with itself.

    SLAYER pads ``size % kernel`` zeros at the end. A convolution pads both sides alike: as many
    zeros before the kernel's first weight make up for those at the beginning.
    """
    if geometry.stride != weight.shape[2:] or any((*geometry.padding, *_less_1(geometry.dilation))):
        raise UnsupportedLayerError(
            f"layer '{name}': pooling with stride {geometry.stride}, padding {geometry.padding}, "
            f"dilation {geometry.dilation} mixes channels in SLAYER; supported is stride = kernel "
            f"{weight.shape[2:]} without padding; nearest: cuba.Conv with groups = channels"
        )
    padding = (in_shape[1] % weight.shape[2], in_shape[2] % weight.shape[3])
    kernel = np.pad(weight[0, 0], [(padding[0], 0), (padding[1], 0)])
    n_channels = in_shape[0]
    return Synapse(
        name, source, np.tile(kernel, (n_channels, 1, 1, 1)),
        replace(geometry, padding=padding, groups=n_channels), is_fixed=True)


def _less_1(pair: tuple[int, int]) -> tuple[int, int]:
    return (pair[0] - 1, pair[1] - 1)


def _input_transform(name: str, block: Any, source: str, in_shape: Shape) -> Synapse:
    """Return the scaling of a cuba.Input with neurons as a weight of every input to its neuron."""
    scale = block.neuron.w_scale
    weight = 1.0 if block.weight is None else float(block.pre_hook_fx(block.weight))
    if block.bias is not None:
        raise UnsupportedLayerError(
            f"layer '{name}': a cuba.Input with bias is not supported; nearest: add the bias to "
            "the data"
        )
    if len(in_shape) == 3:
        kernel = np.full((in_shape[0], 1, 1, 1), round(weight * scale), dtype=np.int32)
        return Synapse(name, source, kernel, ConvGeometry(groups=in_shape[0]), is_fixed=True)
    identity = np.eye(in_shape[0], dtype=np.int32) * round(weight * scale)
    return Synapse(name, source, identity, is_fixed=True)


def _decays(neuron: Any) -> tuple[int, int]:
    """Return the decays, the mean where each channel has its own."""
    return (round(float(np.mean(neuron.cx_current_decay))),
            round(float(np.mean(neuron.cx_voltage_decay))))


def _per_channel(decay: Any) -> tuple[int, ...] | None:
    return tuple(int(d) for d in decay) if np.ndim(decay) else None


def axonal_delay(block: Any) -> tuple[int, ...] | None:
    """Return the whole steps of a block's learned delays; None without."""
    if getattr(block, "delay", None) is None:
        return None
    return tuple(int(d) for d in torch.floor(block.delay.delay).flatten().tolist())


def _allowed(block: Any, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return the block's synapse mask; with weight_norm SLAYER's mask has no effect."""
    mask = getattr(block, "mask", None)
    if mask is None or block.synapse.weight_norm_enabled:
        return None
    return mask.numpy().astype(np.bool_).reshape(shape)  # type: ignore[no-any-return]


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return (int(values[0]), int(values[1]))
