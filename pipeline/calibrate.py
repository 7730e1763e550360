"""Curvature of every synapse group from calibration spikes.

In: the dense integer network and the calibration split. Out: a :class:`Calibration`: H_SMP of each
group with both filters of its CUBA neurons, the inputs that never spiked, and what all that is
worth. Memory does not grow with the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compress import accumulate_hessian, filter_spikes
from pipeline.emulate import emulate
from pipeline.errors import CalibrationError
from pipeline.network import Layer, Network, Synapse

_CHUNK_BYTES = 256 << 20
_DEAD_INPUT_ADVICE_FRAC = 0.3


@dataclass(frozen=True)
class Curvature:
    """What calibration knows of one synapse group.

    Attributes
    ----------
    hessian : (groups, d_in, d_in) float64, H_SMP averaged over samples
    is_dead : (groups, d_in) bool, inputs that never spiked; damping alone speaks for their weights
    input_rate : spikes per source neuron and step
    n_rows : vectors the Hessian was accumulated from; its rank is at most this
    """

    hessian: NDArray[np.float64]
    is_dead: NDArray[np.bool_]
    input_rate: float
    n_rows: int


@dataclass(frozen=True)
class Calibration:
    """Curvatures by synapse name, and the dense network's rates by layer name.

    Attributes
    ----------
    advice : sentences for the user; empty when calibration is healthy
    """

    curvatures: dict[str, Curvature]
    rates: dict[str, float]
    n_samples: int
    origin: str
    advice: tuple[str, ...]


def calibrate(
    network: Network,
    spikes: NDArray[np.uint8],
    origin: str,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Return the curvature of every synapse group.

    Parameters
    ----------
    network : the dense integer network
    spikes : (n, *input_shape, t) uint8 of the calibration split
    on_progress : called with the name of each group before it is worked on

    Raises
    ------
    CalibrationError
        If no spike reaches a group.
    """
    trace = emulate(network, spikes)
    curvatures = {}
    for layer in network.layers:
        for synapse in layer.synapses:
            on_progress(synapse.name)
            curvatures[synapse.name] = _curvature(layer, synapse, trace.spikes[synapse.source])
    rates = {layer.name: float(trace.spikes[layer.name].mean()) for layer in network.layers}
    advice = tuple(_advice(name, c, len(spikes)) for name, c in curvatures.items())
    return Calibration(curvatures, rates, len(spikes), origin, tuple(a for a in advice if a))


def _curvature(layer: Layer, synapse: Synapse, source: NDArray[np.uint8]) -> Curvature:
    if not source.any():
        raise CalibrationError(
            f"synapse '{synapse.name}': its source '{synapse.source}' never spikes in "
            f"{len(source)} calibration samples; check the data, or calibrate with more samples"
        )
    if synapse.geometry is None:
        source = source.reshape(len(source), -1, source.shape[-1])
        kernel, n_unfolded = (1, 1), source[0].size
    else:
        kernel = (synapse.weight.shape[2], synapse.weight.shape[3])
        n_positions = int(np.prod(layer.shape[1:]))
        d_all = synapse.weight[0].size * synapse.geometry.groups
        n_unfolded = d_all * n_positions * source.shape[-1]
    chunk = max(1, _CHUNK_BYTES // (8 * n_unfolded))
    hessian: Tensor | None = None
    for i in range(0, len(source), chunk):
        filtered = filter_spikes(
            torch.from_numpy(source[i : i + chunk]),
            layer.neuron.current_decay, layer.neuron.voltage_decay,
        )
        hessian = accumulate_hessian(hessian, filtered, kernel, synapse.geometry)
    assert hessian is not None
    array = hessian.numpy() / len(source)
    n_rows = len(source) * source.shape[-1] * (
        1 if synapse.geometry is None else int(np.prod(layer.shape[1:]))
    )
    is_dead = np.diagonal(array, axis1=1, axis2=2) == 0
    return Curvature(array, is_dead, float(source.mean()), n_rows)


def _advice(name: str, curvature: Curvature, n_samples: int) -> str:
    dead_frac = float(curvature.is_dead.mean())
    if dead_frac > _DEAD_INPUT_ADVICE_FRAC:
        return (
            f"{name}: {dead_frac:.0%} of the inputs never spiked in {n_samples} calibration "
            "samples; only damping speaks for their weights, more samples would tell"
        )
    if curvature.n_rows < curvature.hessian.shape[-1]:
        return (
            f"{name}: {curvature.n_rows} rows for {curvature.hessian.shape[-1]} inputs; the "
            "curvature is rank deficient, more samples would help"
        )
    return ""
