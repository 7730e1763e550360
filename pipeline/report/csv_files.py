"""The tables of layers and cores for spreadsheets, every column of ``report.json``.

In: the document. Out: CSV text with a heading; nested keys are joined with a dot, lists with a
space, what is missing is empty. Text that a spreadsheet would take for a formula gets an apostrophe
in front, as names of layers come from users.
"""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

Row = dict[str, Any]

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def as_csv(rows: list[Row]) -> str:
    """Return rows of the same keys as CSV, with lines that end in a line feed."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writerow({key: _shown(key) for key in columns})
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Row, prefix: str = "") -> Row:
    cells: Row = {}
    for key, value in row.items():
        if isinstance(value, dict):
            cells |= _flat(value, f"{prefix}{key}.")
        else:
            cells[prefix + key] = _shown(value)
    return cells


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(_shown(item)) for item in value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return value
