"""Claims: never two at once, none left by who was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from sweeps import REPOSITORY

from pipeline.sweep.claims import claim, try_claim

HOLDER = """
import sys, time, pathlib
from pipeline.sweep.claims import claim
with claim(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
COUNTER = """
import sys, pathlib
from pipeline.sweep.claims import claim
path, counter = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
for _ in range(50):
    with claim(path):
        n = int(counter.read_text())
        counter.write_text(str(n + 1))
"""


def start(code: str, *arguments: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=REPOSITORY,
        stdout=subprocess.PIPE, text=True)


def test_a_claim_is_held_by_one_and_gone_with_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "work.lock"
    with start(HOLDER, path) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with try_claim(path) as is_mine:
            assert not is_mine
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with try_claim(path) as is_mine:
            assert is_mine
            with try_claim(path) as again:
                assert not again  # not even by the same process
    with claim(path), try_claim(tmp_path / "locks" / "other.lock") as is_mine:
        assert is_mine


def test_claims_of_many_processes_exclude_each_other(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [start(COUNTER, tmp_path / "lock", counter) for _ in range(4)]
    for process in processes:
        assert process.wait() == 0
        assert process.stdout is not None
        process.stdout.close()
    assert counter.read_text() == "200"
