"""What every source of a trace sent, as the account counts it: when it left, or when it was fired.

In: a trace and tables of events. Out: each table with the spikes or messages that it multiplies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.account.fan_out import FanOut
from pipeline.account.kernels_counting import n_spikes, n_spikes_in_words
from pipeline.emulate import Trace
from pipeline.network import Network


def sent_by(
    network: Network, trace: Trace, tables: tuple[FanOut, ...]
) -> Iterator[tuple[FanOut, NDArray[Any]]]:
    """Yield each table that counts anything with what its source sent, (n, n_source, t)."""
    for table in tables:
        if not table.names:
            continue
        sent = trace.spikes[table.source]
        sent = np.ascontiguousarray(sent.reshape(len(sent), -1, sent.shape[-1]))
        if table.moment == "fired":
            sent = _fired(network, table.source, sent, trace.late[table.source])
        yield table, sent


def rates_of(sent: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return how often each source sent something, and in which samples it was graded.

    Parameters
    ----------
    sent : (n, k, t) integers, contiguous

    Returns
    -------
    rates : (k, n) int32
    is_graded : (n,) bool, whether a value of the sample is none of -1, 0 and 1
    """
    n_samples, n_sources, n_steps = sent.shape
    if sent.dtype == np.uint8:
        rates = np.empty((n_sources, n_samples), dtype=np.int32)
        if n_steps % 4 == 0 and n_steps <= 255:
            is_binary = n_spikes_in_words(sent.view(np.uint32), rates)
        else:
            is_binary = sent.max() <= 1
            n_spikes(sent, rates)
        if is_binary:
            return rates, np.zeros(n_samples, dtype=np.bool_)
    flat = sent.reshape(n_samples, -1)
    is_graded = (flat.max(axis=1) > 1) | (flat.min(axis=1) < -1)
    return np.count_nonzero(sent, axis=-1).astype(np.int32).T, is_graded


def _fired(
    network: Network, name: str, left: NDArray[np.uint8], late: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return what was fired, one step after it was, (n, n_neurons, t); delays undone."""
    layer, n_steps = network.layer(name), left.shape[-1]
    delays = np.repeat(np.array(layer.axonal_delay), layer.n_neurons // layer.n_channels)
    fired = np.zeros_like(left)
    for delay in np.unique(delays):
        own = delays == delay
        known = np.concatenate([left[:, own], late[:, own, :delay]], axis=-1)
        fired[:, own] = known[..., delay : delay + n_steps]
    return fired
