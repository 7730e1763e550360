"""How many neurons of each core are active in each step: what a trace does not keep.

In: a network, its placement and a trace. Out: counts by core and step, found by emulating the
trace's input again in pieces of time; keeping it for every neuron would double the trace. Active is
what :mod:`pipeline.account.counts` calls so: input, bias or nonzero state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import Trace, emulate_pieces
from pipeline.errors import DataError
from pipeline.graded import is_graded
from pipeline.mapping.placement import Placement
from pipeline.network import INPUT, Layer, Network

_BATCH = 64
_STATE_BYTES = 64 << 20


def active_over_time(
    network: Network, placement: Placement, trace: Trace
) -> NDArray[np.int32]:
    """Return how many neurons of each core are active in each step, (n_samples, n_cores, n_steps).

    Raises
    ------
    DataError
        If the sums are not those of the trace: it belongs to another network or other biases.
    """
    spikes = trace.spikes[INPUT]
    active = np.zeros((len(spikes), len(placement.cores), spikes.shape[-1]), dtype=np.int32)
    for begin in range(0, len(spikes), _BATCH):
        own = slice(begin, begin + _BATCH)
        recorded = np.stack(
            [trace.n_active[core.layer][own, core.neurons].sum(axis=1)
             for core in placement.cores], axis=1)
        ways = [_step_by_step] if any(map(is_graded, network.layers)) else [_by_states,
                                                                            _step_by_step]
        for way in ways:
            at = 0
            for piece in way(network, placement, spikes[own]):
                active[own, :, at : at + piece.shape[-1]] = piece
                at += piece.shape[-1]
            # a sum of weights that wraps to 0 leaves no state: then steps are taken one by one
            if np.array_equal(active[own].sum(axis=-1), recorded):
                break
        else:
            raise DataError(
                "the trace counts other active steps than the network has with this input: it "
                "belongs to another network, or biases acted from another step"
            )
    return active


def _by_states(
    network: Network, placement: Placement, spikes: NDArray[np.uint8]
) -> Iterator[NDArray[np.int64]]:
    """Yield (n, n_cores, some steps): active neurons are those whose state is, or was, not 0.

    From rest without a bias a state becomes nonzero by input only; with a bias all are active.
    """
    n_neurons = sum(layer.n_neurons for layer in network.layers)
    n_at_once = max(1, _STATE_BYTES // (8 * len(spikes) * n_neurons))
    before: dict[str, NDArray[np.bool_]] = {}
    begin = 0
    for piece in emulate_pieces(network, spikes, n_at_once, with_states=True):
        is_active = {}
        for layer in network.layers:
            u, v = (part[layer.name].reshape(len(spikes), layer.n_neurons, -1)
                    for part in (piece.u, piece.v))
            has_state = (u != 0) | (v != 0)
            first = before.get(layer.name, np.zeros_like(has_state[..., :1]))
            before[layer.name] = has_state[..., -1:]
            was = np.concatenate([first, has_state[..., :-1]], axis=-1)
            is_active[layer.name] = has_state | was | _has_bias(
                layer, np.arange(begin, begin + has_state.shape[-1]))
        begin += has_state.shape[-1]
        yield _by_core(placement, is_active)


def _step_by_step(
    network: Network, placement: Placement, spikes: NDArray[np.uint8]
) -> Iterator[NDArray[np.int64]]:
    """Yield (n, n_cores, 1): what the emulator counts from one step to the next."""
    before: NDArray[Any] = np.zeros(1, dtype=np.int64)
    for piece in emulate_pieces(network, spikes, 1):
        so_far = _by_core(
            placement, {name: n[..., None] for name, n in piece.n_active.items()})
        yield so_far - before
        before = so_far


def _by_core(
    placement: Placement, by_neuron: dict[str, NDArray[Any]]
) -> NDArray[np.int64]:
    return np.stack(
        [by_neuron[core.layer][:, core.neurons].sum(axis=1, dtype=np.int64)
         for core in placement.cores], axis=1)


def _has_bias(layer: Layer, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether a bias acts, (n_neurons, steps)."""
    bias = np.array(layer.neuron.bias or (0,) * layer.n_channels)
    acts = steps >= getattr(layer.neuron, "bias_step", 0)
    return np.repeat(bias != 0, layer.n_neurons // layer.n_channels)[:, None] & acts
