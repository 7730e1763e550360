"""One dask worker against two on the same grid, and two of which one is killed: time, equal rows.

    python benchmarks/bench_sweep_dask.py [--model nmnist_cnn] [--repeats 1] [--grid FILE]

Each run begins in an empty folder, with workers that have not computed before; the ingested and
calibrated network is brought along, for the driver makes that alone. Printed are wall time of the
whole command and of the work alone (first to last result), processor time of the workers, and load:
others may use the machine, and what wall time says then is told by the share of a processor that
each worker had. Compared are all rows of trials.csv but for elapsed_s, and everything in the store:
outcomes, prices, and the arrays of every mask and level.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

GRID: dict[str, Any] = {
    "recipe": {"evaluate": {"n_validation": 500}}, "method": ["sbc"],
    "sparsity": [0.5, 0.7, 0.8, 0.9, 0.95], "bits": [2, 3, 4, 6, 8], "target": ["loihi1", "loihi2"],
    "sensitivity": False,
}
Contents = dict[str, dict[str, Any]]
HERE = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
               "PYTHONPATH": str(HERE)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nmnist_cnn")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--grid", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        grid = yaml.safe_load(options.grid.read_text()) if options.grid else GRID
        (folder / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
        prepared = prepare(options.model, folder, grid)
        times: dict[int, list[float]] = {1: [], 2: []}
        busiest: dict[int, list[float]] = {1: [], 2: []}
        found: dict[str, Contents] = {}
        for repeat in range(options.repeats):
            for n in (1, 2):
                wall_s, cpu_s, found[f"{n}-{repeat}"] = measure(
                    options.model, folder, prepared, n, f"{n}-{repeat}")
                times[n].append(wall_s)
                busiest[n].append(cpu_s)
        *_, found["killed"] = measure(options.model, folder, prepared, 2, "killed", kill=True)
        ratio = min(times[1]) / min(times[2])
        print(f"work alone, best of {options.repeats}: {min(times[1]):.1f} s with one worker, "
              f"{min(times[2]):.1f} s with two: {ratio:.2f}x; by processor time of the busiest "
              f"worker, as if each had a core: {min(busiest[1]) / min(busiest[2]):.2f}x")
        first = found["1-0"]
        for name, contents in found.items():
            unlike = [what for what in first | contents if first.get(what) != contents.get(what)]
            print(f"{name}: {len(contents)} rows, results, masks and levels, "
                  + (f"{len(unlike)} DIFFER, as {unlike[0]}" if unlike else "identical"))


def prepare(model: str, folder: Path, grid: dict[str, Any]) -> Path:
    """Return a study folder with the network ingested and calibrated, and nothing else."""
    (folder / "one.yaml").write_text(yaml.safe_dump(
        {**grid, "sparsity": [0.5], "bits": [8], "method": ["magnitude"], "target": ["loihi1"]}))
    out = folder / "prepared"
    sweep(model, folder / "one.yaml", out)
    for path in (out / ".store").iterdir():
        if path.suffix != ".npz" and path.name != "study":
            shutil.rmtree(path)
    return out / ".store"


def measure(
    model: str, folder: Path, prepared: Path, n: int, name: str, kill: bool = False
) -> tuple[float, float, Contents]:
    """Return seconds of the work alone and of the busiest processor, and what came of it."""
    out = folder / name
    shutil.copytree(prepared, out / ".store")
    with ExitStack() as stack:
        address = stack.enter_context(scheduler(folder / f"{name}.json"))
        workers = [stack.enter_context(process("worker", address, "--nthreads", 1, "--no-nanny",
                                               "--no-dashboard", "--local-directory", folder))
                   for _ in range(n)]
        await_workers(address, n)
        begin = time.perf_counter()
        driver = subprocess.Popen(command(model, folder / "grid.yaml", out, "--scheduler", address),
                                  env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        if kill:
            while len(list((out / ".store").glob("outcomes/*.json"))) < 10:
                time.sleep(0.2)
            workers[0].send_signal(signal.SIGKILL)
            workers[0].wait()
        text, _ = driver.communicate()
        wall_s = time.perf_counter() - begin
        cpu = [psutil.Process(w.pid).cpu_times() for w in workers if w.poll() is None]
        if driver.returncode:
            sys.exit(text)
    cpu_s = [c.user + c.system for c in cpu]
    results = [p.stat().st_mtime for kind in ("compressed", "outcomes", "prices", "dense")
               for p in (out / ".store" / kind).glob("*.json")]
    # lock files are made when work begins
    begun = min(p.stat().st_mtime for p in (out / ".store" / "locks").iterdir()
                if p.name != "meeting.lock")
    work_s = max(results) - begun
    print(f"{n} worker(s){', one killed' if kill else ''}: {wall_s:.1f} s the command, "
          f"{work_s:.1f} s the work; processors {', '.join(f'{s:.1f} s' for s in cpu_s)} "
          f"({', '.join(f'{s / work_s:.0%}' for s in cpu_s)} of the time); "
          f"load {os.getloadavg()[0]:.1f}", flush=True)
    return work_s, max(cpu_s), contents_of(out)


def contents_of(out: Path) -> Contents:
    """Return everything a study says, by name, but for times."""
    found: Contents = {}
    with (out / "trials.csv").open() as file:
        for row in csv.DictReader(file):
            found[f"row {row['key']}"] = {k: v for k, v in row.items() if k != "elapsed_s"}
    for kind in ("outcomes", "prices", "dense"):
        for path in (out / ".store" / kind).glob("*.json"):
            result = json.loads(path.read_text())
            found[f"{kind} {path.stem}"] = {k: v for k, v in result.items() if k != "elapsed_s"}
    for kind in ("masks", "bank"):
        for path in (out / ".store" / kind).glob("*.npz"):
            with np.load(path) as archive:
                found[f"{kind} {path.stem}"] = {
                    name: (array.dtype.str, array.shape, array.tobytes())
                    for name, array in archive.items()}
    return found


def sweep(model: str, grid: Path, out: Path) -> None:
    subprocess.run(command(model, grid, out), env=ENVIRONMENT, check=True, capture_output=True)


def command(model: str, grid: Path, out: Path, *more: object) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", "sweep", "--model", model, "--sweep", str(grid),
            "--out", str(out), *map(str, more)]


@contextmanager
def scheduler(file: Path) -> Iterator[str]:
    with process("scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard",
                 "--scheduler-file", file):
        while not file.is_file() or not file.read_text():
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]


@contextmanager
def process(kind: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, arguments)],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def await_workers(address: str, n: int) -> None:
    from distributed import Client

    with Client(address) as client:
        client.wait_for_workers(n)


if __name__ == "__main__":
    main()
