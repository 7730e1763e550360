"""What a level does to each layer alone, and what it costs there: the work before a search.

In: a recipe with one level for all layers. Out: for each layer, in the store, how far the network's
output spikes move when it alone is at that level, and memory, cores and events of its cores in the
network that is at that level throughout. Both are measured on calibration samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardware_targets import Target
from pipeline.account.energy import account
from pipeline.assemble import assemble
from pipeline.compressor import compress_network
from pipeline.emulate import emulate
from pipeline.errors import DesignRuleError
from pipeline.levels import Curves
from pipeline.mapping.placed import placed
from pipeline.sweep.results import Result
from pipeline.sweep.space import Setting
from pipeline.sweep.trial import REFUSALS, Bench, failure


@dataclass(frozen=True)
class Predict:
    """Work: every layer at one level."""

    key: str
    setting: Setting
    target: Target

    def run(self, bench: Bench) -> None:
        """Measure what is missing; a level that cannot be made or placed is a result too."""
        if bench.store.load("levels", self.key) is not None:
            return
        try:
            result = self._measure(bench)
        except (*REFUSALS, DesignRuleError) as error:
            result = failure(error)
        bench.store.save("levels", self.key, result)

    def _measure(self, bench: Bench) -> Result:
        recipe, dense = self.setting.recipe, bench.network
        calibration, bank = bench.calibration(recipe), bench.bank(recipe)
        spikes = bench.calibration_samples(recipe).spikes
        parts = compress_network(dense, calibration, recipe, spikes, bank=bank)
        curves = Curves(dense, calibration, spikes, bank, lambda _: None)
        losses = dict.fromkeys((dense.layer_of(name).name for name in parts), 0.0)
        for name, part in parts.items():
            losses[dense.layer_of(name).name] += curves.distance(name, part.level)
        bank.forget()
        network = assemble(dense, parts, calibration, spikes, recipe.compress.match_rates).network
        placement = placed(network, self.target, recipe.place, spikes)
        counts = account(network, placement, emulate(network, spikes), self.target,
                         with_times=False).counts
        found: Result = {}
        for layer, loss in losses.items():
            cores = placement.cores_of(layer)
            own = np.array([core.index for core in cores], dtype=np.int64)
            found[layer] = {
                "loss": loss, "cores": len(cores),
                "memory_bits": sum(core.synapse_bits for core in cores),
                **{event: float(counts[event][:, own].sum(axis=1).mean())
                   for event in ("executed_synops", "effective_synops")},
            }
        return found
