"""SLAYER module and checkpoint to Network, and back: the only ingest that imports lava.

In: a module with its checkpoint loaded (:mod:`pipeline.ingest.checkpoint`). Out: the
Network it computes, weight normalization folded and SLAYER's quantization hook applied (what the
module *simulates*, not the shadow weights it stores); and, in the other direction, a compressed
Network written into the module, for a run or a checkpoint in the user's own class.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.emulate import Trace, check_input
from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT
from pipeline.model_folder import ModelFolder
from pipeline.network import INPUT, ConvGeometry, CubaNeuron, Layer, Network, Synapse

# slayer prints advice about packages this project does not use, and warns of torch's plans
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), \
        warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lava.lib.dl.slayer import block as slayer_block

SUPPORTED = "cuba.Dense, cuba.Conv, cuba.Flatten"
_PROBE_STEPS = 32
_BATCH = 50


@dataclass(frozen=True)
class _Seen:
    """A tensor the module passes on, and its value then: the module may change it in place."""

    tensor: torch.Tensor
    value: torch.Tensor


@dataclass(frozen=True)
class _Call:
    """One call of a block during the probe run."""

    name: str
    block: torch.nn.Module
    received: _Seen
    returned: _Seen


def to_network(module: torch.nn.Module, model: ModelFolder) -> Network:
    """Return the Network a module computes; integer where SLAYER's 8-bit hook is in place.

    The order of the blocks is observed in a probe run, not read from the module, so any
    ``forward`` that passes spikes from block to block will do.

    Raises
    ------
    UnsupportedLayerError
        For a block, an option or a data flow that is not supported; names the layer.
    """
    calls = _probe(module, model)
    layers: list[Layer] = []
    for call in calls:
        if not isinstance(call.block, slayer_block.cuba.Flatten):
            source = layers[-1].name if layers else INPUT
            layers.append(_to_layer(call, source))
    if not layers:
        raise UnsupportedLayerError(
            f"model '{model.name}': no SLAYER block with synapses; supported are {SUPPORTED}"
        )
    description = model.description
    return Network(model.name, description.input_shape, description.n_steps, tuple(layers))


def write_back(module: torch.nn.Module, network: Network) -> None:
    """Put the integer weights and thresholds of ``network`` into the module it came from.

    Weights go in as ``weight / scale``, which the 8-bit hook maps to themselves; the threshold,
    which no state dict holds, is set on the neuron.

    Raises
    ------
    UnsupportedLayerError
        If a layer has one threshold per channel; the module is left as it was.
    """
    for layer in network.layers:
        if layer.neuron.channel_vth_mant is not None:
            raise UnsupportedLayerError(
                f"layer '{layer.name}': has one threshold per channel ({layer.n_channels} of them) "
                "and a SLAYER neuron holds one for its whole layer: set "
                "'compress.match_rates: layer' in the recipe"
            )
    blocks = dict(module.named_modules())
    for layer in network.layers:
        block = blocks[layer.name]
        (synapse,) = layer.synapses
        scale = block.neuron.w_scale
        shape = block.synapse.weight.shape
        weight = torch.from_numpy(synapse.weight.astype(np.float32) / scale).reshape(shape)
        with torch.no_grad():
            if block.synapse.weight_norm_enabled:
                norm = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
                # a row without weights has no direction: any will do, at length zero
                block.synapse.weight_v.copy_(torch.where(norm > 0, weight, torch.ones_like(weight)))
                block.synapse.weight_g.copy_(norm)
            else:
                block.synapse.weight.copy_(weight)
        block.neuron._threshold = layer.neuron.vth_mant / scale


def run_module(module: torch.nn.Module, network: Network, spikes: NDArray[np.uint8]) -> Trace:
    """Return the spikes of every layer as SLAYER's own forward computes them."""
    check_input(network, spikes)
    traces: dict[str, list[NDArray[np.uint8]]] = {layer.name: [] for layer in network.layers}
    blocks = dict(module.named_modules())

    def record(name: str) -> Any:
        return lambda _block, _args, output: traces[name].append(
            output.numpy().astype(np.uint8)
        )

    hooks = [blocks[name].register_forward_hook(record(name)) for name in traces]
    try:
        with torch.no_grad():
            for i in range(0, len(spikes), _BATCH):
                module(torch.from_numpy(spikes[i : i + _BATCH]).float())
    finally:
        for hook in hooks:
            hook.remove()
    outputs = {
        layer.name: np.concatenate(traces[layer.name]).reshape(
            len(spikes), *layer.shape, spikes.shape[-1]
        )
        for layer in network.layers
    }
    return Trace({INPUT: spikes, **outputs}, {})


def _probe(module: torch.nn.Module, model: ModelFolder) -> list[_Call]:
    """Run random spikes through the module and return the block calls, verified to be a chain."""
    calls: list[_Call] = []
    hooks = []
    for name, block in module.named_modules():
        if type(block).__module__.startswith(slayer_block.__name__) or _is_block(block):
            _check_kind(name, block)
            hooks.append(block.register_forward_hook(_record(name, calls)))
    rng = torch.Generator().manual_seed(0)
    shape = (1, *model.description.input_shape, _PROBE_STEPS)
    given = (torch.rand(shape, generator=rng) < 0.3).float()
    try:
        with torch.no_grad():
            returned = module(given.clone())
    except (RuntimeError, AssertionError, IndexError) as error:
        raise CheckpointError(
            f"model '{model.name}': forward fails on spikes of input_shape "
            f"{model.description.input_shape} from model.yaml: {str(error).splitlines()[0]}"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(returned, torch.Tensor):
        raise UnsupportedLayerError(
            f"after '{calls[-1].name if calls else INPUT}': the module's forward returns a "
            f"{type(returned).__name__}; it must return the output spikes alone"
        )
    _check_chain(calls, _seen(given), _seen(returned))
    return calls


def _seen(tensor: torch.Tensor) -> _Seen:
    return _Seen(tensor, tensor.clone())


def _check_chain(calls: list[_Call], given: _Seen, returned: _Seen) -> None:
    """Raise unless every block gets what the one before it returned, and is called once."""
    previous, previous_name = given, INPUT
    seen: set[str] = set()
    for call in calls:
        if call.name in seen:
            raise UnsupportedLayerError(
                f"layer '{call.name}': called more than once in the module's forward; shared "
                "layers are not supported yet, use one block per call"
            )
        seen.add(call.name)
        _check_same(previous, call.received, f"between '{previous_name}' and '{call.name}'")
        previous, previous_name = call.returned, call.name
    _check_same(previous, returned, f"after '{previous_name}'")


def _record(name: str, calls: list[_Call]) -> Any:
    def hook(block: torch.nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls.append(_Call(name, block, _seen(args[0]), _seen(output)))

    return hook


def _is_block(module: torch.nn.Module) -> bool:
    return isinstance(module, (slayer_block.cuba.Dense, slayer_block.cuba.Conv))


def _check_kind(name: str, block: torch.nn.Module) -> None:
    kinds = (slayer_block.cuba.Dense, slayer_block.cuba.Conv, slayer_block.cuba.Flatten)
    if not isinstance(block, kinds):
        kind = f"{type(block).__module__.rsplit('.', 1)[-1]}.{type(block).__name__}"
        raise UnsupportedLayerError(
            f"layer '{name}': block {kind} is not supported yet; supported are {SUPPORTED}"
        )
    if isinstance(block, slayer_block.cuba.Flatten):
        return
    neuron = block.neuron
    options = {
        "a learned axonal delay (delay=True)": block.delay is not None,
        "normalization of the neuron (norm)": neuron.norm is not None,
        "per-channel decays (shared_param=False)": not neuron.shared_param,
        "graded spikes (graded_spike=True)": neuron.graded_spike,
        "state kept between samples (persistent_state=True)": neuron.persistent_state,
        "an output without the one-step delay (delay_shift=False)": not block.delay_shift,
        "event counts in the output (count_log=True)": block.count_log,
        f"scale {neuron.w_scale}, not a power of two": neuron.w_scale & (neuron.w_scale - 1) != 0,
        f"threshold mantissa {neuron.v_th_mant}, above {MAX_EXACT_VTH_MANT} (SLAYER and Loihi part "
        "on ties there)": neuron.v_th_mant > MAX_EXACT_VTH_MANT,
    }
    for option, is_present in options.items():
        if is_present:
            raise UnsupportedLayerError(f"layer '{name}': {option} is not supported yet")


def _check_same(sent: _Seen, received: _Seen, place: str) -> None:
    """Raise unless ``received`` is ``sent``, at most reshaped before its time axis.

    Silent spikes are equal to any others; there the memory must be the same.
    """
    is_same = (
        received.value.shape[-1] == sent.value.shape[-1]
        and received.value.numel() == sent.value.numel()
        and torch.equal(received.value.flatten(1, -2), sent.value.flatten(1, -2))
        and (bool(sent.value.any()) or _shares_memory(sent.tensor, received.tensor))
    )
    if not is_same:
        raise UnsupportedLayerError(
            f"{place}: the module's forward does more than pass spikes on; only a chain of blocks "
            f"({SUPPORTED}) is supported yet, no skips, sums or other operations"
        )


def _shares_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())


def _to_layer(call: _Call, source: str) -> Layer:
    block = cast(Any, call.block)
    neuron, synapse = block.neuron, block.synapse
    hook = synapse.pre_hook_fx
    # after the probe run synapse.weight is the folded weight, masked where the block masks
    with torch.no_grad():
        weight = synapse.weight if hook is None else hook(synapse.weight)
    array = (weight.detach().double() * neuron.w_scale).numpy()
    geometry = None
    if isinstance(block, slayer_block.cuba.Conv):
        array = array[..., 0]
        geometry = ConvGeometry(
            _pair(synapse.stride), _pair(synapse.padding), _pair(synapse.dilation), synapse.groups
        )
    else:
        array = array.reshape(len(array), -1)
    if np.array_equal(array, np.rint(array)):
        array = array.astype(np.int32)
    cuba = CubaNeuron(
        int(neuron.cx_current_decay), int(neuron.cx_voltage_decay), int(neuron.v_th_mant)
    )
    shape = tuple(int(n) for n in neuron.shape)
    allowed = _allowed(block, array.shape)
    group = Synapse(call.name, source, array, geometry, allowed=allowed)
    return Layer(call.name, (group,), cuba, shape)


def _allowed(block: Any, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return the block's synapse mask; with weight_norm SLAYER's mask has no effect."""
    mask = getattr(block, "mask", None)
    if mask is None or block.synapse.weight_norm_enabled:
        return None
    return mask.numpy().astype(np.bool_).reshape(shape)  # type: ignore[no-any-return]


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return (int(values[0]), int(values[1]))
