"""One synapse group compressed to one level: arrays of ``compress`` meet synapses of ``network``.

In: a synapse group, its damped curvature, a :class:`Level` and a :class:`Method`. Out: a
:class:`CompressedSynapse`. The groups of a grouped convolution are pruned by their own curvature
and quantized on one grid, because a layer has one threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.compress import (
    GptqQuantizer,
    Grid,
    NearestQuantizer,
    Pruned,
    Pruning,
    Quantized,
    Quantizer,
    Scaling,
    prune,
    search_scale,
    search_step,
)
from pipeline.compress.linalg import inverse_diagonal
from pipeline.errors import CalibrationError, CompressionError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT, code_range, full_scale_step_exp
from pipeline.network import Layer, Network, Synapse


@dataclass(frozen=True)
class Level:
    """What a synapse group is compressed to: how many weights it keeps, and their precision.

    Attributes
    ----------
    is_ternary : whether only the codes -1, 0, 1 are used; 2 bits on the chip
    """

    n_keep: int
    bits: int
    is_ternary: bool = False

    @property
    def codes(self) -> tuple[int, int]:
        """The smallest and the largest code."""
        return (-1, 1) if self.is_ternary else code_range(self.bits)


@dataclass(frozen=True)
class Method:
    """How groups are compressed, whatever their level.

    Attributes
    ----------
    rounding : gptq or nearest
    is_act_ordered : whether GPTQ visits the most active inputs first
    importance : uniform, or output: rows weigh by :mod:`pipeline.importance`
    damping_frac : see :func:`pipeline.compress.damped`
    """

    pruning: Pruning = Pruning()
    rounding: str = "gptq"
    scaling: Scaling = Scaling()
    is_act_ordered: bool = False
    importance: str = "uniform"
    damping_frac: float = 0.01


@dataclass(frozen=True)
class CompressedSynapse:
    """A synapse group at one level.

    Attributes
    ----------
    weight : float64 in the shape of the group, on the grid ``codes * 2^step_exp * vth / vth'``
    codes : int16, the same shape
    vth_mant : vth', the threshold that absorbs the scale
    step_exp : the integer weight on the chip is ``codes * 2^step_exp``
    n_weights : weights there are, kept or not
    n_kept : weights the mask kept; a pattern may keep fewer than the level says
    pruning_loss : predicted, squared potential error per sample, weighted by row importance
    quantization_loss : predicted, squared potential error per sample
    n_out_of_grid : weights clipped at the end of the grid
    n_rounded_to_zero : weights the mask kept and the grid rounded to zero
    algorithm : what made the mask
    relative_loss : its loss over that of greedy OBS on sampled rows, where that was measured
    """

    name: str
    level: Level
    weight: NDArray[np.float64]
    codes: NDArray[np.int16]
    vth_mant: int
    step_exp: int
    n_weights: int
    n_kept: int
    pruning_loss: float
    quantization_loss: float
    n_out_of_grid: int
    n_rounded_to_zero: int
    algorithm: str
    relative_loss: float | None


@dataclass(frozen=True)
class PrunedGroups:
    """The groups of a (grouped) synapse group, pruned one by one."""

    parts: tuple[Pruned, ...]
    hessian: NDArray[np.float64]

    @property
    def weight(self) -> NDArray[np.float64]:
        """(groups, rows, d_in), zero off the mask."""
        return np.stack([part.weight for part in self.parts])

    @property
    def n_kept(self) -> int:
        """Weights kept, of all groups."""
        return sum(int(part.mask.sum()) for part in self.parts)


def prune_synapse(
    network: Network, synapse: Synapse, weight: NDArray[np.generic], hessian: NDArray[np.float64],
    n_keep: int, pruning: Pruning, importance: NDArray[np.float64] | None = None,
) -> PrunedGroups:
    """Return a synapse group pruned, each of its convolution groups by its own curvature.

    Parameters
    ----------
    weight : in the shape of the group; what the pruned weights aim at
    hessian : (groups, d_in, d_in) float64, damped
    importance : (rows,) float64, what a potential error of each row is worth; 1 by default
    """
    groups = len(hessian)
    W = weight.astype(np.float64).reshape(groups, weight.shape[0] // groups, -1)
    # rows share H: a row of importance s is one whose weights are sqrt(s) times as large
    gain = np.ones(W.shape[:2]) if importance is None else np.sqrt(importance).reshape(W.shape[:2])
    W = W * gain[..., None]
    allowed = np.ones(W.shape, dtype=np.bool_) if synapse.allowed is None else (
        synapse.allowed.reshape(W.shape))
    counts = _shares(W, hessian, allowed, n_keep) if groups > 1 else [n_keep]
    size = channel_size(network, synapse)
    parts = tuple(
        _unscaled(prune(W[g], hessian[g], counts[g], allowed[g], pruning, size), gain[g])
        for g in range(groups)
    )
    return PrunedGroups(parts, hessian)


def _unscaled(pruned: Pruned, gain: NDArray[np.float64]) -> Pruned:
    return replace(pruned, weight=pruned.weight / gain[:, None])


def quantizer_of(pruned: PrunedGroups, method: Method) -> Quantizer:
    """Return the quantizer of a pruned group; its convolution groups share one grid."""
    parts: list[Quantizer] = []
    for part, H in zip(pruned.parts, pruned.hessian, strict=True):
        if method.rounding == "nearest":
            parts.append(NearestQuantizer(part.weight, H))
        else:
            parts.append(GptqQuantizer(
                part.weight, H, part.mask, method.is_act_ordered, method.pruning.device))
    return _Together(tuple(parts))


def quantize_synapse(
    layer: Layer, synapse: Synapse, pruned: PrunedGroups, level: Level, quantizer: Quantizer,
    method: Method,
) -> CompressedSynapse:
    """Return a pruned group of a layer on the best grid of its level."""
    vth_mant, step_exp = layer.neuron.nominal_vth, full_scale_step_exp(level.bits)
    if layer.takes_scale:
        scaled = search_scale(
            quantizer, pruned.weight, vth_mant, level.codes, step_exp, MAX_EXACT_VTH_MANT,
            method.scaling)
    else:
        scaled = search_step(quantizer, pruned.weight, vth_mant, level.codes, step_exp)
    codes = scaled.quantized.codes.reshape(synapse.weight.shape)
    ratios = [part.relative_loss for part in pruned.parts if part.relative_loss is not None]
    return CompressedSynapse(
        synapse.name, level, codes * scaled.grid.step, codes, scaled.vth_mant, scaled.step_exp,
        synapse.n_weights, pruned.n_kept, sum(part.loss for part in pruned.parts),
        scaled.quantized.loss, scaled.quantized.n_out_of_grid,
        pruned.n_kept - int(np.count_nonzero(codes)), pruned.parts[0].algorithm,
        max(ratios) if ratios else None,
    )


def channel_size(network: Network, synapse: Synapse) -> int:
    """Return how many inputs of a row belong to one channel (or neuron) of the source."""
    if synapse.geometry is not None:
        return int(np.prod(synapse.weight.shape[2:]))
    return int(np.prod(network.shape_of(synapse.source)[1:]))


class _Together:
    """Quantizers of several convolution groups on one grid."""

    def __init__(self, parts: tuple[Quantizer, ...]) -> None:
        self._parts = parts

    def quantize(self, grid: Grid) -> Quantized:
        results = [part.quantize(grid) for part in self._parts]
        return Quantized(
            np.stack([r.codes for r in results]), sum(r.loss for r in results),
            sum(r.n_out_of_grid for r in results))


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the name of a group in front of the errors raised inside, once."""
    place = f"synapse '{name}': "
    try:
        yield
    except (CompressionError, CalibrationError) as error:
        if str(error).startswith(place):
            raise
        raise type(error)(f"{place}{error}") from None


def _shares(
    W: NDArray[np.float64], H: NDArray[np.float64], allowed: NDArray[np.bool_], n_keep: int
) -> list[int]:
    """Return how many weights each convolution group keeps: those of the highest OBS scores."""
    if not len(W) <= n_keep <= W.size:
        raise CompressionError(
            f"{n_keep} of {W.size} weights to keep in {len(W)} groups; each group needs at least "
            "one: lower the sparsity"
        )
    diagonal = inverse_diagonal(H)
    score = np.where(allowed, W**2 / diagonal[:, None, :], -1.0)
    # the best of each group first: none may end up empty
    flat = score.reshape(len(W), -1)
    flat[np.arange(len(W)), flat.argmax(axis=1)] = np.inf
    best = np.argsort(-flat.ravel(), kind="stable")[:n_keep]
    return [int(n) for n in np.bincount(best // flat.shape[1], minlength=len(W))]
