"""The figure of the footprint: small multiples as plain SVG, which needs nothing to be shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from grid import BITS, MODELS, SPARSITY, TARGETS, Point
from writing import energy_pj

# Okabe and Ito's blue, vermilion and green: told apart by color-blind eyes, and by lightness
COLORS = dict(zip(BITS, ("#0072b2", "#d55e00", "#009e73"), strict=True))
_FORMAT_MARKS = {
    "dense": "M-4-4h8v8h-8z", "sparse": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "run-length": "M0-5.5l5.5 5.5-5.5 5.5-5.5-5.5z", "conv": "M0-5.5l5 9h-10z",
}
_DOT = "M-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z"
_DASHES = {"best": "", "lists": ' stroke-dasharray="7 3"', "dense": ' stroke-dasharray="2 3"'}
_WORDS = {"best": "best format", "lists": "best, no shared kernels", "dense": "dense only"}
_LEFT, _TOP, _WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 74, 134, 210, 140, 30, 34


@dataclass(frozen=True)
class Measure:
    """A row of panels: how it is named, where a point is, how a tick reads."""

    title: str
    value: Callable[[Point], float | None]
    show: Callable[[float], str]
    has_marks: bool = False


def _memory(point: Point) -> float | None:
    bits = point.trial.memory_bits
    return None if bits is None else bits / 8192


MEASURES = (
    Measure("synapse memory, KiB", _memory, lambda v: f"{v:,g}", has_marks=True),
    Measure("cores", lambda p: p.trial.n_cores, lambda v: f"{v:,g}"),
    Measure("executed synops a sample", lambda p: p.trial.executed_synops,
            lambda v: f"{v / 1e6:g} M" if v >= 1e6 else f"{v / 1e3:g} k"),
    Measure("energy a sample, µJ (davies2018, lower reading, incomplete)",
            lambda p: (energy_pj(p) or (None,))[0], lambda v: f"{v / 1e6:g}"),
)


def figure(points: list[Point]) -> str:
    """Return the figure as an SVG document."""
    columns = [(m, t) for m in MODELS for t in TARGETS if any(p.at[:2] == (m, t) for p in points)]
    width = _LEFT + len(columns) * (_WIDTH + _GAP_X)
    height = _TOP + len(MEASURES) * (_HEIGHT + _GAP_Y) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" role="img" '
        'aria-labelledby="t"><title id="t">Memory, cores, executed synops and energy over sparsity'
        ', by bits and by synapse format</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        "<defs>" + "".join(f'<path id="{name}" d="{mark}"/>' for name, mark in (
            *_FORMAT_MARKS.items(), ("dot", _DOT))) + "</defs>", *_legend()]
    for row, measure in enumerate(MEASURES):
        values = [v for p in points if (v := measure.value(p))]
        if not values:
            continue
        y = _Log(min(values), max(values), _TOP + row * (_HEIGHT + _GAP_Y))
        parts.append(f'<text x="{_LEFT}" y="{y.top - 10}" font-weight="600">'
                     f'{escape(measure.title)}</text>')
        for column, at in enumerate(columns):
            left = _LEFT + column * (_WIDTH + _GAP_X)
            if not row:
                parts.append(f'<text x="{left + _WIDTH / 2}" y="{_TOP - 32}" font-size="14" '
                             f'text-anchor="middle" font-weight="600">{at[0]}, {at[1]}</text>')
            own = [p for p in points if p.at[:2] == at]
            parts += _panel(measure, own, left, y, is_first=not column,
                            is_last=row == len(MEASURES) - 1)
    parts.append(f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle" fill="#444">share '
                 'of weights that the recipe asks to be zero</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Log:
    """A logarithmic axis from bottom to top, with ticks at 1, 2 and 5 or at tens."""

    def __init__(self, low: float, high: float, top: float) -> None:
        self.top, self._low, self._high = top, low / 1.15, high * 1.15

    def __call__(self, value: float) -> float:
        share = math.log(value / self._low) / math.log(self._high / self._low)
        return round(self.top + _HEIGHT * (1 - share), 1)

    def ticks(self) -> list[float]:
        tens = range(math.floor(math.log10(self._low)), math.ceil(math.log10(self._high)) + 1)
        steps = (1, 2, 5) if self._high / self._low < 50 else (1,)
        found = [m * 10.0**e for e in tens for m in steps]
        return [tick for tick in found if self._low <= tick <= self._high]


def _x(left: float, sparsity: float) -> float:
    # by the order of the grid: from 90 % on, sparsities would lie on one another
    return round(left + 14 + (_WIDTH - 28) * SPARSITY.index(sparsity) / (len(SPARSITY) - 1), 1)


def _panel(
    measure: Measure, points: list[Point], left: float, y: _Log, *, is_first: bool, is_last: bool
) -> list[str]:
    parts = [f'<rect x="{left}" y="{y.top}" width="{_WIDTH}" height="{_HEIGHT}" fill="#fafafa" '
             'stroke="#c8c8c8"/>']
    for tick in y.ticks():
        parts.append(f'<path d="M{left} {y(tick)}h{_WIDTH}" stroke="#e2e2e2"/>')
        if is_first:
            parts.append(f'<text x="{left - 6}" y="{y(tick) + 4}" text-anchor="end" '
                         f'fill="#444">{measure.show(tick)}</text>')
    if is_last:
        parts += [f'<text x="{_x(left, s)}" y="{y.top + _HEIGHT + 16}" text-anchor="middle" '
                  f'fill="#444">{100 * s:g} %</text>' for s in SPARSITY]
    for bits in BITS:
        for stored in ("dense", "lists", "best"):
            own = sorted((p for p in points if p.at[3] == bits and p.stored == stored),
                         key=lambda p: p.at[2])
            if stored != "lists" or _has_lists(own):
                parts += _line(measure, own, left, y, bits, stored)
    if not any(measure.value(p) for p in points):
        parts.append(f'<text x="{left + _WIDTH / 2}" y="{y.top + _HEIGHT / 2}" fill="#595959" '
                     'text-anchor="middle">no energy is published</text>')
    return parts


def _has_lists(points: list[Point]) -> bool:
    """Whether lists are anything but best (no kernel there) or dense (no list there)."""
    return all(p.at[:2] == ("nmnist_cnn", "loihi1") for p in points)


def _line(
    measure: Measure, points: list[Point], left: float, y: _Log, bits: int, stored: str
) -> list[str]:
    known = [(p, v) for p in points if (v := measure.value(p))]
    if not known:
        return []
    color = COLORS[bits]
    path = " ".join(f"{_x(left, p.at[2])},{y(v)}" for p, v in known)
    parts = [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.75"'
             f'{_DASHES[stored]}/>']
    for point, value in known:
        mark = point.formats.split(",")[0] if measure.has_marks and stored == "best" else "dot"
        parts.append(f'<use href="#{mark}" x="{_x(left, point.at[2])}" y="{y(value)}" '
                     f'fill="{color}"/>')
    return parts


def _legend() -> list[str]:
    parts = ['<text x="16" y="24" font-size="16" font-weight="600">What sparsity and bits save, '
             'and what the choice of format saves</text>']
    x = 16
    for bits, color in COLORS.items():
        parts.append(f'<path d="M{x} 44h24" stroke="{color}" stroke-width="3"/>'
                     f'<text x="{x + 30}" y="48">{bits} bits</text>')
        x += 88
    for stored, words in _WORDS.items():
        parts.append(f'<path d="M{x} 44h32" stroke="#333" stroke-width="1.75"{_DASHES[stored]}/>'
                     f'<text x="{x + 38}" y="48">{words}</text>')
        x += 66 + 6 * len(words)
    x = 16
    parts.append(f'<text x="{x}" y="70">most memory in format:</text>')
    x += 156
    for name in _FORMAT_MARKS:
        parts.append(f'<use href="#{name}" x="{x}" y="66" fill="#333"/>'
                     f'<text x="{x + 12}" y="70">{name}</text>')
        x += 100
    return parts
