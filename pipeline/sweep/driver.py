"""The driver of a sweep: hands out what is missing, watches, and writes what came of it.

In: a space, a model, a study folder. Out: every result in the store, then ``trials.csv``,
``sweep.json``, ``report.html`` and ``recipes/``. Two drivers may share a folder: work is claimed,
and each writes the pages when all is there. A killed driver loses what its processes were at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import DataError, MissingExtraError
from pipeline.model_folder import ModelFolder
from pipeline.sweep.plan import (
    Entry,
    Plan,
    Probe,
    calibration_of,
    make_plan,
    refuse_other_network,
)
from pipeline.sweep.prepare import Task, prepare, tasks_of
from pipeline.sweep.progress import Progress
from pipeline.sweep.refusals import check_layers
from pipeline.sweep.results import (
    Result,
    is_unwritable,
    prepare_folder,
    unwritable,
)
from pipeline.sweep.space import Space
from pipeline.sweep.trials import Trial, trials_of
from pipeline.sweep.work import Reply, Work
from pipeline.sweep.workers import Crew, Workers
from pipeline.sweep.write import Written, write_results

_POLL_S = 0.5  # between tries of work that another driver has
_MOST_DEATHS = 2


@dataclass
class Sweep:
    """One run of a driver.

    Parameters
    ----------
    out : the study folder
    n_workers : processes; 1 works in this one
    scheduler : address of a dask scheduler, whose workers take the place of processes
    crew : who works, if they outlast this run; its maker stops them
    progress : for the user's eyes
    """

    space: Space
    model: ModelFolder
    out: Path
    n_workers: int
    progress: Progress
    scheduler: str = ""
    failures: dict[str, Result] = field(default_factory=dict)
    crew: Crew | None = None

    def run(self) -> Written:
        """Compute what is missing and write the results; return where they are.

        Raises
        ------
        PipelineError
            If nothing can be computed, or nothing more be written.
        """
        with self._begun() as plan:
            try:
                self._compute(plan)
            except KeyboardInterrupt:
                self._write(plan)  # what there is can be looked at
                raise
            return self._write(plan)

    def measure(self) -> list[Trial]:
        """Compute what is missing and return all of it, in grid order, without pages.

        Raises
        ------
        PipelineError
            As :meth:`run`.
        """
        with self._begun() as plan:
            self._compute(plan)
            return trials_of(plan, self.failures)

    def do(self, works: Iterable[Work]) -> None:
        """Do other pieces of work on the same network, as far as nobody else has them.

        Raises
        ------
        PipelineError
            As :meth:`run`.
        """
        tasks = [Task(work) for work in works]
        with self._begun() as plan, self._working(plan) as crew:
            study, _ = prepare(plan, self.progress.say)
            self.progress.begin(plan, [task.work for task in tasks], crew.n)
            crew.begin(study)
            self._work_off(plan, tasks, crew)

    @contextmanager
    def _begun(self) -> Iterator[Plan]:
        """Give the plan in a folder that is its own; tell if the folder takes no more."""
        prepare_folder(self.out)
        plan = make_plan(self.space, self.model, self.out)
        try:
            refuse_other_network(plan, self.out)
            yield plan
        except OSError as error:
            if is_unwritable(error):
                raise unwritable(self.out, error) from None
            raise

    def _compute(self, plan: Plan) -> None:
        entries, probes = _missing(plan)
        if not entries and not probes and plan.layers() is not None:
            return
        with self._working(plan) as crew:
            self._compute_with(crew, plan, entries)

    @contextmanager
    def _working(self, plan: Plan) -> Iterator[Crew]:
        """Give who works, and let them go."""
        crew = self.crew or self._crew(plan)
        try:
            yield crew
        finally:
            if self.crew is None:
                crew.stop()
            self.progress.close()

    def _compute_with(self, crew: Crew, plan: Plan, entries: list[Entry]) -> None:
        self.progress.say("reading the network; calibrating")
        study, unusable = prepare(plan, self.progress.say)
        layers = plan.layers()
        assert layers is not None
        check_layers(self.space, layers)
        for entry in entries:
            name = calibration_of(entry.setting.recipe)
            if name in unusable:
                self.failures[entry.key] = {"failure": unusable[name]}
        usable = [e for e in entries if e.key not in self.failures]
        probes = [p for p in _missing(plan)[1]
                  if calibration_of(p.setting.recipe) not in unusable]
        from pipeline.sweep.trial import Bench

        self.progress.say("allocating levels")
        tasks = tasks_of(plan, Bench(study), usable, probes)
        self.progress.begin(plan, [task.work for task in tasks], crew.n)
        crew.begin(study)
        self._work_off(plan, tasks, crew)

    def _crew(self, plan: Plan) -> Crew:
        """Return who works; a cluster is met before anything is computed."""
        if not self.scheduler:
            return Workers(self.n_workers)
        try:
            from pipeline.sweep.dask_workers import DaskWorkers
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"--scheduler: dask is not installed ({error}); pip install 'spikefit[cluster]'"
            ) from None
        data = plan.model.data
        crew = DaskWorkers(
            self.scheduler, plan.store, data.file or data.root, self.progress.say)
        self.progress.say(f"{crew.n} thread(s) of workers at {self.scheduler}")
        return crew

    def _work_off(self, plan: Plan, tasks: list[Task], crew: Crew) -> None:
        """Hand out tasks, the first that can be done, until none is left."""
        of_work = {task.work.key: task for task in tasks}
        undone = set(of_work)
        while undone:
            now = time.monotonic()
            ready = [t for t in tasks if t.not_before <= now and not t.waits_for & undone]
            if ready and not crew.is_full:
                tasks.remove(ready[0])
                crew.give(ready[0].work)
                continue
            # waits as well if another driver has all that could be done
            for work, reply in crew.finished(_POLL_S):
                if not self._heed(plan, of_work[work.key], reply, undone, crew):
                    tasks.append(of_work[work.key])

    def _heed(
        self, plan: Plan, task: Task, reply: Reply, undone: set[str], crew: Crew
    ) -> bool:
        """Take note of a reply; return whether the task is finished and not to be tried again."""
        if reply.kind == "unwritable":
            raise OSError(reply.errno, reply.text)
        if reply.kind == "busy":
            task.not_before = time.monotonic() + _POLL_S
            return False
        if reply.kind == "died":
            task.n_deaths += 1
            if task.n_deaths < _MOST_DEATHS:
                return False
            reply = Reply("error", f"{reply.text}, {_MOST_DEATHS} times; {crew.remedy}")
        undone.discard(task.work.key)
        if reply.kind == "error":
            if task.work.key == plan.dense_key:
                raise DataError(reply.text)
            if task.entry is not None:
                self.failures[task.entry.key] = {"failure": reply.text, "traceback": reply.trace}
            self.progress.say(reply.text)
        entries = [] if task.entry is None else [task.entry]
        self.progress.finished(task.work, reply, trials_of(plan, self.failures, entries))
        return True

    def _write(self, plan: Plan) -> Written:
        layers = plan.layers()
        probes = [] if layers is None else plan.probes(layers)
        return write_results(plan, self.out, trials_of(plan, self.failures), probes)


def _missing(plan: Plan) -> tuple[list[Entry], list[Probe]]:
    """Return the entries and probes that are not there."""
    entries = [entry for entry in plan.entries if not entry.is_done(plan.store)]
    layers = plan.layers()
    probes = [] if layers is None else [
        probe for probe in plan.probes(layers)
        if plan.store.load("sensitivity", probe.key) is None]
    unique = {probe.key: probe for probe in probes}  # the crossing belongs to both axes
    return entries, list(unique.values())
