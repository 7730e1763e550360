"""Loihi's state arithmetic, once, and the emulator's loops around it, compiled.

Decay, wrap and saturation reproduce ``lava.proc.lif.models.AbstractPyLifModelFixed`` of lava-nc
0.10.0. They live in this file because numba's cache notices changes of the file of a kernel only:
inlined from another file, an old version could be run.

Each kernel works on a batch of samples and runs the samples in parallel. Accumulation visits only
the inputs that spike. Buffers are the caller's; nothing is allocated inside a time loop.
Arrays: spikes (n, in, t) uint8; accumulated input (n, t, out) int32.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, inline="always")
def decay_toward_zero(state, decay):
    """Return ``state * (4096 - decay) / 4096``, truncated toward zero; int64 inside."""
    product = np.int64(state) * np.int64(4096 - decay)
    return product >> 12 if product >= 0 else -((-product) >> 12)


@njit(cache=True, inline="always")
def wrap_current(u):
    """Return a current wrapped into 24 bits as Lava wraps it: (-2^23, 2^23]."""
    if u > 8388608:
        return u - 16777216
    if u <= -8388608:
        return u + 16777216
    return u


@njit(cache=True, inline="always")
def saturate_voltage(v):
    """Return a voltage clipped to +-(2^23 - 1), as Lava clips it."""
    return min(max(v, -8388607), 8388607)


@njit(cache=True, parallel=True, nogil=True)
def accumulate_dense(spikes, weight_by_input, acc):
    """Add each active input's row of weights to ``acc``; ``weight_by_input`` (in, out) int32."""
    n_samples, n_in, n_steps = spikes.shape
    n_out = weight_by_input.shape[1]
    for n in prange(n_samples):
        for i in range(n_in):
            for t in range(n_steps):
                if spikes[n, i, t]:
                    for o in range(n_out):
                        acc[n, t, o] += weight_by_input[i, o]


@njit(cache=True, parallel=True, nogil=True)
def accumulate_sparse(spikes, indptr, index, value, acc):
    """Add each active input's fan-out, in compressed rows, to ``acc``."""
    n_samples, n_in, n_steps = spikes.shape
    for n in prange(n_samples):
        for i in range(n_in):
            begin, end = indptr[i], indptr[i + 1]
            for t in range(n_steps):
                if spikes[n, i, t]:
                    for k in range(begin, end):
                        acc[n, t, index[k]] += value[k]


@njit(cache=True, parallel=True, nogil=True)
def run_cuba(acc, current_decay, voltage_decay, vth_mant, spikes, n_active):
    """Integrate ``acc`` and write the spikes, one step later as SLAYER and Lava deliver them.

    Parameters
    ----------
    acc : (n, t, out) int32, sum of weights per step
    vth_mant : (out,) int32, threshold mantissa of each neuron
    spikes : (n, out, t) uint8, zeroed; receives 1 at t + 1 for a spike at t
    n_active : (n, out) int32, zeroed; receives the steps at which a neuron had input or state
    """
    n_samples, n_steps, n_out = acc.shape
    threshold = vth_mant << 6
    for n in prange(n_samples):
        u = np.zeros(n_out, dtype=np.int32)
        v = np.zeros(n_out, dtype=np.int32)
        for t in range(n_steps):
            for o in range(n_out):
                if acc[n, t, o] != 0 or u[o] != 0 or v[o] != 0:
                    n_active[n, o] += 1
                    u_new = wrap_current(
                        decay_toward_zero(u[o], current_decay) + (np.int64(acc[n, t, o]) << 6))
                    v_new = saturate_voltage(decay_toward_zero(v[o], voltage_decay) + u_new)
                    if v_new > threshold[o]:
                        v_new = 0
                        if t + 1 < n_steps:
                            spikes[n, o, t + 1] = 1
                    u[o] = u_new
                    v[o] = v_new
