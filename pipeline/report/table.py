"""One table of the page: rows of plain text, with the numbers they sort by.

In: rows of the document and columns, each a heading, a value and a way to show it. Out: a
:class:`Table`, drawn by one macro of the template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline.report.units import exact

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and the number it sorts by (None: by its text)."""

    text: str
    number: float | None


@dataclass(frozen=True)
class Table:
    """A table; the footer holds sums, and is empty where there are none."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footer: tuple[Cell, ...] = ()

    def align(self, column: int) -> Markup:
        """Return the attribute that aligns a column to the right if it holds numbers."""
        is_number = any(row[column].number is not None for row in self.rows)
        return Markup(' class="number"' if is_number else "")


# heading, value of a row, how it is shown
Column = tuple[str, Callable[[Row], Any], Callable[[Any], str]]


def build(
    caption: str, rows: Iterable[Row], columns: list[Column], total: Row | None = None
) -> Table:
    """Return the table of some rows; ``total`` makes its footer."""
    def cells(row: Row) -> tuple[Cell, ...]:
        return tuple(_cell(get(row), show) for _, get, show in columns)

    return Table(
        caption, tuple(heading for heading, _, _ in columns), tuple(cells(row) for row in rows),
        () if total is None else cells(total),
    )


def column(heading: str, key: str, show: Callable[[Any], str] = exact) -> Column:
    """Return the column of one key of the rows."""
    return heading, lambda row: row[key], show


def _cell(value: Any, show: Callable[[Any], str]) -> Cell:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Cell(show(value), value if is_number else None)
