"""A level for every synapse group: the recipe's sparsity and bits, shared out among layers.

In: the dense network, a recipe, and, for rules that look at losses, the bank and calibration
spikes. Out: one :class:`Level` per group. Loss curves are taken at a few shares of weights kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.allocate import (
    LossCurve,
    lamps_counts,
    least_loss_bits,
    least_loss_counts,
    uniform_counts,
)
from pipeline.bank import LayerBank
from pipeline.calibrate import Calibration
from pipeline.compress.pattern import UNSTRUCTURED, most_kept
from pipeline.compress_synapse import Level
from pipeline.distance import van_rossum_distance
from pipeline.emulate import emulate
from pipeline.network import Network, Synapse
from pipeline.quantize import as_trained, integer_layer
from pipeline.recipe import Bits, CompressRecipe, Recipe, level_overrides

Progress = Callable[[str], None]
_SHARES_KEPT = (0.01, 0.02, 0.035, 0.06, 0.1, 0.17, 0.3, 0.5, 1.0)
_REFERENCE_BITS = 8
_BIT_CHOICES = (2, 3, 4, 5, 6, 7, 8)


def allocate_levels(
    network: Network, calibration: Calibration, recipe: Recipe, spikes: NDArray[np.uint8],
    bank: LayerBank, counts: dict[str, int] | None = None,
    on_progress: Progress = lambda _: None,
) -> dict[str, Level]:
    """Return the level of every synapse group.

    Parameters
    ----------
    spikes : (n, *input_shape, t) uint8, the calibration split
    counts : weights each group keeps, where that is settled already

    Raises
    ------
    RecipeError
        If a pattern of ``compress.layers`` matches no layer.
    """
    settings = recipe.compress
    curves = Curves(network, calibration, spikes, bank, on_progress)
    if counts is None:
        counts = _counts(network, settings, curves)
    bits = _bits(network, settings, counts, curves)
    return {
        name: Level(n, 2, True) if bits[name] == "ternary" else Level(n, int(bits[name]))
        for name, n in counts.items()
    }


def _counts(network: Network, settings: CompressRecipe, curves: Curves) -> dict[str, int]:
    fixed = {
        synapse.name: level.sparsity
        for name, level in level_overrides(settings, _layers(network)).items()
        if level.sparsity is not None
        for synapse in network.layer(name).synapses if not synapse.is_fixed
    }
    if settings.pattern not in (UNSTRUCTURED, "inputs"):
        # N of every M: the pattern is the sparsity
        return {s.name: most_kept(_matrix(s), settings.pattern) for s in network.compressible}
    if settings.allocation == "uniform":
        return uniform_counts(network, settings.sparsity, fixed)
    if settings.allocation == "lamps":
        return lamps_counts(network, settings.sparsity, fixed)
    counts = uniform_counts(network, settings.sparsity, fixed)
    free = [s for s in network.compressible if s.name not in fixed]
    if len(free) < 2:
        return counts
    n_total = round(sum(s.n_weights for s in free) * (1.0 - settings.sparsity))
    of_group = curves.relative if settings.allocation == "loss" else curves.measured
    return {**counts, **least_loss_counts({s.name: of_group(s) for s in free}, n_total)}


def _bits(
    network: Network, settings: CompressRecipe, counts: dict[str, int], curves: Curves
) -> dict[str, Bits]:
    overrides = level_overrides(settings, _layers(network))
    bits: dict[str, Bits] = {}
    for layer in network.layers:
        own = overrides[layer.name].bits if layer.name in overrides else None
        for synapse in (s for s in layer.synapses if not s.is_fixed):
            bits[synapse.name] = settings.bits if own is None else own
    free = [n for n in bits if (network.layer_of(n).name not in overrides
                                or overrides[network.layer_of(n).name].bits is None)]
    if settings.bits_allocation == "uniform" or settings.bits == "ternary" or len(free) < 2:
        return bits
    by_bits = curves.predicted_by_bits if settings.bits_allocation == "loss" else (
        curves.measured_by_bits)
    losses = {name: by_bits(name, counts[name], _BIT_CHOICES) for name in free}
    return {**bits, **least_loss_bits(losses, {n: counts[n] for n in free}, settings.bits)}


class Curves:
    """Loss curves of groups, predicted and measured, in units that all groups share."""

    def __init__(
        self, network: Network, calibration: Calibration, spikes: NDArray[np.uint8],
        bank: LayerBank, on_progress: Progress,
    ) -> None:
        self._network, self._calibration, self._bank = network, calibration, bank
        self._spikes, self._on_progress = spikes, on_progress
        self._dense: NDArray[np.uint8] | None = None
        # silenced neurons leave floats: what is measured is measured at 8 bits
        self._integers = network if network.is_integer else as_trained(network)[0]

    def relative(self, synapse: Synapse) -> LossCurve:
        """Return the predicted loss in a unit that groups share.

        With importance, errors are errors of the output already; without, they are taken relative
        to the square of the potential.
        """
        self._on_progress(f"{synapse.name}: loss curve")
        counts = _curve_counts(synapse)
        losses = [sum(p.loss for p in self._bank.pruned(synapse.name, n).parts) for n in counts]
        return LossCurve(np.array(counts), np.array(losses) / self._unit(synapse))

    def measured(self, synapse: Synapse) -> LossCurve:
        """Return the distance of the network's output when this group alone is pruned."""
        self._on_progress(f"{synapse.name}: measured loss curve")
        counts = _curve_counts(synapse)
        losses = [self.distance(synapse.name, Level(n, _REFERENCE_BITS)) for n in counts]
        return LossCurve(np.array(counts), np.array(losses))

    def predicted_by_bits(
        self, name: str, n_keep: int, choices: tuple[int, ...]
    ) -> dict[int, float]:
        """Return the relative loss of quantization at each number of bits."""
        self._on_progress(f"{name}: loss by bits")
        unit = self._energy(self._network.synapse(name))
        return {b: self._bank.get(name, Level(n_keep, b)).quantization_loss / unit
                for b in choices}

    def measured_by_bits(
        self, name: str, n_keep: int, choices: tuple[int, ...]
    ) -> dict[int, float]:
        """Return the distance of the network's output at each number of bits of this group."""
        self._on_progress(f"{name}: measured loss by bits")
        return {b: self.distance(name, Level(n_keep, b)) for b in choices}

    def _unit(self, synapse: Synapse) -> float:
        return self._energy(synapse) if self._bank.importance(synapse.name) is None else 1.0

    def _energy(self, synapse: Synapse) -> float:
        """Return the squared potential of the dense group without resets, halved as losses are."""
        H = self._calibration.curvatures[synapse.name].hessian
        rows = synapse.weight.astype(np.float64).reshape(len(H), -1, H.shape[-1])
        return 0.5 * float(np.einsum("gri,gij,grj->", rows, H, rows, optimize=True))

    def distance(self, name: str, level: Level) -> float:
        """Return the van Rossum distance of the output, dense against one group at a level."""
        last = self._network.layers[-1]
        if self._dense is None:
            self._dense = emulate(self._integers, self._spikes).spikes[last.name]
        part = self._bank.get(name, level)
        holder = self._integers.layer_of(name)
        layers = tuple(
            integer_layer(layer, {name: part})[0] if layer is holder else layer
            for layer in self._integers.layers
        )
        output = emulate(self._integers.with_layers(layers), self._spikes).spikes[last.name]
        distance = van_rossum_distance(output, self._dense, last.neuron.leak)
        return float(distance.mean())


def _curve_counts(synapse: Synapse) -> list[int]:
    return sorted({max(1, round(synapse.n_weights * share)) for share in _SHARES_KEPT})


def _matrix(synapse: Synapse) -> tuple[int, int]:
    return (synapse.weight.shape[0], int(np.prod(synapse.weight.shape[1:])))


def _layers(network: Network) -> list[str]:
    return [layer.name for layer in network.layers]
