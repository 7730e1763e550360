"""200 configurations of a bundled network, from an empty folder, and against full deployments.

    python benchmarks/bench_sweep.py [--model nmnist_cnn] [--workers 2] [--deploys 10] [--out DIR]

The grid is sparsity x bits x method x target, 500 validation samples each. Printed are the wall and
processor time of the first run, of a run again, and of a grid with one more value; where it went;
then full deployments of some configurations, spread over the grid, one after the other with all
cores, and whether their numbers are those of the sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

SPARSITY = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98]
GRID: dict[str, Any] = {
    "recipe": {"evaluate": {"n_validation": 500}},
    "method": ["sbc", "exactobs"], "sparsity": SPARSITY, "bits": [2, 3, 4, 6, 8],
    "target": ["loihi1", "loihi2"],
}
CODE = ("import sys; from pipeline.errors import PipelineError\n"
        "if __name__ == '__main__':\n"
        "    import typer; from pipeline.sweep.command import sweep\n"
        "    app = typer.Typer(); app.command()(sweep); app()\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nmnist_cnn")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--deploys", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch) / "study"
        first_s = run(options, out, GRID, "200 configurations, from an empty folder")
        where(out)
        run(options, out, GRID, "the same again")
        more = {**GRID, "sparsity": [*SPARSITY, 0.99]}
        run(options, out, more, "one more sparsity: 20 more configurations")
        run(options, out, GRID, "the first grid again")
        deploys(options, out, Path(scratch), first_s)


def run(options: argparse.Namespace, out: Path, grid: dict[str, Any], what: str) -> float:
    """Run a sweep as a user does, and print what it took."""
    out.parent.mkdir(parents=True, exist_ok=True)
    path, script = out.parent / "bench.yaml", out.parent / "bench_main.py"
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    script.write_text(CODE)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, script, "--sweep", path, "--model", options.model, "--out", out,
         "--workers", str(options.workers)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    wall_s = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{what}: {wall_s:.1f} s wall, {cpu_s:.1f} s of processors, "
          f"load {os.getloadavg()[0]:.1f}", flush=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
    return wall_s


def where(out: Path) -> None:
    """Print what took the time."""
    for kind in ("compressed", "outcomes", "prices", "sensitivity"):
        results = [json.loads(p.read_text()) for p in (out / ".store" / kind).glob("*.json")]
        times = [r.get("elapsed_s", 0.0) for r in results]
        print(f"  {kind:12s} {len(times):4d} x {sum(times) / max(1, len(times)):6.2f} s "
              f"= {sum(times):7.1f} s, longest {max(times, default=0):.1f} s", flush=True)


def deploys(options: argparse.Namespace, out: Path, scratch: Path, sweep_s: float) -> None:
    """Deploy some of the configurations in full and compare."""
    trials = [t for t in json.loads((out / "sweep.json").read_text())["trials"]
              if t["status"] == "fits"]
    chosen = trials[:: max(1, len(trials) // max(1, options.deploys))][: options.deploys]
    times = []
    for index, trial in enumerate(chosen):
        folder = scratch / f"deploy{index}"
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "deploy", "--model", options.model,
             "--target", trial["target"], "--recipe", out / trial["recipe"], "--out", folder],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
        times.append(time.perf_counter() - begin)
        if done.returncode:
            print(f"  deploy failed: {done.stderr.strip()[-300:]}", flush=True)
            continue
        report = json.loads((folder / "report.json").read_text())
        same = compare(trial, report)
        print(f"  deploy {index + 1}: {times[-1]:.1f} s; {same}", flush=True)
    if times:
        mean = sum(times) / len(times)
        print(f"a deployment takes {mean:.1f} s; 200 would take {200 * mean / 60:.0f} min, the "
              f"sweep took {sweep_s / 60:.1f} min: {200 * mean / sweep_s:.0f}x", flush=True)


def compare(trial: dict[str, Any], report: dict[str, Any]) -> str:
    """Tell whether a deployment came to the trial's accuracy, cores and weights."""
    pairs = {
        "accuracy": (trial["accuracy_frac"],
                     report["accuracy"]["validation"]["compressed_frac"]),
        "cores": (trial["n_cores"], len(report["cores"])),
        "weights": ([trial[f"{x['name']}_n_nonzero"] for x in report["layers"]],
                    [x["n_weights_nonzero"] for x in report["layers"]]),
    }
    unlike = [f"{name} {a} here, {b} there" for name, (a, b) in pairs.items() if a != b]
    return "as in the sweep" if not unlike else "; ".join(unlike)


if __name__ == "__main__":
    main()
