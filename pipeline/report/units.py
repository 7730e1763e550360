"""Numbers as people read them: headlines in human units, tables exact.

In: numbers of the document. Out: strings. Spaces between number and unit do not break.
"""

from __future__ import annotations

from typing import Any

MISSING = "–"
_NBSP = "\N{NO-BREAK SPACE}"
_ENERGY = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))
_COUNT = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def exact(value: Any) -> str:
    """Return a number with thousands separators and at most two decimals; text as it is."""
    if value is None:
        return MISSING
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def words(name: str) -> str:
    """Return a key of the document as words."""
    return name.removesuffix("_per_sample").replace("_", " ")


def picojoules(value: Any) -> str:
    """Return an energy with two decimals at most, from a nanojoule on without; text as it is."""
    return exact(round(value) if isinstance(value, float) and value >= 1000 else value)


def or_unpriced(value: Any) -> str:
    """Return an energy, or that there is no price for it."""
    return "unpriced" if value is None else picojoules(value)


def significant(value: float | None) -> str:
    """Return a number to four significant digits."""
    return MISSING if value is None else f"{value:.4g}"


def percent(frac: float | None) -> str:
    """Return a share as a percentage to one decimal."""
    return MISSING if frac is None else f"{100 * frac:.1f}{_NBSP}%"


def human_energy(pj: float) -> str:
    """Return picojoules to three significant digits in the unit that suits them."""
    for size, unit in _ENERGY:
        if pj >= size:
            return f"{_three_digits(pj / size)}{_NBSP}{unit}"
    return f"{pj:.3g}{_NBSP}pJ"


def human_band(low_pj: float, high_pj: float) -> str:
    """Return a range of energies, or one energy if both ends read the same."""
    low, high = human_energy(low_pj), human_energy(high_pj)
    if low == high:
        return low
    low_number, low_unit = low.split(_NBSP)
    return f"{low_number if high.endswith(_NBSP + low_unit) else low}–{high}"


def human_count(value: float) -> str:
    """Return a count to three significant digits with k, M or G."""
    for size, unit in _COUNT:
        if value >= size:
            return f"{_three_digits(value / size)}{_NBSP}{unit}"
    return exact(value) if float(value).is_integer() else _three_digits(value)


def human_bytes(value: float) -> str:
    """Return a size to three significant digits in bytes, kB or MB (powers of ten)."""
    number = human_count(value)
    return f"{number}B" if number[-1].isalpha() else f"{number}{_NBSP}B"


def _three_digits(value: float) -> str:
    # three significant digits without an exponent: 1.23, 12.3, 123, 1,235
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
