"""How much a sweep has to do, and how long that takes.

In: a plan. Out: an :class:`Estimate`. Times are those measured in the study folder, or rates stated
here, of the bundled networks on one core of 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.sweep.plan import Plan
from pipeline.sweep.results import Store
from pipeline.sweep.space import Setting

_LEVEL_S, _EVALUATION_S, _PRICE_S, _PROBE_S, _START_S = 3.0, 2.5, 0.3, 2.0, 20.0


@dataclass(frozen=True)
class Rates:
    """Seconds of one core a piece of work takes, measured in this folder or assumed."""

    level_s: float
    evaluation_s: float
    price_s: float
    probe_s: float
    is_level_measured: bool
    is_evaluation_measured: bool


@dataclass(frozen=True)
class Estimate:
    """What is left to do.

    Attributes
    ----------
    n_levels : layers at levels, at most; None if the network was not ingested yet
    levels_per_layer : at most
    """

    n_configurations: int
    n_settings: int
    n_done: int
    n_levels: int | None
    levels_per_layer: int
    n_evaluations: int
    n_probes: int | None
    rates: Rates
    n_workers: int

    @property
    def left_s(self) -> float:
        """Seconds it should take with all workers; of a network not known, with five layers."""
        if not self.n_evaluations and not self.n_probes:
            return 0.0
        n_levels = 5 * self.levels_per_layer if self.n_levels is None else self.n_levels
        n_probes = 0 if self.n_probes is None else self.n_probes
        work_s = (
            n_levels * self.rates.level_s + n_probes * self.rates.probe_s
            + self.n_evaluations * (
                self.rates.evaluation_s
                + self.rates.price_s * self.n_configurations / self.n_settings))
        return _START_S + work_s / self.n_workers


def estimate(plan: Plan, n_workers: int) -> Estimate:
    """Return what a plan has left to do; nothing is run."""
    pending = [entry for entry in plan.entries if not entry.is_done(plan.store)]
    fresh = [e for e in pending if plan.store.load("outcomes", e.key) is None]
    layers = plan.layers()
    rates = measured_rates(plan.store)
    # what shares no levels compresses within its evaluation, whose rate holds that once measured
    settings = [e.setting for e in fresh if _shares(e.setting) or not rates.is_evaluation_measured]
    n_probes = None
    if layers is not None:
        keys = {probe.key for probe in plan.probes(layers)}  # the crossing belongs to both axes
        n_probes = sum(plan.store.load("sensitivity", key) is None for key in keys)
    elif not plan.space.has_sensitivity:
        n_probes = 0
    n_left = len(pending) * len(plan.space.targets)
    return Estimate(
        plan.space.n_configurations, len(plan.entries), plan.space.n_configurations - n_left,
        None if layers is None else sum(len(_levels(settings, layer)) for layer in layers),
        len(_levels(settings, None)), len(pending), n_probes, rates, n_workers)


def measured_rates(store: Store) -> Rates:
    """Return the rates of what the study folder holds; assumed ones for what it does not."""
    compressed = store.load_all("compressed")
    n_levels = sum(r.get("n_levels", 0) for r in compressed)
    level_s = sum(r.get("elapsed_s", 0.0) for r in compressed) / n_levels if n_levels else None
    means = []
    for kind in ("outcomes", "prices", "sensitivity"):
        times = [r["elapsed_s"] for r in store.load_all(kind) if "elapsed_s" in r]
        means.append(sum(times) / len(times) if times else None)
    evaluation_s, price_s, probe_s = means
    return Rates(
        _LEVEL_S if level_s is None else level_s,
        _EVALUATION_S if evaluation_s is None else evaluation_s,
        _PRICE_S if price_s is None else price_s, _PROBE_S if probe_s is None else probe_s,
        level_s is not None, evaluation_s is not None)


def _shares(setting: Setting) -> bool:
    """Return whether levels of a setting come from the bank; else all its layers are its own."""
    compress = setting.recipe.compress
    return not compress.sequential and compress.pattern != "neurons"


def _levels(settings: list[Setting], layer: str | None) -> set[str]:
    """Return the levels that a layer takes in some settings; of no layer in particular, any."""
    found = set()
    for setting in settings:
        compress = setting.recipe.compress
        own = compress.layers.get(layer) if layer is not None else None
        bits = compress.bits if own is None or own.bits is None else own.bits
        sparsity = compress.sparsity if own is None or own.sparsity is None else own.sparsity
        method = compress.model_dump_json(exclude={"sparsity", "bits", "layers", "match_rates"})
        own_key = "" if _shares(setting) else setting.identity
        found.add(f"{setting.recipe.calibration.model_dump_json()} {method} {sparsity} {bits} "
                  f"{own_key}")
    return found
