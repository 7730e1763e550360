"""A search that machines share: trials in PostgreSQL, everything computed in one folder.

In: a study folder that all see, the address of a database. Out: the results of a search. Every
worker is alike and keeps nothing: it asks Optuna for a trial, measures it in the shared folder
under a claim, and tells what came of it, until the trials are there. A worker that dies no longer
sends its heartbeat, and its trial is given out again. Which trials are asked for depends on who is
first; what each of them came to does not.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.artifact import content_hash
from pipeline.compress.threads import one_thread
from pipeline.errors import RecipeError
from pipeline.model_folder import BUNDLED, ModelFolder, find_model
from pipeline.search.database import connect, named_database
from pipeline.search.driver import Search
from pipeline.search.space import load_search
from pipeline.search.study import (
    KNOWN,
    Levelled,
    begin_study,
    excesses,
    open_study,
    quiet,
    tell_values,
)
from pipeline.sweep.claims import claim
from pipeline.sweep.progress import Progress
from pipeline.sweep.results import write_whole
from pipeline.sweep.space import Setting
from pipeline.sweep.trials import Trial, trials_of
from pipeline.sweep.write import Written

if TYPE_CHECKING:
    from pipeline.sweep.trial import Bench

_POLL_S = 1.0
_NOTE, _FILE = "study.json", "search.yaml"


class NotMeasuredError(Exception):
    """A configuration that failed or does not fit: no values to tell."""


@dataclass
class SharedSearch(Search):
    """One run of a search whose trials are in a database.

    Parameters
    ----------
    storage : address of the database; its password may stand in PGPASSWORD or ~/.pgpass instead
    """

    storage: str = ""

    def run(self) -> Written:
        """Measure the uniform grid, begin the study or join it, work on it, write the results.

        Raises
        ------
        ClusterError
            If the database cannot be reached.
        PipelineError
            If nothing can be computed, or nothing more be written.
        """
        database = connect(self.storage)  # an unreachable one is told before any work
        with self.working(), named_database(self.storage), quiet():
            start, name = self.begin(), self.study_name()
            self.dismiss()
            write_whole(self.out / _FILE, self.space.text)
            note = {"model": named(self.model), "study": name,
                    "layers": list(start.levelled.layers)}
            write_whole(self.out / _NOTE, json.dumps(note, indent=1) + "\n")
            study = open_study(self.space, name, database, is_shared=True)
            with claim(self.lock()):
                if not study.get_trials(deepcopy=False):
                    begin_study(study, start, self.space.file.n_trials)
            work(self, study, start.levelled)
            self._wait_for_others(study)
            self.measured += [
                self.space.setting(start.levelled.levels(t.params), "searched")
                for t in study.get_trials(deepcopy=False) if is_told(t)]
            return self.write()

    def lock(self) -> Path:
        """Return the lock under which trials are asked for, so that there are not too many."""
        return self.plan([self.space.setting({}, "")]).store.lock("ask")

    def study_name(self) -> str:
        """Return the name of the study: another network, code or file is another study."""
        key = self.plan([self.space.setting({}, "")]).entries[0].key
        return f"spikefit-{content_hash(self.space.text, key)[:24]}"

    def _wait_for_others(self, study: optuna.Study) -> None:
        """Wait until no trial runs, but for those whose worker is gone."""
        while any(t.state == TrialState.RUNNING for t in study.get_trials(deepcopy=False)):
            optuna.storages.fail_stale_trials(study)
            time.sleep(_POLL_S)


def work_on(folder: Path, storage: str, progress: Progress) -> int:
    """Work on a study that a search began; return how many trials were done here.

    Raises
    ------
    RecipeError
        If the folder holds no shared study, or one of another network or version.
    ClusterError
        If the database cannot be reached.
    """
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"{folder / _NOTE}: holds no shared search ({error}); begin it with make search "
            "STORAGE=, into a folder that all machines see") from None
    database = connect(storage)
    search = SharedSearch(load_search(folder / _FILE, "loihi1"), find_model(note["model"]), folder,
                          1, progress, storage=storage)
    if search.study_name() != note["study"]:
        raise RecipeError(
            f"{folder}: the study was begun with another network or another version of spikefit; "
            "bring this machine to the same version, or begin a study in another folder")
    with search.working(), named_database(storage), quiet():
        study = open_study(search.space, note["study"], database, is_shared=True)
        return work(search, study, Levelled(search.space, tuple(note["layers"])))


def work(search: SharedSearch, study: optuna.Study, levelled: Levelled) -> int:
    """Ask, measure and tell until the trials are there; return how many were done here."""
    from pipeline.sweep.trial import Bench

    n_done, n_trials, lock = 0, search.space.file.n_trials, search.lock()
    bench = Bench(search.prepare()[0])
    asking = ExitStack()

    def objective(trial: optuna.Trial) -> list[float]:
        nonlocal n_done
        setting = search.space.setting(levelled.suggested(trial), "searched")
        asking.close()
        search.progress.say(f"trial {trial.number + 1}: {setting.label}")
        try:
            measured = measured_here(search, bench, setting)
        except KeyboardInterrupt:
            study.enqueue_trial(trial.params)  # for the others, or for this one when run again
            raise
        values = tell_values(search.space, measured)
        n_done += 1
        if values is None:
            trial.set_user_attr("reason", measured.reason or measured.status)
            raise NotMeasuredError(measured.reason)
        for name, excess in excesses(search.space, measured).items():
            trial.set_constraint(name, excess)
        return values

    with one_thread():
        while True:
            with asking:
                asking.enter_context(claim(lock))
                trials = study.get_trials(deepcopy=False)
                n_told = sum(map(is_told, trials))
                n_open = sum(t.state == TrialState.RUNNING for t in trials)
                if n_told + n_open < n_trials:
                    study.optimize(objective, n_trials=1, catch=(NotMeasuredError,))
                    continue
            if n_told >= n_trials:
                return n_done
            time.sleep(_POLL_S)  # one that runs elsewhere may be lost
            optuna.storages.fail_stale_trials(study)


def measured_here(search: Search, bench: Bench, setting: Setting) -> Trial:
    """Return what a setting came to, measured in this process unless it is in the folder."""
    from pipeline.sweep.trial import Evaluate

    plan = search.plan([setting])
    entry = plan.entries[0]
    with claim(plan.store.lock(entry.key)):
        Evaluate(entry.key, setting.recipe, plan.space.targets, entry.price_keys).run(bench)
    (trial,) = trials_of(plan, {})
    return trial


def is_told(trial: FrozenTrial) -> bool:
    """Return whether a trial of the search is over, other than by the death of its worker."""
    return KNOWN not in trial.user_attrs and (trial.state == TrialState.COMPLETE or (
        trial.state == TrialState.FAIL and "reason" in trial.user_attrs))


def named(model: ModelFolder) -> str:
    """Return what names a model on every machine: a bundled one by its name."""
    return model.name if model.folder == BUNDLED / model.name else str(model.folder.resolve())
