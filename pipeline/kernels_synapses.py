"""The sums of weights over spikes, compiled: dense rows, compressed rows, convolutions.

Each kernel works on a batch of samples and runs the samples in parallel. It visits only the inputs
that spike: these are packed into bits, 64 inputs to a word, and listed for each step. Buffers are
the caller's or one sample's; nothing is allocated inside a time loop. Innermost loops are functions
of a few arrays each, which vectorize.
Arrays: spikes (n, in, t) uint8, 1 or the count of a join, or int32 messages; accumulated input
(n, t, out) int32. With ``is_begun`` sums are added to it, else what it held does not matter.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False
# (numba infers the types of its kernels itself)

from __future__ import annotations

import numpy as np
from numba import njit, prange

N_ROWS_AT_ONCE = 8  # of weights, in `add_rows`

# A power of two times a De Bruijn sequence has another number in its six highest bits for each
# power (Leiserson, Prokop, Randall 1998, "Using de Bruijn sequences to index a 1 in a computer
# word").
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_PLACE = np.zeros(64, dtype=np.int64)
_PLACE[[(int(_DE_BRUIJN) << place) % 2**64 >> 58 for place in range(64)]] = np.arange(64)


@njit(cache=True, parallel=True, nogil=True)
def accumulate_dense(spikes, rows, shift, n_rows_per_sum, is_begun, sums, acc):
    """Set ``acc`` to the sum of the rows of weights of the active inputs, or add it.

    Parameters
    ----------
    rows : (in + 1, width) integers, weights without their ``shift`` lowest bits; zeros in the last
        row and from column ``out`` on
    n_rows_per_sum : a multiple of N_ROWS_AT_ONCE; so many rows cannot overflow ``sums``
    sums : (n, width) integers, zeros before and after
    acc : (n, t, out) int32
    """
    n_samples, n_in, n_steps = spikes.shape
    flat = spikes.reshape((n_samples, n_in * n_steps))
    for n in prange(n_samples):
        octets = np.zeros((8 * (n_in // 64 + 1), n_steps), dtype=np.uint8)
        words = np.empty((n_in // 64 + 1, n_steps), dtype=np.uint64)
        active = np.empty(n_in + N_ROWS_AT_ONCE, dtype=np.int64)
        pack(spikes, n, octets, words)
        is_counted = has_counts(flat, n)
        for t in range(n_steps):
            n_active = list_active(words, t, n_in, active)
            if not is_begun:
                acc[n, t, :] = 0
            if is_counted:
                for k in range(n_active):
                    add_counted_row(spikes, rows, shift, active[k], n, t, acc)
            else:
                for begin in range(0, n_active, n_rows_per_sum):
                    for k in range(begin, min(begin + n_rows_per_sum, n_active), N_ROWS_AT_ONCE):
                        add_rows(rows, active, k, n, sums)
                    move_sums(sums, shift, n, t, acc)


@njit(cache=True, parallel=True, nogil=True)
def accumulate_sparse(spikes, indptr, index, value, is_begun, acc):
    """Do the same for fan-outs in compressed rows."""
    n_samples, n_in, n_steps = spikes.shape
    for n in prange(n_samples):
        if not is_begun:
            acc[n] = 0
        for i in range(n_in):
            begin, end = indptr[i], indptr[i + 1]
            for t in range(n_steps):
                count = np.int32(spikes[n, i, t])
                if count:
                    for k in range(begin, end):
                        acc[n, t, index[k]] += count * value[k]


@njit(cache=True, parallel=True, nogil=True)
def accumulate_conv(
    spikes, shape, weights, row_begin, rows, column_begin, columns, is_begun, sums, acc
):
    """Set ``acc`` to the sum of what a convolution spreads from the active inputs, or add it.

    Parameters
    ----------
    shape : (y, x) of the input
    weights : (c_in, ky, kx, c_out / groups) int32
    row_begin, rows : from row y of the input, row ``rows[k, 0]`` of the kernel reaches row
        ``rows[k, 1]`` of the output, for k from ``row_begin[y]`` to ``row_begin[y + 1]``
    column_begin, columns : the same for columns
    sums : (n, y, x, groups, c_out / groups) int32 of the output, any values: channels last, so that
        they vectorize
    """
    n_samples, n_in, n_steps = spikes.shape
    n_channels = len(weights) // sums.shape[3]  # of a group
    for n in prange(n_samples):
        octets = np.zeros((8 * (n_in // 64 + 1), n_steps), dtype=np.uint8)
        words = np.empty((n_in // 64 + 1, n_steps), dtype=np.uint64)
        active = np.empty(n_in + N_ROWS_AT_ONCE, dtype=np.int64)
        pack(spikes, n, octets, words)
        for t in range(n_steps):
            sums[n] = 0
            for k in range(list_active(words, t, n_in, active)):
                i = active[k]
                c, y, x = i // (shape[0] * shape[1]), i // shape[1] % shape[0], i % shape[1]
                count = np.int32(spikes[n, i, t])
                for j in range(row_begin[y], row_begin[y + 1]):
                    for h in range(column_begin[x], column_begin[x + 1]):
                        add_tap(weights, c, rows[j, 0], columns[h, 0], count,
                                sums, n, rows[j, 1], columns[h, 1], c // n_channels)
            move_channels(sums, n, t, is_begun, acc)


@njit(cache=True)
def add_tap(weights, c, dy, dx, count, sums, n, y, x, group):
    """Add the weights of an input channel at one place of the kernel to one place of the output."""
    for o in range(weights.shape[3]):
        sums[n, y, x, group, o] += count * weights[c, dy, dx, o]


@njit(cache=True)
def move_channels(sums, n, t, is_begun, acc):
    """Set a step of ``acc`` to ``sums``, channels first, or add them."""
    _, n_y, n_x, n_groups, n_each = sums.shape
    for y in range(n_y):
        for c in range(n_groups * n_each):
            begin = np.uint64((c * n_y + y) * n_x)
            for x in range(n_x):
                o = begin + np.uint64(x)
                total = sums[n, y, x, c // n_each, c % n_each]
                acc[n, t, o] = total + acc[n, t, o] if is_begun else total


@njit(cache=True)
def has_counts(flat, n):
    """Return whether any spike of a sample is not 0 or 1."""
    is_counted = False
    for k in range(flat.shape[1]):
        is_counted |= (flat[n, k] != 0) & (flat[n, k] != 1)
    return is_counted


@njit(cache=True)
def pack(spikes, n, octets, words):
    """Set bit ``i % 64`` of ``words[i // 64, t]`` where input i spikes; ``octets`` are zeros."""
    _, n_in, n_steps = spikes.shape
    for i in range(0, n_in - 7, 8):
        for t in range(n_steps):
            octets[i // 8, t] = (
                bit(spikes, n, i, t, 0) | bit(spikes, n, i, t, 1)
                | bit(spikes, n, i, t, 2) | bit(spikes, n, i, t, 3)
                | bit(spikes, n, i, t, 4) | bit(spikes, n, i, t, 5)
                | bit(spikes, n, i, t, 6) | bit(spikes, n, i, t, 7))
    begin = n_in - n_in % 8
    for place in range(n_in % 8):
        for t in range(n_steps):
            octets[begin // 8, t] |= bit(spikes, n, begin, t, place)
    for w in range(len(words)):
        for t in range(n_steps):
            word = np.uint64(0)
            for k in range(8):
                word |= np.uint64(octets[8 * w + k, t]) << np.uint64(8 * k)
            words[w, t] = word


@njit(cache=True, inline="always")
def bit(spikes, n, i, t, place):
    """Return ``1 << place`` if input ``i + place`` spikes, else 0, in a byte."""
    return np.uint8(np.uint8(spikes[n, i + place, t] != 0) << np.uint8(place))


@njit(cache=True)
def list_active(words, t, n_in, active):
    """List the inputs that spike in a step, fill up with ``n_in``, return how many spike."""
    n_active = 0
    for w in range(len(words)):
        left = words[w, t]
        while left:
            lowest = left & (~left + np.uint64(1))
            active[n_active] = 64 * w + _PLACE[(lowest * _DE_BRUIJN) >> np.uint64(58)]
            n_active += 1
            left ^= lowest
    active[n_active : n_active + N_ROWS_AT_ONCE] = n_in
    return n_active


@njit(cache=True)
def add_rows(rows, active, k, n, sums):
    """Add the rows of eight inputs: each sum is loaded and stored once."""
    i0, i1, i2, i3 = active[k], active[k + 1], active[k + 2], active[k + 3]
    i4, i5, i6, i7 = active[k + 4], active[k + 5], active[k + 6], active[k + 7]
    for o in range(rows.shape[1]):
        sums[n, o] += (
            rows[i0, o] + rows[i1, o] + rows[i2, o] + rows[i3, o]
            + rows[i4, o] + rows[i5, o] + rows[i6, o] + rows[i7, o])


@njit(cache=True)
def move_sums(sums, shift, n, t, acc):
    """Add ``sums`` to a step of ``acc`` and leave zeros."""
    for o in range(acc.shape[2]):
        acc[n, t, o] += np.int32(sums[n, o]) << shift
    sums[n, :] = 0


@njit(cache=True)
def add_counted_row(spikes, rows, shift, i, n, t, acc):
    """Add the row of one input, as often as its count or message says."""
    count = np.int32(spikes[n, i, t])
    for o in range(acc.shape[2]):
        acc[n, t, o] += count * (np.int32(rows[i, o]) << shift)
