"""Compiled loops of the account: how often something other than 0 was sent.

In: spikes or graded messages. Out: counts along time. One thread each: reading the spikes once is
all there is to do, and starting threads takes as long.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def n_spikes(sent, counts):
    """Count spikes along time: ``sent`` (n, k, t) uint8 of 0 and 1, ``counts`` (k, n) int32."""
    n_samples, n_sources, n_steps = sent.shape
    for n in range(n_samples):
        for k in range(n_sources):
            found = np.int32(0)
            for t in range(n_steps):
                found += np.int32(sent[n, k, t])
            counts[k, n] = found


@njit(cache=True, nogil=True)
def n_spikes_in_words(words, counts):
    """Count as `n_spikes`, four steps at once; return whether there is nothing but 0 and 1.

    ``words`` (n, k, t / 4) uint32 is the view of spikes of at most 255 steps: their sum fits the
    byte it ends in.
    """
    n_samples, n_sources, n_words = words.shape
    seen = np.uint32(0)
    for n in range(n_samples):
        for k in range(n_sources):
            found, own = np.uint32(0), np.uint32(0)
            for w in range(n_words):
                found = np.uint32(found + words[n, k, w])
                own = np.uint32(own | words[n, k, w])
            seen |= own
            counts[k, n] = np.uint32(found * np.uint32(0x01010101)) >> np.uint32(24)
    return seen & np.uint32(0xFEFEFEFE) == 0
