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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.artifact import content_hash
from pipeline.compress.threads import one_thread
from pipeline.errors import ClusterError, MissingExtraError, RecipeError
from pipeline.model_folder import find_model
from pipeline.search.driver import Search
from pipeline.search.space import load_search
from pipeline.search.study import Levelled, constrain, open_study, quiet, tell_values
from pipeline.sweep.claims import claim
from pipeline.sweep.progress import Progress
from pipeline.sweep.results import prepare_folder, write_whole
from pipeline.sweep.space import Setting
from pipeline.sweep.trials import Trial, trials_of
from pipeline.sweep.write import Written

if TYPE_CHECKING:
    from pipeline.sweep.trial import Bench

_CONNECT_S, _POLL_S = 3, 1.0
HEARTBEAT_S, GRACE_S = 5, 20
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

    storage: str

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
        prepare_folder(self.out)
        settings, levelled, seeds = self.begin()
        bench, _ = self.bench(settings)
        name = self.study_name(settings[0])
        write_whole(self.out / _FILE, self.space.text)
        note = {"model": str(self.model.folder), "study": name, "layers": list(levelled.layers)}
        write_whole(self.out / _NOTE, json.dumps(note, indent=1) + "\n")
        store = self.plan(settings[:1]).store
        study = open_study(self.space, name, database, len(seeds), is_shared=True)
        with claim(store.lock("begin-study")), quiet():
            if not study.get_trials(deepcopy=False):
                for levels in seeds[: self.space.file.n_trials]:
                    study.enqueue_trial(levelled.params(levels))
        work(self, study, levelled, bench)
        self._wait_for_others(study)
        own = [self.space.setting(levelled.levels(t.params), "searched")
               for t in study.get_trials(deepcopy=False) if is_told(t)]
        return self.write([*settings, *own])

    def study_name(self, setting: Setting) -> str:
        """Return the name of the study: another network, code or file is another study."""
        return f"spikefit-{content_hash(self.space.text, self.plan([setting]).entries[0].key)[:24]}"

    def _wait_for_others(self, study: optuna.Study) -> None:
        """Wait until no trial runs, but for those whose worker is gone."""
        while any(t.state == TrialState.RUNNING for t in study.get_trials(deepcopy=False)):
            with quiet():
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
                          1, progress, storage)
    uniform = search.space.uniform()
    if search.study_name(uniform[0]) != note["study"]:
        raise RecipeError(
            f"{folder}: the study was begun with another network or another version of spikefit; "
            "bring this machine to the same version, or begin a study in another folder")
    bench, _ = search.bench(uniform[:1])
    study = open_study(search.space, note["study"], database, 1, is_shared=True)
    return work(search, study, Levelled(search.space, tuple(note["layers"])), bench)


def work(search: SharedSearch, study: optuna.Study, levelled: Levelled, bench: Bench) -> int:
    """Ask, measure and tell until the trials are there; return how many were done here."""
    n_done = 0

    def objective(trial: optuna.Trial) -> list[float]:
        nonlocal n_done
        setting = search.space.setting(levelled.suggested(trial), "searched")
        measured = measured_here(search, bench, setting)
        values = tell_values(search.space, measured)
        n_done += 1
        search.progress.say(f"trial {trial.number + 1}: {measured.label}")
        if values is None:
            trial.set_user_attr("reason", measured.reason or measured.status)
            raise NotMeasuredError(measured.reason)
        constrain(search.space, trial, measured)
        return values

    n_trials = search.space.file.n_trials
    with quiet(), one_thread():
        while sum(map(is_told, study.get_trials(deepcopy=False))) < n_trials:
            study.optimize(objective, n_trials=1, catch=(NotMeasuredError,))
    return n_done


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
    """Return whether a trial is over, other than by the death of its worker."""
    return trial.state == TrialState.COMPLETE or (
        trial.state == TrialState.FAIL and "reason" in trial.user_attrs)


def connect(address: str) -> optuna.storages.RDBStorage:
    """Return the storage of studies in a database.

    Raises
    ------
    ClusterError
        If the address is none, or nothing answers there.
    MissingExtraError
        If there is no driver for PostgreSQL.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        url = make_url(address)
    except ArgumentError:
        raise ClusterError(f"storage '{address}': is no address; give one as in "
                           "postgresql://user@host:5432/name") from None
    if url.get_backend_name() != "postgresql":
        raise ClusterError(
            f"storage '{url.render_as_string()}': {url.get_backend_name()} is not supported; "
            "machines share a PostgreSQL, as in postgresql://user@host:5432/name")
    settings: dict[str, Any] = {
        "connect_args": {"connect_timeout": _CONNECT_S}, "pool_pre_ping": True}
    try:
        with quiet():
            return optuna.storages.RDBStorage(
                url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False),
                engine_kwargs=settings, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback())
    except (ModuleNotFoundError, ImportError) as error:
        raise MissingExtraError(f"storage: no driver for PostgreSQL is installed ({error}); pip "
                                "install 'spikefit[cluster]'") from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise ClusterError(f"storage '{url.render_as_string()}': cannot be used ({reason}); start "
                           "the database, or mend address and permissions") from None
