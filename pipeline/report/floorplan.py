"""Where the cores lie: the mesh of tiles of every chip, drawn to scale in SVG units.

In: the document. Out: geometry and labels for the template, and the counters that cores can be
colored by, which the page's script takes as they are. The first counter is drawn without script.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import Any

from pipeline.report.colors import RAMP, ink_on, ramp_color
from pipeline.report.units import exact, percent

Row = dict[str, Any]

_CELL, _GAP, _RULER = 24, 6, 12  # of a core, between tiles, and for the tiles' numbers


@dataclass(frozen=True)
class Counter:
    """One value per core that a reader can color by; None where there is none.

    Attributes
    ----------
    unit : empty where the label says it
    """

    label: str
    unit: str
    values: tuple[float | None, ...]

    @property
    def name(self) -> str:
        """Label and unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @cached_property
    def largest(self) -> float:
        """Largest value over the cores; the ramp ends there and starts at 0."""
        return max((value for value in self.values if value is not None), default=0)


@dataclass(frozen=True)
class Cell:
    """One core in use: its place in SVG units and in rows and columns of cores."""

    index: int
    layer: int
    x: int
    y: int
    column: int
    row: int
    fill: str
    ink: str
    title: str


@dataclass(frozen=True)
class Chip:
    """One chip; ``free`` and ``borders`` are SVG paths, ``rulers`` (x, y, text)."""

    number: int
    width: int
    height: int
    tiles: tuple[tuple[int, int], ...]
    tile_size: tuple[int, int]
    free: str
    borders: str
    cells: tuple[Cell, ...]
    rulers: tuple[tuple[int, int, str], ...]


def counters(document: Row) -> tuple[Counter, ...]:
    """Return everything that cores can be colored by, memory first."""
    cores = document["cores"]

    def values(key: str) -> tuple[float | None, ...]:
        return tuple(core[key] for core in cores)

    found = [
        Counter("synapse memory", "bits", values("synapse_memory_bits")),
        Counter("neurons", "", values("n_neurons")),
        Counter("input axons", "", values("input_axons")),
        Counter("output axons", "", values("output_axons")),
    ]
    found += [
        Counter(key.removesuffix("_per_sample").replace("_", " "), "per sample", values(key))
        for key, total in document["energy"]["totals"].items() if total
    ]
    found += [
        Counter(f"energy by {prices['name']}", "pJ per sample", tuple(
            core["energy_pj_per_sample"][prices["name"]] for core in cores))
        for prices in document["energy"]["price_sets"] if prices["is_priced"]
    ]
    for key, label, unit in (("work_ns_per_step", "work", "ns per step, mean"),
                             ("slowest_of_steps_frac", "slowest core", "share of steps")):
        found += [
            Counter(f"{label} by {name}", unit, tuple(core[key][name] for core in cores))
            for name in cores[0][key] if cores[0][key][name] is not None
        ]
    return tuple(found)


def for_script(document: Row) -> Row:
    """Return what the page's script needs to recolor the cores and to tell their numbers."""
    return {
        "ramp": list(RAMP),
        "layers": [layer["name"] for layer in document["layers"]],
        "counters": [
            {"label": counter.label, "name": counter.name,
             "values": [None if v is None else float(f"{v:.9g}") for v in counter.values]}
            for counter in counters(document)
        ],
    }


def chips(document: Row) -> tuple[Chip, ...]:
    """Return the chips with every core in its place."""
    mesh = document["chips"]
    columns, per_tile = mesh["n_tile_columns"], mesh["n_cores_per_tile"]
    wide = ceil(sqrt(per_tile))
    tile = (wide * _CELL, ceil(per_tile / wide) * _CELL)
    tiles = tuple(
        (_RULER + x * (tile[0] + _GAP), _RULER + y * (tile[1] + _GAP))
        for y in range(mesh["n_tile_rows"]) for x in range(columns)
    )
    size = (tiles[-1][0] + tile[0] + 4, tiles[-1][1] + tile[1] + 4)
    rulers = tuple((x + tile[0] // 2, _RULER - 4, str(i)) for i, (x, _) in enumerate(
        tiles[:columns])) + tuple(
        (_RULER // 2 - 2, y + tile[1] // 2 + 3, str(i)) for i, (_, y) in enumerate(
            tiles[::columns]))
    by_chip = _cells(document, tiles, wide)
    slots = [
        (x + k % wide * _CELL, y + k // wide * _CELL) for x, y in tiles for k in range(per_tile)]
    drawn = []
    for number in range(mesh["n_chips"]):
        cells = tuple(by_chip[number])
        taken = {(cell.x, cell.y) for cell in cells}
        free = "".join(
            f"M{x + 2} {y + 2}h{_CELL - 4}v{_CELL - 4}h{4 - _CELL}z"
            for x, y in slots if (x, y) not in taken)
        drawn.append(Chip(number, *size, tiles, tile, free, _borders(cells), cells, rulers))
    return tuple(drawn)


def _cells(document: Row, tiles: tuple[tuple[int, int], ...], wide: int) -> dict[int, list[Cell]]:
    """Return the cells of every chip; cores of a tile fill it row by row, by index."""
    numbers = {layer["name"]: i for i, layer in enumerate(document["layers"])}
    columns, per_tile = document["chips"]["n_tile_columns"], document["chips"]["n_cores_per_tile"]
    tall = ceil(per_tile / wide)
    first = counters(document)[0]
    on_tile: dict[tuple[int, int, int], int] = defaultdict(int)
    cells: dict[int, list[Cell]] = defaultdict(list)
    for i, core in enumerate(document["cores"]):
        place = core["chip"], core["tile_x"], core["tile_y"]
        dy, dx = divmod(on_tile[place], wide)
        on_tile[place] += 1
        x, y = tiles[core["tile_y"] * columns + core["tile_x"]]
        fill = ramp_color((first.values[i] or 0) / (first.largest or 1))
        cells[core["chip"]].append(Cell(
            core["index"], numbers[core["layer"]], x + dx * _CELL, y + dy * _CELL,
            core["tile_x"] * wide + dx, core["tile_y"] * tall + dy, fill, ink_on(fill),
            f"core {core['index']}: {core['layer']}, {exact(core['n_neurons'])} neurons, "
            f"tile {core['tile_x']}, {core['tile_y']}, memory "
            f"{percent(core['synapse_memory_used_frac'])} full"))
    return cells


def _borders(cells: tuple[Cell, ...]) -> str:
    """Return the lines between cores of different layers, and around the outermost."""
    layer_at = {(cell.column, cell.row): cell.layer for cell in cells}
    lines = []
    for cell in cells:
        for dx, dy, line in (
            (0, -1, f"M{cell.x} {cell.y}h{_CELL}"), (0, 1, f"M{cell.x} {cell.y + _CELL}h{_CELL}"),
            (-1, 0, f"M{cell.x} {cell.y}v{_CELL}"), (1, 0, f"M{cell.x + _CELL} {cell.y}v{_CELL}"),
        ):
            if layer_at.get((cell.column + dx, cell.row + dy)) != cell.layer:
                lines.append(line)
    return "".join(lines)
