"""Geometry of the page's figures, in percent of the width, so that they fit any screen.

In: the document. Out: rows of plain numbers and labels; the template draws them as SVG.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.report.units import exact, human_count, percent

_PITCH_PX = 12  # of one gauge and the gap below it


@dataclass(frozen=True)
class Bar:
    """Executed synops of a layer, and the effective ones among them; widths in percent."""

    label: str
    caption: str
    executed: float
    effective: float


@dataclass(frozen=True)
class Gauge:
    """Memory of one core, in percent of its limit, and its place from the top in pixels."""

    title: str
    top: int
    used: float


@dataclass(frozen=True)
class GaugeGroup:
    """The cores of one layer."""

    label: str
    caption: str
    height: int
    gauges: tuple[Gauge, ...]


def synops_bars(document: dict[str, Any]) -> tuple[Bar, ...]:
    """Return one bar per layer; the longest is as wide as the figure."""
    layers = document["layers"]
    widest = max((layer["executed_synops_per_sample"] for layer in layers), default=0) or 1
    return tuple(
        Bar(
            layer["name"],
            f"{human_count(layer['effective_synops_per_sample'])} effective of "
            f"{human_count(layer['executed_synops_per_sample'])} executed"
            f" ({percent(layer['effective_share_of_executed_frac'])})",
            100 * layer["executed_synops_per_sample"] / widest,
            100 * layer["effective_synops_per_sample"] / widest,
        )
        for layer in layers
    )


def memory_gauges(document: dict[str, Any]) -> tuple[GaugeGroup, ...]:
    """Return one group per layer, one gauge per core; the limit is as wide as the figure."""
    groups = []
    for layer in document["layers"]:
        cores = [core for core in document["cores"] if core["layer"] == layer["name"]]
        fullest = max(core["synapse_memory_used_frac"] for core in cores)
        gauges = tuple(
            Gauge(
                f"core {core['index']}: {exact(core['synapse_memory_bits'])} of "
                f"{exact(core['synapse_memory_limit_bits'])} bits, "
                f"{percent(core['synapse_memory_used_frac'])}",
                i * _PITCH_PX, 100 * core["synapse_memory_used_frac"],
            )
            for i, core in enumerate(cores)
        )
        noun = "1 core," if len(cores) == 1 else f"{len(cores)} cores, the fullest"
        groups.append(
            GaugeGroup(layer["name"], f"{noun} {percent(fullest)} full", len(cores) * _PITCH_PX,
                       gauges))
    return tuple(groups)
