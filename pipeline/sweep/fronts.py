"""Pareto fronts, exactly: accuracy against each cost, on each target.

In: rows of trials. Out: fronts as keys of rows. A row is on a front if no other row of the target
has at least its accuracy at no more than its cost and is better in one of both; rows that tie in
both are on it together. Targets and price sets are never mixed: their numbers do not compare.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
Front = dict[str, Any]

_COSTS = {
    "memory_bits": "synapse memory", "n_cores": "cores",
    "executed_synops_per_sample": "executed synops", "effective_synops_per_sample":
    "effective synops",
}
_ENERGY, _UNIT = "energy_", "_pj_per_sample"


def fronts_of(rows: list[Row]) -> list[Front]:
    """Return a front per target and cost, energies first; of costs that some row has."""
    fronts = []
    for target in dict.fromkeys(row["target"] for row in rows):
        own = [r for r in rows if r["target"] == target and r["status"] == "fits"]
        names = dict.fromkeys(
            name for row in own for name in row if name.startswith(_ENERGY)
            and name.endswith(_UNIT) and not name.endswith((f"_low{_UNIT}", f"_high{_UNIT}")))
        costs = {name: f"energy by {name[len(_ENERGY):-len(_UNIT)]}" for name in names} | _COSTS
        for name, title in costs.items():
            points = [r for r in own if r.get(name) is not None]
            if points:
                is_complete = all(
                    r.get(name.replace(_UNIT, "_is_complete"), True) for r in points)
                fronts.append({
                    "target": target, "cost": name, "title": title, "is_complete": is_complete,
                    "keys": [r["key"] for r in pareto(points, name)],
                    # of a search: what it is to be better than
                    "uniform_keys": [r["key"] for r in pareto(
                        [r for r in points if r.get("allocation") != "searched"], name)],
                })
    return fronts


def pareto(rows: list[Row], cost: str) -> list[Row]:
    """Return the rows that no other dominates, by rising cost."""
    ordered = sorted(rows, key=lambda row: (row[cost], -row["accuracy_frac"]))
    front: list[Row] = []
    for row in ordered:
        best = front[-1] if front else None
        if best is None or row["accuracy_frac"] > best["accuracy_frac"] or (
                row["accuracy_frac"] == best["accuracy_frac"] and row[cost] == best[cost]):
            front.append(row)
    return front
