"""``make bench-sbc``: SBC against its baselines, on every bundled network; resumable.

``.venv/bin/python benchmarks/sbc [--short] [--workers N] [--models a,b] [--tables pruning,...]
[--out FOLDER] [--no-run]``. Results are kept in ``cells.jsonl`` as they come; a cell that is there
under the same recipe, network and code is not computed again. Ctrl-C stops with what is done kept.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from plan import MODELS, TABLES, Cell, Keys, Measurement, full_plan, short_plan
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from run import Defects, Result, Store, WorkerDied, missing, run
from tables import document

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "sbc"
SHORT = Measurement(n_test=100, n_traced=20)
_INTERRUPTED = 130


def main() -> int:
    """Run what is missing, print and store the tables; return the exit code."""
    options = _options()
    # for the workers, which inherit it: one thread each; spinning threads, see pipeline.cli
    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    plan, measurement = (short_plan(), SHORT) if options.short else (full_plan(), Measurement())
    out: Path = options.out or (
        Path(tempfile.mkdtemp(prefix="bench-sbc-")) if options.short else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    keys, store = Keys(measurement), Store(out / "cells.jsonl")
    wanted = [c for c in plan if c.model in options.models and c.table in options.tables]
    todo = missing(wanted, store, keys)
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len({keys.of(c) for c in wanted})} cells, {len(todo)} to compute, "
                  f"code {keys.code[:8]}, in {out}")
    code = 0
    if todo and not options.no_run:
        try:
            with _Shown(console, len(todo)) as shown:
                run(todo, store, keys, measurement, options.workers, shown.add)
        except KeyboardInterrupt:
            console.print("bench-sbc: interrupted; run the same command to continue")
            return _INTERRUPTED
        except (Defects, WorkerDied) as error:
            console.print(f"bench-sbc: {error}\nrun the same command to try again")
            code = 1
    # every table that has results, whatever this run was asked for
    text = document([(cell, store.get(keys.of(cell))) for cell in plan], keys.code, measurement,
                    has_goals=not options.short)
    (out / "tables.md").write_text(text, encoding="utf-8")
    print(text)
    return code


class _Shown:
    """How far the run is: a bar on a terminal, a line per cell elsewhere."""

    def __init__(self, console: Console, n_cells: int) -> None:
        self._console, self._n_cells, self._n_done = console, n_cells, 0
        self._begin = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.fields[left]}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[last]}", markup=False),
            console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=n_cells, left="", last="")

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, cell: Cell, result: Result) -> None:
        """Show one more result."""
        self._n_done += 1
        elapsed_s = time.monotonic() - self._begin
        # groups differ in what their cells take: a guess
        left_s = elapsed_s / self._n_done * (self._n_cells - self._n_done)
        if "accuracy" in result:
            came_to = f"{result['accuracy']:.1%} of {result['dense_accuracy']:.1%}"
        else:
            came_to = str(result.get("error", "defect")).split("\n")[0]
        last, left = f"{cell.title}: {came_to}", f"about {_clock(left_s)} left"
        self._bar.update(self._task, advance=1, left=left, last=last)
        if not self._console.is_terminal:
            self._console.print(
                f"{self._n_done}/{self._n_cells}  {_clock(elapsed_s)}, {left}  {last}")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/sbc", description="SBC against its baselines; resumable.")
    parser.add_argument("--short", action="store_true",
                        help="a few cheap cells, to a temporary folder: does it work at all?")
    parser.add_argument("--workers", type=_count, default=2, help="processes [default: 2]")
    parser.add_argument("--models", type=_some_of(MODELS), default=MODELS, metavar="A,B",
                        help=f"of {', '.join(MODELS)} [default: all]")
    parser.add_argument("--tables", type=_some_of(TABLES), default=TABLES, metavar="A,B",
                        help=f"of {', '.join(TABLES)} [default: all]")
    parser.add_argument("--out", type=Path, help=f"folder [default: {RESULTS.relative_to(ROOT)}]")
    parser.add_argument("--no-run", action="store_true", help="only the tables of what is stored")
    return parser.parse_args()


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} processes; at least 1 is needed")
    return int(text)


def _some_of(names: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def chosen(text: str) -> tuple[str, ...]:
        unknown = [name for name in text.split(",") if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)}: not one of {', '.join(names)}")
        return tuple(text.split(","))

    return chosen


if __name__ == "__main__":
    sys.exit(main())
