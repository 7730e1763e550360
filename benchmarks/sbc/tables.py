"""The tables of the benchmark as markdown, from results alone; nothing is computed again."""

from __future__ import annotations

import os
import platform
from collections import Counter
from datetime import date
from typing import Any

import numpy as np
from plan import MODELS, TABLES, Cell, Measurement
from reach import goals
from scipy.stats import spearmanr
from summary import Result, Summary, markdown

_TITLES = {
    "pruning": "Pruning, at SLAYER's 8 bits: accuracy in % by sparsity",
    "quantization": "Quantization of all weights: accuracy in % by precision",
    "joint": "Pruning and quantization together: accuracy in %",
    "calibration": "Calibration: accuracy in % at 95 % sparsity by number of samples",
}
_WITH_SYNOPS = {
    "pruning": ("magnitude", "SBC", "SBC+"), "joint": ("magnitude, RTN +", "SBC", "SBC+"),
}


def document(
    results: list[tuple[Cell, Result | None]], code: str, measurement: Measurement,
    has_goals: bool = True,
) -> str:
    """Return the whole document; networks and tables without any result are left out.

    Parameters
    ----------
    has_goals : whether to hold the results against the goals of the issue
    """
    summary = Summary(results)
    parts = [_setting(summary, code, measurement)]
    for model in MODELS:
        if summary.dense(model) is None:
            continue
        parts.append(f"## {model}: dense {summary.dense(model):.1f} %")
        for table in TABLES:
            if any((c.model, c.table) == (model, table) for c, _ in summary.found):
                parts += _accuracies(summary, model, table, has_goals)
        parts += _losses(summary, model)
        for table, methods in _WITH_SYNOPS.items():
            parts += _synops(summary, model, table, methods)
        parts += _seconds(summary, model)
        parts += _algorithms(summary, model)
    parts += _refused(summary)
    return "\n\n".join(parts) + "\n"


def _setting(summary: Summary, code: str, measurement: Measurement) -> str:
    seeds = sorted({cell.seed for cell in summary.cells})
    origins = sorted({result["origin"] for _, result in summary.found})
    lines = [
        "# SBC against its baselines",
        f"{len(summary.found)} of {len(summary.cells)} entries; made by `make bench-sbc`.",
        f"* data: {'; '.join(origins) or 'none yet'}\n"
        f"* accuracy on {measurement.n_test} test digits, losses and synops on the first "
        f"{measurement.n_traced}; nothing was chosen on them\n"
        f"* mean ± sd (ddof 1) over calibration seeds {', '.join(map(str, seeds))}; each draws "
        "its samples from the whole calibration split, 100 unless varied\n"
        "* \"+\": with the defaults of the recipe, or those of them that apply; without: as "
        "published (no threshold matching, uniform importance)\n"
        f"* {os.cpu_count()} CPUs ({platform.machine()}), one thread per process, Python "
        f"{platform.python_version()}, {date.today().isoformat()}, code {code[:12]}",
    ]
    return "\n\n".join(lines)


def _accuracies(summary: Summary, model: str, table: str, has_goals: bool) -> list[str]:
    columns = summary.columns(model, table)
    rows = [
        [method, *(summary.entry(model, table, method, column, lambda r: 100 * r["accuracy"])
                   for column in columns)]
        for method in summary.methods(model, table)
    ]
    parts = [f"### {model}: {_TITLES[table]}", markdown(["", *columns], rows)]
    if table == "calibration":
        parts.append("500 samples are the whole split, the same for every seed: one run.")
    return [*parts, "\n".join(goals(summary, model, table))] if has_goals else parts


def _losses(summary: Summary, model: str) -> list[str]:
    """Return predicted and executed loss of every layer over the pruning table of SBC."""
    columns = summary.columns(model, "pruning")
    pairs: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for column in columns:
        for result in summary.of(model, "pruning", "SBC", column):
            for layer in result["layers"]:
                predicted = layer["pruning_loss"] + layer["quantization_loss"]
                pairs.setdefault(layer["layer"], {}).setdefault(column, []).append(
                    (predicted, layer["executed_loss"]))
    rows = []
    for name, by_column in pairs.items():
        means = []
        for column in columns:
            of_seeds = np.array(by_column.get(column, [])).reshape(-1, 2)
            means.append(" / ".join(f"{x:.3g}" for x in of_seeds.mean(axis=0))
                         if len(of_seeds) else "–")
        points = np.array([pair for found in by_column.values() for pair in found])
        rows.append([name, *means, _rank_correlation(points)])
    if not rows:
        return []
    return [
        f"### {model}: predicted / executed loss of each layer, SBC by sparsity",
        markdown(["layer", *columns, "Spearman ρ"], rows),
        "Predicted: the quadratic loss of pruning plus that of quantization, squared potential per "
        "sample. Executed: the squared van Rossum distance of the layer's output spikes, dense "
        "against compressed with its final threshold, both receiving the dense input. ρ is over "
        "all sparsities and seeds of a layer.",
    ]


def _rank_correlation(points: np.ndarray[Any, Any]) -> str:
    if len(points) < 3 or (np.ptp(points, axis=0) == 0).any():
        return "–"
    return f"{spearmanr(points[:, 0], points[:, 1]).statistic:.3f} (n = {len(points)})"


def _synops(summary: Summary, model: str, table: str, methods: tuple[str, ...]) -> list[str]:
    dense = next(r["dense_synops"] for c, r in summary.found if c.model == model)
    rows = []
    for column in summary.columns(model, table):
        for method in methods:
            place = (model, table, method, column)
            if summary.of(*place):
                rows.append([
                    f"{column}, {method}",
                    summary.entry(*place, lambda r: 100 * r["accuracy"]),
                    summary.entry(*place, lambda r: r["synops"]["effective"], 0),
                    summary.entry(*place, lambda r: r["synops"]["executed"], 0),
                    summary.entry(*place, lambda r: r["synops"]["n_cores"], 1),
                ])
    if not rows:
        return []
    head = ["", "accuracy %", "effective synops", "executed synops", "cores"]
    of_dense = [_number(dense[kind]) for kind in ("effective", "executed", "n_cores")]
    first = ["dense", f"{summary.dense(model):.1f}", *of_dense]
    notes = sorted({
        f"* {where}: {synops['reason'].splitlines()[0]}"
        for where, synops in [("dense", dense), *(
            (f"{c.column}, {c.method}", r["synops"]) for c, r in summary.found
            if (c.model, c.table) == (model, table) and "error" not in r)]
        if synops["effective"] is None
    })
    return [f"### {model}: synops per sample, {table}", markdown(head, [first, *rows]),
            *(["\n".join(notes)] if notes else [])]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _seconds(summary: Summary, model: str) -> list[str]:
    parts = []
    for table in ("pruning", "quantization"):
        columns = summary.columns(model, table)
        rows = [
            [method, *(summary.entry(model, table, method, column, lambda r: r["compress_s"])
                       for column in columns)]
            for method in summary.methods(model, table)
            if any(summary.of(model, table, method, column) for column in columns)
        ]
        if rows:
            parts += [f"### {model}: seconds to compress, {table}", markdown(["", *columns], rows)]
    if parts:
        parts.append(
            "Calibration and threshold matching not counted; work that a cell took over from the "
            "bank is counted as if it had done it, but for the factors that grids of one mask "
            "share.")
    return parts


def _algorithms(summary: Summary, model: str) -> list[str]:
    """Return what `auto` took: per layer the algorithm, and its loss over that of greedy OBS."""
    columns = summary.columns(model, "pruning")
    rows = []
    for method in ("SBC", "SBC+"):
        found: dict[str, dict[str, list[Result]]] = {}
        for column in columns:
            for result in summary.of(model, "pruning", method, column):
                for layer in result["layers"]:
                    found.setdefault(layer["layer"], {}).setdefault(column, []).append(layer)
        rows += [[f"{method} {name}", *(_taken(by_column.get(c, [])) for c in columns)]
                 for name, by_column in found.items()]
    if not rows:
        return []
    return [
        f"### {model}: what `pruning: auto` took, and its loss over that of greedy OBS",
        markdown(["", *columns], rows),
    ]


def _taken(layers: list[Result]) -> str:
    if not layers:
        return "–"
    names = Counter(layer["algorithm"] for layer in layers)
    ratios = [r for r in (layer["relative_loss"] for layer in layers) if r is not None]
    text = ", ".join(n if len(names) == 1 else f"{n} ({count})" for n, count in names.items())
    return f"{text} {np.mean(ratios):.3f}" if ratios else text


def _refused(summary: Summary) -> list[str]:
    lines = [f"* {cell.title}: {result['error'].splitlines()[0]}"
             for cell, result in summary.found if "error" in result]
    return ["## Refused configurations", "\n".join(lines)] if lines else []
