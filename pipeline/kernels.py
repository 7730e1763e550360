"""Loihi's state arithmetic, once, and the emulator's loop over CUBA neurons around it, compiled.

Decay, wrap and saturation reproduce ``lava.proc.lif.models.AbstractPyLifModelFixed`` of lava-nc
0.10.0. They live in this file because numba's cache notices changes of the file of a kernel only:
inlined from another file, an old version could be run.

The kernel works on a batch of samples and runs the samples in parallel. Buffers are the caller's
or one sample's; nothing is allocated inside a time loop. Innermost loops are functions of a few
arrays each: LLVM vectorizes a loop only where few pairs of arrays could overlap.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, inline="always")
def decay_toward_zero(state, decay):
    """Return ``state * (4096 - decay) / 4096``, truncated toward zero; int64 inside."""
    product = np.int64(state) * np.int64(np.int32(4096 - decay))  # a product of 32 bits is faster
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
    for n in prange(n_samples):
        current = np.empty(n_out, dtype=np.int64)  # what a neuron receives, then its new current
        fires = np.empty((n_steps, n_out), dtype=np.uint8)
        for t in range(n_steps):
            receive(acc, n, t, recurrent, fired, current)
            count_active(current, n, u, v, bias, n_active)
            update_currents(current, n, current_decay, u)
            update_voltages(current, n, voltage_decay, bias, v)
            fire(n, t, threshold, v, fired, fires)
            if len(u_trace) > 0:
                for o in range(n_out):
                    u_trace[n, o, t] = u[n, o]
                    v_trace[n, o, t] = v[n, o]
        deliver(fires, n, delay, spikes, tail)


@njit(cache=True)
def receive(acc, n, t, recurrent, fired, current):
    """Set ``current`` to what arrives from outside and from the layer itself."""
    for o in range(len(current)):
        current[o] = acc[n, t, o]
    for i in range(len(recurrent)):
        if fired[n, i]:
            for o in range(len(current)):
                current[o] += recurrent[i, o]


# All neurons alike, idle ones too, and no branches: these vectorize.


@njit(cache=True)
def count_active(received, n, u, v, bias, n_active):
    """Count a step of the neurons that have input, bias or state."""
    for o in range(len(received)):
        n_active[n, o] += np.int32(
            (received[o] != 0) | (u[n, o] != 0) | (v[n, o] != 0) | (bias[o] != 0))


@njit(cache=True)
def update_currents(current, n, decay, u):
    """Replace what was received in ``current`` by the new currents, also in ``u``."""
    for o in range(len(current)):
        current[o] = wrap_current(decay_toward_zero(u[n, o], decay[o]) + (current[o] << 6))
        u[n, o] = current[o]


@njit(cache=True)
def update_voltages(current, n, decay, bias, v):
    """Integrate ``current`` and the bias."""
    for o in range(len(current)):
        v[n, o] = saturate_voltage(decay_toward_zero(v[n, o], decay[o]) + current[o] + bias[o])


@njit(cache=True)
def fire(n, t, threshold, v, fired, fires):
    """Note who is above threshold, and reset them."""
    for o in range(len(threshold)):
        fired[n, o] = v[n, o] > threshold[o]
        fires[t, o] = fired[n, o]
        v[n, o] = 0 if fired[n, o] else v[n, o]


@njit(cache=True)
def deliver(fires, n, delay, spikes, tail):
    """Write the spikes of all steps to those in which they leave, time last."""
    n_steps = np.uint64(len(fires))  # indices that cannot be negative need no check of their sign
    for index in range(len(delay)):
        o, later = np.uint64(index), np.uint64(1 + delay[index])
        n_inside = n_steps - min(n_steps, later)
        for t in range(n_inside):
            spikes[n, o, t + later] = fires[t, o]
        for t in range(n_inside, n_steps):
            tail[n, o, t + later - n_steps] = fires[t, o]
