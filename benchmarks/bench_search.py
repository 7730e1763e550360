"""Levels per layer against the best uniform ones: memory and executed synops at equal accuracy.

    python benchmarks/bench_search.py [--model nmnist_cnn] [--target loihi1] [--cost memory_bits]
        [--trials 192] [--max-loss 1.0] [--workers 2] [--out DIR]

Two baselines are measured at the same levels and chosen as the winner is, on validation: one level
for all layers, and one sparsity shared out by LAMPS with the same bits for all. Of each, the
cheapest within the loss allowed; against it the cheapest trial of the search that is at least as
accurate. All are then measured once on the test split, which nothing was chosen by.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from hardware_targets import load_target
from pipeline.line import Line
from pipeline.model_folder import find_model
from pipeline.recipe import load_recipe
from pipeline.search.choose import COSTS, load_study
from pipeline.search.driver import Search
from pipeline.search.space import load_search
from pipeline.sweep.progress import Progress

Row = dict[str, Any]

SPARSITY, BITS = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95], [2, 3, 4, 6]
BASELINES = {"one level for all": ("uniform",), "LAMPS, one number of bits": ("lamps",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nmnist_cnn")
    parser.add_argument("--target", default="loihi1")
    parser.add_argument("--cost", default="memory_bits", choices=["memory_bits", "executed_synops"])
    parser.add_argument("--trials", type=int, default=192)
    parser.add_argument("--max-loss", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch) / "study"
        search(options, out)
        compare(options, out)


def search(options: argparse.Namespace, out: Path) -> None:
    """Run the search as ``make search`` does, without its deployment."""
    out.mkdir(parents=True, exist_ok=True)
    path, begin = out / "bench.yaml", time.perf_counter()
    path.write_text(yaml.safe_dump({
        "recipe": {"evaluate": {"n_validation": 500}}, "target": options.target,
        "sparsity": SPARSITY, "bits": BITS, "objectives": ["accuracy", options.cost],
        "constraints": {"max_loss_points": options.max_loss}, "n_trials": options.trials}))
    Search(load_search(path, options.target), find_model(options.model), out, options.workers,
           Progress()).run()
    print(f"search: {time.perf_counter() - begin:.0f} s")


def compare(options: argparse.Namespace, out: Path) -> None:
    """Print both baselines, what the search has against each, and both on the test split."""
    document, column = load_study(out), COSTS[options.cost]
    dense = document["accuracy_dense_frac"]
    rows = [row for row in document["trials"] if row["status"] == "fits"]
    print(f"{options.model} on {options.target}, {document['n_validation_samples']} validation "
          f"samples, {dense:.1%} as trained; the least {column} within {options.max_loss} point(s)")
    for name, origins in BASELINES.items():
        base = cheapest([r for r in rows if r["allocation"] in origins
                         and r["accuracy_frac"] >= dense - options.max_loss / 100 - 1e-9], column)
        if base is None:
            print(f"{name}: none is within the loss allowed")
            continue
        found = cheapest([r for r in rows if r["allocation"] == "searched"
                          and r["accuracy_frac"] >= base["accuracy_frac"]], column)
        show(options, out, name, base)
        if found is not None:
            show(options, out, "searched, at least as accurate", found)
            for cost in ("memory_bits", "executed_synops_per_sample"):
                print(f"    {cost}: {found[cost] / base[cost] - 1:+.1%}")


def cheapest(rows: list[Row], column: str) -> Row | None:
    """Return the row of least cost, of equals the more accurate; None of none."""
    return min(rows, key=lambda r: (r[column], -r["accuracy_frac"]), default=None)


def show(options: argparse.Namespace, out: Path, name: str, row: Row) -> None:
    """Print a row, and what its deployment is on the test split."""
    line = Line(find_model(options.model), load_recipe(out / row["recipe"]),
                load_target(options.target), out / "lines" / row["key"], out / "lines" / "store")
    line.run("emulate")
    line.run("energy")
    evaluation, counts = line.value("emulate"), line.value("energy").counts
    assert evaluation.validation[1] == row["accuracy_frac"]
    levels = ", ".join(f"{k} {v}" for k, v in row.items() if k.endswith((".sparsity", ".bits")))
    print(f"  {name}: {levels or 'sparsity {sparsity}, bits {bits}'.format(**row)}")
    print(f"    validation {row['accuracy_frac']:.1%}, {row['memory_bits']:,} bits "
          f"({row['memory_bits'] // 64:,} words), {row['executed_synops_per_sample']:,.0f} "
          f"executed synops, {row['n_cores']} cores")
    print(f"    test {evaluation.test[1]:.1%} ({evaluation.test[0]:.1%} as trained, "
          f"{evaluation.n_test}), {counts['executed_synops'].sum(axis=1).mean():,.0f} executed")


if __name__ == "__main__":
    main()
