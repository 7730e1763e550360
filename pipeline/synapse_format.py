"""How a core stores its synapses, and what a spike then makes it execute.

Bits of an entry on Loihi 1, as public compilers count them (NxTF ``data_structures.py``; facts:
hardware.md 1.2), for n synapses of w bits, index bits i and a prefix p per entry:

====== ================================= ==========================================
format bits of one source axon           executed per spike
====== ================================= ==========================================
dense  p + i + n w, n = every position   every position, zeros included
sparse ceil(n / 60) p + n (w + i)        nonzero weights
conv   kernels once, as dense entries    every position under the kernel
====== ================================= ==========================================

each rounded up to memory words. An axon none of whose weights to the core is nonzero is not stored.
Where a target does not publish p, i or the word, they count as nothing: a lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from hardware_targets import Target
from pipeline.network import Layer, Synapse

Format = Literal["dense", "sparse", "conv"]


@dataclass(frozen=True)
class CoreSynapses:
    """One synapse group on one core.

    Attributes
    ----------
    effective_fan_out, executed_fan_out : (n_source,) int32: synapses on this core that a spike of
        each source neuron reaches with a nonzero weight, and those the format makes it execute
    """

    synapse: str
    format: Format
    memory_bits: int
    effective_fan_out: NDArray[np.int32]
    executed_fan_out: NDArray[np.int32]

    @property
    def n_input_axons(self) -> int:
        """Source neurons whose spikes must reach this core."""
        return int(np.count_nonzero(self.executed_fan_out))


def best_format(
    synapse: Synapse, matrix: csc_array, layer: Layer, neurons: tuple[int, int], target: Target
) -> CoreSynapses:
    """Return the group in the format of the target that takes least memory on this core.

    Parameters
    ----------
    matrix : (n_source, n_neurons on the core) stored synapses, explicit zeros included
    neurons : first and one past the last neuron of ``layer`` on the core
    """
    rows = matrix.indices
    n_source = matrix.shape[0]
    effective = np.bincount(rows[matrix.data != 0], minlength=n_source).astype(np.int32)
    # a position is executed only on an axon that is stored at all
    stored = np.where(effective > 0, np.bincount(rows, minlength=n_source), 0).astype(np.int32)
    bits = target.synapses.stored_weight_bits(synapse.weight_bits or 8)
    if synapse.geometry is not None and target.synapses.shares_conv_kernels:
        memory = _kernel_bits(synapse, layer, neurons, bits, target)
        return CoreSynapses(synapse.name, "conv", memory, effective, stored)
    candidates = [
        CoreSynapses(synapse.name, "dense", _dense_bits(stored, bits, neurons, target),
                     effective, stored)
    ]
    if "sparse" in target.synapses.formats:
        candidates.append(CoreSynapses(
            synapse.name, "sparse", _sparse_bits(effective, bits, neurons, target),
            effective, effective))
    return min(candidates, key=lambda candidate: candidate.memory_bits)


def _dense_bits(
    stored: NDArray[np.int32], bits: int, neurons: tuple[int, int], target: Target
) -> int:
    n = stored[stored > 0].astype(np.int64)
    return _in_words(_prefix(target) + _index_bits(neurons, target) + n * bits, target)


def _sparse_bits(
    effective: NDArray[np.int32], bits: int, neurons: tuple[int, int], target: Target
) -> int:
    n = effective[effective > 0].astype(np.int64)
    per_entry = target.synapses.max_synapses_per_entry.value
    n_entries = 1 if per_entry is None else -(-n // per_entry)
    return _in_words(
        n_entries * _prefix(target) + n * (bits + _index_bits(neurons, target)), target
    )


def _kernel_bits(
    synapse: Synapse, layer: Layer, neurons: tuple[int, int], bits: int, target: Target
) -> int:
    """Return the bits of the kernels of the channels on the core, each stored once."""
    per_channel = int(np.prod(layer.shape[1:]))
    n_channels = (neurons[1] - 1) // per_channel - neurons[0] // per_channel + 1
    n_positions = synapse.weight[0].size
    entry = _prefix(target) + _index_bits(neurons, target) + n_channels * bits
    return _in_words(np.full(n_positions, entry, dtype=np.int64), target)


def _in_words(entry_bits: NDArray[np.int64], target: Target) -> int:
    word = target.capacities.memory_word_bits.value or 1
    return int(np.sum(-(-entry_bits // word)) * word)


def _prefix(target: Target) -> int:
    return target.synapses.entry_prefix_bits.value or 0


def _index_bits(neurons: tuple[int, int], target: Target) -> int:
    """Return the index width for the neurons of one core: the narrowest allowed that holds them."""
    allowed = target.synapses.index_bits.value
    if not allowed:
        return 0
    needed = max(1, math.ceil(math.log2(max(neurons[1] - neurons[0], 2))))
    return min((width for width in allowed if width >= needed), default=max(allowed))
