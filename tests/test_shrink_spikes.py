"""Shrinking changes no spike: every neuron that is left spikes as before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fixedpoint import inferred_weight_bits
from pipeline.network import INPUT, Layer, Network
from pipeline.shrink import shrink

# a layer is its number of features, or the name of a convolution
Plan = tuple[int | str, ...]
PLANS: list[Plan] = [
    (12, 10, 9, 4), ("conv", "wide", 5), ("conv", 8, 4), ("wide", "conv", "wide", 7, 3), ("conv",),
    (6,), ("wide", "conv"),
]


def idle_channels(network: Network) -> dict[str, set[int]]:
    """Remove channels one after another until none is idle: the definition, channel by channel."""
    alive = {layer.name: set(range(layer.shape[0])) for layer in network.layers}
    alive[INPUT] = set(range(network.input_shape[0]))
    removed: dict[str, set[int]] = {layer.name: set() for layer in network.layers}

    def has_weight(layer: Layer, channels: set[int], sources: set[int]) -> bool:
        (synapse,) = layer.synapses
        n_in = network.shape_of(synapse.source)[0]
        weight = synapse.weight.reshape(layer.shape[0], n_in, -1)
        return bool(weight[np.ix_(sorted(channels), sorted(sources))].any())

    changed = True
    while changed:
        changed = False
        for layer, listener in zip(network.layers, network.layers[1:], strict=False):
            for channel in sorted(alive[layer.name]):
                is_fed = has_weight(layer, {channel}, alive[layer.synapses[0].source])
                is_heard = has_weight(listener, alive[listener.name], {channel})
                if not (is_fed and is_heard):
                    alive[layer.name].discard(channel)
                    removed[layer.name].add(channel)
                    changed = True
    return removed


@settings(max_examples=60)
@given(plan=st.sampled_from(PLANS), seed=st.integers(0, 10**6), p=st.sampled_from([0.1, 0.3, 0.5]))
def test_every_neuron_that_is_left_spikes_as_before(
    plan: Plan, seed: int, p: float, sparse_chain: Any, sizes: Any, require_same_spikes: Any
) -> None:
    network = sparse_chain(plan, seed, p)
    rng = np.random.default_rng(seed)
    spikes = (rng.random((3, *network.input_shape, network.n_steps)) < 0.3).astype(np.uint8)
    shrunk = shrink(network)
    require_same_spikes(network, shrunk, spikes)
    assert set(shrunk.kept) == {layer.name for layer in network.layers}
    assert [len(shrunk.kept[layer.name]) for layer in network.layers] == sizes(shrunk.network)
    assert min(sizes(shrunk.network)) > 0
    assert len(shrunk.kept[network.layers[-1].name]) == network.layers[-1].shape[0]


@settings(max_examples=60)
@given(plan=st.sampled_from(PLANS[:4]), seed=st.integers(0, 10**6))
def test_exactly_those_go_that_removal_one_by_one_would_remove(
    plan: Plan, seed: int, sparse_chain: Any, sizes: Any
) -> None:
    network = sparse_chain(plan, seed, 0.3)
    removed, shrunk = idle_channels(network), shrink(network)
    kept = {layer.name: set(range(layer.shape[0])) - removed[layer.name]
            for layer in network.layers}
    # the other case, a network without a path to its output, has its own test
    if sizes(shrunk.network) != sizes(network):
        assert {name: set(channels) for name, channels in shrunk.kept.items()} == kept
    else:
        assert not any(removed.values()) or not all(
            (s.weight > 0).any() for s in without(network, kept).synapses)


def without(network: Network, kept: dict[str, set[int]]) -> Network:
    """Return the network with zeros in place of the weights of all that is not kept."""
    kept = {**kept, INPUT: set(range(network.input_shape[0]))}
    layers = []
    for layer in network.layers:
        (synapse,) = layer.synapses
        shape = (layer.shape[0], network.shape_of(synapse.source)[0], -1)
        is_kept = np.zeros(shape[:2], dtype=bool)
        is_kept[np.ix_(sorted(kept[layer.name]), sorted(kept[synapse.source]))] = True
        weight = (synapse.weight.reshape(shape) * is_kept[..., None]).reshape(synapse.weight.shape)
        layers.append(replace(layer, synapses=(replace(synapse, weight=weight),)))
    return network.with_layers(tuple(layers))


@pytest.mark.parametrize("plan", PLANS[:5], ids=lambda plan: f"{len(plan)} layers")
def test_spikes_were_compared_and_neurons_removed(
    plan: Plan, sparse_chain: Any, sizes: Any, require_same_spikes: Any
) -> None:
    n_spikes = n_removed = 0
    for seed in range(20):
        network = sparse_chain(plan, seed, 0.25)
        rng = np.random.default_rng(seed)
        spikes = (rng.random((3, *network.input_shape, network.n_steps)) < 0.3).astype(np.uint8)
        shrunk = shrink(network)
        trace = require_same_spikes(network, shrunk, spikes)
        n_spikes += int(trace.spikes[network.layers[-1].name].sum())
        n_removed += sum(sizes(network)) - sum(sizes(shrunk.network))
    assert n_spikes > 500
    assert n_removed > 20 or len(plan) == 1


def test_masks_are_sliced_with_their_weights_and_bits_inferred_anew(
    sparse_chain: Any, silenced: Any, with_weight: Any
) -> None:
    network = silenced(sparse_chain(("conv", "wide", 6), 0, 0.0), "l1", [3])
    network = silenced(network, "l2", [1, 2])
    coarse = np.where(network.synapses[0].weight > 0, 64, 0).astype(np.int32)
    coarse[:, 0, 0, 0], coarse[3, 0, 0, 0] = 64, -126  # the one fine weight goes with its channel
    network = with_weight(network, 0, coarse)
    bits = inferred_weight_bits(coarse)
    shrunk = shrink(network)
    kept = [np.arange(2), np.array([0, 1, 2, 4]), np.array([0, 3, 4, 5]), np.arange(6)]
    n_positions = int(np.prod(network.layers[1].shape[1:]))
    for before, after, columns, rows in zip(
        network.synapses, shrunk.network.synapses, kept, kept[1:], strict=False
    ):
        assert np.array_equal(shrunk.kept[before.name], rows)
        if before.geometry is None:  # all positions of a channel, one channel after another
            columns = (columns[:, None] * n_positions + np.arange(n_positions)).ravel()
        assert before.allowed is not None and after.allowed is not None
        assert np.array_equal(after.weight, before.weight[np.ix_(rows, columns)])
        assert np.array_equal(after.allowed, before.allowed[np.ix_(rows, columns)])
        assert after.weight.dtype == np.int32 and after.weight.flags.c_contiguous
        assert after.weight_bits == inferred_weight_bits(after.weight)
    assert shrunk.network.synapses[0].weight_bits == 1 < bits


def test_thresholds_of_channels_go_with_their_channels(
    sparse_chain: Any, silenced: Any, require_same_spikes: Any
) -> None:
    thresholds = (40, 60, 80, 100, 120)
    network = sparse_chain(("conv", 6), 1, 0.0)
    conv = network.layers[0]
    neuron = replace(conv.neuron, channel_vth_mant=thresholds)
    network = silenced(network.with_layers((replace(conv, neuron=neuron), *network.layers[1:])),
                       "l1", [0, 3])
    shrunk = shrink(network)
    assert shrunk.network.layers[0].neuron.channel_vth_mant == (60, 80, 120)
    spikes = (np.random.default_rng(0).random((3, *network.input_shape, 16)) < 0.3).astype(np.uint8)
    require_same_spikes(network, shrunk, spikes)
