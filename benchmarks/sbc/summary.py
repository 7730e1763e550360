"""Results of a plan by table, network, method and column, and their mean over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from plan import Cell

Result = dict[str, Any]


class Summary:
    """What is there of a plan."""

    def __init__(self, results: list[tuple[Cell, Result | None]]) -> None:
        self.cells = [cell for cell, _ in results]
        self.found = [(cell, result) for cell, result in results if result is not None]
        self._planned: dict[tuple[str, ...], int] = {}
        self._results: dict[tuple[str, ...], list[Result]] = {}
        for cell, result in results:
            place = (cell.model, cell.table, cell.method, cell.column)
            self._planned[place] = self._planned.get(place, 0) + 1
            if result is not None:
                self._results.setdefault(place, []).append(result)

    def methods(self, model: str, table: str) -> list[str]:
        """Return the rows of a table, in order."""
        return list(dict.fromkeys(
            c.method for c in self.cells if (c.model, c.table) == (model, table)))

    def columns(self, model: str, table: str) -> list[str]:
        """Return the columns of a table, in order."""
        return list(dict.fromkeys(
            c.column for c in self.cells if (c.model, c.table) == (model, table)))

    def of(self, model: str, table: str, method: str, column: str) -> list[Result]:
        """Return the results of one entry that were not refused, a seed each."""
        found = self._results.get((model, table, method, column), [])
        return [result for result in found if "error" not in result]

    def mean(self, model: str, table: str, method: str, column: str) -> float | None:
        """Return the mean accuracy of an entry in percent; None unless every seed is there."""
        accuracies = [100 * r["accuracy"] for r in self.of(model, table, method, column)]
        n_planned = self._planned.get((model, table, method, column), 0)
        if not accuracies or len(accuracies) < n_planned:
            return None
        return float(np.mean(accuracies))

    def dense(self, model: str) -> float | None:
        """Return the accuracy of the dense network in percent."""
        return next((100 * r["dense_accuracy"] for c, r in self.found if c.model == model), None)

    def entry(
        self, model: str, table: str, method: str, column: str,
        value: Callable[[Result], float | None], digits: int = 1,
    ) -> str:
        """Return mean ± sd over seeds of a value; says how many seeds if some are missing."""
        place = (model, table, method, column)
        stored = self._results.get(place, [])
        taken = [value(result) for result in self.of(*place)]
        numbers = [number for number in taken if number is not None]
        if not numbers:
            return "refused" if stored else "–"
        text = f"{np.mean(numbers):,.{digits}f}"
        if len(numbers) > 1:
            text += f" ± {np.std(numbers, ddof=1):,.{digits}f}"
        n_planned = self._planned.get(place, 0)
        return text if len(numbers) == n_planned else f"{text} ({len(numbers)} of {n_planned})"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
