"""The issue's goals, read off the results: reached or missed, with the numbers.

Differences are of means over seeds, in percentage points of accuracy on the test split.
"""

from __future__ import annotations

from plan import BITS, SPARSITIES, TABLES
from summary import Summary

_SHORT = {"nmnist_mlp": "MLP", "nmnist_lif": "LIF MLP", "nmnist_cnn": "CNN"}
_MLP = {
    ("pruning", "97 %"): 0.7, ("pruning", "99 %"): 3.5,
    ("quantization", "3 bit"): 0.7, ("quantization", "2 bit"): 2.0,
    ("joint", "90 % + 4 bit"): 0.7, ("joint", "90 % + 3 bit"): 1.2,
}
_CNN = {
    ("pruning", "90 %"): 2.5, ("pruning", "95 %"): 7.0, ("pruning", "97 %"): 20.0,
    ("quantization", "3 bit"): 0.7, ("quantization", "2 bit"): 4.0,
    ("joint", "90 % + 4 bit"): 3.0, ("joint", "90 % + 3 bit"): 5.0,
}
# percentage points that may be lost
_GOALS = {"nmnist_mlp": _MLP, "nmnist_lif": _MLP, "nmnist_cnn": _CNN}
_METHOD = {"pruning": "SBC+", "quantization": "SBC+, hessian grid", "joint": "SBC+"}
_ORDERED_FROM = 0.95  # sparsity from which SBC is above ExactOBS
_FEW, _MANY, _FEW_MAY_LOSE = "10", "100", 3.0
_ROUNDING = 1e-9

assert set(_METHOD) < set(TABLES) and {"2 bit", "3 bit"} <= {f"{b} bit" for b in BITS}


def goals(summary: Summary, model: str, table: str) -> list[str]:
    """Return a line for each goal of a table, as markdown bullets."""
    lines = []
    dense = summary.dense(model)
    for (of, column), may_lose in _GOALS[model].items():
        if of == table:
            what = f"{_SHORT[model]} {column}"
            mean = summary.mean(model, table, _METHOD[table], column)
            lines.append(_within(what, mean, dense, "dense", may_lose))
    if table == "pruning":
        lines += _above(summary, model, "SBC", "ExactOBS")
        lines += _above(summary, model, "SBC+", "ExactOBS +")
    if table == "calibration":
        few, many = (summary.mean(model, table, "SBC+", n) for n in (_FEW, _MANY))
        lines.append(_within(f"{_SHORT[model]} 95 % with {_FEW} samples", few, many,
                             f"{_MANY} samples", _FEW_MAY_LOSE))
    return [f"* {line}" for line in lines]


def _within(
    what: str, mean: float | None, other: float | None, name: str, may_lose: float
) -> str:
    if mean is None or other is None:
        return f"{what}: not all run"
    is_reached = other - mean <= may_lose + _ROUNDING
    return (f"{what}: {mean:.2f} vs {name} {other:.2f} ({mean - other:+.2f} pp): "
            f"within {may_lose} pp: {_verdict(is_reached)}")


def _above(summary: Summary, model: str, ours: str, theirs: str) -> list[str]:
    pairs = []
    for sparsity in SPARSITIES:
        if sparsity >= _ORDERED_FROM:
            column = f"{100 * sparsity:.0f} %"
            a, b = (summary.mean(model, "pruning", m, column) for m in (ours, theirs))
            if a is None or b is None:
                return [f"{_SHORT[model]} {ours} above {theirs}: not all run"]
            pairs.append((column, a, b))
    text = "; ".join(f"{column}: {a:.2f} vs {b:.2f}" for column, a, b in pairs)
    return [f"{_SHORT[model]} {ours} above {theirs} from 95 % up: {text}: "
            f"{_verdict(all(a > b for _, a, b in pairs))}"]


def _verdict(is_reached: bool) -> str:
    return "reached" if is_reached else "**missed**"
