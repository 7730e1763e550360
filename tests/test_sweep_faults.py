"""Faults: kills, full and read-only disks, clocks, two drivers. Real processes, real mounts."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sweeps import (
    GRID,
    GROWN,
    N_GROWN,
    REPOSITORY,
    n_levels_made,
    n_outcomes,
    run_sweep,
    wait_for,
)

from pipeline.errors import OutputError
from pipeline.sweep.work import Work
from pipeline.sweep.workers import Workers

N_GRID = 4


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a file system of a size; yield what changes its options."""
    folder.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={size}", "none", folder):
        pytest.skip("may not mount a file system here")
    try:
        yield lambda options: _assert(mounted("-o", f"remount,{options}", folder))
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def mounted(*arguments: object) -> bool:
    try:
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def _assert(claim: bool) -> None:
    assert claim


def test_a_full_disk_is_one_error_and_with_more_room_the_sweep_continues(
    net_model: Path, tmp_path: Path, results: Any
) -> None:
    whole = run_sweep(net_model, GRID, tmp_path / "whole").out
    used = sum(4096 * -(-p.stat().st_size // 4096) for p in whole.rglob("*") if p.is_file())
    with tmpfs(tmp_path / "disk", str(used // 2)) as remount:
        out = tmp_path / "disk" / "out"
        with pytest.raises(OutputError, match="No space left.*computed before is kept: make room"):
            run_sweep(net_model, GRID, out)
        n_made = len(list((out / ".store" / "bank").glob("*.npz")))
        assert not list(out.rglob("*.tmp"))
        remount("size=64m")
        written = run_sweep(net_model, GRID, out)
        assert [t.status for t in written.trials] == ["fits"] * 2 * N_GRID
        assert results(out) == results(whole) and 0 < n_made < 2 * N_GRID


def test_a_folder_that_turns_read_only_is_one_error(
    net_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tmpfs(tmp_path / "disk", "64m") as remount:
        out, give = tmp_path / "disk" / "out", Workers.give

        def give_and_turn(workers: Workers, work: Work) -> None:
            give(workers, work)  # here, and no file is open when it returns
            if n_outcomes(out) == 2:
                remount("ro")

        with monkeypatch.context() as patch:
            patch.setattr(Workers, "give", give_and_turn)
            with pytest.raises(OutputError, match="Read-only file system.*mend its permissions"):
                run_sweep(net_model, GROWN, out)
        with pytest.raises(OutputError, match="Read-only file system"):
            run_sweep(net_model, GROWN, out)  # nor does it begin
        remount("rw")
        assert n_outcomes(out) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_folder_of_another_user_is_one_error(tmp_path: Path) -> None:
    code = (f"import os, sys, pathlib; sys.path.insert(0, {str(REPOSITORY)!r}); "
            "from pipeline.errors import OutputError; "
            "from pipeline.sweep.results import prepare_folder; os.setuid(65534)\n"
            "try: prepare_folder(pathlib.Path(sys.argv[1]))\n"
            "except OutputError as error: print(error)\n")
    import sys

    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "cannot be written (Permission denied)" in done.stdout, done.stderr


def test_clocks_that_jump_change_nothing(
    net_model: Path, tmp_path: Path, results: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(range(10**9))
    with monkeypatch.context() as patch:  # a day back and forth at every look at it
        patch.setattr(time, "time", lambda: 1e9 + 86400 * (next(jumps) % 3))
        out = run_sweep(net_model, GRID, tmp_path / "jumping").out
    for n, path in enumerate(sorted(out.rglob("*"))):
        os.utime(path, (1e9 * (n % 4), 1e9 * (n % 4)))  # from 1970 to 2065
    before = {p: p.stat().st_mtime_ns for p in (out / ".store" / "outcomes").iterdir()}
    run_sweep(net_model, GRID, out)
    assert {p: p.stat().st_mtime_ns for p in (out / ".store" / "outcomes").iterdir()} == before
    assert results(out) == results(run_sweep(net_model, GRID, tmp_path / "steady").out)


def test_no_clock_but_the_monotonic_decides_anything() -> None:
    for path in (REPOSITORY / "pipeline" / "sweep").glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text()))
        called = {ast.unparse(node.func) for node in tree if isinstance(node, ast.Call)}
        assert not called & {"time.time", "datetime.now", "os.path.getmtime"}, path
        assert "st_mtime" not in path.read_text(), path


@pytest.mark.slow
class TestProcesses:
    def test_kills_and_ctrl_c_lose_nothing_and_leave_nothing(
        self, grown: tuple[Path, Path], tmp_path: Path, start_driver: Any, results: Any
    ) -> None:
        model, reference = grown
        out = tmp_path / "out"
        driver = start_driver(model, GROWN, out)
        wait_for(lambda: n_outcomes(out) >= 2)
        workers = children_of(driver.pid)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        wait_for(lambda: not any(is_alive(pid) for pid in workers))
        n_first, levels = n_outcomes(out), bank_of(out)
        assert 2 <= n_first < N_GROWN - 8

        driver = start_driver(model, GROWN, out, start_new_session=True)
        wait_for(lambda: n_outcomes(out) >= n_first + 2)
        os.kill(next(pid for pid in children_of(driver.pid) if is_worker(pid)), signal.SIGKILL)
        wait_for(lambda: n_outcomes(out) >= min(n_first + 6, N_GROWN - 3))
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
        _, errors = driver.communicate(timeout=30)
        assert driver.returncode == 130 and "Traceback" not in errors
        assert (out / "report.html").is_file() and not list(out.rglob("*.tmp"))

        written = run_sweep(model, GROWN, out)
        assert [t.status for t in written.trials] == ["fits"] * N_GROWN
        assert results(out) == results(reference)
        assert levels.items() <= bank_of(out).items()  # none made again
        assert len(bank_of(out)) == 2 * N_GROWN

    def test_two_drivers_on_one_folder_compute_nothing_twice(
        self, grown: tuple[Path, Path], tmp_path: Path, start_driver: Any, results: Any
    ) -> None:
        model, reference = grown
        out = tmp_path / "shared"
        drivers = [start_driver(model, GROWN, out, "--workers", n) for n in (1, 2)]
        texts = [driver.communicate(timeout=300) for driver in drivers]
        assert [driver.returncode for driver in drivers] == [0, 0], texts
        assert n_levels_made(out) == len(bank_of(out)) == 2 * N_GROWN
        assert results(out) == results(reference)

    def test_a_file_size_limit_is_one_clear_error(
        self, net_model: Path, tmp_path: Path, start_driver: Any
    ) -> None:
        import resource

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

        driver = start_driver(net_model, GRID, tmp_path / "full", preexec_fn=limited)
        _, errors = driver.communicate(timeout=120)
        assert driver.returncode == 2, errors
        assert "cannot be written (File too large)" in errors and "Traceback" not in errors
        assert not list((tmp_path / "full").rglob("*.tmp"))


def bank_of(out: Path) -> dict[Path, int]:
    """Return when each level was written."""
    return {p: p.stat().st_mtime_ns for p in (out / ".store" / "bank").glob("*.npz")}


def children_of(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_worker(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
