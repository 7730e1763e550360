"""The other figures of the page: heat maps, sensitivity, calibration size.

In: the document. Out: rows of cells, and plots of :mod:`pipeline.sweep.figures`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.report.colors import ink_on, ramp_color
from pipeline.report.units import exact, percent
from pipeline.sweep.figures import (
    Line,
    Plot,
    Point,
    Tick,
    dense_line,
    label_of,
    x_axis,
    y_axis,
)

Row = dict[str, Any]

_MOST_LINES, _GRAY = 8, 6  # styles of lines, and the one without color


@dataclass(frozen=True)
class HeatCell:
    """Accuracy at a sparsity and a number of bits; ``key`` of its row, "" where there is none."""

    text: str
    fill: str
    ink: str
    key: str
    title: str


@dataclass(frozen=True)
class HeatMap:
    """Accuracies over sparsity (across) and bits (down), everything else equal."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


def heat_maps(document: Row) -> tuple[HeatMap, ...]:
    """Return one map for each combination of the other axes; none if both axes have one value."""
    axes = document["axes"]
    if len(axes.get("sparsity", ())) * len(axes.get("bits", ())) < 2:
        return ()
    # accuracy does not depend on the target
    rows = [r for r in document["trials"]
            if r["target"] == axes["target"][0] and "sparsity" in r]
    others = [n for n in axes if n not in ("sparsity", "bits", "target") and len(axes[n]) > 1
              and all(n in r for r in rows)]
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in others), []).append(row)
    known = [r["accuracy_frac"] for r in rows if r["accuracy_frac"] is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    return tuple(
        HeatMap(
            ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in zip(others, at, strict=True)),
            tuple(percent(s) for s in axes["sparsity"]),
            tuple((str(bits), tuple(
                _heat_cell([r for r in own if r["bits"] == bits and r["sparsity"] == s], low, high)
                for s in axes["sparsity"])) for bits in axes["bits"]))
        for at, own in found.items())


def sensitivity_plots(document: Row) -> tuple[Plot, ...]:
    """Return accuracy over each layer's own sparsity, and over its bits, a line per layer."""
    plots = []
    for axis, field, label in (
            ("sparsity", "sparsity_frac", "share of the layer's weights that are zero"),
            ("bits", "weight_bits", "bits of the layer's weights")):
        rows = [r for r in document["sensitivity"]
                if r["axis"] == axis and r["accuracy_frac"] is not None]
        if len({r["value"] for r in rows}) < 2:
            continue
        x = x_axis([r[field] for r in rows], may_log=False)
        y = y_axis([r["accuracy_frac"] for r in rows], document["accuracy_dense_frac"])
        lines = []
        for style, layer in enumerate(dict.fromkeys(r["layer"] for r in rows)):
            own = sorted((r for r in rows if r["layer"] == layer), key=lambda r: float(r[field]))
            lines.append(Line(layer, tuple(
                Point(x(r[field]), y(r["accuracy_frac"]), "",
                      f"{layer} alone at {axis} {r['value']}: {percent(r['accuracy_frac'])}")
                for r in own), style % _MOST_LINES))
        show = percent if axis == "sparsity" else exact
        ticks = x.ticks(show) if axis == "sparsity" else tuple(
            Tick(x(b), exact(b)) for b in sorted({r[field] for r in rows}))
        plots.append(Plot(f"Each layer alone, over {axis}", label, ticks, y.ticks(percent),
                          lines=tuple(lines), dense_y=dense_line(document, y)))
    return tuple(plots)


def calibration_plot(document: Row) -> Plot | None:
    """Return accuracy over calibration samples, a line per configuration; None of one size."""
    axes = document["axes"]
    if len(axes.get("n_calibration", ())) < 2:
        return None
    rows = [r for r in document["trials"] if r["accuracy_frac"] is not None
            and r["target"] == axes["target"][0]]
    if not rows:
        return None
    by_rest: dict[tuple[Any, ...], list[Row]] = {}
    rest = [name for name in axes if name not in ("n_calibration", "target")]
    for row in rows:
        by_rest.setdefault(tuple(row[name] for name in rest), []).append(row)
    # of more lines than colors, color tells nothing: each is named where one points at it
    is_crowded = len(by_rest) > _MOST_LINES
    x = x_axis([float(r["n_calibration"]) for r in rows])
    y = y_axis([r["accuracy_frac"] for r in rows], document["accuracy_dense_frac"])
    lines = tuple(
        Line("" if is_crowded else label_of({"axes": {n: axes[n] for n in rest}}, own[0]), tuple(
            Point(x(r["n_calibration"]), y(r["accuracy_frac"]), r["key"],
                  f"{r['n_calibration']} samples: {percent(r['accuracy_frac'])}; "
                  f"{label_of(document, r)}")
            for r in sorted(own, key=lambda r: int(r["n_calibration"]))),
            _GRAY if is_crowded else style)
        for style, own in enumerate(by_rest.values()))
    ticks = tuple(Tick(x(n), exact(n)) for n in sorted({r["n_calibration"] for r in rows}))
    return Plot("Accuracy over calibration samples", "calibration samples", ticks,
                y.ticks(percent), lines=lines, dense_y=dense_line(document, y))


def _heat_cell(rows: list[Row], low: float, high: float) -> HeatCell:
    if not rows:
        return HeatCell("", "none", "currentColor", "", "not in the grid, or not computed")
    row = rows[0]
    accuracy = row["accuracy_frac"]
    if accuracy is None:
        return HeatCell("failed", "none", "currentColor", row["key"], row["reason"])
    fill = ramp_color((accuracy - low) / (high - low) if high > low else 1.0)
    return HeatCell(f"{100 * accuracy:.1f}", fill, ink_on(fill), row["key"],
                    f"{percent(accuracy)} at sparsity {row['sparsity']}, {row['bits']} bits")
