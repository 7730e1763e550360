"""Compiled loops of the account: how often something other than 0 was sent.

In: spikes or graded messages. Out: counts along time. One thread each: reading the spikes once is
all there is to do, and starting threads takes as long.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def n_spikes(sent, counts):
    """Count spikes along time: ``sent`` (n, k, t) uint8 of 0 and 1, ``counts`` (k, n) int64."""
    n_samples, n_sources, n_steps = sent.shape
    for n in range(n_samples):
        for k in range(n_sources):
            found = np.int32(0)
            for t in range(n_steps):
                found += np.int32(sent[n, k, t])
            counts[k, n] = found
