"""Events of a trace step by step: what a sample asks of each layer, and when.

In: a network, its placement, a trace. Out: per event the sums over the samples, for each step and
layer. Memory is that of these tables and one sample, however many samples there are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.account.counts import check_trace
from pipeline.account.fan_out import FORMATS, executed_in, fan_outs
from pipeline.account.sent import sent_by
from pipeline.emulate import Trace
from pipeline.mapping.placement import Placement
from pipeline.network import INPUT, Network

STEP_EVENTS = ("spikes", "effective_synops", "executed_synops", "messages_out", "messages_in")
_EXECUTED = tuple(executed_in(kind) for kind in FORMATS)


def count_over_time(
    network: Network, placement: Placement, trace: Trace
) -> dict[str, NDArray[np.int64]]:
    """Return the events of each step, summed over the samples: (n_steps, n_layers) int64.

    A synop counts in the layer that receives it, in the step in which the spike left. Summed over
    the steps these are the sums of :func:`pipeline.account.counts.count`.

    Raises
    ------
    DataError
        If the trace or the placement does not belong to the network.
    """
    check_trace(network, trace)
    place_of = {layer.name: index for index, layer in enumerate(network.layers)}
    layer_of = np.array([place_of[core.layer] for core in placement.cores])
    # (n_layers, n_cores): adds the cores of a layer
    summing = csr_array(
        (np.ones(len(layer_of), np.int64), (layer_of, np.arange(len(layer_of)))),
        shape=(len(place_of), len(layer_of)))
    shape = (trace.spikes[INPUT].shape[-1], len(place_of))
    events = {event: np.zeros(shape, dtype=np.int64) for event in STEP_EVENTS}
    for table, sent in sent_by(network, trace, fan_outs(network, placement)):
        for name in table.names:
            event = "executed_synops" if name in _EXECUTED else name
            if event in events:
                by_layer = summing @ table.of(name)
                for one in sent:
                    events[event] += (by_layer @ (one != 0).astype(np.int64)).T
    return events
