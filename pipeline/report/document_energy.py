"""The energy section of the report: counts, prices, what is missing, and what is assumed.

In: an :class:`~pipeline.account.energy.EnergyReport`, its target and the rows of the cores. Out:
plain JSON. A price set that prices nothing has no total; one that lacks an event has an incomplete
total and names the event with its reason. Nothing is ever priced at zero for want of a price.
"""

from __future__ import annotations

from math import fsum
from typing import Any

import numpy as np

from hardware_targets import Target
from pipeline.account.counts import EVENTS, READINGS, n_updates
from pipeline.account.energy_report import EnergyReport, PricedSet
from pipeline.report.document_assumptions import build_assumptions
from pipeline.report.document_time import build_latency, static_row, timing_row

Section = dict[str, Any]

# what is counted -> the event it is priced as; synops are priced by the format of their core
_COUNT_OF_PRICE = {
    "neuron_update_active": "neuron_updates_active",
    "neuron_update_idle": "neuron_updates_idle",
    "spike": "spikes",
    "message": "messages_out",
    "within_tile_spike": "messages_within_tile",
    "hop_east_west": "hops_east_west",
    "hop_north_south": "hops_north_south",
}
_FORMATS = ("dense", "run_length", "sparse", "conv")


def build_energy(report: EnergyReport, target: Target, cores: list[Section]) -> Section:
    """Return counts, energy per price set, unpriced terms, spread and assumptions.

    Parameters
    ----------
    cores : rows of the cores, with ``format`` and each event per sample
    """
    totals = {f"{e}_per_sample": fsum(core[f"{e}_per_sample"] for core in cores) for e in EVENTS}
    sets = [_price_set(prices, report, target) for prices in report.price_sets]
    ends = [row["total_pj_per_sample"] for prices in _comparable(sets)
            for row in prices["readings"].values()]
    complete = all(row["is_complete"] for row in sets)
    return {
        "is_proxy": True,
        "status": "unpriced" if not ends else "complete" if complete else "incomplete",
        "low_pj_per_sample": min(ends, default=None),
        "high_pj_per_sample": max(ends, default=None),
        "n_samples": report.n_samples,
        "n_steps": report.n_steps,
        "totals": totals,
        "input_messages_per_sample": int(report.input_messages.sum()) / report.n_samples,
        "price_sets": sets,
        "events": _events(report, target, totals),
        "readings": _readings(report),
        "spread": {f"{event}_per_sample": _spread(report, event) for event in EVENTS},
        "tiles": _tiles(report),
        "latency": build_latency(report),
        "convention": [
            {"label": row.label, "arithmetic": row.arithmetic, "ac_pj": row.ac_pj,
             "mac_pj": row.mac_pj, "total_pj_per_sample": row.total_pj,
             "by_layer_pj_per_sample": dict(row.by_layer_pj)}
            for row in report.convention
        ],
        "assumptions": build_assumptions(report, target, cores),
    }


def _comparable(sets: list[Section]) -> list[Section]:
    """Return the sets that the headline spans: those that price every synop, where there are any.

    A set without a price for the format of a large layer would make the band begin at a total that
    lacks nearly all work.
    """
    priced = [prices for prices in sets if prices["is_priced"]]
    whole = [prices for prices in priced
             if not any(event.startswith("synop_") for event in prices["unpriced"])]
    return whole or priced


def _price_set(prices: PricedSet, report: EnergyReport, target: Target) -> Section:
    is_priced, described = bool(prices.by_event_pj), target.price_sets[prices.name]
    return {
        "name": prices.name,
        "description": " ".join(prices.description.split()),
        "status": described.status,
        "origin": described.origin,
        "supply_voltage_v": described.supply_voltage_v.value,
        "is_priced": is_priced,
        "is_complete": prices.is_complete,
        "total_pj_per_sample": float(prices.total_pj) if is_priced else None,
        "readings": {
            reading: {
                "total_pj_per_sample": bill.total_pj if is_priced else None,
                "sd_pj": bill.spread.std if is_priced else None,
                "min_pj": bill.spread.min if is_priced else None,
                "max_pj": bill.spread.max if is_priced else None,
                "by_layer_pj_per_sample":
                    report.by_layer_pj(prices, reading) if is_priced else None,
            }
            for reading, bill in prices.bills.items()
        },
        "unpriced": dict(prices.unpriced),
        "timing": timing_row(prices, report),
        "static": static_row(prices),
    }


def _readings(report: EnergyReport) -> list[Section]:
    """Return active and idle updates per sample under each reading of the words."""
    rows = []
    for reading in READINGS:
        active, idle = n_updates(report.counts, reading)
        rows.append({
            "reading": reading,
            "updates_active_per_sample": int(active.sum()) / report.n_samples,
            "updates_idle_per_sample": int(idle.sum()) / report.n_samples,
        })
    return rows


def _tiles(report: EnergyReport) -> list[Section]:
    """Return what each tile in use costs, per price set that prices anything."""
    energies = {
        prices.name: report.by_tile_pj(prices, "had_state").tolist()
        for prices in report.price_sets if prices.by_event_pj
    }
    synops = report.counts.by_tile("executed_synops").sum(axis=0)
    return [
        {"chip": int(chip), "tile_x": int(x), "tile_y": int(y),
         "executed_synops_per_sample": int(synops[i]) / report.n_samples,
         "energy_pj_per_sample": {name: values[i] for name, values in energies.items()}}
        for i, (chip, x, y) in enumerate(report.counts.tiles)
    ]


def _events(
    report: EnergyReport, target: Target, totals: dict[str, float]
) -> list[Section]:
    """Return each priced kind of event: how often per sample, and its energy under each set."""
    amounts = {
        f"synop_{kind}": totals[f"executed_synops_{kind}_per_sample"] for kind in _FORMATS
    }
    amounts |= {name: totals[f"{event}_per_sample"] for name, event in _COUNT_OF_PRICE.items()}
    amounts["barrier_step"] = report.n_steps * len(np.unique(report.counts.tile_of_core[:, 0]))
    return [
        {
            "event": event,
            "amount_per_sample": amount,
            "price_sets": {
                prices.name: _priced_event(event, amount, prices, target)
                for prices in report.price_sets
            },
        }
        for event, amount in amounts.items()
    ]


def _priced_event(event: str, amount: float, prices: PricedSet, target: Target) -> Section:
    price = getattr(target.price_sets[prices.name], event)
    if price.value is None:
        return {"price_pj": None, "energy_pj_per_sample": None}
    # an event that did not occur is in no set, and costs nothing
    energy = prices.by_event_pj[event] if amount else 0.0
    return {"price_pj": price.value, "energy_pj_per_sample": energy}


def _spread(report: EnergyReport, event: str) -> Section:
    spread = report.counts.spread(event)
    return {"min": spread.min, "mean": spread.mean, "max": spread.max, "sd": spread.std}
