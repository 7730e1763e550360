"""A dask cluster does what processes here do, bit for bit, and every misfit has a name."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sweeps import (
    GRID,
    GROWN,
    N_GROWN,
    REPOSITORY,
    Deadly,
    Noting,
    Slow,
    n_levels_made,
    n_outcomes,
    run_sweep,
    sweep_of,
    wait_for,
)

from pipeline.errors import ClusterError, MissingExtraError
from pipeline.sweep.plan import make_plan
from pipeline.sweep.prepare import Task
from pipeline.sweep.remote import Errand, answered, look, meeting
from pipeline.sweep.results import Store
from pipeline.sweep.trial import Study

pytest.importorskip("distributed")


def crew_of(address: str, store: Store, patience_s: float = 0.2,
            say: Callable[[str], None] = lambda _: None) -> Any:
    from pipeline.sweep.dask_workers import DaskWorkers

    return DaskWorkers(address, store, None, say, patience_s)


# ---------------------------------------------------------------- who cannot take part


@pytest.mark.parametrize(("address", "cause"), [
    ("tcp://127.0.0.1:9", "Connect call failed"),
    ("127.0.0.1", "missing port"),
    ("tcp://localhost:many", "invalid literal"),
    ("tcp://there.is.no.such.host.invalid:8786", "not known|resolution|No address"),
])
def test_a_scheduler_that_does_not_answer_is_named_at_once(
    tmp_path: Path, address: str, cause: str
) -> None:
    begin = time.monotonic()
    with pytest.raises(ClusterError, match=f"scheduler {address}: .*({cause}).*SCHEDULER=tcp://"):
        crew_of(address, Store(tmp_path))
    assert time.monotonic() - begin < 5


def test_what_is_no_scheduler_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        greeting = threading.Thread(target=_greet, args=(server,))
        greeting.start()
        with pytest.raises(ClusterError, match="no dask scheduler answers .*another language"):
            crew_of(f"tcp://127.0.0.1:{server.getsockname()[1]}", Store(tmp_path))
        greeting.join()


def _greet(server: socket.socket) -> None:
    for _ in range(2):
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")


def test_without_dask_the_remedy_is_its_installation(
    net_model: Path, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.sweep.dask_workers", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'spikefit\[cluster\]'"):
        sweep(net_model, GRID, scheduler="tcp://127.0.0.1:9")


def test_a_worker_looks_at_what_it_must_share_with_the_driver(tmp_path: Path) -> None:
    store = Store(tmp_path / ".store")
    with meeting(store, None) as terms:
        sight = look(terms)
        assert sight.complaint == "" and answered(terms, sight)
        older = replace(terms, versions={**terms.versions, "spikefit's code": "older"})
        assert "the driver older; install the same" in look(older).complaint
        elsewhere = replace(terms, store=tmp_path / "elsewhere" / ".store")
        assert f"does not see the study folder {tmp_path}/elsewhere" in look(elsewhere).complaint
        blind = replace(terms, data=tmp_path / "spikes")
        assert "does not see the spikes" in look(blind).complaint
        store.lock("meeting").unlink()  # as if each machine had locks of its own
        assert "locks of its file system do not reach" in look(terms).complaint
    assert not list((store.folder / "met").iterdir())


def test_a_piece_of_work_is_done_by_loading_it_with_one_thread_on_a_bench_of_its_own(
    tmp_path: Path
) -> None:
    import numba
    import torch

    study = Study(None, tmp_path / ".store", tmp_path, {})  # type: ignore[arg-type]
    before = torch.get_num_threads(), numba.get_num_threads()
    replies, both = [], threading.Barrier(2)

    def load(key: str) -> None:
        both.wait()
        replies.append(pickle.loads(pickle.dumps(Errand(study, Noting(key)))))
        both.wait()

    threads = [threading.Thread(target=load, args=(key * 32,)) for key in "01"]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        torch.set_num_threads(before[0])
    assert [reply.kind for reply in replies] == ["done", "done"]
    noted = Store(study.store).load_all("noted")
    assert [note["threads"] for note in noted] == [[1, 1], [1, 1]]
    assert noted[0]["bench"] != noted[1]["bench"]


# ---------------------------------------------------------------- processes


@contextmanager
def started(*command: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                   "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}",
                   **options.pop("env", {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + str(command[0]), *map(str, command[1:])],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, env=environment, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def scheduler_at(
    folder: Path, *more: str, **options: Any
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    file = folder / "scheduler.json"
    with started("scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard",
                 "--scheduler-file", file, *more, cwd="/", **options) as process:
        wait_for(lambda: file.is_file() and bool(file.read_text()))
        yield json.loads(file.read_text())["address"], process


@contextmanager
def worker_of(address: str, folder: Path, n_threads: int = 1, **options: Any) -> Any:
    with started("worker", address, "--nthreads", n_threads, "--no-nanny", "--no-dashboard",
                 "--local-directory", folder, "--memory-limit", 0, cwd="/", **options) as process:
        yield process


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: Any) -> Iterator[str]:
    with scheduler_at(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


@pytest.mark.slow
class TestCluster:
    def test_kills_and_ctrl_c_change_nothing_but_the_time(
        self, scheduler: str, grown: tuple[Path, Path], tmp_path: Path, start_driver: Any,
        results: Any,
    ) -> None:
        model, reference = grown
        out = tmp_path / "out"
        with worker_of(scheduler, tmp_path, 1) as doomed, worker_of(scheduler, tmp_path, 2):
            killed = start_driver(model, GROWN, out, "--scheduler", scheduler)
            wait_for(lambda: n_outcomes(out) >= 2)
            killed.send_signal(signal.SIGKILL)
            killed.communicate()
            n_first = n_outcomes(out)
            stopped = start_driver(
                model, GROWN, out, "--scheduler", scheduler, start_new_session=True)
            wait_for(lambda: n_outcomes(out) >= min(n_first + 4, N_GROWN - 4))
            os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does
            _, errors = stopped.communicate(timeout=30)
            assert stopped.returncode == 130 and errors == "", errors
            assert (out / "report.html").is_file()
            n_second = n_outcomes(out)
            assert n_second < N_GROWN
            killer = threading.Thread(target=_kill_later, args=(doomed, out, n_second + 3))
            killer.start()
            written = run_sweep(model, GROWN, out, scheduler=scheduler)
            killer.join()
        assert [t.status for t in written.trials] == ["fits"] * N_GROWN
        assert results(out) == results(reference)
        # none compressed twice, none lost
        assert n_levels_made(out) <= 2 * N_GROWN
        assert len(list((out / ".store" / "bank").glob("*.npz"))) == 2 * N_GROWN
        assert not list(out.rglob("*.tmp"))

    def test_what_kills_two_workers_is_told_as_failed_and_a_scheduler_that_goes_is_an_error(
        self, grown: tuple[Path, Path], tmp_path: Path, capsys: Any
    ) -> None:
        store = Store(tmp_path / ".store")
        driver = sweep_of(grown[0], GROWN, tmp_path / "out")
        plan = make_plan(driver.space, driver.model, driver.out)
        deadly, slow = Deadly("0" * 32), Slow("1" * 32)
        with scheduler_at(tmp_path) as (address, process), worker_of(address, tmp_path), \
                worker_of(address, tmp_path):
            crew = crew_of(address, store, 30)
            crew.begin(Study(None, store.folder, tmp_path, {}))  # type: ignore[arg-type]
            wait_for(lambda: bool(list(crew.finished(0.1))) or crew.n == 2)
            driver.progress.finished = lambda *_: None  # it knows no deadly work
            driver._work_off(plan, [Task(deadly)], crew)
            told = capsys.readouterr().out
            assert "its worker tcp://127.0.0.1:" in told and "died, 2 times; if memory" in told
            with worker_of(address, tmp_path):
                wait_for(lambda: bool(list(crew.finished(0.1))) or crew.n == 1)
                crew.give(slow)
                wait_for(lambda: bool(list(store.locks.glob("1*"))))
                process.kill()
                with pytest.raises(ClusterError, match=f"scheduler {address}: gone; what was"):
                    wait_for(lambda: bool(list(crew.finished(0.1))), 30)
                crew.stop()

    def test_misfits_are_named(
        self, scheduler: str, tmp_path: Path
    ) -> None:
        store = Store(tmp_path / "out" / ".store")
        with pytest.raises(ClusterError, match="has no workers; start some .*dask worker tcp"):
            crew_of(scheduler, store)
        other = tmp_path / "other"
        for package in ("pipeline", "hardware_targets", "models"):
            shutil.copytree(REPOSITORY / package, other / package, ignore=shutil.ignore_patterns(
                "*.pt", "*.npz", "__pycache__"))
        with (other / "pipeline" / "bank.py").open("a") as file:
            file.write("# changed\n")
        with worker_of(scheduler, tmp_path, env={"PYTHONPATH": str(other)}), pytest.raises(
                ClusterError, match="worker tcp://.*has spikefit's code .*, the driver .*install"):
            crew_of(scheduler, store, 30)
        bare = tmp_path / "bare"
        (bare / "pipeline").mkdir(parents=True)
        (bare / "pipeline" / "__init__.py").write_text(
            "raise ModuleNotFoundError(\"No module named 'pipeline'\")\n")
        said: list[str] = []
        complaint = "worker tcp://.*has no spikefit.*ModuleNotFoundError"
        with worker_of(scheduler, tmp_path):
            crew = crew_of(scheduler, store, 30, said.append)
            crew.begin(Study(None, store.folder, tmp_path, {}))  # type: ignore[arg-type]
            said.clear()
            with worker_of(scheduler, tmp_path, env={"PYTHONPATH": str(bare)}):
                # it comes while others work: it is left out, and that is told
                wait_for(lambda: bool(list(crew.finished(0.1)) or said))
                crew.give(Noting("0" * 32))
                replies: list[Any] = []
                wait_for(lambda: bool(replies.extend(crew.finished(0.1)) or replies))
                crew.stop()
                with pytest.raises(ClusterError, match=complaint):
                    crew_of(scheduler, store, 30)
        assert [reply.kind for _, reply in replies] == ["done"]
        assert len(said) == 1 and re.match(f"left out: {complaint}", said[0]), said
        assert not list((store.folder / "met").iterdir())

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its keys with openssl")
    def test_a_scheduler_behind_tls_is_reached_as_dask_is_configured(self, tmp_path: Path) -> None:
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
             certificate, "-days", "2", "-subj", "/CN=localhost"], check=True, capture_output=True)
        tls = "DASK_DISTRIBUTED__COMM__TLS__"
        environment = {f"{tls}CA_FILE": str(certificate)}
        for role in ("SCHEDULER", "CLIENT"):
            environment |= {f"{tls}{role}__CERT": str(certificate), f"{tls}{role}__KEY": str(key)}
        code = ("import pathlib, sys; from pipeline.sweep.dask_workers import DaskWorkers; "
                "from pipeline.sweep.results import Store\n"
                "store = Store(pathlib.Path(sys.argv[2]))\n"
                "try: DaskWorkers(sys.argv[1], store, None, print, 0.2)\n"
                "except Exception as error: print(error)\n")
        with scheduler_at(tmp_path, "--protocol", "tls", env=environment) as (address, _):
            done = [subprocess.run(
                [sys.executable, "-c", code, address, tmp_path / ".store"], cwd=REPOSITORY,
                env={**os.environ, **more}, capture_output=True, text=True)
                for more in (environment, {})]
        assert address.startswith("tls://") and "has no workers; start some" in done[0].stdout
        assert "check your TLS configuration" in done[1].stdout
        assert [one.stderr for one in done] == ["", ""]


def _kill_later(process: subprocess.Popen[str], out: Path, n: int) -> None:
    wait_for(lambda: n_outcomes(out) >= n)
    process.send_signal(signal.SIGKILL)
