"""What a network file holds and what will go wrong with it, without running it.

In: an integer network, or a checkpoint. Out: a row per layer or tensor, and sentences. The traps
are those of NetX and Lava that nothing there warns of (facts: netx 2.1, 3.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import CheckpointError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT, MIXED_WEIGHT_RANGE, inferred_weight_bits
from pipeline.network import Layer, Network, Synapse
from pipeline.netx_entries import netx_obstacle, stock_decays
from pipeline.neuron import PER_CHANNEL, ResonatorNeuron, SigmaDeltaNeuron


@dataclass(frozen=True)
class GroupFacts:
    """One synapse group and the layer that holds it.

    Attributes
    ----------
    weight_bits : that NetX infers; None for a convolution, where it infers none, or if it fails
    current_decay, voltage_decay : of CUBA neurons
    extras : the family, if it is not CUBA, and what neurons have besides decays and a threshold
    """

    layer: str
    source: str
    kind: str
    neurons: str
    weights: str
    n_weights: int
    sparsity: float
    lowest: int
    highest: int
    weight_bits: int | None
    current_decay: int | None
    voltage_decay: int | None
    threshold: str
    extras: str


def inspect_network(network: Network) -> list[GroupFacts]:
    """Return the facts of every synapse group, in order."""
    return [_facts(layer, group) for layer in network.layers for group in layer.groups]


def traps(network: Network) -> list[str]:
    """Return what will go wrong, a sentence each; nothing if it is empty."""
    obstacle = netx_obstacle(network)
    found = [] if obstacle is None else [f"no NetX file: {obstacle}"]
    for layer in network.layers:
        found += [f"layer '{layer.name}': {text}" for text in _traps_of(layer)]
    return found


def inspect_checkpoint(path: Path) -> list[dict[str, Any]]:
    """Return name, shape, range and zeros of every tensor of a state dict.

    Raises
    ------
    CheckpointError
        If the file is not a readable state dict.
    """
    from pipeline.ingest.checkpoint import read_state

    rows = []
    for name, tensor in read_state(path).items():
        if not hasattr(tensor, "numpy"):
            raise CheckpointError(f"{path}: '{name}' is a {type(tensor).__name__}, not a tensor")
        values = tensor.detach().cpu().double().numpy()
        finite = values[np.isfinite(values)]
        rows.append({
            "name": name, "shape": list(values.shape), "dtype": str(tensor.dtype),
            "lowest": float(finite.min()) if finite.size else None,
            "highest": float(finite.max()) if finite.size else None,
            "zero_frac": float(np.mean(values == 0)) if values.size else None,
            "n_not_finite": int(values.size - finite.size),
        })
    return rows


def _facts(layer: Layer, group: Synapse) -> GroupFacts:
    neuron, weight = layer.neuron, group.weight
    bits = None
    if group.geometry is None and weight.any():
        bits = inferred_weight_bits(weight)
    return GroupFacts(
        layer.name if group is not layer.recurrent else f"{layer.name} (recurrent)", group.source,
        f"{group.kind}, fixed" if group.is_fixed else group.kind, " x ".join(map(str, layer.shape)),
        " x ".join(map(str, weight.shape)), group.n_weights, group.sparsity, int(weight.min()),
        int(weight.max()), bits, getattr(neuron, "current_decay", None),
        getattr(neuron, "voltage_decay", None),
        str(neuron.vth_mant) if neuron.fires else "never fires", ", ".join(_extras(layer)))


def _extras(layer: Layer) -> Iterator[str]:
    neuron = layer.neuron
    if isinstance(neuron, SigmaDeltaNeuron):
        yield f"{neuron.role.replace('_', '-')} neurons, activation {neuron.activation}"
    if isinstance(neuron, ResonatorNeuron):
        yield f"{neuron.kind} neurons, sine {neuron.sin_decay}, cosine {neuron.cos_decay}"
    if layer.is_driven:
        yield "each takes one value of the input"
    if layer.axonal_delay is not None:
        yield f"delays {min(layer.axonal_delay)}..{max(layer.axonal_delay)}"
    if neuron.bias is not None:
        yield f"biases {min(neuron.bias):g}..{max(neuron.bias):g}"
    for field, (_, what, _, _) in PER_CHANNEL.items():
        values = getattr(neuron, field, None)
        if values is not None and field != "bias":
            yield f"{what} per channel {min(values)}..{max(values)}"
    if layer.synapses and layer.synapses[0].geometry is not None:
        geometry = layer.synapses[0].geometry
        yield (f"stride {_pair(geometry.stride)} pad {_pair(geometry.padding)} dilation "
               f"{_pair(geometry.dilation)} groups {geometry.groups}")


def _pair(values: tuple[int, int]) -> str:
    return str(values[0]) if values[0] == values[1] else f"{values[0]},{values[1]}"


def _traps_of(layer: Layer) -> Iterator[str]:
    neuron = layer.neuron
    for group in layer.stored_groups:
        yield from _traps_of_weights(group)
    if isinstance(neuron, SigmaDeltaNeuron):
        if neuron.bias is not None:
            yield ("biases act at power on in stock Lava, in SLAYER with the first input: other "
                   "messages are sent")
        if not neuron.fires:
            yield "decodes: read what it sends as values in 2^-18"
        return
    if isinstance(neuron, ResonatorNeuron):
        sine, cosine = (int(values[0]) for values in stock_decays(neuron))
        if neuron.channel_sin_decay is None and (sine, cosine) != (
                neuron.sin_decay, neuron.cos_decay):
            yield (f"decays {neuron.sin_decay}, {neuron.cos_decay}, of which the stock loader "
                   f"makes {sine}, {cosine}; spikefit's export writes what comes out exact")
        return
    if neuron.fires and neuron.vth_mant > MAX_EXACT_VTH_MANT:
        yield (f"threshold mantissa {neuron.vth_mant} is above {MAX_EXACT_VTH_MANT}: SLAYER's "
               "float32 fires at ties, Lava does not; scale weights and threshold down together")
    if neuron.bias is not None and any(neuron.bias):
        yield ("stock Lava applies its biases one step before the first input; SLAYER with it: "
               "write them after the first step")
    if not neuron.fires:
        yield "never fires: read its voltage, its spikes are silent"


def _traps_of_weights(group: Synapse) -> Iterator[str]:
    weight, is_dense = group.weight, group.geometry is None
    low, high = int(weight.min()), int(weight.max())
    lowest, highest = MIXED_WEIGHT_RANGE
    if is_dense and not weight.any():
        yield "all weights are zero, at which the stock loader divides by zero; remove the layer"
    elif is_dense and low == -256 and high <= 0:
        yield "weights down to -256 without a positive one: NetX clips them to -255; scale them"
    elif is_dense and (low >= 0 or high <= 0) and max(high, -low) > 255:
        yield (f"weights {low}..{high} of one sign beyond 255: NetX shifts the whole matrix to "
               "zero without a word; halve weights and threshold")
    elif low < lowest or high > highest:
        what = "NetX clips them" if is_dense else "Lava's convolution takes them, no chip does"
        yield f"weights {low}..{high} are beyond {lowest}..{highest}: {what}; scale the layer down"
    elif low < 0 < high and (weight & 1).any():
        what = "8 bits with sign hold even values only" if is_dense else (
            "Lava's convolution never truncates, a chip drops the lowest bit")
        yield f"{int((weight & 1).sum())} odd weights: {what}; quantize to even ones"
