"""A synapse group of any shape compressed to a level, and stitched into a network that runs."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.allocate import largest_per_group
from pipeline.bank import Level, compress_synapse, stitch
from pipeline.calibrate import calibrate
from pipeline.emulate import emulate
from pipeline.network import INPUT, ConvGeometry, CubaNeuron, Layer, Network, Synapse
from pipeline.quantize import as_trained, to_integers


def conv_net(groups: int) -> Network:
    rng = np.random.default_rng(2)
    weight = (2 * rng.integers(-30, 31, (8, 4 // groups, 3, 3))).astype(np.int32)
    synapse = Synapse("c", INPUT, weight, ConvGeometry((2, 1), (1, 1), (1, 1), groups))
    layer = Layer("c", (synapse,), CubaNeuron(1024, 128, 150), (8, 4, 6))
    return as_trained(Network("n", (4, 7, 6), 25, (layer,)))[0]


def random_spikes(network: Network) -> np.ndarray:
    shape = (12, *network.input_shape, network.n_steps)
    return (np.random.default_rng(3).random(shape) < 0.2).astype(np.uint8)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("share", "bits"), [(1.0, 8), (0.6, 4), (0.4, 2)])
def test_a_grouped_convolution_reaches_its_level(groups: int, share: float, bits: int) -> None:
    network = conv_net(groups)
    spikes = random_spikes(network)
    (synapse,) = network.synapses
    n_keep = round(share * synapse.weight.size)
    part = compress_synapse(
        synapse, 150, calibrate(network, spikes, "").curvatures["c"], Level(n_keep, bits), 0.01)
    assert part.weight.shape == synapse.weight.shape
    assert np.count_nonzero(part.codes) <= n_keep
    integer, _ = to_integers(stitch(network, {"c": part}), {"c": part})
    assert integer.synapses[0].weight_bits == bits
    dense, compressed = (emulate(n, spikes).spikes["c"].mean() for n in (network, integer))
    assert compressed == pytest.approx(dense, rel={8: 0.02, 4: 0.3, 2: 0.6}[bits])


def test_at_eight_bits_without_pruning_hardly_a_spike_changes() -> None:
    network = conv_net(2)
    spikes = random_spikes(network)
    (synapse,) = network.synapses
    curvature = calibrate(network, spikes, "").curvatures["c"]
    part = compress_synapse(synapse, 150, curvature, Level(synapse.weight.size, 8), 0.01)
    integer, _ = to_integers(stitch(network, {"c": part}), {"c": part})
    before, after = (emulate(n, spikes).spikes["c"] for n in (network, integer))
    assert (before != after).sum() < 0.05 * before.sum()


def test_each_group_keeps_its_share_of_the_largest_weights_and_at_least_one() -> None:
    weight = np.array([[[9.0, -8.0, 1.0]], [[7.0, 2.0, -6.0]], [[0.1, 0.2, 0.3]]])
    assert largest_per_group(weight, 4) == [2, 2, 1]
    assert largest_per_group(weight, 9) == [3, 3, 3]
