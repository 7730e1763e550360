"""One table of the page: rows of plain text, with the numbers they sort by.

In: rows of the document and columns, each a heading, a value and a way to show it. Out: a
:class:`Table`, drawn by one macro of the template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.report.units import exact

Row = dict[str, Any]

_MOST_ROWS = 24  # before a table scrolls


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and the number it sorts by (None: by its text)."""

    text: str
    number: float | None

    @property
    def sort_key(self) -> float | None:
        """The number, unless the text itself says it exactly."""
        if self.number is None:
            return None
        try:
            return None if float(self.text.replace(",", "")) == self.number else self.number
        except ValueError:
            return self.number


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    footer : sums; empty where there are none
    layers : the number of each row's layer, for the page's filter; empty where there is none
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footer: tuple[Cell, ...] = ()
    layers: tuple[int, ...] = ()

    @property
    def is_long(self) -> bool:
        """Whether it scrolls in a box of its own."""
        return len(self.rows) > _MOST_ROWS

    @cached_property
    def number_columns(self) -> tuple[bool, ...]:
        """Which columns hold numbers, and are aligned to the right."""
        return tuple(
            any(row[i].number is not None for row in self.rows) for i in range(len(self.headings)))


# heading, value of a row (or its cell), how it is shown
Column = tuple[str, Callable[[Row], Any], Callable[[Any], str]]


def build(
    caption: str, rows: Iterable[Row], columns: list[Column], total: Row | None = None,
    layers: tuple[int, ...] = (),
) -> Table:
    """Return the table of some rows; ``total`` makes its footer, ``layers`` are their layers."""
    def cells(row: Row) -> tuple[Cell, ...]:
        return tuple(_cell(get(row), show) for _, get, show in columns)

    return Table(
        caption, tuple(heading for heading, _, _ in columns), tuple(cells(row) for row in rows),
        () if total is None else cells(total), layers,
    )


def column(heading: str, key: str, show: Callable[[Any], str] = exact) -> Column:
    """Return the column of one key of the rows."""
    return heading, lambda row: row[key], show


def _cell(value: Any, show: Callable[[Any], str]) -> Cell:
    if isinstance(value, Cell):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Cell(show(value), value if is_number else None)
