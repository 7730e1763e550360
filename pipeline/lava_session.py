"""The process that runs Lava: started, given a time limit, ended with all it started.

In: a folder of jobs. Out: the number of attempts it took, or an error with the last words of the
process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import LavaError

PROGRESS = "progress"  # of each job: how many steps are done, int64
_POLLED_EVERY_S = 0.2
_TOLD_EVERY_S = 15.0
_GRACE_S = 5.0
_MAX_ATTEMPTS = 2
_SHOWN_LINES = 15


def run_within_limit(
    folder: Path, time_limit_s: float, on_steps: Callable[[int], None] = lambda _: None
) -> int:
    """Run the worker, a second time if it makes no step within the limit; return the attempts.

    Lava was seen to hang once on a network it runs otherwise (benchmark machine, two cores).

    Parameters
    ----------
    time_limit_s : for the first step, with what is built before it, and for each one after it
    on_steps : called now and then with how many steps are done
    """
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        try:
            _run_worker(folder, time_limit_s, on_steps)
        except subprocess.TimeoutExpired:
            continue
        return attempt
    raise LavaError(
        f"Lava did not finish a step within {time_limit_s:.4g} s in {_MAX_ATTEMPTS} attempts "
        "(recipe key 'verify.lava_time_limit_s'); it may hang, or the limit is too short for this "
        f"network on this machine. Its last output:\n{_tail(folder / 'log.txt')}"
    )


class Telling:
    """Says every quarter of a minute how far it is."""

    def __init__(self, n_steps: int, on_progress: Callable[[str], None]) -> None:
        self._n_steps, self._on_progress = n_steps, on_progress
        self._first: tuple[float, int] | None = None
        self._told = time.monotonic()

    def __call__(self, n_done: int) -> None:
        """Take note of the steps that are done."""
        now = time.monotonic()
        self._first = self._first or (now, n_done)
        if now - self._told > _TOLD_EVERY_S and n_done > self._first[1]:
            self._told = now
            step_s = (now - self._first[0]) / (n_done - self._first[1])
            left_min = step_s * (self._n_steps - n_done) / 60
            self._on_progress(
                f"step {n_done} of {self._n_steps}, about {left_min:.0f} min left")


def _run_worker(folder: Path, time_limit_s: float, on_steps: Callable[[int], None]) -> None:
    log = folder / "log.txt"
    with log.open("w") as stream:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pipeline.lava_worker", str(folder)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
            # one thread per process: Lava itself starts two processes per layer
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        try:
            code = _wait(worker, folder, time_limit_s, on_steps)
        finally:
            _end_session(worker)
    if code != 0:
        raise LavaError(f"Lava died with exit code {code}. Its last output:\n{_tail(log)}")


def _wait(
    worker: subprocess.Popen[bytes], folder: Path, time_limit_s: float,
    on_steps: Callable[[int], None],
) -> int:
    """Return the exit code of a worker that goes on making steps."""
    n_done, since = 0, time.monotonic()
    while True:
        try:
            return worker.wait(min(_POLLED_EVERY_S, time_limit_s))
        except subprocess.TimeoutExpired:
            now = sum(
                int.from_bytes(file.read_bytes(), sys.byteorder)
                for file in folder.glob(f"*/{PROGRESS}"))
            if now > n_done:
                n_done, since = now, time.monotonic()
                on_steps(n_done)
            elif time.monotonic() - since > time_limit_s:
                raise


def _end_session(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and all processes it started, and let Python free their shared memory.

    The shared-memory tracker of multiprocessing ignores SIGTERM; with everybody else gone it
    unlinks what they left, so it is killed only if it outlives the grace period.
    """
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(worker.pid, sent)
            os.killpg(worker.pid, signal.SIGCONT)  # one that was stopped takes no other signal
        except ProcessLookupError:
            break
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline and _session_lives(worker):
            time.sleep(0.05)
    worker.wait()


def _session_lives(worker: subprocess.Popen[bytes]) -> bool:
    worker.poll()
    try:
        os.killpg(worker.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return "\n".join(f"  | {line}" for line in lines[-_SHOWN_LINES:]) or "  | (nothing)"
