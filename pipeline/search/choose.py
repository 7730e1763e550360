"""One configuration of those that are stored, by limits and what is to be least; and why that one.

In: the document of a study (``sweep.json``). Out: a :class:`Choice`. Limits are on the validation
split; the test split plays no part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError
from pipeline.sweep.results import unwritable, write_whole

Row = dict[str, Any]

COSTS = {
    "executed_synops": "executed_synops_per_sample", "synops": "executed_synops_per_sample",
    "effective_synops": "effective_synops_per_sample", "memory": "memory_bits",
    "memory_bits": "memory_bits", "cores": "n_cores",
}


@dataclass(frozen=True)
class Limits:
    """What a configuration must keep to; None does not bind."""

    max_loss_points: float | None = None
    max_cores: int | None = None
    max_memory_bits: int | None = None

    def excesses(self, row: Row, dense_frac: float) -> dict[str, tuple[float, float, float]]:
        """Return by limit that a row breaks: its value, the limit, the excess as a share of it."""
        values = {
            "loss of accuracy in points":
                (100 * (dense_frac - row["accuracy_frac"]), self.max_loss_points),
            "cores": (row["n_cores"], self.max_cores),
            "memory in bits": (row["memory_bits"], self.max_memory_bits),
        }
        # accuracies are shares of some hundred samples: less than a thousandth is rounding
        return {what: (value, limit, (value - limit) / max(limit, 1.0))
                for what, (value, limit) in values.items()
                if limit is not None and value > limit + 1e-9}


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes
    ----------
    column : what was least
    runner_up : the next of those within the limits, if any
    cheaper : the cheapest row beyond each limit alone, with by how much it exceeds it
    """

    row: Row
    column: str
    n_eligible: int
    n_rows: int
    runner_up: Row | None
    cheaper: dict[str, tuple[Row, float, float]]


def choose(document: Row, limits: Limits, least: str, target: str | None = None) -> Choice:
    """Return the row of least cost within the limits; of equals the more accurate one.

    Raises
    ------
    RecipeError
        If there is nothing to choose from, no such cost, or nothing within the limits; names the
        nearest miss.
    """
    rows = [r for r in document["trials"] if r["status"] == "fits"
            and target in (None, r["target"])]
    targets = sorted({r["target"] for r in rows})
    if not rows:
        raise RecipeError(
            f"nothing to choose from: {document['n_trials']} configurations, none fits"
            + (f" target '{target}'" if target else "")
            + "; lower the levels, or take a larger target")
    if len(targets) > 1:
        raise RecipeError(f"the study has {len(targets)} targets, {', '.join(targets)}, whose "
                          "costs do not compare; say which, --target")
    column = _column(rows, least)
    dense = document["accuracy_dense_frac"]
    if dense is None:
        raise RecipeError("nothing to compare with: the study was interrupted before the network "
                          "as trained was measured; run it again to continue")
    broken = {row["key"]: limits.excesses(row, dense) for row in rows}
    eligible = sorted((r for r in rows if not broken[r["key"]]), key=_order(column))
    if not eligible:
        raise RecipeError(_nearest_miss(rows, broken))
    cheaper: dict[str, tuple[Row, float, float]] = {}
    for row in sorted(rows, key=_order(column)):
        excess = broken[row["key"]]
        if len(excess) == 1 and row[column] < eligible[0][column]:
            what, (value, limit, _) = next(iter(excess.items()))
            cheaper.setdefault(what, (row, value, limit))
    others = [r for r in eligible[1:] if r["recipe"] != eligible[0]["recipe"]]
    return Choice(eligible[0], column, len(eligible), len(rows), others[0] if others else None,
                  cheaper)


def load_study(folder: Path) -> Row:
    """Return the document of a study folder.

    Raises
    ------
    RecipeError
        If there is none.
    """
    found = [path for kind in ("search", "sweep") if (path := folder / f"{kind}.json").is_file()]
    # a folder may have had both: what was written last
    path = max(found, key=lambda p: p.stat().st_mtime_ns, default=folder / "sweep.json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"{path}: is not the result of a sweep or a search ({error}); run make sweep or make "
            "search first, and name its folder") from None
    if not isinstance(document, dict) or "trials" not in document:
        raise RecipeError(f"{path}: is not the result of a sweep or a search")
    return document


def explain(document: Row, choice: Choice) -> list[str]:
    """Return why, line by line."""
    row, column, dense = choice.row, choice.column, document["accuracy_dense_frac"]
    n = row["n_validation_samples"]
    error = math.sqrt(max(row["accuracy_frac"] * (1 - row["accuracy_frac"]), 1 / n) / n)
    lines = [
        f"chosen    {label_of(row)}",
        f"accuracy  {row['accuracy_frac']:.1%} on {n} validation samples, {dense:.1%} as trained"
        + (f" (within one standard error, {100 * error:.1f} points)"
           if abs(dense - row["accuracy_frac"]) <= error else ""),
        f"costs     {row[column]:,.0f} {_words(column)}; {row['n_cores']} cores, "
        f"{row['memory_bits']:,} bits, {row['executed_synops_per_sample']:,.0f} executed synops",
        f"of        {choice.n_eligible} within the limits, {choice.n_rows} that fit",
    ]
    if choice.runner_up is not None:
        other = choice.runner_up
        lines.append(f"next      {label_of(other)}: {other[column]:,.0f}, "
                     f"{other['accuracy_frac']:.1%}")
    for what, (other, value, limit) in choice.cheaper.items():
        lines.append(f"excluded  {other[column]:,.0f} for a {what} of {value:.4g} (limit "
                     f"{limit:.4g}): {label_of(other)}")
    return lines


def write_chosen(folder: Path, row: Row) -> Path:
    """Write the recipe of a row as ``recipes/chosen.yaml`` and return its path.

    Raises
    ------
    RecipeError, OutputError
        If the recipe cannot be read, or the folder not be written.
    """
    try:
        text = (folder / row["recipe"]).read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{folder / row['recipe']}: the recipe of the chosen configuration "
                          f"cannot be read ({error.strerror}); run the study again") from None
    path = folder / "recipes" / "chosen.yaml"
    try:
        write_whole(path, text)
    except OSError as error:
        raise unwritable(folder, error) from None
    return path


def label_of(row: Mapping[str, Any]) -> str:
    """Return a row's levels in words."""
    names = list(row)
    axes = names[names.index("recipe") + 1 : names.index("target")]
    return ", ".join(f"{name} {row[name]}" for name in axes if row[name] not in (None, ""))


def _column(rows: list[Row], least: str) -> str:
    priced = sorted({name for r in rows for name in r if name.startswith("energy_")
                     and name.endswith("_pj_per_sample") and r[name] is not None
                     and not name.endswith(("_low_pj_per_sample", "_high_pj_per_sample"))})
    if least == "energy":
        if not priced:
            raise RecipeError("--min energy: the target has no prices; take executed_synops")
        return priced[0]
    named = [name for name in priced if name == f"energy_{least}_pj_per_sample"]
    if least not in COSTS and not named:
        raise RecipeError(
            f"--min: '{least}' is none of {', '.join(COSTS)}, energy, or a price set of the "
            "target")
    return named[0] if named else COSTS[least]


def _order(column: str) -> Any:
    return lambda row: (row[column], -row["accuracy_frac"], row["key"])


def _nearest_miss(rows: list[Row], broken: dict[str, dict[str, tuple[float, float, float]]]) -> str:
    nearest = min(rows, key=lambda r: (sum(x for _, _, x in broken[r["key"]].values()), r["key"]))
    excess = "; ".join(f"{what} {value:.6g}, limit {limit:.6g}"
                       for what, (value, limit, _) in broken[nearest["key"]].items())
    return (f"none of {len(rows)} configurations keeps to the limits; the nearest miss is "
            f"{label_of(nearest)}: {excess}; widen that limit, or give the study more levels")


def _words(column: str) -> str:
    return column.replace("_per_sample", " a sample").replace("_", " ")


