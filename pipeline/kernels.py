"""Loihi's state arithmetic, once, and the emulator's loops around it, compiled.

Decay, wrap and saturation reproduce ``lava.proc.lif.models.AbstractPyLifModelFixed`` of lava-nc
0.10.0. They live in this file because numba's cache notices changes of the file of a kernel only:
inlined from another file, an old version could be run.

Each kernel works on a batch of samples and runs the samples in parallel. Accumulation visits only
the inputs that spike. Buffers are the caller's; nothing is allocated inside a time loop.
Arrays: spikes (n, in, t) uint8, 1 or the count of a join; accumulated input (n, t, out) int32.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, inline="always")
def decay_toward_zero(state, decay):
    """Return ``state * (4096 - decay) / 4096``, truncated toward zero; int64 inside."""
    product = np.int64(state) * np.int64(4096 - decay)
    # a shift rounds down: 4095 more lets it round up below zero; without a branch it vectorizes
    return (product + ((product >> 63) & 4095)) >> 12


@njit(cache=True, inline="always")
def wrap_current(u):
    """Return a current wrapped into 24 bits as Lava wraps it: (-2^23, 2^23]."""
    u = u - 16777216 if u > 8388608 else u
    return u + 16777216 if u <= -8388608 else u


@njit(cache=True, inline="always")
def saturate_voltage(v):
    """Return a voltage clipped to +-(2^23 - 1), as Lava clips it."""
    return min(max(v, -8388607), 8388607)


@njit(cache=True, parallel=True, nogil=True)
def accumulate_dense(spikes, weight_by_input, acc):
    """Add each active input's row of weights to ``acc``; ``weight_by_input`` (in, out) integers."""
    n_samples, n_in, n_steps = spikes.shape
    n_out = weight_by_input.shape[1]
    for n in prange(n_samples):
        for i in range(n_in):
            for t in range(n_steps):
                count = np.int32(spikes[n, i, t])
                if count:
                    for o in range(n_out):
                        acc[n, t, o] += count * np.int32(weight_by_input[i, o])


@njit(cache=True, parallel=True, nogil=True)
def accumulate_sparse(spikes, indptr, index, value, acc):
    """Add each active input's fan-out, in compressed rows, to ``acc``."""
    n_samples, n_in, n_steps = spikes.shape
    for n in prange(n_samples):
        for i in range(n_in):
            begin, end = indptr[i], indptr[i + 1]
            for t in range(n_steps):
                count = np.int32(spikes[n, i, t])
                if count:
                    for k in range(begin, end):
                        acc[n, t, index[k]] += count * value[k]


@njit(cache=True, parallel=True, nogil=True)
def run_cuba(
    acc, current_decay, voltage_decay, threshold, bias, delay, recurrent,
    u, v, fired, spikes, tail, n_active, u_trace, v_trace,
):
    """Integrate ``acc`` and write the spikes, one step and their axonal delay later.

    Parameters
    ----------
    acc : (n, t, out) int32, sum of weights per step
    current_decay, voltage_decay : (out,) int32, 0..4096
    threshold, bias : (out,) int32, in units of the voltage
    delay : (out,) int64, axonal delay in steps
    recurrent : (out, out) int32, a row per source, for spikes of the step before; (0, 0) for none
    u, v : (n, out) int32, states before the first step; receive those after the last
    fired : (n, out) uint8, 1 where a neuron fired in the step before; receives the last step's
    spikes : (n, out, t) uint8; receives 1 at t + 1 + delay for a neuron that fires at t
    tail : (n, out, 1 + largest delay) uint8, receives those that leave after the last step
    n_active : (n, out) int32, receives the steps at which a neuron had input, bias or state
    u_trace, v_trace : (n, out, t) int32, receive the states; (0, 0, 0) to record none
    """
    n_samples, n_steps, n_out = acc.shape
    is_recurrent, is_traced = len(recurrent) > 0, len(u_trace) > 0
    for n in prange(n_samples):
        fed_back = np.zeros(n_out, dtype=np.int32)
        for t in range(n_steps):
            if is_recurrent:
                fed_back[:] = 0
                for i in range(n_out):
                    if fired[n, i]:
                        for o in range(n_out):
                            fed_back[o] += recurrent[i, o]
            n_fired = 0
            for o in range(n_out):  # all neurons alike, idle ones too: this vectorizes
                received = acc[n, t, o] + fed_back[o]
                is_active = (received != 0) | (u[n, o] != 0) | (v[n, o] != 0) | (bias[o] != 0)
                n_active[n, o] += np.int32(is_active)
                u_new = wrap_current(
                    decay_toward_zero(u[n, o], current_decay[o]) + (np.int64(received) << 6))
                v_new = saturate_voltage(
                    decay_toward_zero(v[n, o], voltage_decay[o]) + u_new + bias[o])
                fires = v_new > threshold[o]
                n_fired += fires
                fired[n, o] = fires
                u[n, o] = u_new
                v[n, o] = 0 if fires else v_new
            if n_fired:
                for o in range(n_out):
                    if fired[n, o]:
                        leaves = t + 1 + delay[o]
                        if leaves < n_steps:
                            spikes[n, o, leaves] = 1
                        else:
                            tail[n, o, leaves - n_steps] = 1
            if is_traced:
                for o in range(n_out):
                    u_trace[n, o, t] = u[n, o]
                    v_trace[n, o, t] = v[n, o]
