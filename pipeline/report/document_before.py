"""The network as trained beside the compressed one, by the same rules on the same samples.

In: a context, and both networks' traces of the verified samples. Out: plain JSON, one row per
quantity. The dense network is placed and counted only for this comparison; where the target cannot
hold it, its figures are missing and the section says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hardware_targets import Target
from pipeline.account.energy import account
from pipeline.context import Context
from pipeline.emulate import Trace
from pipeline.errors import TargetError
from pipeline.mapping.place import check_rules, place
from pipeline.mapping.placement import Placement
from pipeline.network import INPUT, Network

Section = dict[str, Any]

_MOST_CHIPS = 64
_COUNTED = (("spikes", "spikes"), ("effective_synops", "synops"), ("executed_synops", "synops"),
            ("messages_in", "messages"))


def build_before_after(
    context: Context, dense: Network, dense_trace: Trace, trace: Trace
) -> Section:
    """Return sizes, cores, events and energies before and after compression.

    Parameters
    ----------
    dense : the network as trained, without joins
    """
    network = context.value("quantize").network
    obstacle, before = None, {}
    try:
        check_rules(dense, context.target)
        placement = place(dense, context.target, max_chips=_MOST_CHIPS)
        before = _of_chip(dense, placement, dense_trace, context.target)
    except TargetError as error:
        obstacle = str(error)
    after = _of_chip(network, context.value("place"), trace, context.target)
    before, after = _of_network(dense) | before, _of_network(network) | after
    for frac, sizes in zip(context.value("emulate").test, (before, after), strict=True):
        sizes["test_accuracy"] = ("share", float(frac))
    return {
        "n_samples": len(trace.spikes[INPUT]),
        "dense_obstacle": obstacle,
        "rows": [
            {"quantity": key, "unit": unit,
             "dense": before[key][1] if key in before else None, "compressed": value}
            for key, (unit, value) in after.items()
        ],
    }


def _of_network(network: Network) -> dict[str, tuple[str, Any]]:
    weights = [group.weight for group in network.stored_synapses]
    return {
        "neurons": ("neurons", sum(layer.n_neurons for layer in network.layers)),
        "nonzero_weights": ("weights", sum(int(np.count_nonzero(w)) for w in weights)),
        "widest_weights": ("bits", max(
            (group.weight_bits or 0 for group in network.stored_synapses), default=None)),
    }


def _of_chip(
    network: Network, placement: Placement, trace: Trace, target: Target
) -> dict[str, tuple[str, Any]]:
    report = account(network, placement, trace, target, with_times=False)
    sizes: dict[str, tuple[str, Any]] = {
        "cores": ("cores", len(placement.cores)), "chips": ("chips", placement.n_chips),
        "synapse_memory": ("bits", sum(core.synapse_bits for core in placement.cores)),
    }
    for event, unit in _COUNTED:
        sizes[f"{event}_per_sample"] = (
            unit, int(report.counts[event].sum()) / len(trace.spikes[INPUT]))
    for prices in report.price_sets:
        if prices.by_event_pj:
            sizes[f"energy_by_{prices.name}_per_sample"] = ("pJ", float(prices.total_pj))
    return sizes
