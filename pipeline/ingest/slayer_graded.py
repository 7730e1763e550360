"""Sigma-delta and resonate-and-fire blocks of SLAYER to Layers, and their traces to the chip's.

In: a block after a forward pass. Out: a :class:`~pipeline.network.Layer` in integers. Where SLAYER
and Lava part, the block is refused with the reason:

* SLAYER's sigma-delta blocks take no step, each layer on Lava takes one: traces are shifted by the
  steps after which the input reaches a layer (:func:`pipeline.graded.depths`). Blocks that shift
  themselves, or join layers of different depths, have no equal.
* Biases (MeanOnlyBatchNorm) act in SLAYER with the first input that reaches a layer, in stock Lava
  in all layers at power on: the thresholds then send other messages. With the biases written when
  the input arrives, traces are equal; see ``bias_from`` of :func:`pipeline.emulate.emulate`.
* SLAYER's float32 is exact below 64 in magnitude; Lava's integers wrap at 8192.
* Decays of resonators are SLAYER's integers. Lava is given exactly these where we wire it; the
  stock loader makes its own (:func:`pipeline.ingest.netx_graded.as_stock_netx_runs`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import UnsupportedLayerError
from pipeline.graded import depths, encodes, is_graded
from pipeline.ingest.netx_graded import one_to_one
from pipeline.ingest.slayer_blocks import axonal_delay, group_of, rf, rf_iz, sigma_delta
from pipeline.ingest.slayer_norm import FOLDED, folded
from pipeline.network import INPUT, Layer, Network, Shape
from pipeline.neuron import RelayNeuron, ResonatorNeuron, SigmaDeltaNeuron

_SIGMA_DELTA = (sigma_delta.Input, sigma_delta.Dense, sigma_delta.Conv, sigma_delta.Output)
_RF, _RF_IZ = (rf.Dense, rf.Conv), (rf_iz.Dense, rf_iz.Conv)
GRADED = (*_SIGMA_DELTA, *_RF, *_RF_IZ)
_PROBE = (-3.0, -0.5, -1 / 64, 0.0, 1 / 64, 0.5, 3.0)


def check_graded(name: str, block: Any) -> None:
    """Raise UnsupportedLayerError for an option of a block that cannot be expressed."""
    options = _sigma_delta_options if isinstance(block, _SIGMA_DELTA) else _resonator_options
    neuron = block.neuron
    if neuron is None:
        raise UnsupportedLayerError(
            f"layer '{name}': a sigma_delta.Input without neurons is not supported; nearest: give "
            "it the parameters of the next layer's neurons"
        )
    common = {
        "event counts in the output (count_log=True)": getattr(block, "count_log", False),
        "state kept between samples (persistent_state=True)": neuron.persistent_state,
    }
    for option, is_present in (common | options(block)).items():
        if is_present:
            raise UnsupportedLayerError(f"layer '{name}': {option} is not supported")


def _sigma_delta_options(block: Any) -> dict[str, bool]:
    neuron = block.neuron
    threshold = (neuron.delta.threshold.detach().double() * 64).numpy().ravel()
    is_input, is_output = (
        isinstance(block, kind) for kind in (sigma_delta.Input, sigma_delta.Output))
    return {
        f"scale {neuron.w_scale}, which is not 64,": neuron.w_scale != 64,
        "an error that adds up (cum_error=True), at which SLAYER itself fails with torch 2.3,":
            not is_output and neuron.delta.cum_error,
        "a threshold per channel (shared_param=False), which Lava's process has not,":
            not neuron.shared_param,
        f"a threshold of {threshold[0] / 64:g}, not a multiple of 1/64 from 1/64 up (Lava "
        "truncates it, and SLAYER has none below 1/4096),":
            not is_output and bool((threshold != np.rint(threshold)).any() or threshold[0] < 1),
        "a step of its own (delay_shift=True), beside the one that Lava adds,":
            not is_input and bool(getattr(block, "delay_shift", False)),
        "an axonal delay (delay=True) of graded messages":
            getattr(block, "delay", None) is not None,
        "weight or bias of the input, which NetX does not apply (scale the data instead),":
            is_input and not (block.weight is None and block.bias is None),
        f"the activation {_called(neuron.activation)}, neither relu nor the identity,":
            not (is_input or is_output) and _activation(neuron) is None,
        f"the normalization {type(neuron.norm).__name__}":
            neuron.norm is not None and not (is_input or is_output)
            and not isinstance(neuron.norm, FOLDED),
    }


def _resonator_options(block: Any) -> dict[str, bool]:
    neuron = block.neuron
    scale = neuron.w_scale
    return {
        f"scale {scale}, not a power of two,": scale & (scale - 1) != 0,
        "graded spikes (graded_spike=True), which Lava sends as 0 or 1,": neuron.graded_spike,
        "an output without the one-step delay of every core (delay_shift=False)":
            not block.delay_shift,
        "a learned delay that was never set (run the module before you save it)":
            block.delay is not None and not block.delay.init,
        f"the normalization {type(neuron.real_norm).__name__} of resonators, which Lava gives no "
        "biases,": neuron.real_norm is not None,
        "a decay per channel that was never drawn (run the module before you save it)":
            not neuron.shared_param and neuron.shape is None,
        "a threshold of 0": neuron.v_th_mant < 1,
    }


def to_graded_layer(
    name: str, block: Any, source: str, in_shape: Shape, out_shape: Shape
) -> Layer:
    """Return the layer that a block is, in integers.

    Raises
    ------
    UnsupportedLayerError
        If its weights or biases are not integers of the chip.
    """
    if isinstance(block, sigma_delta.Input):
        neuron = SigmaDeltaNeuron(_threshold(block), "delta")
        group = replace(one_to_one(name, out_shape), source=source)
        return Layer(name, (group,), neuron, out_shape)
    if not isinstance(block, _SIGMA_DELTA):
        return _resonators(name, block, source, in_shape, out_shape)
    is_output = isinstance(block, sigma_delta.Output)
    group = group_of(name, block, block.synapse, source, in_shape)
    activation: Literal["relu", "none"] = _activation(block.neuron) or "relu"
    neuron = SigmaDeltaNeuron(0, "sigma") if is_output else \
        SigmaDeltaNeuron(_threshold(block), activation=activation)
    layer = Layer(name, (group,), neuron, out_shape)
    if block.neuron.norm is not None and not is_output:
        layer = folded(layer, block.neuron)
    if block.neuron.bias_is_set and not is_output:
        layer = _with_set_bias(layer, block.neuron)
    _require_integers(layer)
    return layer


def check_graph(network: Network) -> None:
    """Raise UnsupportedLayerError for what SLAYER and Lava time, or mean, differently.

    Sigma-delta layers take the messages of others, 1 being 4096; binary spikes and data are in
    other units. Sources that are joined must be reached after as many steps.
    """
    depth = depths(network)
    kinds = {layer.name: isinstance(layer.neuron, SigmaDeltaNeuron)
             for layer in network.layers} | {INPUT: False}
    for join in network.joins:
        kinds[join.name] = any(kinds[source] for source in join.sources)
        if kinds[join.name] and len({(kinds[s], depth[s]) for s in join.sources}) > 1:
            raise UnsupportedLayerError(
                f"join '{join.name}': sigma-delta blocks of different depths are joined "
                f"({', '.join(join.sources)}); SLAYER gives them no step, Lava one each: nearest: "
                "join what is as deep"
            )
    for layer in network.layers:
        for synapse in layer.synapses:
            takes = synapse.source == INPUT if encodes(layer) else kinds[synapse.source]
            if takes != kinds[layer.name]:
                raise UnsupportedLayerError(
                    f"layer '{layer.name}': takes '{synapse.source}'; messages of sigma-delta "
                    "blocks, spikes and data have different units: a chain of sigma-delta blocks "
                    "begins with sigma_delta.Input, at the input, and does not mix with others"
                )


def data_of(network: Network, data: NDArray[Any]) -> NDArray[np.float32]:
    """Return integer input as SLAYER takes it: that of sigma-delta blocks in 2^-6."""
    scale = 64 if any(encodes(layer) for layer in network.layers) else 1
    return (data / scale).astype(np.float32)


def trace_of(network: Network, layer: Layer, output: NDArray[Any]) -> NDArray[Any]:
    """Return a block's output in the integers, and at the steps, of Lava's layer."""
    if not is_graded(layer):
        return output.astype(np.uint8)
    if isinstance(layer.neuron, RelayNeuron):
        messages: NDArray[np.int32] = np.rint(output).astype(np.int32)
        return messages
    is_output = isinstance(layer.neuron, SigmaDeltaNeuron) and layer.neuron.role == "sigma"
    integers = np.rint(output.astype(np.float64) * (1 << (18 if is_output else 12)))
    shifted = np.zeros(output.shape, dtype=np.int32)
    steps = min(depths(network)[layer.name], output.shape[-1])
    shifted[..., steps:] = integers[..., : output.shape[-1] - steps]
    return shifted


def _resonators(
    name: str, block: Any, source: str, in_shape: Shape, out_shape: Shape
) -> Layer:
    real = group_of(name, block, block.synapse.real, source, in_shape)
    imag = group_of(name, block, block.synapse.imag, source, in_shape)
    neuron = block.neuron
    if neuron.requires_grad:
        neuron.clamp()  # as its forward does
    sines, cosines = (
        torch.round(decay.detach()).int().flatten().tolist()
        for decay in (neuron.sin_decay, neuron.cos_decay)
    )
    parameters = ResonatorNeuron(
        "rf" if isinstance(block, _RF) else "rf_iz", round(float(np.mean(sines))),
        round(float(np.mean(cosines))), int(neuron.v_th_mant),
        None if len(sines) == 1 else tuple(sines), None if len(cosines) == 1 else tuple(cosines))
    groups = (real, replace(imag, name=f"{name}.imag", part="imag"))
    layer = Layer(name, groups, parameters, out_shape, axonal_delay=axonal_delay(block))
    _require_integers(layer)
    return layer


def _threshold(block: Any) -> int:
    return round(float(block.neuron.delta.threshold.detach()) * 64)


def _activation(neuron: Any) -> Literal["relu", "none"] | None:
    """Return what an activation does, found by trying it: it is any function of the user's."""
    given = torch.tensor(_PROBE)
    with torch.no_grad():
        found = neuron.activation(given.clone())
    if not isinstance(found, torch.Tensor) or found.shape != given.shape:
        return None
    if torch.equal(found, given.clamp(min=0)):
        return "relu"
    return "none" if torch.equal(found, given) else None


def _called(activation: Any) -> str:
    return getattr(activation, "__name__", type(activation).__name__)


def _with_set_bias(layer: Layer, neuron: Any) -> Layer:
    """Return the layer with the bias that ``set_bias`` gave it, added to that of a norm."""
    bias = np.broadcast_to(
        neuron.bias.detach().double().numpy() * neuron.w_scale, layer.shape
    ).reshape(layer.n_channels, -1)
    if (bias != bias[:, :1]).any():
        raise UnsupportedLayerError(
            f"layer '{layer.name}': has one bias per neuron; supported is one per channel"
        )
    assert isinstance(layer.neuron, SigmaDeltaNeuron)
    total = bias[:, 0] + np.array(layer.neuron.bias or (0,) * layer.n_channels)
    return replace(layer, neuron=replace(layer.neuron, bias=tuple(total.tolist())))


def _require_integers(layer: Layer) -> None:
    """Raise unless weights and biases are whole; biases are then stored as such."""
    bias = getattr(layer.neuron, "bias", None)
    is_whole = bias is None or all(b == round(b) for b in bias)
    if not is_whole or not all(synapse.is_integer for synapse in layer.synapses):
        what = "weights are" if is_whole else "biases are"
        raise UnsupportedLayerError(
            f"layer '{layer.name}': its {what} not multiples of 1/64; compression, which would "
            "quantize them, takes CUBA neurons only: keep SLAYER's 8-bit pre_hook_fx, and use "
            "MeanOnlyBatchNorm for a normalization"
        )
