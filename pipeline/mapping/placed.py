"""A network placed as a recipe says: rules checked, ways shortened for the spikes it sends.

In: an integer network, a target, the recipe's ``place`` and calibration spikes. Out: a
:class:`~pipeline.mapping.placement.Placement`. The line and sweeps place through here, so that a
configuration costs the same in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_targets import Target
from pipeline.emulate_layers import sent_counts
from pipeline.mapping.place import check_rules, place
from pipeline.mapping.placement import Placement
from pipeline.network import Network
from pipeline.recipe import PlaceRecipe

# Calibration samples whose spikes tell which ways on the mesh are busy: fewer of networks that
# have many neurons, which tell as much with fewer, but one at least.
_MOST_FOR_TRAFFIC = 32
_NEURON_STEPS = 1 << 30


def placed(
    network: Network, target: Target, settings: PlaceRecipe, calibration: NDArray[Any]
) -> Placement:
    """Return the placement of a network.

    Parameters
    ----------
    calibration : (n, *input_shape, t), of which the first samples are run

    Raises
    ------
    DesignRuleError
        If the network breaks a rule of the target, or does not fit.
    """
    check_rules(network, target, settings.max_chips)
    n_neurons = sum(layer.n_neurons for layer in network.layers)
    n_samples = int(np.clip(
        _NEURON_STEPS // (n_neurons * calibration.shape[-1]), 1, _MOST_FOR_TRAFFIC))
    rates = sent_counts(network, calibration[:n_samples])
    return place(network, target, formats=settings.formats, rates=rates,
                 max_chips=settings.max_chips, seed=settings.seed)
