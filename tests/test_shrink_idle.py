"""Only what is idle goes: what nobody hears or never spikes, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.deployment import Integers
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.ledger import LedgerEntry
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron
from pipeline.shrink import removals, shrink

NEURON = CubaNeuron(current_decay=1500, voltage_decay=300, vth_mant=60)


def test_a_network_in_which_every_neuron_counts_is_returned_itself(full_chain: Any) -> None:
    network = full_chain(5, 4, 3)
    shrunk = shrink(network)
    assert shrunk.network is network
    assert {name: list(kept) for name, kept in shrunk.kept.items()} == {
        "l0": [0, 1, 2, 3, 4], "l1": [0, 1, 2, 3], "l2": [0, 1, 2]}
    assert removals(network, shrunk) == ()


def test_a_neuron_heard_only_by_unheard_neurons_goes_too(
    full_chain: Any, silenced: Any, with_weight: Any
) -> None:
    network = silenced(full_chain(5, 4, 3), "l2", [1])
    weight = network.layers[1].synapses[0].weight.copy()
    weight[[0, 2, 3], 4] = 0  # neuron 4 of l0 now speaks to neuron 1 of l1 alone
    shrunk = shrink(with_weight(network, 1, weight))
    assert list(shrunk.kept["l1"]) == [0, 2, 3]
    assert list(shrunk.kept["l0"]) == [0, 1, 2, 3]
    assert removals(network, shrunk) == tuple(
        LedgerEntry(name, "neurons removed, nobody listens or they never spike", 1, total)
        for name, total in (("l0", 5), ("l1", 4))
    )


def test_a_neuron_that_hears_only_silent_neurons_goes_too(
    full_chain: Any, with_weight: Any
) -> None:
    network = full_chain(5, 4, 3)
    first, second = (layer.synapses[0].weight.copy() for layer in network.layers[:2])
    first[2] = 0  # never spikes
    second[3, [0, 1, 3, 4]] = 0  # hears only that one
    shrunk = shrink(with_weight(with_weight(network, 0, first), 1, second))
    assert list(shrunk.kept["l0"]) == [0, 1, 3, 4]
    assert list(shrunk.kept["l1"]) == [0, 1, 2]


def test_output_neurons_stay_even_without_input(
    full_chain: Any, with_weight: Any, sizes: Any
) -> None:
    network = full_chain(5, 3)
    weight = network.layers[1].synapses[0].weight.copy()
    weight[1] = 0
    shrunk = shrink(with_weight(network, 1, weight))
    assert sizes(shrunk.network) == [5, 3]


def test_one_neuron_of_a_layer_can_be_left(full_chain: Any, silenced: Any, sizes: Any) -> None:
    shrunk = shrink(silenced(full_chain(5, 4, 3), "l2", [0, 1, 3]))
    assert sizes(shrunk.network) == [5, 1, 3]
    assert list(shrunk.kept["l1"]) == [2]


@pytest.mark.parametrize("sources", [[0, 1, 2, 3], [1, 2, 3]])
def test_no_layer_is_emptied_when_nothing_leads_to_the_output(
    sources: list[int], full_chain: Any, silenced: Any, with_weight: Any, sizes: Any
) -> None:
    network = silenced(full_chain(5, 4, 3), "l2", sources)
    weight = network.layers[1].synapses[0].weight.copy()
    weight[0] = 0  # the only neuron that l2 may still hear never spikes
    network = with_weight(network, 1, weight)
    shrunk = shrink(network)
    assert shrunk.network is network and sizes(shrunk.network) == [5, 4, 3]
    assert [len(kept) for kept in shrunk.kept.values()] == [5, 4, 3]


def test_no_layer_is_left_without_positive_weights(
    full_chain: Any, silenced: Any, with_weight: Any
) -> None:
    # NetX counts bits of one-sign matrices otherwise; such a layer is silent in any case
    network = silenced(full_chain(3, 4, 3), "l2", [0, 1])
    weight = network.layers[1].synapses[0].weight.copy()
    weight[2:] = -256
    network = with_weight(network, 1, weight)
    assert shrink(network).network is network


def test_a_channel_stays_while_any_of_its_positions_is_heard(
    sparse_chain: Any, silenced: Any, with_weight: Any
) -> None:
    network = silenced(sparse_chain(("conv", 4), 3, 0.0), "l1", [2])
    weight = network.layers[1].synapses[0].weight.copy()
    n_positions = int(np.prod(network.layers[0].shape[1:]))
    weight[3, 2 * n_positions + 5] = 2
    assert 2 in shrink(with_weight(network, 1, weight)).kept["l0"]
    shrunk = shrink(network)
    assert list(shrunk.kept["l0"]) == [0, 1, 3, 4]
    assert shrunk.network.layers[0].shape == (4, *network.layers[0].shape[1:])
    (entry,) = removals(network, shrunk)
    assert (entry.count, entry.total) == (n_positions, 5 * n_positions)


def test_a_grouped_convolution_and_what_it_reads_are_left_alone(
    sparse_chain: Any, silenced: Any, sizes: Any, require_same_spikes: Any
) -> None:
    network = sparse_chain(("small", "grouped", "small", 5), 5, 0.0)
    for listener in ("l1", "l2", "l3"):
        network = silenced(network, listener, [1])
    shrunk = shrink(network)
    assert sizes(network) == [4, 4, 4, 5] and sizes(shrunk.network) == [4, 4, 3, 5]
    spikes = (np.random.default_rng(0).random((3, *network.input_shape, 16)) < 0.3).astype(np.uint8)
    require_same_spikes(network, shrunk, spikes)
    assert np.array_equal(shrunk.network.layers[1].synapses[0].weight,
                          network.layers[1].synapses[0].weight)


def test_a_source_of_two_layers_stays_while_one_of_them_hears_it(
    full_chain: Any, silenced: Any, require_same_spikes: Any
) -> None:
    network = full_chain(5, 4, 3)
    weight = np.full((3, 5), 20, dtype=np.int32)
    weight[:, [0, 1]] = 0
    skip = Synapse("skip", "l0", weight, None, inferred_weight_bits(weight))
    network = silenced(network, "l1", [1, 2])
    last = network.layers[2]
    network = network.with_layers(
        (*network.layers[:2], replace(last, synapses=(*last.synapses, skip))))
    shrunk = shrink(network)
    assert list(shrunk.kept["l0"]) == [0, 2, 3, 4]
    spikes = (np.random.default_rng(0).random((3, 4, 16)) < 0.5).astype(np.uint8)
    require_same_spikes(network, shrunk, spikes)


def test_channels_of_an_image_after_dense_synapses_go_with_all_their_positions(
    require_same_spikes: Any
) -> None:
    rng = np.random.default_rng(2)
    weight = 2 * rng.integers(-20, 40, (3 * 2 * 2, 9)).astype(np.int32)
    group = Synapse("image", INPUT, weight, None, inferred_weight_bits(weight))
    fan_out = 2 * rng.integers(-20, 40, (4, 12)).astype(np.int32)
    fan_out[:, 4:8] = 0  # channel 1
    fan_out[:, 1] = 0  # one position of channel 0
    out = Synapse("out", "image", fan_out, None, inferred_weight_bits(fan_out))
    network = Network("image", (9,), 16, (
        Layer("image", (group,), NEURON, (3, 2, 2)), Layer("out", (out,), NEURON, (4,))))
    shrunk = shrink(network)
    assert list(shrunk.kept["image"]) == [0, 2]
    assert shrunk.network.layers[0].shape == (2, 2, 2)
    require_same_spikes(network, shrunk, (rng.random((3, 9, 16)) < 0.3).astype(np.uint8))


def test_float_networks_are_refused(full_chain: Any, with_weight: Any) -> None:
    network = with_weight(full_chain(3, 2), 0, np.ones((3, 4)))
    with pytest.raises(TypeError, match="integer network"):
        shrink(network)


def test_sparsity_is_of_the_weights_before_shrinking(full_chain: Any, silenced: Any) -> None:
    network = silenced(full_chain(5, 4, 3), "l2", [0, 1, 3])
    shrunk = shrink(network)
    integers = Integers(shrunk.network, network, shrunk.kept, ())
    # gone with the neurons: 3 of 4 rows of l1 and 3 of 4 columns of l2
    assert integers.sparsity == pytest.approx((15 + 9) / (20 + 20 + 12))
    assert shrunk.network.sparsity == 0.0
    assert "46.2% zeros" in integers.summary and "9 of 12 neurons left" in integers.summary
