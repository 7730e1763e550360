"""Compiled loops of the placement: lengths of synapse lists, and swaps of cores on the mesh.

In: nonzero positions of each source axon on one core, widths in bits. Out: memory words of every
format. Rules and their sources are in :mod:`pipeline.mapping.synapse_format`, the objective of the
swaps in :mod:`pipeline.mapping.mesh`. Everything one kernel calls is in this file, for numba's
cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# rows of what is measured
DENSE, RUN_LENGTH, SPARSE, DENSE_EXECUTED, EFFECTIVE = range(5)


@njit(cache=True, inline="always")
def _narrowest(widths, largest):
    """Return the narrowest width that holds ``largest``, the widest if none does, 0 if none is."""
    for width in widths:
        if largest >> width == 0:
            return width
    return widths[-1] if len(widths) else 0


@njit(cache=True)
def _dense(positions, n, n_posts, bits, prefix, index, per_entry):
    """Return bits and stored positions of windows from one nonzero to the last within reach."""
    if per_entry == 0:
        return prefix + _narrowest(index, n_posts - 1) + n_posts * bits, n_posts
    total, stored, i = 0, 0, 0
    while i < n:
        j = i
        while j + 1 < n and positions[j + 1] - positions[i] < per_entry:
            j += 1
        span = positions[j] - positions[i] + 1
        total += prefix + _narrowest(index, positions[j]) + span * bits
        stored += span
        i = j + 1
    return total, stored


@njit(cache=True)
def _run_length(positions, n, bits, prefix, index, skips, per_entry):
    """Return bits of entries whose skips are as wide as the longest jump in each needs."""
    total, i = 0, 0
    while i < n:
        j, longest = i, 0
        while j + 1 < n and (per_entry == 0 or j + 1 - i < per_entry):
            jump = positions[j + 1] - positions[j]
            if jump >> skips[-1] != 0:
                break
            longest = max(longest, jump)
            j += 1
        total += prefix + _narrowest(index, positions[j])
        total += (j + 1 - i) * (bits + _narrowest(skips, longest))
        i = j + 1
    return total


@njit(cache=True)
def _sparse(positions, n, bits, prefix, index, per_entry):
    """Return bits of entries whose indices are as wide as the largest in each needs."""
    total, i = 0, 0
    while i < n:
        end = n if per_entry == 0 else min(i + per_entry, n)
        total += prefix + (end - i) * (bits + _narrowest(index, positions[end - 1]))
        i = end
    return total


@njit(cache=True)
def _measure(positions, n, n_posts, bits, prefix, end_bits, index, skips, per_entry, word, out):
    """Fill in one source axon: words of each format, dense positions, nonzero weights."""
    if n == 0:
        return
    n_bits, stored = _dense(positions, n, n_posts, bits, prefix, index, per_entry)
    out[DENSE] = (n_bits + end_bits + word - 1) // word
    out[DENSE_EXECUTED] = stored
    if len(skips):
        n_bits = _run_length(positions, n, bits, prefix, index, skips, per_entry)
        out[RUN_LENGTH] = (n_bits + end_bits + word - 1) // word
    n_bits = _sparse(positions, n, bits, prefix, index, per_entry)
    out[SPARSE] = (n_bits + end_bits + word - 1) // word
    out[EFFECTIVE] = n


@njit(cache=True, nogil=True)
def measure_mask(mask, bits, prefix, end_bits, index, skips, per_entry, word):
    """Return (n_source, 5) int64 of a mask (n_source, n_posts) of nonzero weights."""
    n_source, n_posts = mask.shape
    out = np.zeros((n_source, 5), dtype=np.int64)
    positions = np.empty(n_posts, dtype=np.int64)
    for source in range(n_source):
        n = 0
        for post in range(n_posts):
            positions[n] = post
            n += mask[source, post]
        _measure(positions, n, n_posts, bits, prefix, end_bits, index, skips, per_entry, word,
                 out[source])
    return out


@njit(cache=True, nogil=True)
def measure_lists(indptr, indices, n_posts, bits, prefix, end_bits, index, skips, per_entry, word):
    """Return (n_source, 5) int64 of ascending positions in compressed rows, no zeros among them."""
    n_source = len(indptr) - 1
    out = np.zeros((n_source, 5), dtype=np.int64)
    for source in range(n_source):
        positions = indices[indptr[source]:indptr[source + 1]]
        _measure(positions, len(positions), n_posts, bits, prefix, end_bits, index, skips,
                 per_entry, word, out[source])
    return out


@njit(cache=True, inline="always")
def _distance(a, b, crossing):
    """Return tile hops between two slots (chip, x, y), ``crossing`` more from chip to chip."""
    hops = abs(a[1] - b[1]) + abs(a[2] - b[2])
    return hops + crossing * (a[0] != b[0])


@njit(cache=True)
def _pull(core, slot, other, slot_of, slots, indptr, partners, weights, crossing):
    """Return what ``core`` would cost at ``slot``, but for its traffic with ``other``."""
    cost = 0.0
    for k in range(indptr[core], indptr[core + 1]):
        if partners[k] != other:
            cost += weights[k] * _distance(slots[slot], slots[slot_of[partners[k]]], crossing)
    return cost


@njit(cache=True, nogil=True)
def fill_greedily(order, slots, indptr, partners, weights, crossing):
    """Return the slot of each core, placed in ``order`` where those before it are nearest."""
    n_cores, n_slots = len(order), len(slots)
    slot_of = np.full(n_cores, -1, dtype=np.int64)
    is_taken = np.zeros(n_slots, dtype=np.bool_)
    for core in order:
        best, best_cost = -1, np.inf
        for slot in range(n_slots):
            if is_taken[slot]:
                continue
            cost = 0.0
            for k in range(indptr[core], indptr[core + 1]):
                where = slot_of[partners[k]]
                if where >= 0:
                    cost += weights[k] * _distance(slots[slot], slots[where], crossing)
                    if cost >= best_cost:
                        break
            if cost < best_cost:
                best, best_cost = slot, cost
        slot_of[core] = best
        is_taken[best] = True
    return slot_of


@njit(cache=True, nogil=True)
def swap_while_shorter(slot_of, moves, slots, indptr, partners, weights, crossing):
    """Try every move (core, slot) in turn; keep those that shorten the weighted way."""
    core_at = np.full(len(slots), -1, dtype=np.int64)
    for core in range(len(slot_of)):
        core_at[slot_of[core]] = core
    for k in range(len(moves)):
        core, there = moves[k, 0], moves[k, 1]
        here, other = slot_of[core], core_at[there]
        if here == there:
            continue
        args = (slot_of, slots, indptr, partners, weights, crossing)
        change = _pull(core, there, other, *args) - _pull(core, here, other, *args)
        if other >= 0:
            change += _pull(other, here, core, *args) - _pull(other, there, core, *args)
        if change < -1e-9:
            slot_of[core], core_at[there], core_at[here] = there, core, other
            if other >= 0:
                slot_of[other] = here


@njit(cache=True, nogil=True)
def total_way(slot_of, slots, indptr, partners, weights, crossing):
    """Return the weighted way of all traffic; each pair of cores is in the lists twice."""
    way = 0.0
    for core in range(len(slot_of)):
        way += _pull(core, slot_of[core], -1, slot_of, slots, indptr, partners, weights, crossing)
    return way / 2
