"""NeuroBench's metrics of a run, by NeuroBench's names and definitions, from counts and a trace.

In: a network, its counts and a trace. Out: :class:`NeuroBenchMetrics`. The package itself is not
needed. Where ours differ from what it would print for the float model: the footprint counts weights
with the bits they have, not tensors of 32; ACs and MACs are told apart for each source of a layer
and sample; joined sources are counted as the synapse groups they become.

References
----------
Yik et al., "The neurobench framework", Nature Communications 16, 2025; package neurobench 2.3.0:
metrics/workload/synaptic_operations.py, membrane_updates.py, activation_sparsity.py,
metrics/static/connection_sparsity.py, footprint.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.account.counts import Counts
from pipeline.account.fan_out import sends
from pipeline.emulate import Trace
from pipeline.lower import without_joins
from pipeline.network import Network
from pipeline.synapse_count import n_synapses


@dataclass(frozen=True)
class NeuroBenchMetrics:
    """The metrics; operations are means per sample, by layer name.

    Attributes
    ----------
    effective_acs, effective_macs : synaptic operations of nonzero weights with nonzero inputs; MACs
        where an input is not -1, 0 or 1
    dense : operations if all weights and inputs were 1 in every step; padding is none
    membrane_updates : steps at which a neuron's potential changed, every neuron's first step
        included; None where the trace holds no potentials
    connection_sparsity_frac : zeros among the stored weights; 0 where there are none
    activation_sparsity_frac : zeros among what the neurons sent, over neurons, steps and samples
    footprint_bytes : of the weights, zeros included, each with the bits it is declared with
    """

    effective_acs: dict[str, float]
    effective_macs: dict[str, float]
    dense: dict[str, float]
    membrane_updates: dict[str, float] | None
    connection_sparsity_frac: float
    activation_sparsity_frac: float
    footprint_bytes: float

    def as_neurobench(self) -> dict[str, object]:
        """Return the metrics of the whole network under the keys NeuroBench prints."""
        updates = self.membrane_updates
        return {
            "Footprint": self.footprint_bytes,
            "ConnectionSparsity": self.connection_sparsity_frac,
            "ActivationSparsity": self.activation_sparsity_frac,
            "SynapticOperations": {
                "Effective_MACs": sum(self.effective_macs.values()),
                "Effective_ACs": sum(self.effective_acs.values()),
                "Dense": sum(self.dense.values()),
            },
            "MembraneUpdates": None if updates is None else sum(updates.values()),
        }


def neurobench_metrics(network: Network, counts: Counts, trace: Trace) -> NeuroBenchMetrics:
    """Return the metrics of a trace and the counts made of it."""
    network = without_joins(network)
    macs, synops = counts.by_layer("effective_macs"), counts.by_layer("effective_synops")
    groups = [group for layer in network.layers for group in layer.stored_groups]
    n_weights = sum(group.n_weights for group in groups)
    n_zero = n_weights - sum(int(np.count_nonzero(group.weight)) for group in groups)
    bits = sum(group.n_weights * (group.weight_bits or 32) for group in groups)
    sending = [layer for layer in network.layers if sends(layer)]
    n_sent = sum(int(np.count_nonzero(trace.spikes[layer.name])) for layer in sending)
    n_could = sum(trace.spikes[layer.name].size for layer in sending)
    return NeuroBenchMetrics(
        {name: float((synops[name] - macs[name]).mean()) for name in synops},
        {name: float(macs[name].mean()) for name in macs},
        {layer.name: float(counts.n_steps * sum(
            n_synapses(network, group) for group in layer.stored_groups))
         for layer in network.layers},
        _membrane_updates(trace),
        n_zero / n_weights if n_weights else 0.0,
        1 - n_sent / n_could if n_could else 0.0,
        bits / 8,
    )


def _membrane_updates(trace: Trace) -> dict[str, float] | None:
    if not trace.v:
        return None
    updates = {}
    for name, v in trace.v.items():
        first = v[..., 0].size
        changed = int(np.count_nonzero(np.diff(v, axis=-1)))
        updates[name] = (first + changed) / len(v)
    return updates
