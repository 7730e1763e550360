"""What the tests of one compressed group share: networks and levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.calibrate import calibrate
from pipeline.compress import Pruning, damped
from pipeline.compress_synapse import (
    PrunedGroups,
    prune_synapse,
)
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron
from pipeline.quantize import as_trained

BY_OBS = Pruning("obs")


def conv_net(groups: int, seed: int = 2) -> Network:
    rng = np.random.default_rng(seed)
    weight = (2 * rng.integers(-30, 31, (8, 4 // groups, 3, 3))).astype(np.int32)
    synapse = Synapse("c", INPUT, weight, ConvGeometry((2, 1), (1, 1), (1, 1), groups))
    layer = Layer("c", (synapse,), CubaNeuron(1024, 128, 150), (8, 4, 6))
    return as_trained(Network("n", (4, 7, 6), 25, (layer,)))[0]


def pruned_of(
    network: Network, spikes: Any, n_keep: int, pruning: Pruning = BY_OBS,
    importance: Any = None,
) -> PrunedGroups:
    (synapse,) = network.synapses
    hessian = damped(calibrate(network, spikes, "").curvatures[synapse.name].hessian, 0.01)
    return prune_synapse(
        network, synapse, synapse.weight, hessian, n_keep, pruning, importance)
