"""Geometry of the page's figures; the template draws them as SVG.

In: the document. Out: plain numbers, points and labels in the unit of each drawing. A point carries
the key of its row, so that it links to what made it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.report.units import exact, human_bytes, human_count, human_energy, percent

Row = dict[str, Any]

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 10, 34
_LOG_FROM = 20.0  # a wider range is drawn by its logarithm


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """A point; ``key`` of its row, "" if it has none."""

    x: float
    y: float
    key: str
    title: str
    is_front: bool = False


@dataclass(frozen=True)
class Line:
    """A line through points; ``style`` is a number from 0."""

    label: str
    points: tuple[Point, ...]
    style: int

    @property
    def path(self) -> str:
        """The points of an SVG polyline."""
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)


@dataclass(frozen=True)
class Plot:
    """A drawing with two axes.

    Attributes
    ----------
    front, uniform : points of the polylines that step along the front, and, of a search, along
        that of the uniform grid
    dense_y : height of the accuracy as trained; None where it is outside or unknown
    """

    title: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Point, ...] = ()
    front: str = ""
    uniform: str = ""
    lines: tuple[Line, ...] = ()
    dense_y: float | None = None


@dataclass(frozen=True)
class Axis:
    """Values to places along a drawing."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high, value = (
            (math.log(v) for v in (self.low, self.high, value)) if self.is_log
            else (self.low, self.high, value))
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.begin + share * (self.end - self.begin), 1)

    def ticks(self, show: Callable[[float], str], n: int = 6) -> tuple[Tick, ...]:
        """Return round values within the axis."""
        if self.high == self.low:
            return (Tick(self(self.low), show(self.low)),)
        values = _decades(self.low, self.high) if self.is_log else _round(self.low, self.high, n)
        return tuple(Tick(self(value), show(value)) for value in values)


def front_plot(document: Row, front: Row) -> Plot:
    """Return the scatter of a target's trials over one cost, its front drawn as steps."""
    cost = front["cost"]
    rows = [r for r in document["trials"] if r["target"] == front["target"]
            and r["status"] == "fits" and r.get(cost) is not None]
    show = shown_as(cost)
    x = x_axis([row[cost] for row in rows])
    y = y_axis([row["accuracy_frac"] for row in rows], document["accuracy_dense_frac"])
    on_front = set(front["keys"])
    points = tuple(
        Point(x(row[cost]), y(row["accuracy_frac"]), row["key"],
              f"{percent(row['accuracy_frac'])}, {show(row[cost])}: {label_of(document, row)}",
              row["key"] in on_front)
        for row in rows)
    note = "" if front["is_complete"] else " (incomplete: priced events only)"
    return Plot(
        f"Accuracy against {front['title']}{note}", f"{front['title']} per sample"
        if "sample" in cost else front["title"], x.ticks(show), y.ticks(percent),
        tuple(sorted(points, key=lambda p: p.is_front)), _steps(points, front["keys"]),
        _steps(points, front["uniform_keys"]) if document["kind"] == "search" else "",
        dense_y=dense_line(document, y))


def _steps(points: tuple[Point, ...], keys: list[str]) -> str:
    """Return the points of a polyline that steps along a front."""
    steps: list[str] = []
    for point in sorted((p for p in points if p.key in keys), key=lambda p: (p.x, -p.y)):
        if steps:
            steps.append(f"{point.x},{steps[-1].split(',')[1]}")
        steps.append(f"{point.x},{point.y}")
    return " ".join(steps)


def x_axis(values: list[float], *, may_log: bool = True) -> Axis:
    """Return the axis below a drawing."""
    low, high = min(values), max(values)
    is_log = may_log and low > 0 and high / low > _LOG_FROM
    pad = 1.0 if is_log else 0.03 * (high - low)
    return Axis(low if is_log else low - pad, high if is_log else high + pad,
                _LEFT, WIDTH - _RIGHT, is_log)


def y_axis(accuracies: list[float], dense: float | None) -> Axis:
    """Return the axis beside a drawing: accuracies, and that of the network as trained."""
    values = accuracies + ([] if dense is None else [dense])
    low, high = min(values), max(values)
    pad = 0.05 * (high - low) or 0.01
    return Axis(max(0.0, low - pad), min(1.0, high + pad), HEIGHT - _BOTTOM, _TOP)


def dense_line(document: Row, y: Axis) -> float | None:
    """Return the height of the accuracy as trained."""
    dense = document["accuracy_dense_frac"]
    return None if dense is None else y(dense)


def label_of(document: Row, row: Row) -> str:
    """Return what tells a row from the others: axes with more than one value."""
    varied = [name for name, values in document["axes"].items() if len(values) > 1]
    # a search gives some rows one value for all layers, others one for each
    return ", ".join(f"{name.replace('_', ' ')} {row[name]}" for name in varied
                     if name in row) or "the only one"


def shown_as(cost: str) -> Callable[[float], str]:
    """Return how a cost is written."""
    if cost.startswith("energy_"):
        return human_energy
    if cost == "memory_bits":
        return lambda bits: human_bytes(bits / 8)
    return exact if cost == "n_cores" else human_count


def _round(low: float, high: float, n: int) -> list[float]:
    """Return about ``n`` round values from low to high."""
    rough = (high - low) / n
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= rough)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return powers of ten within a range, with their halves where they are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    inside = [v for v in values if low <= v <= high]
    return inside if len(inside) <= 7 else [v for v in inside if math.log10(v) % 1 < 1e-9]
