r"""How long a step takes: the slowest core, the busiest link, then the barrier.

In: a network, its placement, a trace of the emulator and the times of a price set. Out: a
:class:`Timing`. The time of step t is

.. math:: \max(\max_c \sum_e n_{ec}(t)\, \tau_e,\ \max_l m_l(t)\, \tau_l) + \beta

with n the events of core c, m the messages over link l, and tau and beta the times of the price
set. What overlaps is assumed: inside a core nothing does (messages in, synops, updates, spikes and
messages out one after another); cores work side by side; the mesh carries messages while cores
work; messages over one link follow each other, those over different links do not wait for each
other. Links are directed, from tile to tile, ways go along x, then y; a tile's own port carries
what stays in it. The barrier comes after the last of all. All of a spike's work, the sender's too,
is in the step in which it arrives (recurrent spikes: one step after they were fired).

A time nobody has published counts as nothing and is named: the step times are then a lower bound.

References
----------
Facts: hardware.md 2.1, 2.2; that maxima over cores decide, not totals: Y25, T26 in section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_targets import EventTimes, Target
from pipeline.account.counts import READINGS, Counts, Reading, n_updates
from pipeline.account.fan_out import OFF_CHIP_REASON, fan_outs
from pipeline.account.step_work import TIME_OF_EVENT, StepTimes, StepWork
from pipeline.emulate import Trace
from pipeline.mapping.placement import Placement
from pipeline.network import Network


@dataclass(frozen=True)
class Timing:
    """Times of a run under one price set.

    Attributes
    ----------
    readings : by reading of an active update; empty where the set has no time at all
    barrier_ns : of each step; None where it is not known
    link_ns : (n_links,) float64, mean load of each link per step
    links : (n_links, 4) int64: chip, x, y of the tile it leaves, and its direction, an index into
        :data:`pipeline.account.links.DIRECTIONS`
    unpriced : what occurred without a known time, with the reason: times are lower bounds
    """

    readings: dict[Reading, StepTimes]
    barrier_ns: float | None
    link_ns: NDArray[np.float64]
    links: NDArray[np.int64]
    unpriced: dict[str, str]

    @property
    def is_complete(self) -> bool:
        """Whether every event that occurred has a time."""
        return not self.unpriced


def time_steps(
    network: Network, placement: Placement, trace: Trace, counts: Counts, target: Target,
    active: NDArray[np.int32],
) -> dict[str, Timing]:
    """Return the times of a run under each price set of the target.

    Parameters
    ----------
    counts : of the same trace; they tell which events occurred
    active : of :func:`pipeline.account.activity.active_over_time`

    Raises
    ------
    DataError
        If trace, placement and network do not belong together.
    """
    work = StepWork(network, placement, trace, fan_outs(network, placement), active)
    n_tiles, unpriced, barriers, known = len(counts.tiles), {}, {}, {}
    for name, prices in target.price_sets.items():
        unpriced[name] = _unpriced(counts, prices.times)
        barriers[name] = prices.times.barrier.at(n_tiles) if placement.n_chips == 1 else None
        if barriers[name] is None:
            unpriced[name]["barrier"] = (
                prices.times.barrier.source if placement.n_chips == 1 else
                f"the barrier of this set is that of one chip; {placement.n_chips} are in use")
        if any(getattr(prices.times, event).value is not None
               for event in EventTimes.model_fields):
            known[name] = prices.times
    clocks = work.times(known, {name: barriers[name] or 0.0 for name in known})
    return {
        name: Timing(clocks[name].readings, barriers[name], clocks[name].link_ns, work.links,
                     unpriced[name])
        if name in clocks else
        Timing({}, None, np.zeros(0), np.zeros((0, 4), np.int64), unpriced[name])
        for name in target.price_sets
    }


def _unpriced(counts: Counts, times: EventTimes) -> dict[str, str]:
    """Return what occurred without a known time, and what its source says of it."""
    amounts = {name: counts[event] for event, name in TIME_OF_EVENT.items()} | {
        "hop_east_west": counts["hops_east_west"], "hop_north_south": counts["hops_north_south"],
        "within_tile_spike": counts["messages_within_tile"],
    }
    for reading in READINGS:
        active, idle = n_updates(counts, reading)
        amounts[f"neuron_update_active {reading}"] = active
        amounts[f"neuron_update_idle {reading}"] = idle
    reasons = times.unknown()
    unpriced = {name: reasons[name] for name in reasons for occurred, amount in amounts.items()
                if occurred.split()[0] == name and amount.any()}
    if counts["messages_off_chip"].any():
        unpriced["message_off_chip"] = OFF_CHIP_REASON
    return unpriced
