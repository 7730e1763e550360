"""Counted events per core, and what they cost under each published price set.

In: a trace, the placement of its network, and a target. Out: an :class:`EnergyReport`. Counts are
exact; energy is a proxy. Every event that has no published price makes a total *incomplete* and is
named; it is never priced at zero. Counting rules:

* a message other than 0 of sigma-delta neurons is a spike; neurons that take the input by
  themselves have no synapses;
* effective synops: spikes x nonzero synapses they reach; executed synops: spikes x positions the
  core's format stores, zeros of a dense format included;
* a neuron update happens for every neuron at every step; it is *active* if the neuron had input or
  nonzero state, else idle (the sources do not define the word; facts: hardware.md 2.1);
* a message is one spike to one destination core; it pays within-tile delivery once and its hops
  along x, then y. Input spikes come from outside the mesh: counted, not priced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_targets import PriceSet, Target
from pipeline.emulate import Trace
from pipeline.errors import DataError
from pipeline.network import INPUT, Network
from pipeline.place import Placement

EVENTS = (
    "effective_synops", "executed_synops", "neuron_updates_active", "neuron_updates_idle",
    "spikes", "messages_out", "messages_in", "hops_east_west", "hops_north_south",
)


@dataclass(frozen=True)
class PricedSet:
    """One price set applied.

    Attributes
    ----------
    by_event_pj : picojoules per sample of each priced event
    by_core_pj : (n_cores,) float64, picojoules per sample; events of the mesh go to the sender
    unpriced : event that occurred without a price, with the reason
    """

    name: str
    description: str
    by_event_pj: dict[str, float]
    by_core_pj: NDArray[np.float64]
    unpriced: dict[str, str]

    @property
    def total_pj(self) -> float:
        """Sum of the priced events, picojoules per sample."""
        return sum(self.by_event_pj.values())

    @property
    def is_complete(self) -> bool:
        """Whether every event that occurred has a price."""
        return not self.unpriced


@dataclass(frozen=True)
class EnergyReport:
    """Events counted over some samples, and their cost.

    Attributes
    ----------
    counts : per event of ``EVENTS``, (n_samples, n_cores) int64
    input_messages : (n_samples,) int64, messages from outside to the first cores
    """

    counts: dict[str, NDArray[np.int64]]
    input_messages: NDArray[np.int64]
    n_steps: int
    price_sets: tuple[PricedSet, ...]

    @property
    def n_samples(self) -> int:
        """Samples counted."""
        return len(self.input_messages)


def account(network: Network, placement: Placement, trace: Trace, target: Target) -> EnergyReport:
    """Return the events of a trace per sample and core, and their cost.

    Raises
    ------
    DataError
        If the trace does not belong to the network.
    """
    for layer in network.layers:
        if layer.name not in trace.spikes or trace.spikes[layer.name].shape[1:-1] != layer.shape:
            raise DataError(
                f"the trace has no spikes of shape {layer.shape} for layer '{layer.name}'; it "
                "belongs to another network"
            )
    rates = {
        name: np.count_nonzero(spikes.reshape(len(spikes), -1, spikes.shape[-1]), axis=-1)
        for name, spikes in trace.spikes.items()
    }
    n_steps = trace.spikes[INPUT].shape[-1]
    counts = {
        event: np.zeros((len(trace.spikes[INPUT]), len(placement.cores)), dtype=np.int64)
        for event in EVENTS
    }
    _count_neurons(placement, rates, trace, n_steps, counts)
    input_messages = _count_synapses_and_messages(network, placement, rates, counts)
    sets = tuple(
        _priced(name, prices, placement, counts, n_steps)
        for name, prices in target.price_sets.items()
    )
    return EnergyReport(counts, input_messages, n_steps, sets)


def _count_neurons(
    placement: Placement, rates: dict[str, NDArray[np.int64]], trace: Trace, n_steps: int,
    counts: dict[str, NDArray[np.int64]],
) -> None:
    for core in placement.cores:
        neurons = slice(core.begin, core.end)
        active = trace.n_active[core.layer][:, neurons].sum(axis=1, dtype=np.int64)
        counts["spikes"][:, core.index] = rates[core.layer][:, neurons].sum(axis=1)
        counts["neuron_updates_active"][:, core.index] = active
        counts["neuron_updates_idle"][:, core.index] = core.n_neurons * n_steps - active


def _count_synapses_and_messages(
    network: Network, placement: Placement, rates: dict[str, NDArray[np.int64]],
    counts: dict[str, NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Fill in synops, messages and hops; return the messages from outside per sample."""
    from_outside = np.zeros(len(rates[INPUT]), dtype=np.int64)
    sources = {group.name: group.source for layer in network.layers for group in layer.groups}
    for core in placement.cores:
        for group in core.synapses:
            source = sources[group.synapse]
            counts["effective_synops"][:, core.index] += rates[source] @ group.effective_fan_out
            counts["executed_synops"][:, core.index] += rates[source] @ group.executed_fan_out
            reached = (group.executed_fan_out > 0).astype(np.int64)
            counts["messages_in"][:, core.index] += rates[source] @ reached
            if source == INPUT:
                from_outside += rates[source] @ reached
            for sender in placement.cores_of(source):
                neurons = slice(sender.begin, sender.end)
                messages = rates[source][:, neurons] @ reached[neurons]
                counts["messages_out"][:, sender.index] += messages
                counts["hops_east_west"][:, sender.index] += (
                    messages * abs(sender.tile_x - core.tile_x))
                counts["hops_north_south"][:, sender.index] += (
                    messages * abs(sender.tile_y - core.tile_y))
    return from_outside


def _priced(
    name: str, prices: PriceSet, placement: Placement, counts: dict[str, NDArray[np.int64]],
    n_steps: int,
) -> PricedSet:
    """Return one price set applied to the mean counts per sample."""
    mean = {event: array.mean(axis=0) for event, array in counts.items()}
    amounts: dict[str, NDArray[np.float64]] = {
        "neuron_update_active": mean["neuron_updates_active"],
        "neuron_update_idle": mean["neuron_updates_idle"],
        "spike": mean["spikes"],
        "message": mean["messages_out"],
        "within_tile_spike": mean["messages_out"],
        "hop_east_west": mean["hops_east_west"],
        "hop_north_south": mean["hops_north_south"],
        "barrier_step": np.full(len(placement.cores), n_steps / len(placement.cores)),
    }
    for kind in ("dense", "sparse", "conv"):
        # a core holds one layer; with several groups the format of the largest stands for all
        is_kind = [
            bool(core.synapses)
            and max(core.synapses, key=lambda s: s.memory_bits).format == kind
            for core in placement.cores
        ]
        amounts[f"synop_{kind}"] = mean["executed_synops"] * np.array(is_kind)
    reasons = prices.unpriced()
    by_event, unpriced = {}, {}
    by_core = np.zeros(len(placement.cores))
    for event, amount in amounts.items():
        price = getattr(prices, event).value
        if not amount.any():
            continue
        if price is None:
            unpriced[event] = reasons[event]
        else:
            by_event[event] = float(amount.sum()) * price
            by_core += amount * price
    return PricedSet(name, prices.description, by_event, by_core, unpriced)
