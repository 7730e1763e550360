"""Every synapse group of a network compressed as a recipe asks.

In: the dense integer network, its calibration and calibration spikes, a recipe. Out: each group at
its level. Levels are allocated first (:mod:`pipeline.levels`). Then either the bank serves every
group by itself, or, sequentially, each layer is compressed for the input it will really receive:
that of the compressed layers before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.bank import LayerBank
from pipeline.calibrate import Calibration
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
from pipeline.curvatures import InputKey, asymmetric_curvature, input_key
from pipeline.emulate_layers import emulate_layers, in_bytes, last_uses
from pipeline.kept_parts import KeptParts
from pipeline.levels import allocate_levels
from pipeline.match_rates import match_layer
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron_pruning import silence_neurons
from pipeline.quantize import integer_layer
from pipeline.recipe import Recipe
from pipeline.windows import Outputs, Train, Window, heard, windows

# How strongly the asymmetric target is held to the dense weights, as a share of the mean diagonal.
# Held weakly it learns the calibration samples (nmnist_cnn on validation: benchmarks/README.md).
_PULL_FRAC = 5.0
_TOLD_AFTER_S = 60.0

Progress = Callable[[str], None]
Spikes = NDArray[np.uint8]
Latest = dict[InputKey, tuple[NDArray[np.float64], NDArray[np.float64]]]


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
    kept: KeptParts | None = None,
) -> dict[str, CompressedSynapse]:
    """Return every group at the level the recipe gives it.

    Parameters
    ----------
    network : the dense integer network
    spikes : (n, *input_shape, t) uint8, the samples ``calibration`` was made from
    on_progress : called with what is worked on
    bank : of this network, calibration and method; a new one by default
    kept : groups that an interrupted run has compressed; none by default

    Raises
    ------
    RecipeError, CompressionError, CalibrationError, DeviceError
    """
    method, kept = method_of(recipe), kept or KeptParts()
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
            dense, network, calibration, recipe, method, spikes, levels, bank, on_progress, kept)
    tell = _Telling(network, levels, on_progress, kept)
    compressed = {}
    for name, level in levels.items():
        tell(name)
        compressed[name] = kept.get(name, partial(bank.get, name, level))
    return compressed


def _sequential(
    dense_network: Network, network: Network, calibration: Calibration, recipe: Recipe,
    method: Method, spikes: Spikes, levels: dict[str, Level], bank: LayerBank,
    on_progress: Progress, kept: KeptParts,
) -> dict[str, CompressedSynapse]:
    """Return the groups, each compressed for the spikes of the compressed layers before it."""
    outputs: Outputs = {INPUT: Train(spikes)}
    needed_until, window_of = last_uses(network), windows(dense_network, spikes)
    compressed: dict[str, CompressedSynapse] = {}
    latest: Latest = {}
    tell = _Telling(network, levels, on_progress, kept, len(spikes), window_of)
    dense_layers = emulate_layers(dense_network, spikes, window_of)
    for index, (layer, (_, dense)) in enumerate(zip(network.layers, dense_layers, strict=True)):
        window = window_of[layer.name]
        for synapse in (s for s in layer.synapses if not s.is_fixed):
            tell(synapse.name)
            level = levels[synapse.name]
            with naming(synapse.name):
                ours, theirs = (
                    heard(network, layer, sent, synapse.source, window)
                    for sent in (outputs, dense))
                if np.array_equal(ours, theirs) or not ours.any():
                    # nothing before it has changed, or nothing is left to learn from
                    make = partial(bank.get, synapse.name, level)
                else:
                    make = partial(
                        _towards_dense, network, layer, synapse, calibration.objective, method,
                        level, ours, theirs, window, bank, latest)
                compressed[synapse.name] = kept.get(synapse.name, make)
        integers, _ = integer_layer(layer, compressed)
        per = recipe.compress.match_rates
        _, sent = match_layer(
            network, integers, outputs, window,
            None if per == "none" else calibration.rates[layer.name],
            "channel" if per == "channel" else "layer")
        outputs[layer.name] = replace(sent, values=in_bytes(sent.values))
        outputs = {name: sent for name, sent in outputs.items() if needed_until[name] > index}
    return compressed


def _towards_dense(
    network: Network, layer: Layer, synapse: Synapse, objective: str, method: Method, level: Level,
    ours: Spikes, theirs: Spikes, window: Window, bank: LayerBank, latest: Latest,
) -> CompressedSynapse:
    """Return a group that, from our spikes, comes nearest to the potential it has from theirs.

    Parameters
    ----------
    latest : the curvatures last computed; queries, keys and values follow each other and share them
    """
    key = (window.begin, window.heard_until, *input_key(layer, synapse, objective))
    if key not in latest:
        latest.clear()
        latest[key] = asymmetric_curvature(layer, synapse, ours, theirs, objective)
    raw, cross = latest[key]
    hessian = damped(raw, method.damping_frac)
    pulled, target = damped(raw, _PULL_FRAC), damped(cross, _PULL_FRAC, like=raw)
    rows = synapse.weight.astype(np.float64).reshape(len(hessian), -1, hessian.shape[-1])
    weight = np.stack([
        asymmetric_target(rows[g], pulled[g], target[g]) for g in range(len(rows))
    ]).reshape(synapse.weight.shape)
    pruned = prune_synapse(
        network, synapse, weight, hessian, level.n_keep, method.pruning,
        bank.importance(synapse.name))
    return quantize_synapse(
        layer, synapse, pruned, level, quantizer_of(pruned, method), method)


class _Telling:
    """Says which group comes next, and how long the rest may take by those that are done."""

    def __init__(
        self, network: Network, levels: dict[str, Level], on_progress: Progress, kept: KeptParts,
        n_samples: int = 0, window_of: Mapping[str, Window] | None = None,
    ) -> None:
        self._network, self._levels, self._on_progress = network, levels, on_progress
        n_steps = {name: w.heard_until - w.begin for name, w in (window_of or {}).items()}
        self._work = {
            synapse.name: _work(layer, synapse, n_samples * n_steps.get(layer.name, 0))
            for layer in network.layers for synapse in layer.synapses if not synapse.is_fixed}
        # what an interrupted run has made takes next to no time
        self._work |= {name: 0.0 for name in self._work if kept.holds(name)}
        self._begin, self._n_begun, self._done = time.monotonic(), 0, 0.0

    def __call__(self, name: str) -> None:
        level, n_weights = self._levels[name], self._network.synapse(name).n_weights
        bits = "ternary" if level.is_ternary else f"{level.bits} bits"
        self._n_begun += 1
        text = (f"{self._n_begun} of {len(self._work)}, {name}: {level.n_keep:,} of "
                f"{n_weights:,} weights, {bits}")
        elapsed_s = time.monotonic() - self._begin
        if self._done and elapsed_s > _TOLD_AFTER_S:
            left_s = elapsed_s * (sum(self._work.values()) / self._done - 1)
            text += f", about {left_s / 60:.0f} min left"
        self._done += self._work[name]
        self._on_progress(text)


def _work(layer: Layer, synapse: Synapse, n_vectors: int) -> float:
    """Return about how long a group takes, in seconds of one core of 2026.

    A product of the curvature with itself or with the weights; and, where the curvature is taken
    anew, its two sums over all input vectors, and these. SEW-ResNet-18 at 224x224 gave the factors.
    """
    d_in, rows = synapse.weight[0].size, len(synapse.weight)
    n = n_vectors * (1 if synapse.geometry is None else int(np.prod(layer.shape[1:])))
    return float(d_in**2 * (d_in + rows) * 5e-10 + n * d_in * (6e-11 * d_in + 1.5e-7))
