"""Each layer alone at a level, all others as trained: where the network is sensitive.

In: a setting and a layer. Out: the accuracy on the validation split with this layer compressed as
the setting has it, its threshold matched as the recipe says, and the rest dense. Levels come from
the bank of the sweep, so that nothing is compressed for this.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pipeline.emulate import accuracy
from pipeline.emulate_layers import emulate_layers
from pipeline.levels import allocate_levels
from pipeline.match_rates import match_layer
from pipeline.network import Network
from pipeline.quantize import integer_layer
from pipeline.recipe import Recipe
from pipeline.sweep.results import Result
from pipeline.sweep.trial import REFUSALS, Bench, failure
from pipeline.windows import windows


@dataclass(frozen=True)
class Sense:
    """Work: one layer alone at the level a setting gives it."""

    key: str
    recipe: Recipe
    layer: str

    def run(self, bench: Bench) -> None:
        """Measure the accuracy, unless another driver's process just has."""
        if bench.store.load("sensitivity", self.key) is not None:
            return
        begin = time.perf_counter()
        try:
            result = self._measure(bench)
        except REFUSALS as error:
            result = failure(error)
        result["elapsed_s"] = time.perf_counter() - begin
        bench.store.save("sensitivity", self.key, result)

    def _measure(self, bench: Bench) -> Result:
        recipe, dense = self.recipe, bench.network
        bank = bench.bank(recipe)
        levels = allocate_levels(
            dense, bench.calibration(recipe), recipe, bench.calibration_samples(recipe).spikes,
            bank)
        layer = dense.layer(self.layer)
        parts = {s.name: bank.get(s.name, levels[s.name])
                 for s in layer.synapses if not s.is_fixed}
        bank.forget()
        network = self._alone(bench, parts)
        stored = network.layer(self.layer).stored_groups
        data = bench.validation(recipe.evaluate.n_validation)
        n_weights = sum(s.n_weights for s in stored)
        return {
            "layer": self.layer,
            "sparsity_frac": 1 - sum(int(np.count_nonzero(s.weight)) for s in stored) / n_weights,
            "weight_bits": max(s.weight_bits or 0 for s in stored),
            "accuracy_frac": accuracy(network, data.spikes, data.labels),
        }

    def _alone(self, bench: Bench, parts: dict) -> Network:  # type: ignore[type-arg]
        """Return the dense network with one layer compressed and matched."""
        recipe, dense = self.recipe, bench.network
        integers, _ = integer_layer(dense.layer(self.layer), parts)
        per = recipe.compress.match_rates
        if per != "none":
            spikes = bench.calibration_samples(recipe).spikes
            rates, window_of = bench.calibration(recipe).rates[self.layer], windows(dense, spikes)
            before = next(
                outputs for layer, outputs in emulate_layers(dense, spikes, window_of)
                if layer.name == self.layer)
            integers, _ = match_layer(
                dense, integers, before, window_of[self.layer], rates, per)
        return dense.with_layers(tuple(
            integers if layer.name == self.layer else layer for layer in dense.layers))
