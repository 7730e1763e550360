"""How a core stores its synapses, and what a spike then makes it execute.

Bits of the list of one source axon on Loihi 1, as NxTF counts them, for entries of n <= 60 synapses
of w weight and d delay bits, a prefix p, index bits i and skip bits s:

========== ======================= ============================================================
format     bits of an entry        executed per spike
========== ======================= ============================================================
dense      p + i + n (w + d)       every position stored: an entry begins at a nonzero weight and
                                   ends at the last within 60 positions, zeros between are stored
                                   (NxTF's "dense2"; "dense1" splits at every zero: never less)
run-length p + i + n (w + d + s)   nonzero weights; 2^s is more than the distance from each to the
                                   next; a jump no s holds begins a new entry
sparse     p + n (w + d + i)       nonzero weights
conv       kernels once, as dense  every position under the kernels, zeros too
           entries of the channels
           on the core
========== ======================= ============================================================

i and s are the narrowest widths that hold the largest index and jump of their entry. A list takes
whole words and keeps 6 bits free at its end (NxTF's extra word where the remainder is 0 or >= 59).
NxTF's groups of neurons that share the length of the longest list are not modeled: axons are
discrete. Where a target limits no entry, as Loihi 2's, a list is one entry, its dense form stores
all neurons of the core, and nothing is kept free: ceil((n_post (w + d) + p) / word) words.

An axon none of whose weights to the core is nonzero is not stored. Where a target does not know p,
i or the word, they count as nothing: a lower bound.

References
----------
NxTF ``data_structures.py`` L842-851, L1094-1113; Loihi 2: logs of Intel's compiler; both in
hardware.md 1.2 and 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_targets import Target
from pipeline.mapping import kernels_placement as kernels
from pipeline.mapping.placement import CoreSynapses, Format
from pipeline.network import Layer, Network, Synapse

_LIST_END_BITS = 6  # in lists of entries: NxTF data_structures.py L842-851
_ROWS: dict[Format, int] = {
    "dense": kernels.DENSE, "run-length": kernels.RUN_LENGTH, "sparse": kernels.SPARSE}


@dataclass(frozen=True)
class Widths:
    """What the memory of a group is counted with.

    Attributes
    ----------
    synapse_bits : of one synapse: weight and delay
    index, skips : int64, widths to choose from, bits; empty where the target knows none
    per_entry : synapses an entry holds at most; 0 where nothing limits it
    word : bits of a memory word; 1 where the target does not know it
    """

    synapse_bits: int
    prefix: int
    index: NDArray[np.int64]
    skips: NDArray[np.int64]
    per_entry: int
    word: int

    @property
    def end_bits(self) -> int:
        """Bits kept free at the end of a list."""
        return _LIST_END_BITS if self.per_entry else 0

    @property
    def arguments(self) -> tuple[object, ...]:
        """What the kernels take."""
        return (self.synapse_bits, self.prefix, self.end_bits, self.index, self.skips,
                self.per_entry, self.word)


@dataclass(frozen=True)
class Stored:
    """One group on one core in one format.

    Attributes
    ----------
    peak_words : memory words of the longest list
    sources, effective, executed : as in :class:`~pipeline.mapping.placement.CoreSynapses`
    """

    format: Format
    memory_bits: int
    peak_words: int
    sources: NDArray[np.int32]
    effective: NDArray[np.int32]
    executed: NDArray[np.int32]

    def named(self, synapse: str) -> CoreSynapses:
        """Return it as the placement holds it."""
        return CoreSynapses(synapse, self.format, self.memory_bits, self.sources, self.effective,
                            self.executed)


def delay_bits(network: Network, layer: Layer, synapse: Synapse, target: Target) -> int:
    """Return the bits each synapse of a group keeps for the axonal delays of its source's spikes.

    d bits hold delays up to 2^d (hardware.md 1.1: 3 bits for 8 steps). Recurrent spikes arrive
    after one step whatever the delay. 0 where the target knows no delay field.
    """
    widths = target.synapses.delay_bits.value
    source = {part.name: part for part in network.layers}.get(synapse.source)
    if not widths or source is None or source.name == layer.name:
        return 0
    longest = max(source.axonal_delay or (0,))
    if longest == 0:
        return 0
    return next((width for width in widths if 1 << width >= longest), widths[-1])


def widths_of(synapse: Synapse, delay: int, target: Target) -> Widths:
    """Return the widths of one group on a target; ``delay`` in bits."""
    synapses = target.synapses
    return Widths(
        synapses.stored_weight_bits(synapse.weight_bits or 8) + delay,
        synapses.entry_prefix_bits.value or 0,
        np.array(synapses.index_bits.value or (), dtype=np.int64),
        np.array(synapses.skip_bits.value or (), dtype=np.int64),
        synapses.max_synapses_per_entry.value or 0,
        target.capacities.memory_word_bits.value or 1,
    )


def formats_of(
    synapse: Synapse, target: Target, allowed: tuple[Format, ...] | None
) -> tuple[Format, ...]:
    """Return the formats a group may take: those of the target, and of these the allowed ones."""
    own: tuple[Format, ...] = tuple(
        f for f in _ROWS if f in target.synapses.formats
        and (f != "run-length" or target.synapses.skip_bits.value is not None))
    if synapse.geometry is not None and target.synapses.shares_conv_kernels:
        own = ("conv", *own)
    return own if allowed is None else tuple(f for f in own if f in allowed)


def shortest(
    measured: NDArray[np.int64], sources: NDArray[np.int32], widths: Widths,
    formats: tuple[Format, ...], max_words: int | None,
) -> Stored:
    """Return the lists in the format that takes least memory of those whose lists are allowed.

    Parameters
    ----------
    measured : (n, 5) int64, of :mod:`pipeline.mapping.kernels_placement`
    sources : (n,) int32, the source neurons they belong to
    max_words : of a list; None where nothing limits it. Where no format keeps to it, the one with
        the shortest longest list is returned: the caller refuses it
    """
    stored = measured[:, kernels.EFFECTIVE] > 0
    measured, sources = measured[stored], sources[stored]
    lists = {f: measured[:, _ROWS[f]] for f in formats if f != "conv"}
    peaks = {f: int(words.max(initial=0)) for f, words in lists.items()}
    kept = [f for f in lists if max_words is None or peaks[f] <= max_words]
    best = min(lists, key=peaks.__getitem__)
    if kept:
        best = min(kept, key=lambda f: int(lists[f].sum()))
    effective = measured[:, kernels.EFFECTIVE].astype(np.int32)
    executed = effective
    if best == "dense":
        executed = measured[:, kernels.DENSE_EXECUTED].astype(np.int32)
    return Stored(best, int(lists[best].sum()) * widths.word, peaks[best], sources, effective,
                  executed)


def measure_dense(mask: NDArray[np.bool_], widths: Widths) -> NDArray[np.int64]:
    """Return what `shortest` reads, of (n_source, n_posts) nonzero weights."""
    measured: NDArray[np.int64] = kernels.measure_mask(mask, *widths.arguments)
    return measured


def measure_rows(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], n_posts: int, widths: Widths
) -> NDArray[np.int64]:
    """Return what `shortest` reads, of compressed rows of ascending nonzero positions."""
    measured: NDArray[np.int64] = kernels.measure_lists(
        indptr, indices, n_posts, *widths.arguments)
    return measured


def kernel_words(n_channels: NDArray[np.int64], widths: Widths) -> NDArray[np.int64]:
    """Return the words of one position of a shared kernel: one weight for each channel there."""
    measured = np.array([
        int(measure_dense(np.ones((1, int(n)), np.bool_), widths)[0, kernels.DENSE]) if n else 0
        for n in n_channels
    ], dtype=np.int64)
    return measured
