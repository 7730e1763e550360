"""From compressed groups to the integer network that is deployed.

In: the dense network, its groups at their levels, its calibration. Out: :class:`Integers`. Grids
become integers, thresholds match the dense firing rates, and neurons that make no difference leave.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.calibrate import Calibration
from pipeline.compress_synapse import CompressedSynapse
from pipeline.deployment import Integers
from pipeline.lower import without_joins
from pipeline.match_rates import match_rates
from pipeline.network import Network
from pipeline.quantize import bias_timing, to_integers
from pipeline.shrink import removals, shrink


def assemble(
    dense: Network, compressed: dict[str, CompressedSynapse], calibration: Calibration,
    spikes: NDArray[np.uint8], per: Literal["none", "layer", "channel"],
) -> Integers:
    """Return the compressed integer network and the ledger of what changed.

    Parameters
    ----------
    spikes : (n, *input_shape, t) uint8, the samples ``calibration`` was made from
    per : what gets a threshold of its own; none leaves thresholds as compression has them
    """
    network, ledger = to_integers(dense, compressed)
    if per != "none":
        network, changes = match_rates(network, spikes, calibration.rates, per)
        ledger += changes
    ledger += bias_timing(network)
    shrunk = shrink(without_joins(network))
    return Integers(shrunk.network, network, shrunk.kept, ledger + removals(network, shrunk))
