"""What a network costs on one target: cores, memory by format, events, energy.

In: an integer network, a target, how it is placed, a trace. Out: plain JSON for the store.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from numpy.typing import NDArray

from hardware_targets import Target
from pipeline.account.energy import account
from pipeline.emulate import Trace
from pipeline.errors import DesignRuleError
from pipeline.mapping.placed import placed
from pipeline.mapping.placement import Placement
from pipeline.network import Network
from pipeline.recipe import PlaceRecipe
from pipeline.sweep.results import Result


def price(
    network: Network, target: Target, settings: PlaceRecipe, calibration: NDArray[Any],
    trace: Trace,
) -> Result:
    """Return the price of a network; one that does not fit has a reason in its place.

    Parameters
    ----------
    calibration : (n, *input_shape, t), whose spikes tell which ways on the mesh are busy
    trace : of the samples that events are counted on
    """
    begin = time.perf_counter()
    try:
        placement = placed(network, target, settings, calibration)
    except DesignRuleError as error:
        return {"fits": False, "reason": str(error), "elapsed_s": time.perf_counter() - begin}
    energy = account(network, placement, trace, target, with_times=False)
    return {
        "fits": True,
        "n_cores": len(placement.cores),
        "memory_bits": sum(core.synapse_bits for core in placement.cores),
        "bits_by_format": _bits_by_format(placement),
        "effective_synops": float(energy.counts["effective_synops"].sum(axis=1).mean()),
        "executed_synops": float(energy.counts["executed_synops"].sum(axis=1).mean()),
        "energy": [
            {"prices": prices.name, "total_pj": float(prices.total_pj),
             "low_pj": float(prices.band_pj[0]), "high_pj": float(prices.band_pj[1]),
             "is_priced": bool(prices.by_event_pj), "unpriced": sorted(prices.unpriced)}
            for prices in energy.price_sets
        ],
        "elapsed_s": time.perf_counter() - begin,
    }


def _bits_by_format(placement: Placement) -> dict[str, int]:
    bits: Counter[str] = Counter()
    for core in placement.cores:
        for group in core.synapses:
            bits[group.format] += group.memory_bits
    return dict(sorted(bits.items()))
