"""Curvature of every synapse group from calibration spikes.

In: the dense integer network and the calibration split. Out: a :class:`Calibration`: the Hessian of
each group, the inputs that never spiked, and what all that is worth. Samples are worked on in
chunks: memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compress import accumulate_cross, accumulate_hessian, filter_input
from pipeline.compress.curvature import damping
from pipeline.compress.linalg import on_device
from pipeline.emulate_layers import emulate_layers, last_uses
from pipeline.errors import CalibrationError
from pipeline.network import Layer, Network, Synapse
from pipeline.synaptic_input import source_spikes

_CHUNK_BYTES = 256 << 20
_SAMPLES_AT_ONCE = 64
_TRACE_BYTES = 2 << 30
_DEAD_INPUT_ADVICE_FRAC = 0.3
_RANK_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Curvature:
    """What calibration knows of one synapse group.

    Attributes
    ----------
    hessian : (groups, d_in, d_in) float64, averaged over samples, not damped
    is_dead : (groups, d_in) bool, inputs that never spiked; damping alone speaks for their weights
    input_rate : spikes, or messages other than 0, per source neuron and step
    n_rows : vectors the Hessian was accumulated from; its rank is at most this
    rank : of the Hessian, the smallest of its groups; eigenvalues above 1e-10 of the largest
    condition : largest over smallest eigenvalue after damping, the worst of its groups
    """

    hessian: NDArray[np.float64]
    is_dead: NDArray[np.bool_]
    input_rate: float
    n_rows: int
    rank: int
    condition: float


@dataclass(frozen=True)
class Calibration:
    """Curvatures by synapse name, and the dense network's rates by layer name.

    Attributes
    ----------
    rates : spikes per step of each channel (convolution) or neuron (dense), float64
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
) -> Calibration:
    """Return the curvature of every synapse group.

    Parameters
    ----------
    network : the dense integer network
    spikes : (n, *input_shape, t) uint8 of the calibration split
    on_progress : called with what is worked on
    damping_frac : only to state the condition after damping
    device : cpu or cuda

    Raises
    ------
    CalibrationError
        If no spike reaches a group.
    DeviceError
        If the device is absent.
    """
    where = on_device(device)
    sums: dict[str, _Sum] = {s.name: _Sum() for s in network.compressible}
    n_spikes = {layer.name: np.zeros(layer.shape[0]) for layer in network.layers}
    n_at_once = _samples_at_once(network, spikes.shape[-1])
    for begin in range(0, len(spikes), n_at_once):
        on_progress(f"samples {begin + 1} to {min(begin + n_at_once, len(spikes))}")
        for layer, outputs in emulate_layers(network, spikes[begin : begin + n_at_once]):
            output = outputs[layer.name]
            n_spikes[layer.name] += np.count_nonzero(
                np.moveaxis(output, 1, 0).reshape(layer.shape[0], -1), axis=1)
            for synapse in layer.synapses:
                if not synapse.is_fixed:
                    source = source_spikes(network, outputs, synapse.source)
                    sums[synapse.name].add(layer, synapse, source, objective, where)
    n_steps = spikes.shape[-1]
    rates = {
        layer.name: n_spikes[layer.name]
        / (len(spikes) * n_steps * layer.n_neurons / layer.shape[0])
        for layer in network.layers
    }
    curvatures = {}
    for synapse in network.compressible:
        on_progress(f"{synapse.name}: rank and condition")
        curvatures[synapse.name] = sums[synapse.name].curvature(synapse, damping_frac)
    advice = tuple(_advice(name, c, len(spikes)) for name, c in curvatures.items())
    return Calibration(
        curvatures, rates, len(spikes), origin, objective, tuple(a for a in advice if a)
    )


def asymmetric_curvature(
    layer: Layer, synapse: Synapse, compressed: NDArray[np.uint8], dense: NDArray[np.uint8],
    objective: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return H' and G of a group whose source spikes differently in the compressed network.

    Parameters
    ----------
    compressed, dense : (n, *source_shape, t) uint8, spikes of the source in either network

    Returns
    -------
    hessian, cross : (groups, d_in, d_in) float64, averaged over samples
    """
    hessian: Tensor | None = None
    cross: Tensor | None = None
    kernel = _kernel(synapse)
    pairs = zip(
        _filtered(layer, synapse, compressed, objective, torch.device("cpu")),
        _filtered(layer, synapse, dense, objective, torch.device("cpu")), strict=True,
    )
    for both in pairs:
        for ours, theirs in zip(
                *(_in_time(layer, synapse, filtered) for filtered in both), strict=True):
            hessian = accumulate_hessian(hessian, ours, kernel, synapse.geometry)
            cross = accumulate_cross(cross, ours, theirs, kernel, synapse.geometry)
    assert hessian is not None and cross is not None
    return hessian.numpy() / len(dense), cross.numpy() / len(dense)


def _samples_at_once(network: Network, n_steps: int) -> int:
    """Return how many samples' spikes fit in memory where most of them are needed at once."""
    uses, most = last_uses(network), 0
    for index in range(len(network.layers)):
        most = max(most, sum(
            layer.n_neurons for position, layer in enumerate(network.layers)
            if position <= index <= max(uses[layer.name], position)))
    return max(1, min(_SAMPLES_AT_ONCE, _TRACE_BYTES // (most * n_steps)))


class _Sum:
    """A Hessian in the making."""

    def __init__(self) -> None:
        self._hessian: Tensor | None = None
        self._n_samples, self._n_spikes, self._n_inputs, self._n_rows = 0, 0, 0, 0

    def add(
        self, layer: Layer, synapse: Synapse, source: NDArray[np.uint8], objective: str,
        device: torch.device,
    ) -> None:
        """Add the samples in ``source`` (n, *source_shape, t)."""
        for filtered in _filtered(layer, synapse, source, objective, device):
            for steps in _in_time(layer, synapse, filtered):
                self._hessian = accumulate_hessian(
                    self._hessian, steps, _kernel(synapse), synapse.geometry)
        self._n_samples += len(source)
        self._n_spikes += int(np.count_nonzero(source))
        self._n_inputs += source.size
        self._n_rows += len(source) * source.shape[-1] * _n_positions(layer, synapse)

    def curvature(self, synapse: Synapse, damping_frac: float) -> Curvature:
        """Return the average and its health."""
        if self._n_spikes == 0:
            raise CalibrationError(
                f"synapse '{synapse.name}': its source '{synapse.source}' never spikes in "
                f"{self._n_samples} calibration samples; check the data, or calibrate with more "
                "samples"
            )
        assert self._hessian is not None
        hessian = self._hessian / self._n_samples
        eigenvalues = torch.linalg.eigvalsh(hessian).cpu().numpy()
        array: NDArray[np.float64] = hessian.cpu().numpy()
        if not np.isfinite(eigenvalues).all():
            raise CalibrationError(f"synapse '{synapse.name}': its curvature is not finite")
        strength = damping(array, damping_frac)
        largest, smallest = eigenvalues[:, -1], np.maximum(eigenvalues[:, 0], 0.0)
        rank = (eigenvalues > _RANK_TOLERANCE * largest[:, None]).sum(axis=1).min()
        condition = ((largest + strength) / (smallest + strength)).max()
        return Curvature(
            array, np.diagonal(array, axis1=1, axis2=2) == 0, self._n_spikes / self._n_inputs,
            self._n_rows, int(rank), float(condition),
        )


def _filtered(
    layer: Layer, synapse: Synapse, source: NDArray[np.uint8], objective: str, device: torch.device
) -> Iterator[Tensor]:
    """Yield the filtered input of a few samples at a time, as the group's curvature takes it."""
    if synapse.geometry is None:
        source = source.reshape(len(source), -1, source.shape[-1])
        n_unfolded = source[0].size
    else:
        d_all = synapse.weight[0].size * synapse.geometry.groups
        n_unfolded = d_all * _n_positions(layer, synapse) * source.shape[-1]
    chunk = max(1, _CHUNK_BYTES // (8 * n_unfolded))
    for i in range(0, len(source), chunk):
        yield from filter_input(
            layer.neuron, torch.from_numpy(source[i : i + chunk]).to(device), objective)


def _in_time(layer: Layer, synapse: Synapse, filtered: Tensor) -> Iterator[Tensor]:
    """Yield some steps at a time of what is too much unfolded, even of one sample."""
    d_all = filtered[0].numel() // filtered.shape[-1] if synapse.geometry is None else \
        synapse.weight[0].size * synapse.geometry.groups * _n_positions(layer, synapse)
    n_steps = max(1, _CHUNK_BYTES // (8 * d_all * len(filtered)))
    for begin in range(0, filtered.shape[-1], n_steps):
        yield filtered[..., begin : begin + n_steps]


def _kernel(synapse: Synapse) -> tuple[int, int]:
    if synapse.geometry is None:
        return (1, 1)
    return (synapse.weight.shape[2], synapse.weight.shape[3])


def _n_positions(layer: Layer, synapse: Synapse) -> int:
    return 1 if synapse.geometry is None else int(np.prod(layer.shape[1:]))


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
