"""The search as Optuna sees it: levels as integers, objectives, limits as constraints.

In: a search space and the layers. Out: a study, and trials turned into settings and back. Only this
package imports optuna, which takes half a second.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from pipeline.search.space import Level, Levels, SearchSpace
from pipeline.sweep.trials import Trial

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from pipeline.search.driver import Start

SPARSITY, BITS = "sparsity", "bits"
KNOWN = "known"  # user attribute of what was measured before the search


@dataclass(frozen=True)
class Levelled:
    """Levels of layers as a trial's parameters: places in the lists of the search file.

    Attributes
    ----------
    layers : that are searched
    """

    space: SearchSpace
    layers: tuple[str, ...]

    def suggested(self, trial: optuna.Trial) -> Levels:
        """Return the levels that a trial suggests."""
        file = self.space.file
        return {layer: (
            file.sparsity[trial.suggest_int(f"{layer}.{SPARSITY}", 0, len(file.sparsity) - 1)],
            file.bits[trial.suggest_int(f"{layer}.{BITS}", 0, len(file.bits) - 1)])
            for layer in self.layers}

    def params(self, levels: Mapping[str, Level]) -> dict[str, int]:
        """Return the parameters of levels."""
        file, found = self.space.file, {}
        for layer, (sparsity, bits) in levels.items():
            found[f"{layer}.{SPARSITY}"] = file.sparsity.index(sparsity)
            found[f"{layer}.{BITS}"] = file.bits.index(bits)
        return found

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return what parameters may be."""
        found: dict[str, optuna.distributions.BaseDistribution] = {}
        file = self.space.file
        for layer in self.layers:
            for name, values in ((SPARSITY, file.sparsity), (BITS, file.bits)):
                found[f"{layer}.{name}"] = optuna.distributions.IntDistribution(
                    0, len(values) - 1)
        return found

    def levels(self, params: Mapping[str, Any]) -> Levels:
        """Return the levels of parameters."""
        file = self.space.file
        return {layer: (file.sparsity[params[f"{layer}.{SPARSITY}"]],
                        file.bits[params[f"{layer}.{BITS}"]]) for layer in self.layers}


def open_study(
    space: SearchSpace, name: str, storage: BaseStorage | None, *, is_shared: bool = False
) -> optuna.Study:
    """Return the study, new or as others have it.

    Parameters
    ----------
    is_shared : among processes, which then draw with seeds of their own: of the same seed all
        would ask for the same
    """
    return optuna.create_study(
        study_name=name, storage=storage, load_if_exists=True,
        directions=["maximize" if o == "accuracy" else "minimize" for o in space.file.objectives],
        sampler=optuna.samplers.TPESampler(
            seed=None if is_shared else space.file.seed, multivariate=True))


def begin_study(study: optuna.Study, start: Start, n_trials: int) -> None:
    """Tell a new study what is known of uniform levels, and put the predicted front first."""
    levelled = start.levelled
    for levels, measured in start.known:
        values = tell_values(levelled.space, measured)
        if values is not None:
            study.add_trial(optuna.trial.create_trial(
                params=levelled.params(levels), distributions=levelled.distributions(),
                values=values, constraints=excesses(levelled.space, measured),
                user_attrs={KNOWN: True}))
    for levels in start.seeds[:n_trials]:
        study.enqueue_trial(levelled.params(levels))


def tell(space: SearchSpace, study: optuna.Study, trial: optuna.Trial, measured: Trial) -> None:
    """Tell what came of a trial."""
    values = tell_values(space, measured)
    if values is None:
        study.tell(trial, state=TrialState.FAIL)
        return
    for name, excess in excesses(space, measured).items():
        trial.set_constraint(name, excess)
    study.tell(trial, values)


def tell_values(space: SearchSpace, trial: Trial) -> list[float] | None:
    """Return the objectives of a measured configuration; None if it failed or does not fit."""
    if trial.status != "fits":
        return None
    assert trial.accuracy_frac is not None and trial.n_cores is not None
    assert trial.memory_bits is not None and trial.executed_synops is not None
    assert trial.effective_synops is not None
    energies = [e.total_pj for e in trial.energy if e.total_pj is not None]
    values = {
        "accuracy": trial.accuracy_frac, "executed_synops": trial.executed_synops,
        "effective_synops": trial.effective_synops, "memory_bits": float(trial.memory_bits),
        "cores": float(trial.n_cores), "energy": energies[0] if energies else float("nan"),
    }
    return [values[name] for name in space.file.objectives]


def excesses(space: SearchSpace, measured: Trial) -> dict[str, float]:
    """Return by how much a network that fits exceeds each limit; at most zero is within."""
    limits = space.file.constraints
    assert measured.accuracy_frac is not None and measured.accuracy_dense_frac is not None
    assert measured.n_cores is not None and measured.memory_bits is not None
    loss = 100 * (measured.accuracy_dense_frac - measured.accuracy_frac)
    # shares of some hundred samples: less than a thousandth is rounding
    found = {"loss": loss - limits.max_loss_points - 1e-9}
    if limits.cores is not None:
        found["cores"] = float(measured.n_cores - limits.cores)
    if limits.memory_bits is not None:
        found["memory_bits"] = float(measured.memory_bits - limits.memory_bits)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep optuna's log and its warnings about what is experimental off the terminal."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)
