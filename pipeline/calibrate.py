"""Curvature of every synapse group from calibration spikes.

In: the dense integer network and the calibration split. Out: a :class:`Calibration`: the Hessian of
each group, the inputs that never spiked, and what all that is worth. Samples are worked on in
chunks: memory does not grow with their number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compress.linalg import on_device
from pipeline.curvatures import Curvature, CurvatureSum, InputKey, input_key, input_sum
from pipeline.emulate_layers import emulate_layers, samples_at_once
from pipeline.kept_parts import KeptParts
from pipeline.network import Network
from pipeline.windows import heard, windows

_TOLD_AFTER_S = 10.0
_DEAD_INPUT_ADVICE_FRAC = 0.3


@dataclass(frozen=True)
class Calibration:
    """Curvatures by synapse name, and the dense network's rates by layer name.

    Attributes
    ----------
    rates : spikes per step of each channel (convolution) or neuron (dense), float64; those in the
        window of a layer, over all steps of the sample
    objective : what the Hessians are of, see :func:`pipeline.compress.curvature.filter_decays`
    advice : sentences for the user; empty when calibration is healthy
    """

    curvatures: dict[str, Curvature]
    rates: dict[str, NDArray[np.float64]]
    n_samples: int
    origin: str
    objective: str
    advice: tuple[str, ...]


def calibrate(
    network: Network,
    spikes: NDArray[np.uint8],
    origin: str,
    on_progress: Callable[[str], None] = lambda _: None,
    *,
    objective: str = "smp",
    damping_frac: float = 0.01,
    device: str = "cpu",
    kept: KeptParts | None = None,
) -> Calibration:
    """Return the curvature of every synapse group.

    Parameters
    ----------
    network : the dense integer network
    spikes : (n, *input_shape, t) uint8 of the calibration split
    on_progress : called with what is worked on
    damping_frac : only to state the condition after damping
    device : cpu or cuda
    kept : sums that an interrupted run has made; none by default

    Raises
    ------
    CalibrationError
        If no spike reaches a group.
    DeviceError
        If the device is absent.
    """
    where, kept = on_device(device), kept or KeptParts()
    window_of = windows(network, spikes)
    # queries, keys and values hear the same spikes through the same window: one sum for all
    key_of = {
        s.name: (window_of[layer.name].begin, window_of[layer.name].heard_until,
                 *input_key(layer, s, objective))
        for layer in network.layers for s in layer.synapses if not s.is_fixed}
    sums: dict[InputKey, CurvatureSum] = {key: CurvatureSum() for key in key_of.values()}
    n_spikes = {layer.name: np.zeros(layer.shape[0]) for layer in network.layers}
    n_at_once = samples_at_once(network, window_of)
    for begin in range(0, len(spikes), n_at_once):
        batch = f"samples {begin + 1} to {min(begin + n_at_once, len(spikes))}"
        on_progress(batch)
        told = time.monotonic()
        for layer, outputs in emulate_layers(
                network, spikes[begin : begin + n_at_once], window_of):
            output = outputs[layer.name].values
            n_spikes[layer.name] += np.count_nonzero(
                np.moveaxis(output, 1, 0).reshape(layer.shape[0], -1), axis=1)
            for synapse in layer.synapses:
                if not synapse.is_fixed and sums[key_of[synapse.name]].n_samples == begin:
                    if time.monotonic() - told > _TOLD_AFTER_S:
                        on_progress(f"{batch}, {synapse.name}")
                        told = time.monotonic()
                    source = heard(
                        network, layer, outputs, synapse.source, window_of[layer.name])
                    sums[key_of[synapse.name]].add(kept.get(
                        f"{synapse.name}, {batch}",
                        partial(input_sum, layer, synapse, source, objective, where)))
    n_steps = spikes.shape[-1]
    rates = {
        layer.name: n_spikes[layer.name]
        / (len(spikes) * n_steps * layer.n_neurons / layer.shape[0])
        for layer in network.layers
    }
    shared, curvatures = dict[InputKey, Curvature](), {}
    for synapse in network.compressible:
        key = key_of[synapse.name]
        if key not in shared:
            on_progress(f"{synapse.name}: rank and condition")
            shared[key] = sums[key].curvature(synapse, damping_frac, where)
        curvatures[synapse.name] = shared[key]
    advice = tuple(_advice(name, c, len(spikes)) for name, c in curvatures.items())
    return Calibration(
        curvatures, rates, len(spikes), origin, objective, tuple(a for a in advice if a)
    )


def _advice(name: str, curvature: Curvature, n_samples: int) -> str:
    dead_frac = float(curvature.is_dead.mean())
    d_in = curvature.hessian.shape[-1]
    if dead_frac > _DEAD_INPUT_ADVICE_FRAC:
        return (
            f"{name}: {dead_frac:.0%} of the inputs never spiked in {n_samples} calibration "
            "samples; only damping speaks for their weights, more samples would tell"
        )
    n_live = int((~curvature.is_dead).sum(axis=1).min())
    if curvature.rank < 0.9 * n_live:
        return (
            f"{name}: rank {curvature.rank} for {n_live} live of {d_in} inputs "
            f"({curvature.n_rows} rows); the curvature is rank deficient, more samples would help"
        )
    return ""


def curvature_bytes(network: Network, spikes: NDArray[Any]) -> int:
    """Return about how much disk calibration takes: curvatures, and sums of the samples at once."""
    n_batches = -(-len(spikes) // samples_at_once(network, windows(network, spikes)))
    return (1 + n_batches) * sum(
        8 * (1 if s.geometry is None else s.geometry.groups) * int(s.weight[0].size) ** 2
        for s in network.compressible)
