"""Float network to integer network, and the ledger of everything that changed on the way.

The only place where floats become integers of the chip. Two entries: a network as trained, rounded
to SLAYER's 8 bits (nothing changes if its hook already did); and a compressed network, whose
weights lie on grids and whose thresholds take up the scales.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.compress_synapse import CompressedSynapse
from pipeline.errors import CompressionError
from pipeline.fixedpoint import MIXED_WEIGHT_RANGE, inferred_weight_bits
from pipeline.network import Layer, Network


@dataclass(frozen=True)
class LedgerEntry:
    """One kind of change to one layer; ``count`` weights or thresholds of ``total``."""

    layer: str
    what: str
    count: int
    total: int


Ledger = tuple[LedgerEntry, ...]


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
        synapses = []
        for synapse in layer.synapses:
            rounded = 2 * np.rint(synapse.weight / 2)
            weight = np.clip(rounded, low, high).astype(np.int32)
            n = weight.size
            n_rounded, n_clipped = (rounded != synapse.weight).sum(), (weight != rounded).sum()
            ledger += [
                LedgerEntry(synapse.name, "rounded to even integers", int(n_rounded), n),
                LedgerEntry(synapse.name, f"clipped to {low}..{high}", int(n_clipped), n),
            ]
            synapses.append(replace(synapse, weight=weight, weight_bits=_bits(weight, layer.name)))
        layers.append(replace(layer, synapses=tuple(synapses)))
    return network.with_layers(tuple(layers)), tuple(e for e in ledger if e.count)


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
    (synapse,) = layer.synapses
    part = compressed[synapse.name]
    weight = (part.codes.astype(np.int32) << part.step_exp).astype(np.int32)
    bits = _bits(weight, layer.name)
    n = weight.size
    ledger = [
        LedgerEntry(synapse.name, "weights pruned", n - part.n_kept, n),
        LedgerEntry(synapse.name, "kept weights rounded to zero", part.n_rounded_to_zero, n),
        LedgerEntry(synapse.name, "weights clipped at the end of the grid", part.n_out_of_grid, n),
        LedgerEntry(layer.name, f"threshold {layer.neuron.vth_mant} -> {part.vth_mant}, "
                    f"weights scaled by {part.vth_mant / layer.neuron.vth_mant:.4g}", 1, 1),
    ]
    if bits < part.level.bits:
        ledger.append(LedgerEntry(
            layer.name, f"codes need only {bits} of {part.level.bits} bits", 1, 1))
    integers = replace(
        layer,
        synapses=(replace(synapse, weight=weight, weight_bits=bits),),
        neuron=replace(layer.neuron, vth_mant=part.vth_mant),
    )
    return integers, tuple(entry for entry in ledger if entry.count)


def _bits(weight: np.ndarray, layer: str) -> int:  # type: ignore[type-arg]
    try:
        return inferred_weight_bits(weight)
    except ValueError:
        raise CompressionError(
            f"layer '{layer}': all weights are zero, which NetX cannot load; lower the sparsity or "
            "raise the bits"
        ) from None
