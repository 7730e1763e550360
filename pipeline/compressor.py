"""Every synapse group of a network compressed as a recipe asks.

In: the dense integer network, its calibration and calibration spikes, a recipe. Out: each group at
its level. Levels are allocated first (:mod:`pipeline.levels`). Then either the bank serves every
group by itself, or, sequentially, each layer is compressed for the input it will really receive:
that of the compressed layers before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.bank import LayerBank
from pipeline.calibrate import Calibration, asymmetric_curvature
from pipeline.compress import Pruning, Scaling, damped
from pipeline.compress.curvature import asymmetric_target
from pipeline.compress.pattern import UNSTRUCTURED
from pipeline.compress_synapse import (
    CompressedSynapse,
    Level,
    Method,
    naming,
    prune_synapse,
    quantize_synapse,
    quantizer_of,
)
from pipeline.emulate import emulate
from pipeline.levels import allocate_levels
from pipeline.match_rates import match_layer
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron_pruning import silence_neurons
from pipeline.quantize import integer_layer
from pipeline.recipe import Recipe
from pipeline.synaptic_input import source_spikes

# How strongly the asymmetric target is held to the dense weights, as a share of the mean diagonal.
# Held weakly it learns the calibration samples (nmnist_cnn on validation: benchmarks/README.md).
_PULL_FRAC = 5.0

Progress = Callable[[str], None]
Spikes = NDArray[np.uint8]


def method_of(recipe: Recipe) -> Method:
    """Return how groups are compressed under a recipe."""
    settings = recipe.compress
    pattern = "inputs" if settings.pattern == "neurons" else settings.pattern
    return Method(
        Pruning(settings.pruning, pattern, settings.refit, settings.loss_margin, settings.device),
        settings.rounding,
        Scaling(settings.grid, settings.scale == "power_of_two"),
        settings.act_order,
        settings.importance,
        recipe.calibration.damping,
    )


def compress_network(
    network: Network, calibration: Calibration, recipe: Recipe, spikes: Spikes,
    on_progress: Progress = lambda _: None, bank: LayerBank | None = None,
) -> dict[str, CompressedSynapse]:
    """Return every group at the level the recipe gives it.

    Parameters
    ----------
    network : the dense integer network
    spikes : (n, *input_shape, t) uint8, the samples ``calibration`` was made from
    on_progress : called with what is worked on
    bank : of this network, calibration and method; a new one by default

    Raises
    ------
    RecipeError, CompressionError, CalibrationError, DeviceError
    """
    method = method_of(recipe)
    dense = network
    if recipe.compress.pattern == "neurons":
        network, counts = silence_neurons(
            network, calibration, recipe.compress.sparsity, method.damping_frac)
        bank = None
        method = replace(method, pruning=replace(method.pruning, pattern=UNSTRUCTURED))
    else:
        counts = None
    if bank is None:
        bank = LayerBank(network, calibration, method)
    levels = allocate_levels(network, calibration, recipe, spikes, bank, counts, on_progress)
    if recipe.compress.sequential:
        return _sequential(
            dense, network, calibration, recipe, method, spikes, levels, bank, on_progress)
    compressed = {}
    for name, level in levels.items():
        on_progress(_doing(network.synapse(name), level))
        compressed[name] = bank.get(name, level)
    return compressed


def _sequential(
    dense_network: Network, network: Network, calibration: Calibration, recipe: Recipe,
    method: Method, spikes: Spikes, levels: dict[str, Level], bank: LayerBank,
    on_progress: Progress,
) -> dict[str, CompressedSynapse]:
    """Return the groups, each compressed for the spikes of the compressed layers before it."""
    dense = emulate(dense_network, spikes).spikes
    outputs = {INPUT: spikes}
    compressed: dict[str, CompressedSynapse] = {}
    for layer in network.layers:
        for synapse in (s for s in layer.synapses if not s.is_fixed):
            on_progress(_doing(synapse, levels[synapse.name]))
            with naming(synapse.name):
                ours, theirs = (
                    source_spikes(network, spikes_of, synapse.source)
                    for spikes_of in (outputs, dense))
                if np.array_equal(ours, theirs) or not ours.any():
                    # nothing before it has changed, or nothing is left to learn from
                    compressed[synapse.name] = bank.get(synapse.name, levels[synapse.name])
                else:
                    compressed[synapse.name] = _towards_dense(
                        network, layer, synapse, calibration.objective, method,
                        levels[synapse.name], ours, theirs, bank.importance(synapse.name))
        integers, _ = integer_layer(layer, compressed)
        per = recipe.compress.match_rates
        _, outputs[layer.name] = match_layer(
            network, integers, outputs, None if per == "none" else calibration.rates[layer.name],
            "channel" if per == "channel" else "layer")
    return compressed


def _towards_dense(
    network: Network, layer: Layer, synapse: Synapse, objective: str, method: Method, level: Level,
    ours: Spikes, theirs: Spikes, importance: NDArray[np.float64] | None,
) -> CompressedSynapse:
    """Return a group that, from our spikes, comes nearest to the potential it has from theirs."""
    raw, cross = asymmetric_curvature(layer, synapse, ours, theirs, objective)
    hessian = damped(raw, method.damping_frac)
    pulled, target = damped(raw, _PULL_FRAC), damped(cross, _PULL_FRAC, like=raw)
    rows = synapse.weight.astype(np.float64).reshape(len(hessian), -1, hessian.shape[-1])
    weight = np.stack([
        asymmetric_target(rows[g], pulled[g], target[g]) for g in range(len(rows))
    ]).reshape(synapse.weight.shape)
    pruned = prune_synapse(
        network, synapse, weight, hessian, level.n_keep, method.pruning, importance)
    return quantize_synapse(
        layer, synapse, pruned, level, quantizer_of(pruned, method), method)


def _doing(synapse: Synapse, level: Level) -> str:
    bits = "ternary" if level.is_ternary else f"{level.bits} bits"
    return f"{synapse.name}: {level.n_keep:,} of {synapse.n_weights:,} weights, {bits}"
