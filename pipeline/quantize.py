"""Float network to integer network, and the ledger of everything that changed on the way.

The only place where floats become integers of the chip. Two entries: a network as trained, rounded
to SLAYER's 8 bits (nothing changes if its hook already did); and a compressed network, whose
weights lie on grids and whose thresholds take up the scales.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.compress_synapse import CompressedSynapse
from pipeline.errors import CompressionError
from pipeline.fixedpoint import MIXED_WEIGHT_RANGE, inferred_weight_bits
from pipeline.ledger import Ledger, LedgerEntry
from pipeline.network import Layer, Network, Synapse
from pipeline.neuron import BIAS_RANGE, CubaNeuron, RelayNeuron


def as_trained(network: Network) -> tuple[Network, Ledger]:
    """Return the network at SLAYER's 8-bit integers: even, in [-256, 254], thresholds unchanged.

    Raises
    ------
    CompressionError
        If all weights of a layer round to zero.
    """
    low, high = MIXED_WEIGHT_RANGE
    layers: list[Layer] = []
    ledger: list[LedgerEntry] = []
    for layer in network.layers:
        if not isinstance(layer.neuron, (CubaNeuron, RelayNeuron)):
            layers.append(layer)  # ingested as integers, or not at all
            continue
        synapses: list[Any] = []
        for synapse in (*layer.synapses, *([layer.recurrent] if layer.recurrent else [])):
            if _is_exact(synapse):
                synapses.append(synapse)
                continue
            rounded = 2 * np.rint(synapse.weight / 2)
            weight = np.clip(rounded, low, high).astype(np.int32)
            n = synapse.n_weights
            n_rounded, n_clipped = (rounded != synapse.weight).sum(), (weight != rounded).sum()
            ledger += [
                LedgerEntry(synapse.name, "rounded to even integers", int(n_rounded), n),
                LedgerEntry(synapse.name, f"clipped to {low}..{high}", int(n_clipped), n),
            ]
            # recurrent weights may all be zero: what a layer receives from others must not
            is_silent = synapse is layer.recurrent and not weight.any()
            bits = None if is_silent else _bits(weight, layer.name)
            synapses.append(replace(synapse, weight=weight, weight_bits=bits))
        *synapses, recurrent = synapses if layer.recurrent else (*synapses, None)
        layer = replace(layer, synapses=tuple(synapses), recurrent=recurrent)
        bias, rounded_bias = layer.neuron.bias, None
        if bias is not None:
            rounded_bias = tuple(int(round(b)) for b in bias)
            n_rounded = sum(a != b for a, b in zip(bias, rounded_bias, strict=True))
            ledger.append(LedgerEntry(layer.name, "biases rounded", n_rounded, len(bias)))
            layer = replace(layer, neuron=replace(layer.cuba, bias=rounded_bias))
        layers.append(layer)
    return network.with_layers(tuple(layers)), tuple(e for e in ledger if e.count)


def _is_exact(synapse: Synapse) -> bool:
    """Whether weights are as the chip is to have them: what reads messages multiplies by 1."""
    return synapse.is_fixed and synapse.weight_bits is not None


def to_integers(
    network: Network, compressed: dict[str, CompressedSynapse]
) -> tuple[Network, Ledger]:
    """Return the network at its compressed levels: weights ``codes * 2^k``, thresholds vth'."""
    pairs = [integer_layer(layer, compressed) for layer in network.layers]
    ledger = tuple(entry for _, entries in pairs for entry in entries)
    return network.with_layers(tuple(layer for layer, _ in pairs)), ledger


def integer_layer(
    layer: Layer, compressed: dict[str, CompressedSynapse]
) -> tuple[Layer, Ledger]:
    """Return one layer at its compressed level, and what changed.

    Raises
    ------
    CompressionError
        If all weights are zero.
    """
    synapses: list[Synapse] = []
    ledger: list[LedgerEntry] = []
    for synapse in layer.synapses:
        if not synapse.is_fixed:
            synapse, entries = _integer_synapse(synapse, compressed[synapse.name], layer.name)
            ledger += entries
        synapses.append(synapse)
    layer = replace(layer, synapses=tuple(synapses))
    if layer.takes_scale and not synapses[0].is_fixed:
        layer, entries = _rescaled(layer, compressed[synapses[0].name].vth_mant)
        ledger += entries
    return layer, tuple(entry for entry in ledger if entry.count)


def _integer_synapse(
    synapse: Synapse, part: CompressedSynapse, layer: str
) -> tuple[Synapse, list[LedgerEntry]]:
    """Return a group at its compressed level, and what changed."""
    weight = (part.codes.astype(np.int32) << part.step_exp).astype(np.int32)
    bits, n = _bits(weight, layer), synapse.n_weights
    entries = [
        LedgerEntry(synapse.name, "weights pruned", n - part.n_kept, n),
        LedgerEntry(synapse.name, "kept weights rounded to zero", part.n_rounded_to_zero, n),
        LedgerEntry(synapse.name, "weights clipped at the end of the grid", part.n_out_of_grid, n),
    ]
    if bits < part.level.bits:
        entries.append(LedgerEntry(
            layer, f"codes need only {bits} of {part.level.bits} bits", 1, 1))
    if bits > part.level.bits:
        # no threshold takes up a scale, and NetX knows no exponent: small weights keep their step
        entries.append(LedgerEntry(
            layer, f"codes of {part.level.bits} bits in steps of {1 << part.step_exp}, for which "
            f"stock NetX infers {bits} bits", 1, 1))
    return replace(synapse, weight=weight, weight_bits=bits), entries


def bias_timing(network: Network) -> Ledger:
    """Return the entries that tell when biases act: not as in a network that is switched on.

    SLAYER has them from a layer's first input on; stock Lava, and a chip, one step before it
    (facts: netx 3.2). What is deployed is verified from the first input on.
    """
    return tuple(
        LedgerEntry(layer.name, "biases that stock Lava applies one step before the first input; "
                    f"write them after {_steps(getattr(layer.neuron, 'bias_step', 0))}",
                    len(layer.neuron.bias), len(layer.neuron.bias))
        for layer in network.layers if layer.neuron.bias is not None
    )


def _steps(bias_step: int) -> str:
    return f"step {bias_step}" if bias_step else "it"


def _rescaled(layer: Layer, vth_mant: int) -> tuple[Layer, list[LedgerEntry]]:
    """Return a layer with threshold, biases and recurrent weights at the scale of its weights."""
    neuron, recurrent = layer.cuba, layer.recurrent
    scale = vth_mant / neuron.nominal_vth
    entries = [LedgerEntry(
        layer.name, (f"threshold {neuron.nominal_vth} -> {vth_mant}, " if neuron.fires
                     else "read by voltage, ") + f"weights scaled by {scale:.4g}", 1, 1)]
    if neuron.fires:
        neuron = replace(neuron, vth_mant=vth_mant)
    if neuron.bias is not None:
        exact = np.array(neuron.bias) * scale
        # SLAYER rounds biases as it rounds weights: even ones stay even
        step = 2 if all(b % 2 == 0 for b in neuron.bias) else 1
        rounded = np.clip(step * np.rint(exact / step), BIAS_RANGE[0], BIAS_RANGE[1] // step * step)
        neuron = replace(neuron, bias=tuple(int(b) for b in rounded))
        entries.append(LedgerEntry(
            layer.name, "biases rounded", int((rounded != exact).sum()), len(exact)))
    if recurrent is not None:
        exact = recurrent.weight * scale
        rounded = np.clip(2 * np.rint(exact / 2), *MIXED_WEIGHT_RANGE)
        recurrent = replace(recurrent, weight=rounded.astype(np.int32), weight_bits=8)
        entries.append(LedgerEntry(
            recurrent.name, "recurrent weights rounded to 8 bits or clipped",
            int((rounded != exact).sum()), exact.size))
    return replace(layer, neuron=neuron, recurrent=recurrent), entries


def _bits(weight: np.ndarray, layer: str) -> int:  # type: ignore[type-arg]
    try:
        return inferred_weight_bits(weight)
    except ValueError:
        raise CompressionError(
            f"layer '{layer}': all weights are zero, which NetX cannot load; lower the sparsity or "
            "raise the bits"
        ) from None
