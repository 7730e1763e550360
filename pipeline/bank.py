"""One synapse group compressed to one level, and levels stitched into a network.

In: the dense network, its calibration, and a :class:`Level` per group. Out: compressed groups and,
stitched, a float network whose weights lie on grids of the chip. This is where arrays of
:mod:`pipeline.compress` meet the synapses of :mod:`pipeline.network`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.allocate import lamps_counts
from pipeline.calibrate import Calibration, Curvature
from pipeline.compress import GptqQuantizer, damped, prune, search_scale
from pipeline.errors import CalibrationError, CompressionError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT, code_range, full_scale_step_exp
from pipeline.network import Layer, Network, Synapse
from pipeline.recipe import Recipe, level_overrides


@dataclass(frozen=True)
class Level:
    """What a synapse group is compressed to: how many weights it keeps, and their precision."""

    n_keep: int
    bits: int


@dataclass(frozen=True)
class CompressedSynapse:
    """A synapse group at one level.

    Attributes
    ----------
    weight : float64 in the shape of the group, on the grid ``codes * 2^step_exp * vth / vth'``
    codes : int16, the same shape
    vth_mant : vth', the threshold that absorbs the scale
    step_exp : the integer weight on the chip is ``codes * 2^step_exp``
    pruning_loss, quantization_loss : predicted, squared potential error per sample
    n_out_of_grid : weights clipped at the end of the grid
    n_rounded_to_zero : weights the mask kept and the grid rounded to zero
    n_rounds : rounds of removal in pruning
    """

    name: str
    level: Level
    weight: NDArray[np.float64]
    codes: NDArray[np.int16]
    vth_mant: int
    step_exp: int
    pruning_loss: float
    quantization_loss: float
    n_out_of_grid: int
    n_rounded_to_zero: int
    n_rounds: int


def compress_synapse(
    synapse: Synapse, vth_mant: int, curvature: Curvature, level: Level, damping_frac: float
) -> CompressedSynapse:
    """Return a synapse group pruned by SBC, then quantized by SBC on what is left.

    Raises
    ------
    CompressionError, CalibrationError
        With the name of the group.
    """
    try:
        return _compress(synapse, vth_mant, curvature, level, damping_frac)
    except (CompressionError, CalibrationError) as error:
        raise type(error)(f"synapse '{synapse.name}': {error}") from None


def stitch(network: Network, compressed: dict[str, CompressedSynapse]) -> Network:
    """Return the float network with every group at its compressed weights.

    Weights stay in the unit of the dense thresholds; :mod:`pipeline.quantize` makes the integers.
    """
    layers = []
    for layer in network.layers:
        synapses = tuple(
            replace(s, weight=compressed[s.name].weight, weight_bits=None) for s in layer.synapses
        )
        layers.append(Layer(layer.name, synapses, layer.neuron, layer.shape))
    return network.with_layers(tuple(layers))


def compress_network(
    network: Network, calibration: Calibration, recipe: Recipe,
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[str, CompressedSynapse]:
    """Return every group at the level the recipe gives it: LAMPS sparsity, recipe bits.

    Parameters
    ----------
    network : the dense integer network
    on_progress : called with the name of each group before it is worked on
    """
    settings = recipe.compress
    overrides = level_overrides(settings, [layer.name for layer in network.layers])
    fixed = {
        synapse.name: level.sparsity
        for name, level in overrides.items() if level.sparsity is not None
        for synapse in _layer(network, name).synapses
    }
    counts = lamps_counts(network, settings.sparsity, fixed)
    compressed = {}
    for layer in network.layers:
        override = overrides.get(layer.name)
        bits = settings.bits if override is None or override.bits is None else override.bits
        for synapse in layer.synapses:
            on_progress(f"{synapse.name}: {counts[synapse.name]:,} of {synapse.weight.size:,} "
                        f"weights, {bits} bits")
            compressed[synapse.name] = compress_synapse(
                synapse, layer.neuron.vth_mant, calibration.curvatures[synapse.name],
                Level(counts[synapse.name], bits), recipe.calibration.damping,
            )
    return compressed


def _compress(
    synapse: Synapse, vth_mant: int, curvature: Curvature, level: Level, damping_frac: float
) -> CompressedSynapse:
    groups = len(curvature.hessian)
    W = synapse.weight.astype(np.float64).reshape(groups, synapse.weight.shape[0] // groups, -1)
    H = damped(curvature.hessian, damping_frac)
    if groups > 1:
        raise CompressionError("grouped convolutions are not compressed yet; set groups=1")
    allowed = None if synapse.allowed is None else synapse.allowed.reshape(W[0].shape)
    pruned = prune(W[0], H[0], level.n_keep, allowed)
    quantizer = GptqQuantizer(pruned.weight, H[0], pruned.mask)
    scaled = search_scale(
        quantizer, pruned.weight, vth_mant, code_range(level.bits),
        full_scale_step_exp(level.bits), MAX_EXACT_VTH_MANT,
    )
    codes = scaled.quantized.codes
    return CompressedSynapse(
        synapse.name, level,
        (codes * scaled.grid.step).reshape(synapse.weight.shape),
        codes.reshape(synapse.weight.shape),
        scaled.vth_mant, scaled.step_exp, pruned.loss, scaled.quantized.loss,
        scaled.quantized.n_out_of_grid, int(pruned.mask.sum() - np.count_nonzero(codes)),
        pruned.n_rounds,
    )


def _layer(network: Network, name: str) -> Layer:
    return next(layer for layer in network.layers if layer.name == name)
