"""Times, latency and static power of the report: everything that is per second, not per event.

In: an :class:`~pipeline.account.energy_report.EnergyReport`. Out: plain JSON. What no source gives
is None, and says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.account.energy_report import EnergyReport, PricedSet
from pipeline.account.latency import UNDECIDED

Section = dict[str, Any]


def build_latency(report: EnergyReport) -> Section:
    """Return in how many steps the outputs hear of the input, and have decided."""
    latency = report.latency
    steps = latency.decision_step
    decided = np.zeros(0) if steps is None else steps[steps != UNDECIDED]
    return {
        "depth_steps": latency.depth_steps,
        "longest_delay_steps": latency.longest_delay_steps,
        "n_undecided": latency.n_undecided,
        "decision_step": None if not len(decided) else {
            "min": int(decided.min()), "mean": float(decided.mean()),
            "median": float(np.median(decided)), "max": int(decided.max())},
    }


def timing_row(prices: PricedSet, report: EnergyReport) -> Section | None:
    """Return the times of a step and of a sample under each reading; None without any time."""
    timing = prices.timing
    if timing is None or not timing.readings:
        return None
    rows = {}
    for reading, times in timing.readings.items():
        decided_us = report.latency_us(prices, reading)
        known = None if decided_us is None else decided_us[~np.isnan(decided_us)]
        rows[reading] = {
            "step_ns_mean": times.spread.mean, "step_ns_sd": times.spread.std,
            "step_ns_min": float(times.step_ns.min()), "step_ns_max": float(times.step_ns.max()),
            "sample_us_mean": float(times.sample_us.mean()),
            "decision_us_mean": float(known.mean()) if known is not None and len(known) else None,
            "link_bound_frac": times.n_link_bound / times.step_ns.size,
        }
    return {
        "is_complete": timing.is_complete, "barrier_ns": timing.barrier_ns,
        "unknown": dict(timing.unpriced), "readings": rows,
    }


def core_times(prices: PricedSet, core: int) -> tuple[float | None, float | None]:
    """Return a core's mean work per step in ns, and the share of steps that waited for it."""
    if prices.timing is None or not prices.timing.readings:
        return None, None
    times = prices.timing.readings["had_state"]
    return float(times.core_ns[core]), int(times.n_slowest[core]) / times.step_ns.size


def static_row(prices: PricedSet) -> Section:
    """Return power times time per sample: of the cores in use, and of whole chips."""
    static = prices.static
    return {
        "core_mw": static.core_mw, "chip_mw": static.chip_mw, "reason": static.reason,
        **{
            f"{name}_per_sample": {r: float(pj.mean()) for r, pj in energies.items()}
            for name, energies in (("used_cores_pj", static.used_cores_pj),
                                   ("whole_chips_pj", static.whole_chips_pj))
        },
    }


def build_over_time(report: EnergyReport, layers: list[str]) -> Section:
    """Return the events of each layer step by step, means over the samples.

    A synop is the receiving layer's, in the step in which the spike left.
    """
    events = report.over_time
    return {
        "n_samples": report.n_samples, "n_steps": report.n_steps,
        "layers": [
            {"layer": name, **{
                f"{event}_per_sample": [
                    float(f"{value:.6g}") for value in table[:, index] / report.n_samples]
                for event, table in events.items()}}
            for index, name in enumerate(layers)
        ],
    }
