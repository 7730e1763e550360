"""The energy section of the report: counts, prices, what is missing, and what is assumed.

In: an :class:`~pipeline.energy.EnergyReport`, its target and the rows of the cores. Out: plain
JSON. A price set that prices nothing has no total; one that lacks an event has an incomplete total
and names the event with its reason. Nothing is ever priced at zero for want of a price.
"""

from __future__ import annotations

from math import fsum
from typing import Any

import numpy as np

from hardware_targets import Target
from pipeline.energy import EVENTS, EnergyReport, PricedSet

Section = dict[str, Any]

# what is counted -> the event it is priced as; synops are priced by the format of their core
_COUNT_OF_PRICE = {
    "neuron_update_active": "neuron_updates_active",
    "neuron_update_idle": "neuron_updates_idle",
    "spike": "spikes",
    "message": "messages_out",
    "within_tile_spike": "messages_out",
    "hop_east_west": "hops_east_west",
    "hop_north_south": "hops_north_south",
}
_FORMATS = ("dense", "sparse", "conv")


def build_energy(report: EnergyReport, target: Target, cores: list[Section]) -> Section:
    """Return counts, energy per price set, unpriced terms, spread and assumptions.

    Parameters
    ----------
    cores : rows of the cores, with ``format`` and each event per sample
    """
    totals = {f"{e}_per_sample": fsum(core[f"{e}_per_sample"] for core in cores) for e in EVENTS}
    sets = [_price_set(prices, target) for prices in report.price_sets]
    priced = [row["total_pj_per_sample"] for row in sets if row["is_priced"]]
    complete = all(row["is_complete"] for row in sets)
    return {
        "is_proxy": True,
        "status": "unpriced" if not priced else "complete" if complete else "incomplete",
        "low_pj_per_sample": min(priced, default=None),
        "high_pj_per_sample": max(priced, default=None),
        "n_samples": report.n_samples,
        "n_steps": report.n_steps,
        "totals": totals,
        "input_messages_per_sample": int(report.input_messages.sum()) / report.n_samples,
        "price_sets": sets,
        "events": _events(report, target, cores, totals),
        "spread": {
            f"{event}_per_sample": _spread(report, event)
            for event in ("executed_synops", "effective_synops")
        },
        "assumptions": _assumptions(report, target, cores),
    }


def _price_set(prices: PricedSet, target: Target) -> Section:
    is_priced = bool(prices.by_event_pj)
    return {
        "name": prices.name,
        "description": " ".join(prices.description.split()),
        "status": target.price_sets[prices.name].status,
        "is_priced": is_priced,
        "is_complete": prices.is_complete,
        "total_pj_per_sample": float(prices.total_pj) if is_priced else None,
        "unpriced": dict(prices.unpriced),
    }


def _events(
    report: EnergyReport, target: Target, cores: list[Section], totals: dict[str, float]
) -> list[Section]:
    """Return each priced kind of event: how often per sample, and its energy under each set."""
    amounts = {
        f"synop_{kind}": fsum(
            core["executed_synops_per_sample"] for core in cores if core["format"] == kind)
        for kind in _FORMATS
    }
    amounts |= {name: totals[f"{event}_per_sample"] for name, event in _COUNT_OF_PRICE.items()}
    amounts["barrier_step"] = report.n_steps
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
    per_sample = report.counts[event].sum(axis=1)
    return {
        "min": int(per_sample.min()),
        "mean": int(per_sample.sum()) / report.n_samples,
        "max": int(per_sample.max()),
        "sd": float(np.std(per_sample)),
    }


def _assumptions(report: EnergyReport, target: Target, cores: list[Section]) -> list[str]:
    """Return what counts and energies rest on, one sentence or two each."""
    n_input = int(report.input_messages.sum()) / report.n_samples
    return [
        "Energy is a proxy: counted events times the prices of a set. Nothing was measured on a "
        "chip, and sets of different origin are shown side by side, never mixed.",
        "An event without a published price is never priced at zero: the total is then incomplete, "
        "lower than the set would give with all its prices, and the event is named.",
        "Effective synops are spikes times the nonzero synapses they reach. Executed synops are "
        "spikes times the positions the core's format stores, zeros of a dense format or of a "
        "kernel included; they are what is priced. Whether a stored zero costs a full operation is "
        "not published; here it does.",
        "Every neuron is updated at every step. The update is active if the neuron had input or "
        "nonzero state in that step, else idle; the sources do not define the words.",
        "A message is one spike to one destination core. It pays delivery within a tile once and "
        "its hops along x, then along y; savings by multicast are not published and not counted.",
        f"Spikes of the input come from outside the mesh: {n_input:,.2f} messages a sample, "
        "counted as received by the cores they reach, not priced.",
        "Static power, the host, input and output, and loading the network are in no total; time "
        "is not modeled.",
        f"Counts are means over {report.n_samples:,} test samples of {report.n_steps} steps; the "
        "standard deviation is that of these samples.",
        "Neurons are placed by this project's mapper: layers in order, none shares a core, each "
        "cut into equal slices; a vendor's compiler may place them otherwise.",
        *_memory_assumptions(target, cores),
    ]


def _memory_assumptions(target: Target, cores: list[Section]) -> list[str]:
    widths = {
        "memory word": target.capacities.memory_word_bits.value,
        "entry prefix": target.synapses.entry_prefix_bits.value,
        "index": target.synapses.index_bits.value,
    }
    missing = [name for name, value in widths.items() if value is None]
    sentences = []
    if missing:
        sentences.append(
            f"Widths that are not published for {target.name} ({', '.join(missing)}) count as no "
            "bits: synapse memory is a lower bound."
        )
    if any(core["format"] == "conv" for core in cores):
        sentences.append(
            "Kernels are stored once per core; the lists that positions at the border of an image "
            "need are left out, so the memory of a convolution is a lower bound."
        )
    unlimited = [
        name.replace("_per_core", "").replace("_", " ")
        for name in ("input_axons_per_core", "output_axons_per_core")
        if getattr(target.capacities, name).value is None
    ]
    if unlimited:
        sentences.append(
            f"No limit is published for {target.name} on {' and '.join(unlimited)} of a core: they "
            "do not bind, and more cores may be needed than shown."
        )
    return sentences
