"""The driver of a search: the uniform grid, a front by prediction, then generations of trials.

In: a search space, a model, a study folder. Out: every result in the folder's store, the pages of a
sweep over all of it, and a :class:`Found`. Generations have one size and are told in the order they
were asked for, so that the search depends on its seed alone, not on workers or on who is first.
Everything measured is in the store: a search that runs again asks for the same trials and finds
them there, which is also how one that was interrupted continues.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import RecipeError
from pipeline.model_folder import ModelFolder
from pipeline.search.space import Levels, SearchSpace
from pipeline.sweep.driver import Sweep
from pipeline.sweep.plan import Plan, make_plan
from pipeline.sweep.prepare import prepare
from pipeline.sweep.progress import Progress
from pipeline.sweep.space import Setting
from pipeline.sweep.trials import Trial
from pipeline.sweep.write import Written

if TYPE_CHECKING:
    import optuna

    from pipeline.search.study import Levelled
    from pipeline.sweep.trial import Bench

GENERATION = 16
N_SEEDS = 32


@dataclass
class Search:
    """One run of a search.

    Parameters
    ----------
    out : the study folder; it may hold sweeps of the same network, whose results are used
    n_workers : processes; 1 works in this one
    """

    space: SearchSpace
    model: ModelFolder
    out: Path
    n_workers: int
    progress: Progress

    def run(self) -> Written:
        """Measure what is missing and write the results of all.

        Raises
        ------
        PipelineError
            If nothing can be computed, or nothing more be written.
        """
        from pipeline.search.study import open_study, quiet

        settings, levelled, seeds = self.begin()
        n_trials = self.space.file.n_trials
        study = open_study(self.space, "search", None, n_startup=len(seeds))
        for levels in seeds[:n_trials]:
            study.enqueue_trial(levelled.params(levels))
        n_asked = 0
        while n_asked < n_trials:
            size = min(GENERATION, n_trials - n_asked)
            with quiet():
                asked = [study.ask() for _ in range(size)]
                suggested = [levelled.suggested(trial) for trial in asked]
            own = [self.space.setting(levels, "searched") for levels in suggested]
            self.progress.say(f"trials {n_asked + 1} to {n_asked + size} of {n_trials}")
            measured = self.measure(own)
            for trial, setting in zip(asked, own, strict=True):
                self._tell(study, trial, measured[setting.identity])
            settings += own
            n_asked += size
        return self.write(settings)

    def begin(self) -> tuple[list[Setting], Levelled, list[Levels]]:
        """Measure the uniform grid and predict a front; return the grid, the levels, the front."""
        from pipeline.search.seeds import allocations, options_of
        from pipeline.search.study import Levelled

        uniform = distinct(self.space.uniform())
        self.progress.say(f"the uniform grid, {len(uniform)} settings")
        self.measure(uniform)
        bench, layers = self.bench(uniform)
        if not layers:
            raise RecipeError(f"model '{self.model.name}': has no layer whose weights can be "
                              "compressed; there is nothing to search")
        self.progress.say("predicting a front from single layers")
        seeds = allocations(options_of(self.space, bench), N_SEEDS)
        return uniform, Levelled(self.space, tuple(layers)), seeds

    def measure(self, settings: Sequence[Setting]) -> dict[str, Trial]:
        """Return what settings came to, by identity, measuring what is missing."""
        some = distinct(settings)
        trials = Sweep(self.space.space_of(some), self.model, self.out, self.n_workers,
                       self.progress).measure()
        return {setting.identity: trial for setting, trial in zip(some, trials, strict=True)}

    def write(self, settings: Sequence[Setting]) -> Written:
        """Write the pages of all settings."""
        some = distinct(settings)
        return Sweep(
            self.space.space_of(some), self.model, self.out, self.n_workers, self.progress).run()

    def plan(self, settings: Sequence[Setting]) -> Plan:
        """Return the keys of settings."""
        return make_plan(self.space.space_of(list(settings)), self.model, self.out)

    def bench(self, settings: Sequence[Setting]) -> tuple[Bench, list[str]]:
        """Return what trials are measured with, and the layers that are compressed."""
        from pipeline.sweep.trial import Bench

        plan = self.plan(settings)
        study, _ = prepare(plan, self.progress.say)
        return Bench(study), plan.layers() or []

    def _tell(self, study: optuna.Study, trial: optuna.Trial, measured: Trial) -> None:
        from optuna.trial import TrialState

        from pipeline.search.study import constrain, quiet, tell_values

        values = tell_values(self.space, measured)
        with quiet():
            if values is None:
                study.tell(trial, state=TrialState.FAIL)
            else:
                constrain(self.space, trial, measured)
                study.tell(trial, values)


def distinct(settings: Iterable[Setting]) -> list[Setting]:
    """Return the settings that differ, the first of those that do not."""
    return list({setting.identity: setting for setting in reversed(list(settings))}.values())[::-1]
