"""The tables beside the event energies: times, static power, and the 45 nm convention.

In: the document. Out: :class:`Table` values of plain text, drawn by one macro of the template.
"""

from __future__ import annotations

from pipeline.report.table import Row, Table, build, column
from pipeline.report.tables_energy import READINGS
from pipeline.report.units import percent, picojoules, significant


def convention(document: Row) -> Table:
    """Return the 45 nm rows, which are of no chip."""
    rows = document["energy"]["convention"]
    return build(rows[0]["label"], rows, [
        column("arithmetic", "arithmetic"), column("accumulate, pJ", "ac_pj"),
        column("multiply and accumulate, pJ", "mac_pj"),
        column("energy per sample, pJ", "total_pj_per_sample", picojoules),
    ])


def times(document: Row) -> Table:
    """Return the times of a step, of a sample and to a decision, under each set and reading."""
    rows = [
        times | {"set": prices["name"], "reading": reading,
                 "barrier_ns": prices["timing"]["barrier_ns"],
                 "bound": "exact sum" if prices["timing"]["is_complete"] else "lower bound"}
        for prices in document["energy"]["price_sets"] if prices["timing"]
        for reading, times in prices["timing"]["readings"].items()
    ]
    return build("Times: the slowest core or link of every step, then the barrier", rows, [
        column("price set", "set"), ("active means", lambda r: READINGS[r["reading"]], str),
        column("step, ns, mean", "step_ns_mean"), column("shortest", "step_ns_min"),
        column("longest", "step_ns_max"), column("barrier, ns", "barrier_ns"),
        column("sample, µs", "sample_us_mean"), column("to the decision, µs", "decision_us_mean"),
        column("steps decided by a link", "link_bound_frac", percent), column("kind", "bound"),
    ])


def static(document: Row) -> Table:
    """Return static power and its energy over a sample, or why there is none."""
    rows = []
    for prices in document["energy"]["price_sets"]:
        found = prices["static"]
        for reading in READINGS:
            rows.append({
                "set": prices["name"], "reading": READINGS[reading], **{
                    key: found[key] for key in ("core_mw", "chip_mw", "reason")},
                "used": found["used_cores_pj_per_sample"].get(reading),
                "whole": found["whole_chips_pj_per_sample"].get(reading)})
    return build("Static power times the time of a sample", rows, [
        column("price set", "set"), column("times by", "reading"),
        column("a core, mW", "core_mw", significant),
        column("a chip, mW", "chip_mw", significant),
        column("cores in use, pJ per sample", "used", picojoules),
        column("whole chips, pJ per sample", "whole", picojoules), column("missing", "reason"),
    ])
