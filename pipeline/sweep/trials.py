"""The nouns of a sweep's results, put together from the store.

In: a plan and its store. Out: one :class:`Trial` per configuration, in grid order, and one
:class:`Sensitivity` per probe. What is not computed yet is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hardware_targets import Target
from pipeline.sweep.plan import Entry, Plan, Probe
from pipeline.sweep.results import Result
from pipeline.sweep.space import Axes

Status = Literal["fits", "does not fit", "failed"]


@dataclass(frozen=True)
class LayerPoint:
    """A layer after compression; ``n_weights`` as trained."""

    layer: str
    weight_bits: int
    n_weights: int
    n_nonzero: int


@dataclass(frozen=True)
class EnergyPoint:
    """Energy per sample under one price set.

    Attributes
    ----------
    total_pj : of the priced events; None if the set prices nothing
    low_pj, high_pj : under the readings of an active update
    unpriced : events that occurred and have no price: the total is incomplete
    """

    prices: str
    total_pj: float | None
    low_pj: float | None
    high_pj: float | None
    unpriced: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every event that occurred has a price."""
        return self.total_pj is not None and not self.unpriced


@dataclass(frozen=True)
class Trial:
    """One configuration, measured on the validation split.

    Attributes
    ----------
    key : of its recipe and target; names its row
    reason : why it failed or does not fit; "" otherwise
    n_samples, n_energy_samples : of the validation split, for accuracy and for events
    memory_bits : of synapses, encoding included
    elapsed_s : that it took, without the levels it shares with others

    Numbers are None where a failure, or a network that does not fit, has none.
    """

    key: str
    recipe_key: str
    axes: Axes
    target: str
    status: Status
    reason: str
    n_samples: int
    n_energy_samples: int
    accuracy_dense_frac: float | None
    accuracy_frac: float | None
    sparsity_frac: float | None
    n_neurons: int | None
    n_cores: int | None
    memory_bits: int | None
    effective_synops: float | None
    executed_synops: float | None
    energy: tuple[EnergyPoint, ...]
    layers: tuple[LayerPoint, ...]
    elapsed_s: float

    @property
    def label(self) -> str:
        """The configuration in words."""
        return ", ".join(f"{k} {v}" for k, v in self.axes.items()) + f", target {self.target}"


@dataclass(frozen=True)
class Sensitivity:
    """The accuracy with one layer alone at a level; ``reason`` tells why there is none."""

    layer: str
    axis: str
    value: float | int | str
    sparsity_frac: float | None
    weight_bits: int | None
    accuracy_frac: float | None
    reason: str


def trials_of(
    plan: Plan, failures: dict[str, Result], entries: Iterable[Entry] | None = None
) -> list[Trial]:
    """Return what is there, in grid order.

    Parameters
    ----------
    failures : by key of an entry, what went wrong in this run for no fault of the configuration
    entries : of the plan; all by default
    """
    dense = plan.store.load("dense", plan.dense_key) or {}
    found = [
        _trial(plan, entry, index, failures, dense)
        for entry in (plan.entries if entries is None else entries)
        for index in range(len(plan.space.targets))
    ]
    return [trial for trial in found if trial is not None]


def sensitivities_of(plan: Plan, probes: list[Probe]) -> list[Sensitivity]:
    """Return what is there, in the order of the probes."""
    found = []
    for probe in probes:
        result = plan.store.load("sensitivity", probe.key)
        if result is not None:
            found.append(Sensitivity(
                probe.layer, probe.axis, probe.value, result.get("sparsity_frac"),
                result.get("weight_bits"), result.get("accuracy_frac"),
                result.get("failure", "")))
    return found


def _trial(
    plan: Plan, entry: Entry, index: int, failures: dict[str, Result], dense: Result
) -> Trial | None:
    key, target = entry.price_keys[index], plan.space.targets[index]
    outcome = plan.store.load("outcomes", entry.key)
    price = plan.store.load("prices", key)
    if outcome is None or ("failure" not in outcome and price is None):
        outcome, price = failures.get(entry.key), None
        if outcome is None:
            return None
    return _assembled(entry, key, target, outcome, price or {}, dense)


def _assembled(
    entry: Entry, key: str, target: Target, outcome: Result, price: Result, dense: Result
) -> Trial:
    reason = str(outcome.get("failure", price.get("reason", "")))
    status: Status = "failed" if "failure" in outcome else (
        "fits" if price["fits"] else "does not fit")
    recipe = entry.setting.recipe
    energy = tuple(
        EnergyPoint(
            e["prices"], *_priced(e), tuple(e["unpriced"]))
        for e in price.get("energy", ()))
    return Trial(
        key[:16], entry.key[:16], entry.setting.axes, target.name, status, reason,
        recipe.evaluate.n_validation, recipe.energy.n_samples, dense.get("accuracy_frac"),
        outcome.get("accuracy_frac"), outcome.get("sparsity_frac"), outcome.get("n_neurons"),
        price.get("n_cores"), price.get("memory_bits"), price.get("effective_synops"),
        price.get("executed_synops"), energy,
        tuple(LayerPoint(**layer) for layer in outcome.get("layers", ())),
        outcome.get("elapsed_s", 0.0) + price.get("elapsed_s", 0.0))


def _priced(energy: Result) -> tuple[float | None, float | None, float | None]:
    if not energy["is_priced"]:
        return None, None, None
    return energy["total_pj"], energy["low_pj"], energy["high_pj"]
