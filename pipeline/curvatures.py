"""Curvature of synapse groups from the spikes of their sources, in sums over samples.

In: a group, and the spikes of its source. Out: a :class:`Curvature`. Samples, and steps of what is
large, are worked on in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compress import accumulate_cross, accumulate_hessian, filter_input
from pipeline.compress.curvature import damping
from pipeline.compress.filters import filter_active, filter_decays, keeps_in_silence
from pipeline.errors import CalibrationError
from pipeline.network import Layer, Synapse
from pipeline.neuron import ResonatorNeuron

_CHUNK_BYTES = 256 << 20
_RANK_TOLERANCE = 1e-10
_MOSTLY_SILENT_FRAC = 0.5  # of steps with input; with more, nothing is left out
InputKey = tuple[Any, ...]


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
class InputSum:
    """What some samples add to a curvature.

    Attributes
    ----------
    hessian : (groups, d_in, d_in) float64, summed over the samples
    n_inputs : source neurons x steps x samples, of which ``n_spikes`` are not 0
    n_rows : vectors that were added
    """

    hessian: NDArray[np.float64]
    n_samples: int
    n_spikes: int
    n_inputs: int
    n_rows: int


def input_sum(
    layer: Layer, synapse: Synapse, source: NDArray[np.uint8], objective: str,
    device: torch.device,
) -> InputSum:
    """Return what the samples in ``source`` (n, *source_shape, t) add to a group's curvature."""
    hessian: Tensor | None = None
    for filtered in _filtered(layer, synapse, source, objective, device):
        for steps in _in_time(layer, synapse, filtered):
            hessian = accumulate_hessian(hessian, steps, _kernel(synapse), synapse.geometry)
    assert hessian is not None
    return InputSum(
        hessian.cpu().numpy(), len(source), int(np.count_nonzero(source)), source.size,
        len(source) * source.shape[-1] * _n_positions(layer, synapse))


class CurvatureSum:
    """A Hessian in the making.

    Attributes
    ----------
    n_samples : it has of now
    """

    def __init__(self) -> None:
        self._hessian: NDArray[np.float64] | None = None
        self.n_samples, self._n_spikes, self._n_inputs, self._n_rows = 0, 0, 0, 0

    def add(self, part: InputSum) -> None:
        """Add samples."""
        if self._hessian is None:
            self._hessian = part.hessian.copy()
        else:
            self._hessian += part.hessian
        self.n_samples += part.n_samples
        self._n_spikes += part.n_spikes
        self._n_inputs += part.n_inputs
        self._n_rows += part.n_rows

    def curvature(
        self, synapse: Synapse, damping_frac: float, device: torch.device
    ) -> Curvature:
        """Return the average and its health."""
        if self._n_spikes == 0:
            raise CalibrationError(
                f"synapse '{synapse.name}': its source '{synapse.source}' never spikes in "
                f"{self.n_samples} calibration samples; check the data, or calibrate with more "
                "samples"
            )
        assert self._hessian is not None
        array = self._hessian / self.n_samples
        eigenvalues = torch.linalg.eigvalsh(torch.from_numpy(array).to(device)).cpu().numpy()
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
    layer: Layer, synapse: Synapse, source: NDArray[np.uint8], objective: str,
    device: torch.device, also: NDArray[np.uint8] | None = None,
) -> Iterator[Tensor]:
    """Yield the filtered input of a few samples at a time, as the group's curvature takes it.

    Where most steps bring no input, as after a frame that is shown for a few, they are left out.

    Parameters
    ----------
    also : other input whose steps are to be there too, like ``source``
    """
    keep, n_steps = keeps_in_silence(layer.neuron, objective), source.shape[-1]
    if synapse.geometry is None:
        source = source.reshape(len(source), -1, source.shape[-1])
        n_unfolded = source[0].size
    else:
        d_all = synapse.weight[0].size * synapse.geometry.groups
        n_unfolded = d_all * _n_positions(layer, synapse) * source.shape[-1]
    chunk = max(1, _CHUNK_BYTES // (8 * n_unfolded))
    for i in range(0, len(source), chunk):
        piece = source[i : i + chunk]
        others = () if also is None else (also[i : i + chunk],)
        has_input = np.any([p.any(axis=tuple(range(p.ndim - 1))) for p in (piece, *others)], axis=0)
        steps = np.flatnonzero(has_input) if has_input.any() else np.zeros(1, dtype=np.int64)
        on_device = torch.from_numpy(piece).to(device)
        if keep is None or len(steps) > _MOSTLY_SILENT_FRAC * n_steps:
            yield from filter_input(layer.neuron, on_device, objective)
        else:
            yield filter_active(on_device, steps, n_steps, keep)


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


def input_key(layer: Layer, synapse: Synapse, objective: str) -> InputKey:
    """Return what decides a group's curvature: source, window, positions and filter."""
    neuron = layer.neuron
    decays: Any = neuron if isinstance(neuron, ResonatorNeuron) else filter_decays(
        neuron, objective)
    return (synapse.source, synapse.geometry, synapse.weight.shape[1:], layer.shape[1:], decays)


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
        _filtered(layer, synapse, compressed, objective, torch.device("cpu"), dense),
        _filtered(layer, synapse, dense, objective, torch.device("cpu"), compressed), strict=True,
    )
    for both in pairs:
        for ours, theirs in zip(
                *(_in_time(layer, synapse, filtered) for filtered in both), strict=True):
            hessian = accumulate_hessian(hessian, ours, kernel, synapse.geometry)
            cross = accumulate_cross(cross, ours, theirs, kernel, synapse.geometry)
    assert hessian is not None and cross is not None
    return hessian.numpy() / len(dense), cross.numpy() / len(dense)
