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
from pathlib import Path

from pipeline.errors import LavaError

_GRACE_S = 5.0
_MAX_ATTEMPTS = 2
_SHOWN_LINES = 15


def run_within_limit(folder: Path, time_limit_s: float) -> int:
    """Run the worker, a second time if it exceeds the limit; return the number of attempts.

    Lava was seen to hang once on a network it runs otherwise (benchmark machine, two cores).
    """
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        try:
            _run_worker(folder, time_limit_s)
        except subprocess.TimeoutExpired:
            continue
        return attempt
    raise LavaError(
        f"Lava did not finish within {time_limit_s:.4g} s in {_MAX_ATTEMPTS} attempts (recipe key "
        "'verify.lava_time_limit_s'); it may hang, or the limit is too short for "
        f"'verify.n_samples'. Its last output:\n{_tail(folder / 'log.txt')}"
    )


def _run_worker(folder: Path, time_limit_s: float) -> None:
    log = folder / "log.txt"
    with log.open("w") as stream:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pipeline.lava_worker", str(folder)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
            # one thread per process: Lava itself starts two processes per layer
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        try:
            code = worker.wait(time_limit_s)
        finally:
            _end_session(worker)
    if code != 0:
        raise LavaError(f"Lava died with exit code {code}. Its last output:\n{_tail(log)}")


def _end_session(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and all processes it started, and let Python free their shared memory.

    The shared-memory tracker of multiprocessing ignores SIGTERM; with everybody else gone it
    unlinks what they left, so it is killed only if it outlives the grace period.
    """
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(worker.pid, sent)
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
