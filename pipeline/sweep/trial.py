"""One configuration, measured: what a worker does with a setting, and what comes of it.

In: a :class:`Study` (where the dense network, its calibrations and the store are) and settings.
Out: results in the store, on two levels. An *outcome* does not depend on the target: accuracy on
the validation split, sparsity, layers. A *price* is that network on one target: cores, memory,
events and energy, counted on the first validation samples. The test split is never read.

What is computed is what the line computes: :func:`pipeline.compressor.compress_network`,
:func:`pipeline.assemble.assemble`, placement and account, on the same samples in the same order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hardware_targets import Target
from models.data.splits import SpikeSet
from pipeline.artifact import load_artifact
from pipeline.assemble import assemble
from pipeline.calibrate import Calibration
from pipeline.compress_synapse import Level
from pipeline.compressor import compress_network, method_of
from pipeline.deployment import Integers
from pipeline.emulate import Trace, accuracy, emulate
from pipeline.errors import CalibrationError, CompressionError, RecipeError
from pipeline.model_folder import ModelFolder
from pipeline.network import Network
from pipeline.recipe import Recipe
from pipeline.stage_calls import calibration_split, model_split
from pipeline.sweep.claimed_bank import ClaimedBank
from pipeline.sweep.plan import calibration_of
from pipeline.sweep.price import price
from pipeline.sweep.results import Result, Store

# a configuration's own fault, and its result; all else (no CUDA, no spikes, a package that is
# absent) may be this machine's, is told, and tried again
REFUSALS = (CompressionError, CalibrationError, RecipeError)


@dataclass(frozen=True)
class Study:
    """Where a worker finds what it needs.

    Attributes
    ----------
    store : folder of the store
    ingested : artifact of the dense network
    calibrations : artifact of each calibration, by :func:`pipeline.sweep.plan.calibration_of`
    """

    model: ModelFolder
    store: Path
    ingested: Path
    calibrations: dict[str, Path]


class Bench:
    """Networks, samples and banks of a study, loaded when first needed and kept."""

    def __init__(self, study: Study) -> None:
        self.study, self.store = study, Store(study.store)
        self._calibrations: dict[str, Calibration] = {}
        self._banks: dict[str, ClaimedBank] = {}
        self._calibration_samples: dict[str, SpikeSet] = {}
        self._validation: SpikeSet | None = None

    @cached_property
    def network(self) -> Network:
        """The dense network."""
        network: Network = load_artifact(self.study.ingested).network
        return network

    def calibration(self, recipe: Recipe) -> Calibration:
        """Return the calibration a recipe asks for."""
        key = calibration_of(recipe)
        if key not in self._calibrations:
            self._calibrations[key] = load_artifact(self.study.calibrations[key])
        return self._calibrations[key]

    def calibration_samples(self, recipe: Recipe) -> SpikeSet:
        """Return the samples of that calibration."""
        key = calibration_of(recipe)
        if key not in self._calibration_samples:
            self._calibration_samples[key] = calibration_split(self.study.model, recipe)
        return self._calibration_samples[key]

    def validation(self, n_samples: int) -> SpikeSet:
        """Return the first samples of the validation split."""
        if self._validation is None or len(self._validation.labels) < n_samples:
            self._validation = model_split(self.study.model, "validation", n_samples)
        held = self._validation
        return replace(held, spikes=held.spikes[:n_samples], labels=held.labels[:n_samples])

    def bank(self, recipe: Recipe) -> ClaimedBank:
        """Return the bank of a recipe's calibration and method; it holds nothing in memory."""
        method = method_of(recipe)
        key = calibration_of(recipe) + repr(method)
        if key not in self._banks:
            self._banks[key] = ClaimedBank(
                self.network, self.calibration(recipe), method, self.store)
        self._banks[key].forget()  # hundreds of levels would not fit
        return self._banks[key]


@dataclass(frozen=True)
class Compress:
    """Work: levels of one mask of one group, into the bank."""

    key: str
    recipe: Recipe
    synapse: str
    levels: tuple[Level, ...]

    def run(self, bench: Bench) -> None:
        """Make what is missing."""
        begin, bank = time.perf_counter(), bench.bank(self.recipe)
        try:
            n_made = bank.make(self.synapse, self.levels)
        except REFUSALS:
            return  # refused by the bank from now on; evaluations that need it tell
        finally:
            bank.forget()
        if n_made:
            bench.store.save("compressed", self.key, {
                "n_levels": n_made, "elapsed_s": time.perf_counter() - begin})


@dataclass(frozen=True)
class Evaluate:
    """Work: a setting evaluated, and priced on each target.

    Attributes
    ----------
    key : of the outcome
    price_keys : of the price on each target
    """

    key: str
    recipe: Recipe
    targets: tuple[Target, ...]
    price_keys: tuple[str, ...]

    def run(self, bench: Bench) -> None:
        """Compute what is missing; a network that cannot be made is an outcome too."""
        outcome = bench.store.load("outcomes", self.key)
        if outcome is not None and ("failure" in outcome or all(
                bench.store.load("prices", key) is not None for key in self.price_keys)):
            return
        begin = time.perf_counter()
        try:
            integers = self._integers(bench)
        except REFUSALS as error:
            bench.store.save("outcomes", self.key, failure(error))
            return
        if outcome is None:
            measured = _outcome(bench, self.recipe, integers)
            measured["elapsed_s"] = time.perf_counter() - begin
            bench.store.save("outcomes", self.key, measured)
        self._price(bench, integers.network)

    def _integers(self, bench: Bench) -> Integers:
        recipe, calibration = self.recipe, bench.calibration(self.recipe)
        spikes = bench.calibration_samples(recipe).spikes
        bank = bench.bank(recipe)
        compressed = compress_network(bench.network, calibration, recipe, spikes, bank=bank)
        bank.forget()
        return assemble(
            bench.network, compressed, calibration, spikes, recipe.compress.match_rates)

    def _price(self, bench: Bench, network: Network) -> None:
        trace: Trace | None = None
        for target, key in zip(self.targets, self.price_keys, strict=True):
            if bench.store.load("prices", key) is not None:
                continue
            if trace is None:
                n_samples = self.recipe.energy.n_samples
                trace = emulate(network, bench.validation(n_samples).spikes)
            calibration = bench.calibration_samples(self.recipe).spikes
            bench.store.save("prices", key, price(
                network, target, self.recipe.place, calibration, trace))


@dataclass(frozen=True)
class MeasureDense:
    """Work: the accuracy of the network as trained.

    Attributes
    ----------
    n_energy : samples that energy will be counted on; that they are there is seen here
    """

    key: str
    n_validation: int
    n_energy: int

    def run(self, bench: Bench) -> None:
        """Measure it, unless another driver's process just has."""
        if bench.store.load("dense", self.key) is not None:
            return
        bench.validation(max(self.n_validation, self.n_energy))
        data = bench.validation(self.n_validation)
        frac = accuracy(bench.network, data.spikes, data.labels)
        bench.store.save("dense", self.key, {"accuracy_frac": frac, "origin": data.origin})


def failure(error: Exception) -> Result:
    """Return the outcome of a configuration that cannot be computed."""
    return {"failure": str(error) or type(error).__name__}


def _outcome(bench: Bench, recipe: Recipe, integers: Integers) -> Result:
    data = bench.validation(recipe.evaluate.n_validation)
    network = integers.network
    layers = [
        {
            "layer": after.name,
            "weight_bits": max((s.weight_bits or 0 for s in after.stored_groups), default=0),
            "n_weights": sum(s.n_weights for s in full.stored_groups),
            "n_nonzero": sum(int(np.count_nonzero(s.weight)) for s in after.stored_groups),
        }
        for full, after in zip(integers.full.layers, network.layers, strict=True)
    ]
    return {
        "accuracy_frac": accuracy(network, data.spikes, data.labels),
        "sparsity_frac": integers.sparsity,
        "n_neurons": sum(layer.n_neurons for layer in network.layers),
        "layers": layers,
    }
