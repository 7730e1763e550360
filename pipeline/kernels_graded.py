"""State arithmetic and loops of sigma-delta and resonate-and-fire neurons, compiled.

What is reproduced are the fixed-point models of ``lava.proc.sdn``, ``lava.proc.rf`` and
``lava.proc.rf_iz`` of lava-nc 0.10.0. Helpers live in this file because numba's cache notices
changes of the file of a kernel only. A kernel works on a batch, samples in parallel; buffers are
the caller's. Arrays: accumulated input (n, t, out) int32; states (n, out) int32.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# one step of weight * message (2^-18) against one of weights, thresholds and data (2^-6)
STATE_BITS = 12
_MESSAGE_BITS = 6


@njit(cache=True, inline="always")
def wrap(value):
    """Return a sum in the 32 bits that Lava's arrays have."""
    return np.int32(value)


@njit(cache=True, inline="always")
def scaled_toward_zero(decay, state):
    """Return ``decay * state / 4096``, truncated toward zero; int64 inside."""
    product = np.int64(decay) * np.int64(state)
    return (product + ((product >> 63) & 4095)) >> 12


@njit(cache=True, inline="always")
def clip_24(state):
    """Return a state clipped to +-(2^23 - 1), as Lava clips resonators."""
    return min(max(state, -8388607), 8388607)


@njit(cache=True, parallel=True, nogil=True)
def wrap_24(acc):
    """Wrap sums into [-2^23, 2^23) in place, as Lava's convolution does (``signed_clamp``)."""
    flat = acc.reshape(-1)
    for k in prange(len(flat)):
        flat[k] = ((flat[k] + 8388608) & 16777215) - 8388608


@njit(cache=True, parallel=True, nogil=True)
def run_delta(
    acc, is_input, is_relu, is_cumulative, threshold, bias, bias_from,
    sigma, act, residue, error, messages, last, n_active, sigma_trace, act_trace,
):
    """Decode ``acc``, activate, and write what changed, one step later unless at the input.

    Parameters
    ----------
    acc : (n, t, out) int32, sum of weights times messages per step; at the input the data
    is_input : whether ``acc`` is encoded itself, scaled by 2^12, and leaves in the same step
    threshold : int32 in units of the state
    bias : (out,) int32 in units of the state, acts from step ``bias_from`` on
    sigma, act, residue, error : (n, out) int32, before the first step; receive those after the last
    messages : (n, out, t) int32, receives what leaves; its first step ``last`` unless at the input
    last : (n, out) int32, the message of the step before; receives the last step's
    n_active : (n, out) int32, receives the steps at which a neuron had input, bias or state
    sigma_trace, act_trace : (n, out, t) int32; (0, 0, 0) to record none
    """
    n_samples, n_steps, n_out = acc.shape
    is_traced = len(sigma_trace) > 0
    for n in prange(n_samples):
        for t in range(n_steps):
            for o in range(n_out):
                received = acc[n, t, o]
                offset = bias[o] if t >= bias_from else 0
                n_active[n, o] += np.int32(
                    (received != 0) | (sigma[n, o] != 0) | (residue[n, o] != 0) | (offset != 0))
                if is_input:
                    new = wrap(np.int64(received) << STATE_BITS)
                else:
                    sigma[n, o] = wrap(np.int64(sigma[n, o]) + received)
                    new = wrap(np.int64(sigma[n, o]) + offset)
                    if is_relu and new < 0:
                        new = np.int32(0)
                delta = wrap(np.int64(new) - act[n, o] + residue[n, o])
                seen = wrap(np.int64(error[n, o]) + delta) if is_cumulative else delta
                sent = delta if wrap(abs(np.int64(seen))) >= threshold else np.int32(0)
                if is_cumulative:
                    error[n, o] = np.int32(0) if sent != 0 else seen
                residue[n, o] = wrap(np.int64(delta) - sent)
                act[n, o] = new
                if not is_input:
                    messages[n, o, t] = last[n, o]
                last[n, o] = sent >> _MESSAGE_BITS
                if is_input:
                    messages[n, o, t] = last[n, o]
                if is_traced:
                    sigma_trace[n, o, t] = sigma[n, o]
                    act_trace[n, o, t] = act[n, o]


@njit(cache=True, parallel=True, nogil=True)
def run_sigma(acc, sigma, values, n_active, sigma_trace):
    """Decode ``acc`` and write the state, one step later.

    Parameters
    ----------
    sigma : (n, out) int32, before the first step; receives that after the last
    values : (n, out, t) int32, receives the states one step later
    n_active : (n, out) int32, receives the steps at which a neuron had input or state
    sigma_trace : (n, out, t) int32; (0, 0, 0) to record none
    """
    n_samples, n_steps, n_out = acc.shape
    is_traced = len(sigma_trace) > 0
    for n in prange(n_samples):
        for t in range(n_steps):
            for o in range(n_out):
                values[n, o, t] = sigma[n, o]
                n_active[n, o] += np.int32((acc[n, t, o] != 0) | (sigma[n, o] != 0))
                sigma[n, o] = wrap(np.int64(sigma[n, o]) + acc[n, t, o])
                if is_traced:
                    sigma_trace[n, o, t] = sigma[n, o]


@njit(cache=True, parallel=True, nogil=True)
def run_resonator(
    acc_real, acc_imag, is_izhikevich, sin_decay, cos_decay, threshold, delay,
    real, imag, spikes, tail, n_active, real_trace, imag_trace,
):
    """Rotate and drive the states, and write the spikes, one step and their axonal delay later.

    Parameters
    ----------
    acc_real, acc_imag : (n, t, out) int32, sums of real and of imaginary weights per step
    is_izhikevich : whether a neuron fires by its imaginary state, and is reset
    sin_decay, cos_decay : (out,) int32, 0..4096
    threshold : int64 in units of the state
    delay : (out,) int64, axonal delay in steps
    real, imag : (n, out) int32, states before the first step; receive those after the last
    spikes : (n, out, t) uint8; receives 1 at t + 1 + delay for a neuron that fires at t
    tail : (n, out, 1 + largest delay) uint8, receives those that leave after the last step
    n_active : (n, out) int32, receives the steps at which a neuron had input or state
    real_trace, imag_trace : (n, out, t) int32, receive the states; (0, 0, 0) to record none
    """
    n_samples, n_steps, n_out = acc_real.shape
    is_traced = len(real_trace) > 0
    for n in prange(n_samples):
        for t in range(n_steps):
            for o in range(n_out):
                x, y = real[n, o], imag[n, o]
                received_x, received_y = acc_real[n, t, o], acc_imag[n, t, o]
                n_active[n, o] += np.int32(
                    (received_x != 0) | (received_y != 0) | (x != 0) | (y != 0))
                x_new = clip_24(
                    scaled_toward_zero(cos_decay[o], x) - scaled_toward_zero(sin_decay[o], y)
                    + (np.int64(received_x) << 6))
                y_new = clip_24(
                    scaled_toward_zero(sin_decay[o], x) + scaled_toward_zero(cos_decay[o], y)
                    + (np.int64(received_y) << 6))
                if is_izhikevich:
                    fires = y_new >= threshold
                    real[n, o] = 0 if fires else x_new
                    imag[n, o] = threshold - 1 if fires else y_new
                else:
                    fires = (x_new >= threshold) & (y_new >= 0) & (y < 0)
                    real[n, o] = x_new
                    imag[n, o] = y_new
                if fires:
                    leaves = t + 1 + delay[o]
                    if leaves < n_steps:
                        spikes[n, o, leaves] = 1
                    else:
                        tail[n, o, leaves - n_steps] = 1
                if is_traced:
                    real_trace[n, o, t] = real[n, o]
                    imag_trace[n, o, t] = imag[n, o]
