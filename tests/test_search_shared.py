"""Workers that share a search over PostgreSQL: one is killed, the study is complete still."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import ClusterError, RecipeError

N_TRIALS = 20
SEARCH: dict[str, Any] = {
    "recipe": {"calibration": {"n_samples": 20}, "evaluate": {"n_validation": 20, "n_test": 20},
               "energy": {"n_samples": 10}},
    "target": "loihi1", "sparsity": [0.1, 0.5, 0.9], "bits": [2, 4, 8],
    "n_trials": N_TRIALS}


def binary(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this test's own; it refuses to run as root."""
    initdb, server = binary("initdb"), binary("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL's initdb and postgres are not installed (Debian: postgresql)")
    folder = Path(tmp_path_factory.mktemp("pg"))
    as_user: dict[str, Any] = {}
    if os.getuid() == 0:
        as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(folder, "nobody", "nogroup")
        for parent in folder.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)  # to be passed through
    port, data = free_port(), folder / "data"
    subprocess.run([initdb, "-D", data, "-U", "spikefit", "-A", "trust", "-N", "-E", "UTF8",
                    "--locale=C"], check=True, capture_output=True, cwd=folder, **as_user)
    process = subprocess.Popen(
        [server, "-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1",
         "-c", "fsync=off"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
        **as_user)
    try:
        yield ready(f"postgresql://spikefit@127.0.0.1:{port}/postgres", process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def ready(address: str, process: subprocess.Popen[bytes]) -> str:
    import psycopg

    for _ in range(150):
        assert process.poll() is None
        try:
            psycopg.connect(address, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.2)
        else:
            return address
    raise AssertionError("the database did not come up")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start of a command in a process of its own, gone at the end whatever happens."""
    with ExitStack() as at_end:

        def run(*arguments: object) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "pipeline.cli", *map(str, arguments)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"})
            at_end.enter_context(process)
            at_end.callback(process.kill)
            return process

        yield run


@pytest.fixture
def trials_in(database: str) -> Iterator[Callable[[], list[Any]]]:
    """The trials of the one study in the database."""
    import optuna

    from pipeline.search.database import connect

    storage = connect(database)

    def read() -> list[Any]:
        (name,) = [study.study_name for study in optuna.get_all_study_summaries(storage)]
        return optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)

    yield read
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_four_workers_of_which_one_is_killed_complete_a_study(
    database: str, net_model: Path, tmp_path: Path, start: Callable[..., subprocess.Popen[str]],
    trials_in: Callable[[], list[Any]],
) -> None:
    from optuna.trial import TrialState

    from pipeline.search.choose import load_study
    from pipeline.search.shared import is_told

    file, out = tmp_path / "search.yaml", tmp_path / "study"
    file.write_text(yaml.safe_dump(SEARCH))
    first = start("search", "--search", file, "--model", net_model, "--out", out, "--workers", "1",
                  "--storage", database, "--no-deploy")
    until = time.monotonic() + 200
    while not (out / "study.json").exists():
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)
    others = [start("worker", "--study", out, "--storage", database) for _ in range(3)]
    while not any(is_told(t) for t in trials_in()):
        assert time.monotonic() < until
        time.sleep(0.1)
    others.pop().kill()
    for process in (*others, first):
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
    trials = trials_in()
    told = [trial for trial in trials if is_told(trial)]
    # one that was taken for dead may have been told after all
    assert N_TRIALS <= len(told) <= N_TRIALS + 3
    assert not any(trial.state == TrialState.RUNNING for trial in trials)
    document = load_study(out)
    searched = [row for row in document["trials"] if row["allocation"] == "searched"]
    assert document["n_failed"] == 0
    # every trial's values are those of the row of its levels
    by_values = {(row["accuracy_frac"], row["executed_synops_per_sample"]) for row in searched}
    assert {tuple(trial.values) for trial in told} == by_values
    again = start("search", "--search", file, "--model", net_model, "--out", out, "--workers", "1",
                  "--storage", database, "--no-deploy")
    text, _ = again.communicate(timeout=200)
    assert again.returncode == 0, text
    assert load_study(out) == document


@pytest.mark.parametrize(("address", "shown"), [
    ("postgresql://u@127.0.0.1:{port}/x", "cannot be used"),
    ("sqlite:///a.db", "sqlite is not supported"),
    ("nonsense", "is no address"), ("", "is no address"),
])
def test_a_database_that_cannot_be_reached_is_named_at_once(address: str, shown: str) -> None:
    from pipeline.search.database import connect

    address = address.format(port=free_port())
    begin = time.monotonic()
    with pytest.raises(ClusterError) as error:
        connect(address)
    assert time.monotonic() - begin < 5
    assert shown in str(error.value) and "secret" not in str(error.value)


def test_a_password_is_never_shown() -> None:
    from pipeline.search.database import connect

    with pytest.raises(ClusterError) as error:
        connect(f"postgresql://u:secret@127.0.0.1:{free_port()}/x")
    assert "secret" not in str(error.value)


def test_a_worker_without_a_study_is_told_what_to_do(tmp_path: Path) -> None:
    from pipeline.search.shared import work_on
    from pipeline.sweep.progress import Progress

    with pytest.raises(RecipeError, match=r"study\.json: holds no shared search.*STORAGE="):
        work_on(tmp_path, "postgresql://u@127.0.0.1:1/x", Progress())
