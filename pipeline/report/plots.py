"""Curves and rasters of the page, as SVG paths in units of steps, so that they fit any screen.

In: the document. Out: rows of paths and captions; the template draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pipeline.report.units import exact, human_count, significant

Row = dict[str, Any]

_ROW_PX, _LEAST_PX, _MOST_PX = 2, 56, 132  # of a raster's neuron, and of a whole raster


@dataclass(frozen=True)
class ActivityRow:
    """Raster and rates of a layer.

    Attributes
    ----------
    raster : path of one horizontal stroke per run of spikes, a unit per step and per neuron drawn
    n_steps, n_rows, height : of the raster: units, units, pixels
    rate, rate_dense : points of lines, x in bins and y from 100 (no spike) to 0 (``top_rate``)
    """

    label: str
    caption: str
    raster: str
    raster_title: str
    n_steps: int
    n_rows: int
    height: int
    rate: str
    rate_dense: str
    rate_title: str
    n_bins: int
    top_rate: str


@dataclass(frozen=True)
class RateBar:
    """Rates of one layer before and after, widths in percent of the largest."""

    label: str
    caption: str
    dense: float
    compressed: float


@dataclass(frozen=True)
class SynopsOverTime:
    """Synops of a layer in each step: points of lines, x in steps, y from 100 (none) to 0."""

    label: str
    caption: str
    executed: str
    effective: str
    n_steps: int
    top: str


def synops_over_time(document: Row) -> tuple[SynopsOverTime, ...]:
    """Return a plot per layer, each on its own scale; none where nothing was executed."""
    rows = []
    for layer in document["over_time"]["layers"]:
        executed = layer["executed_synops_per_sample"]
        effective, top = layer["effective_synops_per_sample"], max(executed, default=0)
        if top:
            peak = executed.index(top)
            rows.append(SynopsOverTime(
                layer["layer"], f"most in step {peak}, {human_count(top)} executed; "
                f"{human_count(sum(executed))} in all steps", _points(executed, top),
                _points(effective, top), max(len(executed) - 1, 1),
                f"{human_count(top)} at the top"))
    return tuple(rows)


def activity_rows(document: Row) -> tuple[ActivityRow, ...]:
    """Return the input and every layer, in network order."""
    activity = document["activity"]
    rates = {row["layer"]: row for row in (activity["input"], *activity["layers"])}
    return tuple(
        _activity_row(layer, rates[layer["layer"]], activity["raster"]["n_steps_shown"])
        for layer in activity["raster"]["layers"]
    )


def rate_bars(document: Row) -> tuple[RateBar, ...]:
    """Return the rate of every layer as trained and compressed, on the same samples."""
    layers = document["activity"]["layers"]
    most = max((max(r["rate_per_step"], r["rate_per_step_dense"]) for r in layers), default=0) or 1
    return tuple(
        RateBar(
            r["layer"],
            f"{significant(r['rate_per_step_dense'])} → {significant(r['rate_per_step'])} spikes "
            f"per neuron and step; {human_count(r['spikes_per_sample_dense'])} → "
            f"{human_count(r['spikes_per_sample'])} per sample",
            100 * r["rate_per_step_dense"] / most, 100 * r["rate_per_step"] / most,
        )
        for r in layers
    )


def _activity_row(raster: Row, rates: Row, n_steps: int) -> ActivityRow:
    after = rates["rate_over_time_per_step"]
    before = rates.get("rate_over_time_per_step_dense", [])
    top = max((*after, *before), default=0) or 1
    name, n_rows = raster["layer"], max(1, len(raster["neurons"]))
    some = "" if raster["every"] == 1 else f", every {_ordinal(raster['every'])} of them drawn"
    shares = f"; as trained {significant(max(before))}" if before else ""
    return ActivityRow(
        name, f"{exact(raster['n_spiking'])} of {exact(raster['n_neurons'])} neurons spiked{some}",
        "".join(_runs(y, steps) for y, steps in enumerate(raster["spike_steps"])),
        f"Spikes of {name}: {exact(sum(map(len, raster['spike_steps'])))} in {n_steps} steps of "
        f"{exact(len(raster['neurons']))} neurons",
        n_steps, n_rows, min(max(_ROW_PX * n_rows, _LEAST_PX), _MOST_PX),
        _points(after, top), _points(before, top),
        f"Rate of {name} over time, highest {significant(max(after))} spikes per neuron and step"
        + shares,
        max(len(after) - 1, 1), f"{significant(top)} at the top",
    )


def _runs(y: int, steps: list[int]) -> str:
    """Return the strokes of one neuron; consecutive steps are one."""
    path = []
    for _, group in groupby(enumerate(steps), lambda pair: pair[1] - pair[0]):
        run = [step for _, step in group]
        path.append(f"M{run[0]} {y}h{len(run)}")
    return "".join(path)


def _points(rates: list[float], top: float) -> str:
    values = rates * 2 if len(rates) == 1 else rates  # one step is a line too
    return " ".join(f"{x},{100 - 100 * rate / top:.3g}" for x, rate in enumerate(values))


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{exact(n)}{ending}"
