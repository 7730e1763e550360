"""Geometry of the page's figures, in percent of the width, so that they fit any screen.

In: the document. Out: rows of plain numbers and labels; the template draws them as SVG.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.report.units import human_count, human_energy, percent

# label, and how the names of its events begin
ENERGY_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("synops", ("synop",)),
    ("active neuron updates", ("neuron_update_active",)),
    ("idle neuron updates", ("neuron_update_idle",)),
    ("spikes and messages", ("spike", "message", "within_tile")),
    ("hops", ("hop",)),
    ("barrier and other", ("",)),
)


@dataclass(frozen=True)
class Bar:
    """Executed synops of a layer, and the effective ones among them; widths in percent."""

    label: str
    caption: str
    executed: float
    effective: float


@dataclass(frozen=True)
class Segment:
    """A kind of event in an energy bar: where it begins and how wide it is, in percent."""

    kind: int
    title: str
    begin: float
    width: float


@dataclass(frozen=True)
class EnergyBar:
    """The priced energy of one set by kinds of events."""

    label: str
    caption: str
    segments: tuple[Segment, ...]


def energy_bars(document: dict[str, Any]) -> tuple[EnergyBar, ...]:
    """Return one bar per price set that prices anything; the longest is as wide as the figure."""
    energy = document["energy"]
    sets = [prices for prices in energy["price_sets"] if prices["is_priced"]]
    widest = max((prices["total_pj_per_sample"] for prices in sets), default=0) or 1
    bars = []
    for prices in sets:
        sums = [0.0] * len(ENERGY_KINDS)
        for row in energy["events"]:
            sums[_kind(row["event"])] += (
                row["price_sets"][prices["name"]]["energy_pj_per_sample"] or 0)
        segments, begin = [], 0.0
        for kind, pj in enumerate(sums):
            if pj:
                width = 100 * pj / widest
                title = (f"{ENERGY_KINDS[kind][0]}: {human_energy(pj)}, "
                         f"{percent(pj / prices['total_pj_per_sample'])}")
                segments.append(Segment(kind, title, begin, width))
                begin += width
        bars.append(EnergyBar(
            prices["name"], human_energy(prices["total_pj_per_sample"])
            + ("" if prices["is_complete"] else ", incomplete"), tuple(segments)))
    return tuple(bars)


def energy_kinds(document: dict[str, Any]) -> tuple[tuple[int, str], ...]:
    """Return number and label of the kinds of events that the energy bars show."""
    shown = {segment.kind for bar in energy_bars(document) for segment in bar.segments}
    return tuple((kind, ENERGY_KINDS[kind][0]) for kind in sorted(shown))


def _kind(event: str) -> int:
    for kind, (_, prefixes) in enumerate(ENERGY_KINDS):
        if event.startswith(prefixes):
            return kind
    return len(ENERGY_KINDS) - 1


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
