"""The ledger: everything that was rounded, clipped, dropped or interpreted on the way to the chip.

In: nothing. Out: the entries, which the report shows; what is not in it did not change.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LedgerEntry:
    """One kind of change to one layer; ``count`` weights or thresholds of ``total``."""

    layer: str
    what: str
    count: int
    total: int


Ledger = tuple[LedgerEntry, ...]
