"""The driver of a search: the uniform grid, a front by prediction, then generations of trials.

In: a search space, a model, a study folder. Out: every result in the folder's store, the pages of
all of it. Generations have one size and are told in the order they were asked for, so that the
search depends on its seed alone, not on workers or on who is first. Everything measured is in the
store: a search that runs again asks for the same trials and finds them there, which is also how one
that was interrupted continues.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifact import content_hash, source_hash
from pipeline.errors import RecipeError
from pipeline.model_folder import ModelFolder
from pipeline.search.seeds import allocations, options_of
from pipeline.search.space import Level, Levels, SearchSpace
from pipeline.sweep.driver import Sweep
from pipeline.sweep.plan import Plan, make_plan, refuse_other_network
from pipeline.sweep.prepare import prepare
from pipeline.sweep.progress import Progress
from pipeline.sweep.results import Result, is_unwritable, prepare_folder, unwritable
from pipeline.sweep.space import Setting
from pipeline.sweep.trials import Trial, trials_of
from pipeline.sweep.workers import Crew, Workers
from pipeline.sweep.write import Written, write_results

if TYPE_CHECKING:
    from pipeline.search.study import Levelled
    from pipeline.sweep.trial import Study

GENERATION = 16
N_SEEDS = 32


@dataclass(frozen=True)
class Start:
    """What a search begins with.

    Attributes
    ----------
    uniform : the uniform grid, measured
    known : of it, what is a trial like any other: levels of layers and what they came to
    seeds : the predicted front, without what is known
    """

    levelled: Levelled
    uniform: list[Setting]
    known: list[tuple[Levels, Trial]]
    seeds: list[Levels]


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
    measured: list[Setting] = field(default_factory=list)
    failures: dict[str, Result] = field(default_factory=dict)
    _crew: Crew | None = None

    def run(self) -> Written:
        """Measure what is missing and write the results of all.

        Raises
        ------
        PipelineError
            If nothing can be computed, or nothing more be written.
        """
        with self.working():
            try:
                self._search(self.begin())
            except KeyboardInterrupt:
                if self.measured:
                    self.write()  # what there is can be looked at
                raise
            return self.write()

    def _search(self, start: Start) -> None:
        from pipeline.search.study import begin_study, open_study, quiet, tell

        n_trials = self.space.file.n_trials
        with quiet():
            study = open_study(self.space, "search", None)
            begin_study(study, start, n_trials)
        for first in range(0, n_trials, GENERATION):
            last = min(first + GENERATION, n_trials)
            with quiet():
                asked = [study.ask() for _ in range(first, last)]
                own = [self.space.setting(start.levelled.suggested(t), "searched") for t in asked]
            self.progress.say(f"trials {first + 1} to {last} of {n_trials}")
            found = self.measure(own)
            with quiet():
                for trial, setting in zip(asked, own, strict=True):
                    tell(self.space, study, trial, found[setting.identity])

    def begin(self) -> Start:
        """Measure the uniform grid and predict a front."""
        from pipeline.search.study import Levelled

        _, layers = self.prepare()
        uniform = distinct(self.space.uniform(layers))
        self.progress.say(f"the uniform grid, {len(uniform)} settings")
        found = self.measure(uniform)
        grid = {level: self.space.setting(dict.fromkeys(layers, level), "uniform")
                for level in self.space.grid}
        known = [(dict.fromkeys(layers, level), found[setting.identity])
                 for level, setting in grid.items()]
        predicted = self._predict(grid)
        seeds = allocations(options_of(predicted, layers, self.space.cost), N_SEEDS)
        told = [levels for levels, _ in known]
        return Start(Levelled(self.space, tuple(layers)), uniform, known,
                     [levels for levels in seeds if levels not in told])

    def prepare(self) -> tuple[Study, list[str]]:
        """Ingest and calibrate; return what trials are measured with, and the searched layers.

        Raises
        ------
        RecipeError
            If the folder is of another network, or no layer can be compressed.
        OutputError
            If the folder cannot be written.
        """
        prepare_folder(self.out)
        plan = self.plan([self.space.setting({}, "")])
        refuse_other_network(plan, self.out)
        study, _ = prepare(plan, self.progress.say)
        layers = plan.layers()
        if not layers:
            raise RecipeError(f"model '{self.model.name}': has no layer whose weights can be "
                              "compressed; there is nothing to search")
        return study, layers

    def measure(self, settings: Sequence[Setting]) -> dict[str, Trial]:
        """Return what settings came to, by identity, measuring what is missing."""
        some = distinct(settings)
        trials = self._sweep(some).measure()
        self.measured += settings
        return {setting.identity: trial for setting, trial in zip(some, trials, strict=True)}

    def write(self) -> Written:
        """Write the pages of all that was measured."""
        plan = self.plan(distinct(self.measured))
        return write_results(plan, self.out, trials_of(plan, self.failures), [])

    def plan(self, settings: Sequence[Setting]) -> Plan:
        """Return the keys of settings."""
        return make_plan(self.space.space_of(list(settings)), self.model, self.out)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep processes from one generation to the next; tell if the folder takes no more."""
        self._crew = Workers(self.n_workers)
        try:
            yield
        except OSError as error:
            if is_unwritable(error):
                raise unwritable(self.out, error) from None
            raise
        finally:
            self.dismiss()

    def dismiss(self) -> None:
        """End the processes; others begin where there is work."""
        if self._crew is not None:
            self._crew.stop()

    def _predict(self, grid: dict[Level, Setting]) -> dict[Level, Result]:
        """Return what each level does to each layer, measuring what is missing."""
        plan = self.plan(list(grid.values()))
        code = source_hash([Path(__file__).with_name("predict.py")])
        keys = {level: content_hash("levels", code, entry.price_keys[0])
                for level, entry in zip(grid, plan.entries, strict=True)}
        missing = [level for level in grid if plan.store.load("levels", keys[level]) is None]
        if missing:
            from pipeline.search.predict import Predict

            self.progress.say("predicting a front from single layers")
            self._sweep([grid[level] for level in missing]).do(
                Predict(keys[level], grid[level], self.space.target) for level in missing)
        found = {level: plan.store.load("levels", key) for level, key in keys.items()}
        return {level: result for level, result in found.items() if result is not None}

    def _sweep(self, settings: list[Setting]) -> Sweep:
        return Sweep(self.space.space_of(settings), self.model, self.out, self.n_workers,
                     self.progress, failures=self.failures, crew=self._crew)


def distinct(settings: Iterable[Setting]) -> list[Setting]:
    """Return the settings that differ, the first of those that do not."""
    found: dict[str, Setting] = {}
    for setting in settings:
        found.setdefault(setting.identity, setting)
    return list(found.values())
