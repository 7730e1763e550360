"""What counted events cost under each price set of a target.

In: a trace, the placement of its network, and a target. Out: an :class:`EnergyReport`. Counts are
exact (:mod:`pipeline.account.counts`); energy is a proxy: counts times prices, in picojoules,
dynamic only. An event without a published price is never priced at zero: the total is then
*incomplete* and the event is named. Since the sources do not define an active update, each set is a
band of two readings. Static power is a row of its own, power times time, in no total. The 45 nm
convention of the literature is a row of its own too: it is of no chip.

A message pays ``message`` for both ends, and ``within_tile_spike`` where it stays in its tile, its
hops otherwise; a message to another chip has no price for its way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_targets import PriceSet, Target
from pipeline.account.activity import active_over_time
from pipeline.account.convention import conventions
from pipeline.account.counts import READINGS, Counts, Reading, count, n_updates
from pipeline.account.energy_report import Bill, EnergyReport, PricedSet, Static
from pipeline.account.fan_out import FORMATS, OFF_CHIP_REASON, executed_in
from pipeline.account.latency import latency
from pipeline.account.neurobench import neurobench_metrics
from pipeline.account.over_time import count_over_time
from pipeline.account.timing import Timing, time_steps
from pipeline.emulate import Trace
from pipeline.mapping.placement import Placement
from pipeline.network import Network


def account(
    network: Network, placement: Placement, trace: Trace, target: Target, *,
    with_times: bool = True,
) -> EnergyReport:
    """Return the events of a trace per sample and core, their cost, and how long they take.

    Parameters
    ----------
    trace : of :func:`pipeline.emulate.emulate`, biases acting from the first input
    with_times : whether events are told step by step and steps timed, for which the trace's input
        is emulated again

    Raises
    ------
    DataError
        If trace, placement and network do not belong together.
    """
    counts = count(network, placement, trace)
    timings: dict[str, Timing] = {}
    over_time = {}
    if with_times:
        over_time = count_over_time(network, placement, trace)
        active = active_over_time(network, placement, trace)
        timings = time_steps(network, placement, trace, counts, target, active)
    sets = tuple(
        _priced(name, prices, placement, counts, timings.get(name), target)
        for name, prices in target.price_sets.items()
    )
    return EnergyReport(counts, sets, latency(network, trace), conventions(counts),
                        neurobench_metrics(network, counts, trace), over_time)


def _priced(
    name: str, prices: PriceSet, placement: Placement, counts: Counts, timing: Timing | None,
    target: Target,
) -> PricedSet:
    reasons, unpriced = prices.unpriced(), {}
    bills: dict[Reading, Bill] = {}
    for reading in READINGS:
        by_event, total = {}, np.zeros(counts["spikes"].shape)
        for event, amount in _amounts(counts, placement, reading).items():
            if not amount.any():
                continue
            price = getattr(prices, event).value
            if price is None:
                unpriced[event] = reasons[event]
            else:
                by_event[event] = amount.mean(axis=0) * price
                total += amount * price
        bills[reading] = Bill(by_event, total)
    if counts["messages_off_chip"].any():
        unpriced["message_off_chip"] = OFF_CHIP_REASON
    return PricedSet(name, prices.description, bills, unpriced, timing,
                     _static(prices, placement, timing, target))


def _amounts(
    counts: Counts, placement: Placement, reading: Reading
) -> dict[str, NDArray[Any]]:
    """Return how often each priced event occurred, (n_samples, n_cores)."""
    active, idle = n_updates(counts, reading)
    n_cores = len(placement.cores)
    return {
        **{f"synop_{kind.replace('-', '_')}": counts[executed_in(kind)] for kind in FORMATS},
        "neuron_update_active": active,
        "neuron_update_idle": idle,
        "spike": counts["spikes"],
        "message": counts["messages_out"],
        "within_tile_spike": counts["messages_within_tile"],
        "hop_east_west": counts["hops_east_west"],
        "hop_north_south": counts["hops_north_south"],
        "barrier_step": np.full(
            counts["spikes"].shape, counts.n_steps * placement.n_chips / n_cores),
    }


def _static(
    prices: PriceSet, placement: Placement, timing: Timing | None, target: Target
) -> Static:
    core, chip = prices.static_core_mw, target.system.static_chip_mw
    if timing is None or not timing.readings:
        return Static(core.value, chip.value, "how long a step takes is not known", {}, {})
    reasons = [quantity.source for quantity in (core, chip) if quantity.value is None]
    # 1 mW for 1 ns is 1 pJ
    sample_ns = {reading: times.sample_us * 1e3 for reading, times in timing.readings.items()}
    used = {} if core.value is None else {
        reading: ns * core.value * len(placement.cores) for reading, ns in sample_ns.items()}
    whole = {} if chip.value is None else {
        reading: ns * chip.value * placement.n_chips for reading, ns in sample_ns.items()}
    return Static(core.value, chip.value, "; ".join(dict.fromkeys(reasons)), used, whole)
