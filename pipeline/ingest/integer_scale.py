"""The scale at which a layer given in floats is integers of the chip, if there is one.

In: weights, thresholds and biases in any one unit. Out: what to multiply them by. A layer below
threshold is linear, so the scale is free; what float32 leaves uncertain counts as no rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT, MIXED_WEIGHT_RANGE
from pipeline.ledger import LedgerEntry

SINGLE_PRECISION = 1e-6
_LARGEST_CODE = 128

Floats = NDArray[np.float64]


def integer_scale(weights: list[Floats], threshold: Floats, bias: Floats) -> tuple[float, bool]:
    """Return what to multiply a layer by, and whether its weights are integers then.

    Integers are even and in the chip's range, which needs a step that all weights are multiples of.
    Of several scales 1 is taken before the largest, and one that makes thresholds and biases whole
    before both. Floats that have whole thresholds and a quarter of the range stay as they are;
    others get a whole largest threshold and the range.
    """
    low, high = MIXED_WEIGHT_RANGE
    values = np.unique(np.abs(np.concatenate([weight.ravel() for weight in weights])))
    values = values[values > 0]
    if not len(values):
        return 64 / float(threshold.max()), False
    least, largest = min(w.min() for w in weights), max(w.max() for w in weights)
    step = _common_step(values)
    if step is not None:
        scales = [s for s in (2.0**k / step for k in range(8, 0, -1))
                  if low - 0.5 < least * s and largest * s < high + 0.5
                  and threshold.max() * s < MAX_EXACT_VTH_MANT + 0.5]
        if _is_whole(values / 2) and low <= least and largest <= high:
            scales.insert(0, 1.0)
        exact = [s for s in scales if _is_whole(threshold * s) and _is_whole(bias * s)]
        if scales:
            return (exact or scales)[0], True
    if _is_whole(threshold) and high / 4 <= values[-1] <= -low:
        return 1.0, False
    top = np.clip(np.floor(high * threshold.max() / values[-1]), 1, MAX_EXACT_VTH_MANT)
    return float(top / threshold.max()), False


def rounded(
    name: str, what: str, values: Floats
) -> tuple[NDArray[np.int64], list[LedgerEntry]]:
    """Return values as integers, and an entry if that changed any by more than single precision."""
    if not (np.abs(values) < 1 << 31).all():
        raise CheckpointError(f"node '{name}': {what} up to {np.abs(values).max():g}")
    whole = np.rint(values)
    change = np.abs(values - whole)
    count = int((change > SINGLE_PRECISION * np.maximum(1.0, np.abs(values))).sum())
    entry = LedgerEntry(name, f"{what} rounded, by {change.max():.3g} at most", count, change.size)
    return whole.astype(np.int64), [entry] if count else []


def _common_step(values: Floats) -> float | None:
    """Return the largest step of which positive, ascending values are small multiples, or None."""
    for n_codes in range(1, _LARGEST_CODE + 1):
        step = float(values[-1] / n_codes)
        if all(_is_whole(part / step) for part in (values[:64], values)):
            return step
    return None


def _is_whole(values: Floats) -> bool:
    return bool((np.abs(values - np.rint(values)) <= SINGLE_PRECISION * np.abs(values)).all())
