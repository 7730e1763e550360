"""What the user sees of a running sweep: how far, how long, and the best so far.

In: the list of work, then each piece that is finished. Out: a bar on a terminal, plain lines
elsewhere. Time left is the work left at the rates of this run, or of the folder before it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import rich.console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from pipeline.sweep.estimate import measured_rates
from pipeline.sweep.plan import Plan
from pipeline.sweep.trials import Trial
from pipeline.sweep.work import Reply, Work

_LINE_S = 5.0  # between plain lines


class Progress:
    """Shows a sweep as it runs."""

    def __init__(self, console: rich.console.Console | None = None) -> None:
        self._console = console or rich.console.Console(highlight=False, soft_wrap=True)
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._left: dict[str, int] = {}
        self._rates: dict[str, list[float]] = {}
        self._n_workers, self._n_trials, self._n_total = 1, 0, 0
        self._best: Trial | None = None
        self._last_line = 0.0

    def say(self, message: str) -> None:
        """Show what is being done, or went wrong."""
        first, *rest = message.splitlines() or [""]
        self._console.print(f"  ...      {escape(first)}{' ...' if rest else ''}")

    def begin(self, plan: Plan, works: Iterable[Work], n_workers: int) -> None:
        """Show that work begins."""
        rates = measured_rates(plan.store)
        self._rates = {"Compress": [rates.level_s], "Evaluate": [rates.evaluation_s],
                       "Sense": [rates.probe_s], "MeasureDense": [rates.probe_s],
                       "Predict": [rates.evaluation_s]}
        self._left = dict.fromkeys(self._rates, 0)
        for work in works:
            # by name: the module of the classes imports torch
            self._left[type(work).__name__] += _n_pieces(work)
        self._n_workers, self._n_total = n_workers, plan.space.n_configurations
        self._n_trials = self._n_total - self._left["Evaluate"] * len(plan.space.targets)
        if self._console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.completed}/{task.total}"), BarColumn(24),
                TextColumn("{task.description}"), console=self._console)
            self._task = self._bar.add_task(self._line(), total=self._n_total,
                                            completed=self._n_trials)
            self._bar.start()

    def finished(self, work: Work, reply: Reply, trials: list[Trial]) -> None:
        """Show that a piece of work is finished, and what trials came of it."""
        kind = type(work).__name__
        n = _n_pieces(work)
        self._left[kind] -= n
        if reply.kind == "done" and reply.elapsed_s:
            self._rates[kind].append(reply.elapsed_s / n)
        self._n_trials += len(trials)
        for trial in trials:
            self._best = _better(self._best, trial)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._n_trials, description=self._line())
        elif time.monotonic() - self._last_line > _LINE_S or not any(self._left.values()):
            self._last_line = time.monotonic()
            self._console.print(f"  {self._n_trials} of {self._n_total}  {escape(self._line())}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _line(self) -> str:
        left_s = sum(
            n * _mean(self._rates[kind]) for kind, n in self._left.items()) / self._n_workers
        text = f"{self._left['Compress']} levels to compress, about {clock(left_s)} left"
        if self._best is not None and self._best.accuracy_frac is not None:
            text += f"; best {self._best.accuracy_frac:.1%}: {self._best.label}"
        return text


def clock(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _n_pieces(work: Work) -> int:
    """Return the levels of compression, or 1."""
    return len(getattr(work, "levels", (None,)))


def _mean(rates: list[float]) -> float:
    """Return the mean of this run; of none, what was known before."""
    return sum(rates[1:]) / (len(rates) - 1) if len(rates) > 1 else rates[0]


def _better(best: Trial | None, trial: Trial) -> Trial | None:
    """Return the more accurate of what fits; of equals the one with fewer executed synops."""
    if trial.status != "fits" or trial.accuracy_frac is None:
        return best
    if best is None or best.accuracy_frac is None:
        return trial
    ours, theirs = ((t.accuracy_frac or 0.0, -(t.executed_synops or 0.0)) for t in (trial, best))
    return trial if ours > theirs else best
